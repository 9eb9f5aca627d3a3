"""tinygrad: tinygrad.nn.BatchNorm on its CPU backend, which needs clang."""

from __future__ import annotations

from typing import Any

import numpy as np
from tinygrad import Context
from tinygrad.nn import BatchNorm

from .from_tinygrad import target

CONVENTIONS = {"statistics": "per_channel", "dtypes": ["float32", "float64"]}


def run(
    training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    """Return y and the new running statistics of a layer that holds these."""
    layer = BatchNorm(x.shape[1], eps, gamma is not None, mean is not None, momentum)
    layer.weight, layer.bias, layer.running_mean, layer.running_var = gamma, beta, mean, var
    with Context(TRAINING=int(training)):
        return layer(x), layer.running_mean, layer.running_var


def initial_state(channels: int, dtype: Any) -> Any:
    """Return the running statistics of a new layer."""
    layer = BatchNorm(channels)
    state = layer.running_mean, layer.running_var
    return tuple(t.numpy().astype(np.dtype(dtype)) for t in state)


TARGET = target(run, CONVENTIONS=CONVENTIONS, initial_state=initial_state)
