"""Keras on TensorFlow: BatchNormalization(synchronized=True) in replicas on four CPU devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from . import keras_layer

DEVICES = 4
try:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * DEVICES,
    )
except RuntimeError as error:  # TensorFlow has made its devices already
    raise ImportError(f"TensorFlow's devices are made already: expected {DEVICES}") from error
keras_layer.choose("tensorflow")
import keras  # noqa: E402  the backend is chosen first


@cache
def _strategy(ranks: int) -> Any:
    devices = [f"CPU:{k}" for k in range(ranks)]
    one = tf.distribute.ReductionToOneDevice()  # collectives take groups of one size in a process
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=one)


def _layer(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, **options: float) -> Any:
    """Return a layer with copies of these arrays on each replica of the scope it is made in."""
    if mean is None:
        raise NotImplementedError("keras.layers.BatchNormalization keeps running statistics")
    affine, dtype = gamma is not None, x.dtype.name
    layer = keras.layers.BatchNormalization(
        synchronized=True,
        momentum=options["momentum"],
        epsilon=options["eps"],
        center=affine,
        scale=affine,
        dtype=keras_layer.POLICIES.get(dtype, dtype),
    )
    layer.build((None,) * (x.ndim - 1) + (len(mean),))
    layer.set_weights([a for a in (gamma, beta, mean, var) if a is not None])
    return layer


def _on_ranks(step: Callable[..., Any], *arrays: Sequence[Any]) -> list[Any]:
    """Return what each replica's step gives, of its own part of each array."""
    strategy = _strategy(len(arrays[0]))
    native = [[np.array(a, a.dtype.newbyteorder("=")) for a in parts] for parts in arrays]
    given = [
        strategy.experimental_distribute_values_from_function(
            lambda context, parts=parts: tf.constant(parts[context.replica_id_in_sync_group])
        )
        for parts in native
    ]
    found = strategy.run(step, given)
    return [strategy.experimental_local_results(f) for f in found]


def sync_forward_train(xs: Sequence[Any], *state: Any, eps: float, momentum: float) -> Any:
    """Return the replicas' outputs, and the running statistics, which are the same on each."""
    with _strategy(len(xs)).scope():
        layer = _layer(xs[0], *state, eps=eps, momentum=momentum)
    (ys,) = _on_ranks(lambda x: (layer(x, training=True),), xs)
    new = (v.numpy() for v in (layer.moving_mean.value, layer.moving_variance.value))
    return [y.numpy() for y in ys], *new, (xs, state, eps, momentum)


def sync_backward_train(dys: Sequence[Any], saved: Any) -> Any:
    """Return the replicas' dx, and the sums over them of the gradients by gamma and beta."""
    xs, state, eps, momentum = saved
    with _strategy(len(xs)).scope():
        layer = _layer(xs[0], *state, eps=eps, momentum=momentum)
    weights = layer.trainable_variables

    def step(x: Any, dy: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return tape.gradient(y, [x, *(w.value for w in weights)], dy)

    dxs, *of_weights = _on_ranks(step, xs, dys)
    sums = [np.sum([part.numpy() for part in parts], axis=0) for parts in of_weights]
    return [dx.numpy() for dx in dxs], *(sums or (None, None))


TARGET = SimpleNamespace(
    sync_forward_train=sync_forward_train,
    sync_backward_train=sync_backward_train,
    CONVENTIONS=keras_layer.CONVENTIONS,
)
