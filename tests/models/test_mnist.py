import numpy as np
import tensorflow as tf

from inc_tf.models import mnist


def test_the_classifier_is_the_tutorials():
    classifier = mnist.classifier()
    # 5·5·1·32+32, 5·5·32·64+64, 7·7·64·1024+1024, 1024·10+10
    assert classifier.count_params() == 832 + 51_264 + 3_212_288 + 10_250
    assert classifier.output_shape == (None, 10)
    first_dense = classifier.layers[5]
    kernel, bias = first_dense.get_weights()
    assert np.all(bias == np.float32(0.1))
    # A normal of σ 0.1 cut at 2σ, as TensorFlow's truncated_normal, has standard deviation 0.08796.
    assert abs(kernel.std() - 0.08796) < 0.0002
    assert 0.199 < np.abs(kernel).max() <= 0.2


def test_the_vae_is_metzens():
    vae = mnist.vae()
    assert vae.posterior.count_params() + vae.generator.count_params() == sum(
        (a + 1) * b for a, b in [(784, 500), (500, 500), (500, 20), (500, 20), (20, 500), (500, 500), (500, 784)]
    )
    assert vae.encoder.output_shape == (None, 20)
    assert vae.generator.output_shape == (None, 28, 28, 1)
    assert mnist.vae(latent_dim=2).generator.input_shape == (None, 2)


def test_the_negative_elbo_is_cross_entropy_plus_kl(rng):
    vae = mnist.vae(latent_dim=3)
    images = rng.uniform(size=(4, 28, 28, 1)).astype(np.float32)
    noise = rng.normal(size=(4, 3)).astype(np.float32)
    mean, log_variance = (part.numpy().astype(np.float64) for part in vae.posterior(images))
    output = vae.generator(tf.constant(mean + np.exp(log_variance / 2) * noise, tf.float32)).numpy().astype(np.float64)
    cross_entropy = -(images * np.log(output) + (1 - images) * np.log1p(-output)).sum(axis=(1, 2, 3))
    variance = np.exp(log_variance)
    kl = 0.5 * (variance + mean**2 - 1 - np.log(variance)).sum(axis=1)
    np.testing.assert_allclose(vae.negative_elbo(images, noise), cross_entropy + kl, rtol=1e-5)
