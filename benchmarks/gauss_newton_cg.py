"""The solver that lost: Gauss–Newton with conjugate gradients, kept here so that its race against L-BFGS can be run.

J·v comes from two backward passes, since forward mode through Keras's `UpSampling2D` is far slower on a CPU.
"""

from dataclasses import dataclass

import tensorflow as tf

from inc_tf.projection import Status
from inc_tf.projection.solvers.protocol import Solution, signature, squared_errors


@dataclass(frozen=True)
class GaussNewtonCG:
    """Damped steps, each `products` of conjugate gradients on (JᵀJ + μ) d = −Jᵀr; μ and acceptance image by image."""

    steps: int = 5
    products: int = 16

    def width(self, latent_dim: int) -> int:
        return 3

    def compile(self, generator):
        def linearised(codes, images):
            """r's gradient Jᵀr, and the function v ↦ JᵀJv, at `codes`."""

            def vjp(z, cotangent):
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(z)
                    output = generator(z, training=False)
                return tape.gradient(output, z, cotangent)

            def normal(v):
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    cotangent = tf.zeros_like(images)
                    tape.watch(cotangent)
                    pulled = vjp(codes, cotangent)
                return vjp(codes, tape.gradient(pulled, cotangent, v))

            return vjp(codes, generator(codes, training=False) - images), normal

        def solve(gradient, normal, damping):
            step, residual = tf.zeros_like(gradient), -gradient
            direction, square = residual, _dot(residual, residual)
            for _ in tf.range(self.products):
                image = normal(direction) + damping * direction
                length = tf.math.divide_no_nan(square, _dot(direction, image))
                step, residual = step + length * direction, residual - length * image
                new = _dot(residual, residual)
                direction = residual + tf.math.divide_no_nan(new, square) * direction
                square = new
            return step

        @tf.function(input_signature=signature(generator))
        def minimize(images, codes):
            errors = squared_errors(generator, codes, images)
            damping = tf.ones([tf.shape(codes)[0], 1])
            for _ in tf.range(self.steps):
                gradient, normal = linearised(codes, images)
                tried = codes + solve(gradient, normal, damping)
                found = squared_errors(generator, tried, images)
                better = found < errors
                codes = tf.where(better[:, tf.newaxis], tried, codes)
                errors = tf.where(better, found, errors)
                damping *= tf.where(better, 0.3, 4.0)[:, tf.newaxis]
            n = tf.shape(codes)[0]
            return Solution(codes, errors, tf.fill([n], self.steps), tf.fill([n], int(Status.OUT_OF_STEPS)))

        return minimize


def _dot(a, b):
    return tf.reduce_sum(a * b, axis=1, keepdims=True)
