import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import inc_tf as inc
from inc_tf.errors import InputError


@pytest.fixture(scope="module")
def defense(classifier, vae):
    return inc.InvertAndClassify(classifier, inc.LatentProjector(vae.generator, inc.Adam(steps=60)))


def test_the_projection_is_what_is_classified(defense, classifier, digits):
    answer = defense(digits.images[:10])
    np.testing.assert_allclose(answer.logits, classifier(answer.projections), atol=1e-4)
    np.testing.assert_array_equal(answer.predictions, np.argmax(answer.logits, axis=1))
    assert not np.any(answer.rejected)


def test_distances_from_the_threshold_on_are_rejected(defense, classifier, digits):
    distances = np.sort(defense(digits.images[:10]).distances)
    strict = inc.InvertAndClassify(classifier, defense.projector, threshold=float(distances[6]))
    answer = strict(digits.images[:10])
    np.testing.assert_array_equal(answer.rejected, answer.distances.numpy() >= distances[6])
    assert np.sum(answer.rejected) == 4  # η itself is rejected
    barely = inc.InvertAndClassify(
        classifier, defense.projector, threshold=float(np.nextafter(distances[6], np.float32(9)))
    )
    assert np.sum(barely(digits.images[:10]).rejected) == 3


@pytest.mark.parametrize(("rate", "rejected"), [(0.0, 0), (0.01, 1), (0.05, 5), (0.1, 10), (0.999, 99)])
def test_the_threshold_rejects_the_share_asked_for(rng, rate, rejected):
    distances = rng.uniform(size=100).astype(np.float32)
    threshold = inc.threshold_at(distances, rate)
    assert np.sum(distances >= threshold) == rejected
    # No smaller η would do.
    assert np.sum(distances >= np.nextafter(np.float32(threshold), np.float32(0))) > rejected


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(rate):
    with pytest.raises(InputError, match="false-rejection rate"):
        inc.threshold_at(np.ones(3), rate)


@pytest.mark.slow
def test_it_predicts_and_evaluates_as_a_keras_model(defense, digits):
    few = digits.take(50)
    answer = defense(few.images)
    predicted = defense.predict(few.images, batch_size=20, verbose=0)
    np.testing.assert_array_equal(predicted.predictions, answer.predictions)
    np.testing.assert_allclose(predicted.distances, answer.distances, rtol=1e-3)
    defense.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    measured = defense.evaluate(few.batches(20), return_dict=True, verbose=0)
    assert measured["accuracy"] == pytest.approx(np.mean(answer.predictions == few.labels))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(few.labels, answer.logits)
    assert measured["loss"] == pytest.approx(np.mean(losses), rel=1e-3)


@pytest.mark.slow
def test_it_saves_and_loads_whole(defense, classifier, digits, tmp_path):
    model = inc.InvertAndClassify(classifier, defense.projector, threshold=2.5)
    before = model(digits.images[:5], seed=7)
    model.save(tmp_path / "defense.keras")
    loaded = keras.saving.load_model(tmp_path / "defense.keras", safe_mode=True)
    for a, b in zip(before, loaded(digits.images[:5], seed=7), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (loaded.threshold, loaded.bounds) == (2.5, (0.0, 1.0))
    assert (loaded.projector.solver, loaded.projector.start) == (inc.Adam(steps=60), inc.Normal())


GOOD = np.full((2, 28, 28, 1), 0.5, np.float32)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (GOOD[0], r"shape \[28, 28, 1\]; they must be \[N, 28, 28, 1\], a batch of them: images\[None\]\."),
        (GOOD[..., 0], r"shape \[2, 28, 28\]; .*: images\[\.\.\., None\]\."),
        (GOOD.reshape(2, -1), r"shape \[2, 784\]; .*: np.reshape\(images, \(-1, 28, 28, 1\)\)\."),
        (GOOD.transpose(0, 3, 1, 2), r"28 channels .*; they must have 1: np.transpose\(images, \(0, 2, 3, 1\)\)\."),
        (GOOD[:, :27], r"shape \[2, 27, 28, 1\]; they must be \[N, 28, 28, 1\]"),
        (np.repeat(GOOD, 3, axis=3), r"3 channels .*; they must have 1"),
        ((GOOD * 255).astype(np.uint8), r"uint8; they must be float32, scaled to \[0, 1\]"),
        (GOOD * 3, r"values from 1.5 to 1.5; they must lie in \[0, 1\]"),
        (GOOD - 1, r"values from -0.5 to -0.5"),
        (np.where(GOOD == 0.5, np.nan, GOOD), "NaN or infinity"),
        (GOOD * np.float32(np.inf), "NaN or infinity"),
        (GOOD[:0], "batch of images is empty"),
    ],
)
def test_bad_images_get_one_sentence(defense, images, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        defense(images)
    assert "\n" not in str(error.value)


def test_values_are_checked_inside_a_graph_too(defense):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"values outside \[0, 1\]"):
        tf.function(lambda images: defense(images).distances)(GOOD * 3)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (GOOD * 3, r"Images have values outside \[0, 1\]\."),
        (GOOD * np.float32(np.nan), "Images contain NaN or infinity; every value must be finite\\."),
    ],
)
@pytest.mark.parametrize("entry", ["predict", "evaluate"])
def test_a_data_set_of_bad_images_gets_the_sentence_alone(defense, entry, images, sentence):
    defense.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    bad = tf.data.Dataset.from_tensors((images, np.zeros(len(images), int)))
    with pytest.raises(InputError, match=f"^{sentence}$"):
        getattr(defense, entry)(bad, verbose=0)


