"""TensorFlow: a function in replicas on four logical CPU devices, each with its own part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

DEVICES = 4
try:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * DEVICES,
    )
except RuntimeError as error:  # TensorFlow has made its devices already
    raise ImportError(f"TensorFlow's devices are made already: expected {DEVICES}") from error


@cache
def strategy(ranks: int) -> Any:
    """Return the strategy over so many of the devices."""
    devices = [f"CPU:{k}" for k in range(ranks)]
    one = tf.distribute.ReductionToOneDevice()  # collectives take groups of one size in a process
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=one)


def on_ranks(step: Callable[..., Any], *arrays: Sequence[Any]) -> list[Any]:
    """Return what each replica's step gives, of its own part of each array."""
    held = strategy(len(arrays[0]))
    native = [[np.array(a, a.dtype.newbyteorder("=")) for a in parts] for parts in arrays]
    given = [
        held.experimental_distribute_values_from_function(
            lambda context, parts=parts: tf.constant(parts[context.replica_id_in_sync_group])
        )
        for parts in native
    ]
    found = held.run(step, given)
    return [held.experimental_local_results(f) for f in found]
