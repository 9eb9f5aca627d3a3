"""Haiku: haiku.BatchNorm, whose averages start at zero and are freed from that start."""

from __future__ import annotations

from typing import Any

import haiku as hk
import jax.numpy as jnp

from .counted import counted
from .from_jax import target

CONVENTIONS = {
    "momentum": "keep",
    "statistics": "per_channel",
    "channel_axis": -1,
}


def layer(training: bool, x: Any, gamma: Any, beta: Any, eps: Any, momentum: Any) -> Any:
    """Return the transformed layer and its parameters in the shape in which it keeps them."""
    affine, wide = gamma is not None, (1,) * (x.ndim - 1) + (-1,)
    norm = hk.transform_with_state(
        lambda a: hk.BatchNorm(affine, affine, momentum, eps, name="bn")(a, training)
    )
    params = {"scale": gamma.reshape(wide), "offset": beta.reshape(wide)} if affine else {}
    return norm, {"bn": params}


def kept(x: Any, mean: Any, var: Any, momentum: Any) -> Any:
    """Return the layer's state of averages that were updated so often."""
    hidden, count = mean
    start = jnp.asarray(1 - jnp.asarray(momentum, hidden.dtype) ** count, hidden.dtype)
    state = {}
    for name, a in (("mean", hidden), ("var", var)):
        a = a.reshape((1,) * (x.ndim - 1) + (-1,))
        average = jnp.where(count > 0, a / start, a)
        state[f"bn/~/{name}_ema"] = {"counter": count, "hidden": a, "average": average}
    return state


def train(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any) -> Any:
    """Return y and the new hidden averages."""
    norm, params = layer(True, x, gamma, beta, eps, momentum)
    y, state = norm.apply(params, kept(x, mean, var, momentum), None, x)
    return y, *(state[f"bn/~/{name}_ema"]["hidden"].ravel() for name in ("mean", "var"))


def infer(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any) -> Any:
    """Return y at the averages freed from their start."""
    norm, params = layer(False, x, gamma, beta, eps, 0.5)
    return norm.apply(params, kept(x, mean, *var), None, x)[0]


TARGET = counted(target(train, infer, CONVENTIONS=CONVENTIONS), 0.0)
