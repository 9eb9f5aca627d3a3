"""Keras on JAX."""

from __future__ import annotations

from typing import Any

from . import keras_layer

keras_layer.choose("jax")
from .from_jax import target  # noqa: E402 - the backend is chosen first


def infer(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any) -> Any:
    """Return y at the running statistics."""
    return keras_layer.run(False, x, gamma, beta, mean, var, eps, 0.5)[0]


def train(*given: Any) -> Any:
    """Return y and the new running statistics."""
    return keras_layer.run(True, *given)


TARGET = target(train, infer, masks=True, CONVENTIONS=keras_layer.CONVENTIONS)
