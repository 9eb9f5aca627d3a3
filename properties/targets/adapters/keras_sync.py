"""Keras on TensorFlow: BatchNormalization(synchronized=True) in replicas on four CPU devices."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from . import keras_layer
from .mirrored import on_ranks, strategy  # the devices are made first

keras_layer.choose("tensorflow")
import keras  # noqa: E402  the backend is chosen first


def _layer(ranks: int, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, **numbers: float) -> Any:
    """Return a layer with copies of these arrays on each replica of the scope it is made in."""
    if mean is None:
        raise NotImplementedError("keras.layers.BatchNormalization keeps running statistics")
    told = {"center": gamma is not None, "scale": gamma is not None, **numbers}
    told["dtype"] = keras_layer.POLICIES.get(x.dtype.name, x.dtype.name)
    with strategy(ranks).scope():
        layer = keras.layers.BatchNormalization(synchronized=True, **told)
        layer.build((None,) * (x.ndim - 1) + (len(mean),))
        layer.set_weights([a for a in (gamma, beta, mean, var) if a is not None])
    return layer


def sync_forward_train(xs: Sequence[Any], *state: Any, eps: float, momentum: float) -> Any:
    """Return the replicas' outputs, and the running statistics, which are the same on each."""
    layer = _layer(len(xs), xs[0], *state, epsilon=eps, momentum=momentum)
    (ys,) = on_ranks(lambda x: (layer(x, training=True),), xs)
    new = (v.numpy() for v in (layer.moving_mean.value, layer.moving_variance.value))
    return [y.numpy() for y in ys], *new, (xs, state, eps, momentum)


def sync_backward_train(dys: Sequence[Any], saved: Any) -> Any:
    """Return the replicas' dx, and the sums over them of the gradients by gamma and beta."""
    xs, state, eps, momentum = saved
    layer = _layer(len(xs), xs[0], *state, epsilon=eps, momentum=momentum)
    weights = layer.trainable_variables

    def step(x: Any, dy: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return tape.gradient(y, [x, *(w.value for w in weights)], dy)

    dxs, *of_weights = on_ranks(step, xs, dys)
    sums = [sum(part.numpy() for part in parts) for parts in of_weights]
    return [dx.numpy() for dx in dxs], *(sums or (None, None))


TARGET = SimpleNamespace(
    sync_forward_train=sync_forward_train,
    sync_backward_train=sync_backward_train,
    CONVENTIONS=keras_layer.CONVENTIONS,
)