@pytest.mark.parametrize("entry", ["predict", "predict_on_batch", "evaluate", "test_on_batch", "fit", "train_on_batch"])
def test_every_method_of_keras_says_what_is_wrong_with_an_array_of_images(defense, entry):
    defense.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = () if "predict" in entry else (np.zeros(2, int),)
    for images, sentence in (
        (GOOD[..., 0], r"shape \[2, 28, 28\]"),
        (GOOD * 3, "from 1.5 to 1.5"),
        (GOOD[:0], "empty"),
    ):
        with pytest.raises(InputError, match=sentence):
            getattr(defense, entry)(images, *labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labels", "sentence"), [(None, "There are no labels"), ([3, 11], "The labels contain 11; the")]
)
def test_evaluate_says_what_is_wrong_with_labels(classifier, labels, sentence):
    defense = inc.InvertAndClassify(classifier, At([0.5, 0.5]))
    defense.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(InputError, match=sentence):
        defense.evaluate(GOOD, labels if labels is None else np.array(labels), verbose=0)
    for entry in (defense.test_on_batch, defense.train_on_batch):
        with pytest.raises(InputError, match=sentence):
            entry(GOOD, labels if labels is None else np.array(labels))


def test_predicts_the_batches_of_a_python_generator(classifier):
    defense = inc.InvertAndClassify(classifier, At([0.5] * 5))
    batches = [GOOD, (GOOD[:1], np.zeros(1)), GOOD]
    expected = defense.predict(np.concatenate([GOOD, GOOD[:1], GOOD]), verbose=0)
    np.testing.assert_array_equal(defense.predict(iter(batches), verbose=0).logits, expected.logits)
    three = inc.InvertAndClassify(classifier, At([0.5] * 3))
    assert len(three.predict(itertools.cycle(batches), verbose=0, steps=2).predictions) == 3
    with pytest.raises(InputError, match="Images have values from"):
        defense.predict(iter([GOOD, 3 * GOOD]), verbose=0)


def test_images_of_a_much_smaller_range_than_the_bounds_are_warned_of(classifier):
    defense = inc.InvertAndClassify(classifier, At([0.5, 0.5]), bounds=(0, 255))
    with pytest.warns(UserWarning, match=r"between 0 and 1, a small part of the bounds \[0, 255\]"):
        defense(np.stack([np.zeros((28, 28, 1)), np.ones((28, 28, 1))]))


