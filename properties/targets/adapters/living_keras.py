"""A layer of Keras on PyTorch under the names that PyTorch's layers have, as one that lives."""

from __future__ import annotations

from typing import Any

import keras
import torch


class Module(torch.nn.Module):  # type: ignore[misc]
    """A Keras layer under the names that PyTorch's layers have."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    @property
    def weight(self) -> Any:
        """Gamma, None where there is none."""
        return None if self.layer.gamma is None else self.layer.gamma.value

    @property
    def bias(self) -> Any:
        """Beta, None where there is none."""
        return None if self.layer.beta is None else self.layer.beta.value

    def named_buffers(self, *args: Any, **options: Any) -> Any:
        """Yield the running statistics."""
        yield "running_mean", self.layer.moving_mean.value
        yield "running_var", self.layer.moving_variance.value

    def forward(self, x: Any) -> Any:
        """Return y, in the mode that is set."""
        return self.layer(x, training=self.training)


def module(rank: int, *arrays: Any, eps: float, momentum: float) -> Module:
    """Return a layer that holds copies of these arrays, built for this rank."""
    gamma, beta, mean, var = arrays
    if mean is None:
        raise NotImplementedError("keras.layers.BatchNormalization keeps running statistics")
    affine = gamma is not None
    layer = keras.layers.BatchNormalization(
        momentum=momentum, epsilon=eps, center=affine, scale=affine, dtype=mean.dtype.name
    )
    layer.build((None,) * (rank - 1) + (len(mean),))
    layer.set_weights([a for a in (gamma, beta, mean, var) if a is not None])
    return Module(layer)
