"""Keras on PyTorch."""

from __future__ import annotations

from typing import Any

from . import keras_layer

keras_layer.choose("torch")
from .from_torch import target  # noqa: E402  the backend is chosen first


def run(training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *rest: float) -> Any:
    """Return y, and put the new running statistics where the old ones are."""
    y, *new = keras_layer.run(training, x, gamma, beta, mean, var, *rest)
    for old, value in zip((mean, var), new, strict=True):
        old.copy_(value.detach())
    return y


def pure(*given: Any) -> Any:
    """Return y in training."""
    return keras_layer.run(True, *given)[0]


TARGET = target(run, pure, masks=True, CONVENTIONS=keras_layer.CONVENTIONS)
