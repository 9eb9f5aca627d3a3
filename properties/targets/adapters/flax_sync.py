"""Flax: flax.linen.BatchNorm with an axis_name, the batch split over virtual CPU devices."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec

from . import flax_linen
from .equal_ranks import on_ranks
from .flax_linen import CONVENTIONS
from .from_jax import target

DEVICES = 4
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    with contextlib.suppress(RuntimeError):  # JAX has made its devices already
        jax.config.update("jax_num_cpu_devices", DEVICES)
if jax.device_count("cpu") < DEVICES:
    raise ImportError(f"JAX runs on fewer CPU devices already: expected {DEVICES}")

WHOLE, SPLIT = PartitionSpec(), PartitionSpec("shard")


def shards(n: int) -> int:
    """Return over how many devices n samples can be split evenly: 4, 3, 2 or, for a prime n, 1."""
    return max(k for k in range(1, DEVICES + 1) if n % k == 0)


def train(x: Any, *rest: Any) -> Any:
    """Return y and the new running statistics, of which each device computes the same."""
    return split_over(shards(x.shape[0]), x, *rest)


def split_over(count: int, x: Any, *rest: Any) -> Any:
    """Return the same, over so many devices."""
    mesh = Mesh(jax.devices("cpu")[:count], ("shard",))
    split = jax.shard_map(
        partial(flax_linen.train, axis_name="shard"),
        mesh=mesh,
        in_specs=(SPLIT, *(WHOLE,) * 6, *(SPLIT,) * len(rest[6:])),  # the last may be a mask
        out_specs=(SPLIT, WHOLE, WHOLE),
    )
    return split(x, *rest)


TARGET = target(
    train,
    flax_linen.infer,
    masks=True,
    CONVENTIONS=CONVENTIONS,
    initial_state=flax_linen.initial_state,
    **on_ranks(lambda count: target(partial(split_over, count), flax_linen.infer)),
)