@pytest.mark.slow
def test_what_was_compiled_is_so_when_it_is_loaded(classifier, defense, digits, tmp_path):
    model = inc.InvertAndClassify(classifier, defense.projector)
    model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.save(tmp_path / "defense.keras")
    few = digits.take(5)
    loaded = keras.saving.load_model(tmp_path / "defense.keras")
    found, expected = (one.evaluate(few.images, few.labels, verbose=0) for one in (loaded, model))
    assert found == pytest.approx(expected)
    with pytest.raises(InputError, match=r"defense.h5'; it must be a .keras file"):
        model.save(tmp_path / "defense.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["defense.keras"]


@pytest.mark.parametrize("threshold", [0, -1.0, float("nan")])
def test_a_threshold_that_is_none_is_refused(classifier, defense, threshold):
    with pytest.raises(InputError, match="must be above 0"):
        inc.InvertAndClassify(classifier, defense.projector, threshold=threshold)


class At(keras.layers.Layer):
    """A projector that returns the image itself, at distances that it is told."""

    image_shape = (28, 28, 1)

    def __init__(self, distances, **kwargs):
        super().__init__(**kwargs)
        self.distances = distances

    def call(self, images, seed=None):
        n = tf.shape(images)[0]
        steps = tf.zeros([n], tf.int32)
        return inc.Projection(images, tf.zeros([n, 0]), tf.constant(self.distances), steps, steps == 0)


@pytest.mark.parametrize("threshold", [None, 1.0, 1e30])
def test_rejects_what_is_not_a_finite_distance(classifier, threshold):
    defense = inc.InvertAndClassify(classifier, At([np.nan, np.inf, -np.inf, 0.5]), threshold)
    images = np.repeat(GOOD, 2, axis=0)
    np.testing.assert_array_equal(defense(images).rejected, [True, True, True, False])
    np.testing.assert_array_equal(defense.predict(images, verbose=0).rejected, [True, True, True, False])


def test_rejects_what_has_no_finite_logits():
    classifier = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    defense = inc.InvertAndClassify(classifier, At([0.5, 0.5]))
    assert not np.any(defense(GOOD).rejected)
    classifier.layers[1].bias.assign(np.full(10, np.nan, np.float32))
    assert np.all(defense(GOOD).rejected)


def test_a_threshold_set_later_counts_everywhere(classifier):
    defense = inc.InvertAndClassify(classifier, At([0.5, 1.5]), np.float32(2.0))
    assert type(defense.threshold) is float
    for threshold, rejected in ((None, [False, False]), (1, [False, True]), (tf.constant(0.5), [True, True])):
        defense.threshold = threshold
        np.testing.assert_array_equal(defense(GOOD).rejected, rejected)
        np.testing.assert_array_equal(defense.predict(GOOD, verbose=0).rejected, rejected)
        assert defense.get_config()["threshold"] == (None if threshold is None else float(threshold))
    with pytest.raises(InputError, match="must be above 0"):
        defense.threshold = -1.0
    assert defense.threshold == 0.5


@pytest.mark.parametrize("threshold", [float("inf"), "2.5", True, [1.0]])
def test_refuses_a_threshold_that_is_not_a_finite_number(classifier, threshold):
    with pytest.raises(InputError, match="must be above 0 and finite, or None"):
        inc.InvertAndClassify(classifier, At([0.5]), threshold)


@pytest.mark.parametrize("rate", [0.07, 0.14, 0.29, 0.57, 0.58])
def test_the_threshold_is_exact_at_rates_that_binary_numbers_miss(rate):
    distances = np.arange(1, 101, dtype=np.float32)
    assert np.sum(distances >= inc.threshold_at(distances, rate)) == round(100 * rate)


def test_is_whole_before_its_first_call(classifier, tmp_path):
    defense, other = (inc.InvertAndClassify(classifier, At([0.5])) for _ in range(2))
    assert defense.count_params() == classifier.count_params()
    defense.save_weights(tmp_path / "defense.weights.h5")
    other.load_weights(tmp_path / "defense.weights.h5")
    other.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(tf.nest.flatten(loaded.serve(GOOD[:1]))[2], other(GOOD[:1]).logits, rtol=1e-5, atol=1e-5)


def test_refuses_to_be_compiled_by_xla(classifier):
    with pytest.raises(InputError, match="jit_compile is True"):
        inc.InvertAndClassify(classifier, At([0.5])).compile(jit_compile=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autoencode", "bit-depth", "median", "total-variation"])
def test_answers_alike_within_a_larger_xla_program(name, digits):
    defense, images = inc.load(f"digits-{name}"), tf.constant(digits.images[:4])
    compiled = tf.function(lambda x: defense(x, seed=3).logits, jit_compile=True, autograph=False)(images)
    np.testing.assert_allclose(compiled, defense(images, seed=3).logits, atol=1e-3)


@pytest.mark.parametrize("name", ["inc", "inc-fast", "inc-lbfgs", "jpeg"])
def test_says_what_no_larger_xla_program_can_hold(name, digits):
    defense = inc.load(f"digits-{name}")
    compiled = tf.function(lambda x: defense(x).logits, jit_compile=True, autograph=False)
    with pytest.raises(InputError, match="cannot be part of a larger XLA program; leave out jit_compile=True"):
        compiled(tf.constant(digits.images[:4]))


def test_predict_refuses_an_empty_batch(defense):
    with pytest.raises(InputError, match="batch of images is empty"):
        defense.predict(GOOD[:0])


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ([[0.5], [0.5, 0.5]], "Images are a list of which no tensor can be made"),
        (None, "Images are a NoneType of which no tensor can be made"),
        (tf.data.Dataset.from_tensors(GOOD), "give it to predict, or one batch of it"),
        (iter([GOOD]), "Images are a list_iterator; give it to predict, or one batch of it"),
        ({"x": GOOD}, r"Images are a dict .*: images\['x'\], say"),
        ((GOOD, np.zeros(2)), r"Images are a tuple .*: images\[0\], where the second is labels"),
        (GOOD.astype(object), r"Images are a numpy ndarray .*, as np.array\(images.tolist\(\), np.float32\)"),
        ("seven.png", "Images are strings; read the files they name"),
        (GOOD > 0.1, "Images are bool; they must be float32"),
    ],
)
def test_refuses_what_is_not_an_array_of_images(defense, images, sentence):
    with pytest.raises(InputError, match=sentence):
        defense(images)


