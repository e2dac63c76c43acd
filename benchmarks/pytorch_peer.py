"""Keras networks of ours as PyTorch modules with the same weights, for benchmarks that set the two side by side."""

import keras
import numpy as np
import torch
from torch.nn import functional

from inc_tf.models.skip import BatchStatistics, ReflectionPadding
from inc_tf.models.upscaling import JoinedConvolution, UpConvolution


class Network(torch.nn.Module):
    """A Keras model whose layers follow one another; images are NCHW in the channels-last memory format.

    Knows the layers that BEGAN and the MNIST networks have; dropout is left out, as where a network is not trained.
    """

    _ACTIVATIONS = {  # noqa: RUF012
        "linear": lambda x: x,
        "elu": functional.elu,
        "relu": functional.relu,
        "sigmoid": torch.sigmoid,
        "softplus": functional.softplus,
    }

    def __init__(self, model: keras.Model):
        super().__init__()
        self.layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
        self.parts = torch.nn.ParameterList()
        for layer in self.layers:
            for weight in layer.get_weights():
                if weight.ndim == 4:
                    tensor = torch.tensor(weight.transpose(3, 2, 0, 1)).contiguous(memory_format=torch.channels_last)
                else:
                    tensor = torch.tensor(weight)
                self.parts.append(torch.nn.Parameter(tensor))

    def forward(self, x):
        parts = iter(self.parts)
        for layer in self.layers:
            if isinstance(layer, keras.layers.Dense):
                x = self._activation(layer)(x @ next(parts) + next(parts))
            elif isinstance(layer, keras.layers.Reshape):
                height, width, channels = layer.target_shape
                x = x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
            elif isinstance(layer, keras.layers.Flatten):
                x = x.permute(0, 2, 3, 1).reshape(len(x), -1)
            elif isinstance(layer, keras.layers.MaxPooling2D):
                x = functional.max_pool2d(x, layer.pool_size)
            elif isinstance(layer, keras.layers.Conv2D):
                if isinstance(layer, UpConvolution):
                    x = functional.interpolate(x, scale_factor=2, mode="nearest")
                x = self._activation(layer)(self._convolution(layer, x, next(parts), next(parts)))
            elif not isinstance(layer, keras.layers.Dropout):
                raise TypeError(f"{type(layer).__name__} is not a layer that this peer knows.")
        return x

    def _activation(self, layer):
        return self._ACTIVATIONS[layer.activation.__name__]

    @staticmethod
    def _convolution(layer, x, kernel, bias):
        stride, around = layer.strides[0], layer.kernel_size[0] // 2
        # TensorFlow's SAME padding of an even size at stride 2 is on the far side only.
        padded = x if stride == 1 else functional.pad(x, (0, around, 0, around))
        return functional.conv2d(padded, kernel, bias, stride=stride, padding=around if stride == 1 else 0)


class SkipNetwork(torch.nn.Module):
    """`skip_network`, directly computed; images are NCHW, in whichever memory format the noise comes in."""

    def __init__(self, model: keras.Model):
        super().__init__()
        self.model = model
        self.parts = torch.nn.ParameterDict()
        for layer in model.layers:
            for i, weight in enumerate(layer.get_weights()):
                tensor = torch.tensor(weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight).contiguous()
                self.parts[f"{layer.name}_{i}"] = torch.nn.Parameter(tensor)

    def forward(self, z):
        values = {id(self.model.inputs[0]): z}
        for layer in self.model.layers[1:]:
            inputs = layer.input if isinstance(layer.input, list) else [layer.input]
            values[id(layer.output)] = self._one(layer, [values[id(tensor)] for tensor in inputs])
        return values[id(self.model.outputs[0])]

    def _one(self, layer, inputs):
        x = inputs[0]
        if isinstance(layer, keras.layers.Conv2D):
            bias = self.parts[f"{layer.name}_1"] if layer.use_bias else None
            x = functional.conv2d(x, self.parts[f"{layer.name}_0"], bias, stride=layer.strides[0])
            return torch.sigmoid(x) if layer.activation is keras.activations.sigmoid else x
        if isinstance(layer, JoinedConvolution):
            kernel, gamma = (self.parts[f"{layer.name}_{i}"] for i in (0, 1))
            doubled = functional.interpolate(inputs[1], scale_factor=2, mode="bilinear", align_corners=False)
            joined = torch.cat([inputs[0], doubled], dim=1)
            normalised = functional.batch_norm(joined, None, None, gamma, training=True, eps=1e-5)
            return functional.conv2d(functional.pad(normalised, (1, 1, 1, 1), mode="reflect"), kernel)
        if isinstance(layer, BatchStatistics):
            gamma, beta = (self.parts[f"{layer.name}_{i}"] for i in (0, 1))
            return functional.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5)
        if isinstance(layer, ReflectionPadding):
            return functional.pad(x, (1, 1, 1, 1), mode="reflect")
        if isinstance(layer, keras.layers.LeakyReLU):
            return functional.leaky_relu(x, layer.negative_slope)
        raise TypeError(f"{type(layer).__name__} is not a layer of the skip network's.")


