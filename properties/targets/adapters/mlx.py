"""MLX: mlx.nn.BatchNorm on the CPU."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from mlx.nn import BatchNorm

from .from_mlx import target

CONVENTIONS = {
    "momentum": "update",
    "statistics": "per_channel",
    "channel_axis": -1,
    "ndim": [2, 3, 4],
}


def make(training: bool, c: int, affine: bool, state: Any, eps: float, momentum: float) -> Any:
    """Return a new layer as a function, and what gives its running statistics."""
    layer = BatchNorm(c, eps, momentum, affine, bool(state))
    layer.train(training)

    def output(x: Any, *params: Any) -> Any:
        if params:
            layer.weight, layer.bias = params
        if state:
            layer.running_mean, layer.running_var = state
        return layer(x)

    return output, lambda: (layer.running_mean, layer.running_var)


def initial_state(channels: int, dtype: Any) -> Any:
    """Return the running statistics of a new layer."""
    layer = BatchNorm(channels)
    layer.set_dtype(getattr(mx, np.dtype(dtype).name))
    return np.array(layer.running_mean), np.array(layer.running_var)


TARGET = target(make, CONVENTIONS=CONVENTIONS, initial_state=initial_state)
