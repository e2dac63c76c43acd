"""The networks of the paper, one file a section, and of the defences that stand beside it."""

from inc_tf.models import celeba, diffusion, imagenet, mnist, skip, wgan

__all__ = ["celeba", "diffusion", "imagenet", "mnist", "skip", "wgan"]