def test_takes_images_of_any_floating_type(defense):
    expected = defense(GOOD).distances
    for images in (GOOD.tolist(), GOOD.astype(np.float64), GOOD.astype(np.float16)):
        np.testing.assert_array_equal(defense(images).distances, expected)


@pytest.mark.parametrize("names", [["a"], ["a"] * 10, "abcdefghij"])
def test_refuses_class_names_that_do_not_fit(classifier, names):
    with pytest.raises(InputError, match=r"The class names are .* they must be 10 different names"):
        inc.InvertAndClassify(classifier, At([0.5]), class_names=names)


@pytest.mark.slow
def test_what_it_prints_is_a_few_lines(defense, digits):
    assert repr(defense).count("\n") <= 4
    for said in ("threshold=None", "bounds=(0, 1)", "Adam(learning_rate=0.1, steps=60", "Normal(restarts=1"):
        assert said in repr(defense)
    answer = defense.predict(np.repeat(GOOD, 50, axis=0), verbose=0)
    for one in (answer, defense(GOOD)):
        assert repr(one).count("\n") <= 4
        assert len(repr(one)) < 400
    assert "100 images, 0 rejected" in repr(answer)


def test_a_figure_shows_images_projections_differences_and_verdicts(classifier, digits):
    defense = inc.InvertAndClassify(classifier, At([0.5, 1.5]), threshold=1.0)
    answer = defense(digits.images[:2])
    figure = answer.plot(digits.images[:2], class_names=[f"digit {i}" for i in range(10)])
    assert len(figure.axes) == 6
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, digits.images[0, :, :, 0], atol=1e-6)
    assert np.max(figure.axes[2].images[0].get_array()) == 0  # the projection is the image itself
    verdicts = [figure.axes[i].get_ylabel() for i in (0, 3)]
    first, second = (f"digit {c}" for c in answer.predictions.numpy())
    assert verdicts == [f"{first}\nat 0.5", f"rejected ({second})\nat 1.5"]
    with pytest.raises(InputError, match=r"Images have shape \[1, 28, 28, 1\]; these projections"):
        answer.plot(digits.images[:1])
