"""Flax: flax.linen.BatchNorm with its defaults."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from .from_jax import target

CONVENTIONS = {
    "momentum": "keep",
    "statistics": "per_channel",
    "channel_axis": -1,
}


def variables(gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
    """Return the layer's variables; Flax always tracks running statistics."""
    if mean is None:
        raise TypeError("flax.linen.BatchNorm keeps running statistics: expected arrays")
    params = {} if gamma is None else {"scale": gamma, "bias": beta}
    return {"params": params, "batch_stats": {"mean": mean, "var": var}}


def layer(x: Any, gamma: Any, eps: Any, **options: Any) -> nn.BatchNorm:
    """Return the layer for x; half types are asked for by dtype, as in mixed precision."""
    affine = gamma is not None
    return nn.BatchNorm(epsilon=eps, dtype=x.dtype, use_scale=affine, use_bias=affine, **options)


def train(x: Any, gamma: Any, beta: Any, *rest: Any, **options: Any) -> Any:
    """Return y and the new running statistics from (mean, var, eps, momentum), and from a mask."""
    mean, var, eps, momentum, *masks = rest
    told = {"mask": masks[0][..., None]} if masks else {}
    norm = layer(x, gamma, eps, use_running_average=False, momentum=momentum, **options)
    held = variables(gamma, beta, mean, var)
    y, new = norm.apply(held, x, mutable=["batch_stats"], **told)
    return y, new["batch_stats"]["mean"], new["batch_stats"]["var"]


def infer(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any) -> Any:
    """Return y at the running statistics."""
    norm = layer(x, gamma, eps, use_running_average=True)
    return norm.apply(variables(gamma, beta, mean, var), x)


def initial_state(channels: int, dtype: Any) -> Any:
    """Return the running statistics of a new layer."""
    x, key = jnp.zeros((2, channels)), jax.random.key(0)
    new = nn.BatchNorm(use_running_average=False).init(key, x)["batch_stats"]
    return new["mean"].astype(dtype), new["var"].astype(dtype)


TARGET = target(train, infer, masks=True, CONVENTIONS=CONVENTIONS, initial_state=initial_state)