def to_torch(images: np.ndarray) -> torch.Tensor:
    """NHWC as NCHW in the channels-last memory format."""
    return torch.tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def inversion(generator: keras.Model, images: np.ndarray, steps: int):
    """A function that takes Adam's steps on ‖G(z) − x‖² and returns the last codes."""
    network, x = Network(generator).requires_grad_(False), to_torch(images)

    def run() -> np.ndarray:
        codes = torch.randn(len(x), generator.input_shape[1], generator=torch.Generator().manual_seed(0))
        z = codes.requires_grad_()
        optimizer = torch.optim.Adam([z], lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            torch.square(network(z) - x).sum().backward()
            optimizer.step()
        return z.detach().numpy()

    return run


def pairs(generator: keras.Model, classifier: keras.Model, codes: np.ndarray, eta: float, steps: int):
    """A function that takes the overpowered attack's steps on codes [N, 2, k] and returns the last codes."""
    image_of = Network(generator).requires_grad_(False)
    logits_of = Network(classifier).requires_grad_(False)

    def run() -> np.ndarray:
        z = torch.tensor(codes).requires_grad_()
        multiplier = torch.zeros(len(codes))
        optimizer = torch.optim.Adam([z], lr=0.05, maximize=True)
        for _ in range(steps):
            optimizer.zero_grad()
            images = image_of(z.reshape(-1, z.shape[2]))
            probabilities = torch.softmax(logits_of(images), dim=1).reshape(len(z), 2, -1)
            value = torch.square(probabilities[:, 0] - probabilities[:, 1]).sum(dim=1)
            both = images.reshape(len(z), 2, -1)
            excess = torch.square(both[:, 0] - both[:, 1]).sum(dim=1) / eta**2 - 1
            (value + multiplier * excess).sum().backward()
            optimizer.step()
            multiplier = torch.clamp(multiplier - 0.003 * torch.clamp(excess.detach() + 0.01, -1.0, 1.0), max=0.0)
        return z.detach().numpy()

    return run


class UnrolledSearch:
    """C(G(z_K(x))), z_K the last of K steps of Adam from E(x), and PGD through it on the margin."""

    def __init__(self, classifier: keras.Model, generator: keras.Model, encoder: keras.Model, steps: int):
        networks = (Network(model).requires_grad_(False) for model in (classifier, generator, encoder))
        self.classifier, self.generator, self.encoder = networks
        self.steps = steps

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encoder(x)
        momentum = variance = torch.zeros_like(z)
        for t in range(1, self.steps + 1):
            (gradient,) = torch.autograd.grad(torch.square(self.generator(z) - x).sum(), z, create_graph=True)
            momentum = 0.9 * momentum + 0.1 * gradient
            variance = 0.999 * variance + 0.001 * torch.square(gradient)
            rate = 0.1 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
            z = z - rate * momentum / torch.sqrt(variance + 1e-16)
        return self.classifier(self.generator(z))

    def gradient(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Of the margin, for each image [N, H, W, C]."""
        return self._gradient(to_torch(images), torch.tensor(labels)).permute(0, 2, 3, 1).numpy()

    def _gradient(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        logits = self.logits(x)
        true = functional.one_hot(labels, logits.shape[1]).bool()
        margins = logits.masked_fill(true, -torch.inf).amax(dim=1) - logits[true]
        return torch.autograd.grad(margins.sum(), x)[0]

    def pgd(self, images: np.ndarray, labels: np.ndarray, epsilon: float, steps: int) -> np.ndarray:
        """Images [N, H, W, C] in [0, 1] after PGD's steps, from a random point of each ball."""
        clean, y = to_torch(images), torch.tensor(labels)
        noise = torch.rand(clean.shape, generator=torch.Generator().manual_seed(0))
        x = torch.clamp(clean + epsilon * (2 * noise - 1), 0.0, 1.0)
        for _ in range(steps):
            stepped = x + 2.5 * epsilon / steps * torch.sign(self._gradient(x, y))
            x = torch.clamp(torch.minimum(torch.maximum(stepped, clean - epsilon), clean + epsilon), 0.0, 1.0)
        return x.permute(0, 2, 3, 1).numpy()


def training(model: keras.Model, images: np.ndarray, steps: int):
    """A function that takes BEGAN's training steps on one batch of images."""
    generator, encoder, decoder = (Network(part) for part in (model.generator, model.encoder, model.decoder))
    x = to_torch(images)
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=8e-5)
    discriminator = [*encoder.parameters(), *decoder.parameters()]
    discriminator_optimizer = torch.optim.Adam(discriminator, lr=8e-5)

    def run() -> float:
        k = 0.0
        for _ in range(steps):
            generated = generator(2.0 * torch.randn(len(x), model.generator.input_shape[1]))
            real_loss = (decoder(encoder(x)) - x).abs().mean()
            generated_loss = (decoder(encoder(generated)) - generated).abs().mean()
            real = torch.autograd.grad(real_loss, discriminator)
            both = torch.autograd.grad(generated_loss, [*generator.parameters(), *discriminator])
            n = len(both) - len(discriminator)
            for parameter, gradient in zip(generator.parameters(), both[:n], strict=True):
                parameter.grad = gradient
            for parameter, a, b in zip(discriminator, real, both[n:], strict=True):
                parameter.grad = a - k * b
            generator_optimizer.step()
            discriminator_optimizer.step()
            k = min(max(k + 1e-3 * float(0.5 * real_loss - generated_loss), 0.0), 1.0)
        return k

    return run


def deep_image_prior(model: keras.Model, image: np.ndarray, steps: int, channels_last: bool):
    """A function that fits the skip network's weights to an image, [H, W, C] in [−1, 1], and returns the last error."""
    network = SkipNetwork(model)
    memory = torch.channels_last if channels_last else torch.contiguous_format
    network.to(memory_format=memory)  # type: ignore[call-overload]
    x = to_torch(image[np.newaxis]).contiguous(memory_format=memory)
    shape = (1, model.input_shape[3], *model.input_shape[1:3])
    z = (0.1 * torch.rand(shape)).contiguous(memory_format=memory)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

    def run() -> float:
        for _ in range(steps):
            optimizer.zero_grad()
            error = torch.square(2 * network(z + torch.randn_like(z) / 30) - 1 - x).mean()
            error.backward()
            optimizer.step()
        return error.item()

    return run
