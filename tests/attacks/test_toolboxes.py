"""Others' attacks on a whole defence: as they are, and with the same answers."""

import art
import foolbox
import numpy as np
import pytest
import tensorflow as tf
from art.attacks.evasion import AutoProjectedGradientDescent, SquareAttack

import inc_tf as inc
from inc_tf.attacks.differentiable import implicit
from inc_tf.attacks.toolboxes import Logits, accepted_and_wrong

EPSILON = 0.3
N = 8


@pytest.fixture(scope="module")
def data() -> inc.data.Dataset:
    return inc.data.load("digits", "test").take(N)


@pytest.fixture(scope="module")
def defense() -> inc.InvertAndClassify:
    projector = inc.LatentProjector(inc.load("digits-vae").generator, inc.LevenbergMarquardt(), inc.Zeros())
    return inc.InvertAndClassify(inc.load("digits-classifier"), projector)


def accuracy(defense, images, labels) -> float:
    return float(np.mean(defense(images).predictions.numpy() == labels))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Without a stand-in")
@pytest.mark.parametrize("stand_in", [None, implicit])
def test_the_answers_are_the_defenses_and_the_gradient_is_the_stand_ins(stand_in, defense, data):
    wrapped = Logits(defense, stand_in and stand_in(defense))
    images = tf.constant(data.images)
    np.testing.assert_allclose(wrapped(images), defense(images).logits, rtol=1e-5, atol=1e-4)
    assert wrapped.input_shape == (None, 28, 28, 1)

    @tf.function  # as AutoAttack's adapter asks
    def gradient(images, labels):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, wrapped(images, training=False))
        return tape.gradient(loss, images)

    with tf.GradientTape() as tape:
        tape.watch(images)
        own = (stand_in or inc.attacks.differentiable.straight_through)(defense)(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(data.labels, own)
    expected = tape.gradient(loss, images).numpy()
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(gradient(images, data.labels), expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max())


@pytest.mark.slow
def test_arts_attacks_run_on_a_defense(defense, data):
    assert accuracy(defense, data.images, data.labels) >= 0.75
    np.random.seed(0)  # noqa: NPY002  (ART draws from it)
    estimator = inc.to_art(defense, implicit(defense))
    assert isinstance(estimator, art.estimators.classification.TensorFlowV2Classifier)
    found = AutoProjectedGradientDescent(
        estimator, eps=EPSILON, eps_step=EPSILON / 2, max_iter=5, nb_random_init=1, verbose=False
    ).generate(data.images, data.labels)
    assert np.abs(found - data.images).max() <= EPSILON + 1e-6
    assert accuracy(defense, found, data.labels) <= 0.25
    free = SquareAttack(estimator, eps=EPSILON, max_iter=5, verbose=False).generate(data.images, data.labels)
    assert accuracy(defense, free, data.labels) <= accuracy(defense, data.images, data.labels)


def test_foolboxs_attacks_run_on_a_defense(defense, data):
    tf.random.set_seed(0)
    model = inc.to_foolbox(defense, implicit(defense))
    attack = foolbox.attacks.LinfPGD(steps=8, abs_stepsize=0.08)
    _, found, broken = attack(model, tf.constant(data.images), tf.constant(data.labels), epsilons=EPSILON)
    assert np.mean(broken) >= 0.75
    assert accuracy(defense, found, data.labels) <= 0.25


@pytest.mark.slow
def test_a_rejection_counts_as_what_is_asked_for(defense, data):
    refuses_all = inc.InvertAndClassify(defense.classifier, defense.projector, threshold=1e-6)
    images, labels = tf.constant(data.images), tf.constant(data.labels)
    stand_in, pgd = implicit(defense), foolbox.attacks.LinfPGD(steps=4, abs_stepsize=0.1)

    def success(model, criterion) -> float:
        return float(np.mean(pgd(model, images, criterion, epsilons=EPSILON)[2]))

    tf.random.set_seed(0)
    assert success(inc.to_foolbox(refuses_all, stand_in), labels) >= 0.5  # as if nothing were rejected
    as_class = inc.to_foolbox(refuses_all, stand_in, rejection="class")
    assert success(as_class, labels) == 1.0
    assert success(as_class, accepted_and_wrong(refuses_all, labels)) == 0.0
    accepts_all = inc.to_foolbox(defense, stand_in, rejection="class")
    assert success(accepts_all, accepted_and_wrong(defense, labels)) >= 0.5

    estimator = inc.to_art(refuses_all, stand_in, rejection="class")
    assert estimator.nb_classes == 11
    np.testing.assert_array_equal(np.argmax(estimator.predict(data.images), axis=1), [10] * N)
    some = inc.InvertAndClassify(defense.classifier, defense.projector, float(np.median(defense(images).distances)))
    classes = np.argmax(Logits(some, stand_in, rejection="class")(images), axis=1)
    answer = some(images)
    np.testing.assert_array_equal(classes, np.where(answer.rejected, 10, answer.predictions))
    assert 0 < np.sum(answer.rejected) < N


def test_says_that_it_runs_through_bpda(defense):
    for make in (inc.to_art, inc.to_foolbox, Logits):
        with pytest.warns(UserWarning, match="Without a stand-in the gradient is BPDA's"):
            make(defense)
    with pytest.raises(inc.InputError, match="rejection is 'failure'; it must be one of 'ignored', 'class'"):
        inc.to_foolbox(defense, implicit(defense), rejection="failure")


@pytest.mark.filterwarnings("ignore:Without a stand-in")
@pytest.mark.parametrize("convert", [inc.to_art, inc.to_foolbox], ids=["art", "foolbox"])
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda x: x[..., 0], r"^Images have shape \[8, 28, 28\]; they must be \[N, 28, 28, 1\], a batch"),
        (lambda x: x.transpose(0, 3, 1, 2), "^Images have 28 channels"),
        (lambda x: 255 * x, r"^Images have values from 0 to 255; they must lie in \[0, 1\]\.$"),
        (lambda x: (255 * x).astype(np.uint8), "^Images are uint8"),
        (lambda x: x[:0], "^The batch of images is empty"),
        (lambda x: np.nan * x, "^Images contain NaN"),
    ],
)
def test_bad_images_get_the_sentence_alone(defense, data, convert, spoil, sentence):
    model = convert(defense)
    images = spoil(data.images)
    with pytest.raises(inc.InputError, match=sentence):
        model.predict(images) if convert is inc.to_art else model(tf.constant(images))
