"""Keras: keras.layers.BatchNormalization through stateless_call, on the backend that is set."""

from __future__ import annotations

import os
import sys
from typing import Any

CONVENTIONS = {
    "momentum": "keep",
    "statistics": "per_channel",
    "channel_axis": -1,
}
POLICIES = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


def choose(backend: str) -> None:
    """Set Keras's backend, which it reads once, when it is first imported.

    Raises:
        ImportError: Keras was imported with another one.
    """
    os.environ["KERAS_BACKEND"] = backend
    if "keras" in sys.modules and sys.modules["keras"].backend.backend() != backend:
        raise ImportError(f"Keras runs on another backend already: expected {backend}")


def run(
    training: bool,
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    var: Any,
    eps: Any,
    momentum: Any,
    mask: Any = None,
) -> Any:
    """Return y and the new running statistics of a layer that holds these."""
    import keras

    if mean is None:
        raise TypeError("keras.layers.BatchNormalization keeps running statistics: expected arrays")
    affine, dtype = gamma is not None, keras.backend.standardize_dtype(x.dtype)
    layer = keras.layers.BatchNormalization(
        center=affine, scale=affine, dtype=POLICIES.get(dtype, dtype)
    )
    layer.build(x.shape)
    layer.epsilon, layer.momentum = eps, momentum  # the constructor would make floats of tracers
    params = [gamma, beta] if affine else []
    y, (mean, var) = layer.stateless_call(params, [mean, var], x, training=training, mask=mask)
    return y, mean, var
