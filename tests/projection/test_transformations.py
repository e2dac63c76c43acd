import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

import inc_tf as inc
from inc_tf.errors import InputError
from inc_tf.projection import Status
from inc_tf.saving import configuration

EVERY = {
    "jpeg": inc.JPEG(quality=30),
    "bit depth": inc.BitDepth(bits=2),
    "median": inc.Median(size=3),
    "total variation": inc.TotalVariation(weight=0.1, steps=20),
}
every_transformation = pytest.mark.parametrize("name", EVERY)


@every_transformation
def test_image_does_not_depend_on_its_batch(name, digits):
    projector = EVERY[name]
    together, alone = projector(digits.images[:5]), projector(digits.images[3:4])
    np.testing.assert_array_equal(together.images[3], alone.images[0])
    found = np.sqrt(np.square(together.images - digits.images[:5]).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(together.distances, found, rtol=1e-5)
    assert together.codes.shape == (5, 0)
    assert set(together.status.numpy()) == {Status.CONVERGED}


@every_transformation
def test_shape_of_an_image_is_known_inside_a_graph(name, digits):
    shapes = []
    graph = tf.function(lambda x: shapes.append(EVERY[name](x).images.shape), autograph=False)
    graph.get_concrete_function(tf.TensorSpec([None, 28, 28, 1]))
    assert shapes[0].as_list() == [None, 28, 28, 1]


@every_transformation
def test_bounds_only_rescale(name, digits):
    projector, images = EVERY[name], digits.images[:3]
    other = type(projector).from_config({**projector.get_config(), "bounds": [-1.0, 1.0]})
    np.testing.assert_allclose(other(2 * images - 1).images, 2 * projector(images).images - 1, atol=1e-6)


@every_transformation
def test_defence_saves_and_loads_to_the_same_bits(name, digits, classifier, tmp_path):
    defense = inc.InvertAndClassify(classifier, EVERY[name], threshold=20.0)
    defense.save(tmp_path / "defense.keras")
    loaded = keras.saving.load_model(tmp_path / "defense.keras")
    np.testing.assert_array_equal(loaded(digits.images[:4]).logits, defense(digits.images[:4]).logits)
    assert configuration(loaded.projector) == configuration(defense.projector)


@every_transformation
def test_colour_images_of_another_size_fit(name, rng):
    images = rng.uniform(size=(2, 16, 24, 3)).astype(np.float32)
    assert EVERY[name](images).images.shape == images.shape


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_median_is_scipys(size, rng):
    images = rng.uniform(size=(2, 9, 7, 2)).astype(np.float32)
    expected = ndimage.median_filter(images, size=(1, size, size, 1), mode="reflect")
    np.testing.assert_array_equal(inc.Median(size)(images).images, expected)


def test_bit_depth_rounds_half_upwards():
    ramp = np.linspace(0, 1, 5, dtype=np.float32).reshape(1, 1, 5, 1)
    np.testing.assert_array_equal(np.ravel(inc.BitDepth(1)(ramp).images), [0, 0, 1, 1, 1])
    np.testing.assert_allclose(np.ravel(inc.BitDepth(2)(ramp).images), [0, 1 / 3, 2 / 3, 2 / 3, 1])


def test_jpeg_is_pillows(digits):
    import io

    from PIL import Image

    pixels = np.rint(digits.images[0, :, :, 0] * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=50)
    expected = np.asarray(Image.open(file)).astype(int)
    found = np.rint(255 * inc.JPEG(50)(pixels[np.newaxis, :, :, np.newaxis] / np.float32(255)).images[0, :, :, 0])
    assert np.abs(found - expected).max() <= 2
    assert np.abs(found - pixels).max() > 10


def test_total_variation_of_a_step_is_known():
    """Of an edge between plateaus of a and b columns each level moves by λ/a and λ/b (Strong and Chan, 2003)."""
    step = np.zeros((1, 5, 10, 1), np.float32)
    step[:, :, 4:] = 1.0
    found = inc.TotalVariation(weight=0.2, steps=400)(step).images[0, 2, :, 0]
    np.testing.assert_allclose(found[:4], 0.2 / 4, atol=1e-3)
    np.testing.assert_allclose(found[4:], 1 - 0.2 / 6, atol=1e-3)


@pytest.mark.parametrize("name", ["median", "total variation"])
def test_gradient_is_that_of_finite_differences(name, rng):
    images = (rng.permutation(36).reshape(1, 6, 6, 1) / 40 + 0.05).astype(np.float32)  # no two values are close
    direction = rng.normal(size=images.shape).astype(np.float32)
    weights = rng.normal(size=images.shape).astype(np.float32)
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(weights * EVERY[name](x).images)
    slope = np.sum(tape.gradient(value, x) * direction)
    ahead, behind = (np.sum(weights * EVERY[name](images + h * direction).images) for h in (1e-3, -1e-3))
    assert slope == pytest.approx((ahead - behind) / 2e-3, rel=0.05)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: inc.JPEG(0), "quality is 0; it must be a whole number"),
        (lambda: inc.JPEG(101), "quality is 101; it must be from 1 to 100"),
        (lambda: inc.BitDepth(9), "bits is 9; it must be from 1 to 8"),
        (lambda: inc.Median(2.5), "size is 2.5; it must be a whole number"),
        (lambda: inc.TotalVariation(0.0), "weight is 0.0; it must be a finite number above 0"),
        (lambda: inc.JPEG()(np.zeros((1, 8, 8, 2), np.float32)), "2 channels; a JPEG has 1 or 3"),
        (lambda: inc.Median()(np.zeros((8, 8, 1), np.float32)), "they must be \\[N, any, any, any\\]"),
        (lambda: inc.Median()(np.full((1, 8, 8, 1), 2.0, np.float32)), "they must lie in \\[0, 1\\]"),
        (lambda: inc.Median()(np.full((1, 8, 8, 1), np.nan, np.float32)), "NaN or infinity"),
        (lambda: inc.Median()(np.zeros((0, 8, 8, 1), np.float32)), "batch of images is empty"),
    ],
)
def test_refuses_what_cannot_be_transformed(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
