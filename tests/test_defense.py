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
        (GOOD[0], r"shape \[28, 28, 1\]; they must be \[N, 28, 28, 1\]"),
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
        defense.predict(tf.data.Dataset.from_tensors(GOOD * 3), verbose=0)


@pytest.mark.parametrize("threshold", [0, -1.0, float("nan")])
def test_a_threshold_that_is_none_is_refused(classifier, defense, threshold):
    with pytest.raises(InputError, match="must be above 0"):
        inc.InvertAndClassify(classifier, defense.projector, threshold=threshold)
