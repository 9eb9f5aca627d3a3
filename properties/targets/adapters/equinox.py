"""Equinox: equinox.nn.BatchNorm under vmap, in mode "batch" and in mode "ema"."""

from __future__ import annotations

import warnings
from typing import Any

import equinox as eqx
import jax

from .counted import counted
from .from_jax import target
from .living_equinox import living_of

CONVENTIONS = {"momentum": "keep", "statistics": "per_channel"}


def _made(mode: str, train: bool, gamma: Any, beta: Any, like: Any, eps: Any, m: Any) -> Any:
    """Return a layer with these parameters, its fresh state, and how it is called on a batch."""
    with warnings.catch_warnings(action="ignore"):  # eps and momentum are traced, no floats
        norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(
            like.shape[0], "n", eps, gamma is not None, m, not train, like.dtype, mode
        )
    if gamma is not None:
        norm = eqx.tree_at(lambda layer: (layer.weight, layer.bias), norm, (gamma, beta))
    return norm, state, jax.vmap(norm, axis_name="n", in_axes=(0, None), out_axes=(0, None))


def batch_train(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any) -> Any:
    """Return y and the new hidden averages; the batch's own statistics normalize."""
    norm, state, call = _made("batch", True, gamma, beta, mean[0], eps, momentum)
    state = state.set(norm.batch_counter, mean[1]).set(norm.batch_state_index, (mean[0], var))
    y, state = call(x, state)
    return y, *state.get(norm.batch_state_index)


def batch_infer(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any) -> Any:
    """Return y at the hidden averages divided by 1 - momentum**count."""
    norm, state, call = _made("batch", False, gamma, beta, mean[0], eps, var[1])
    state = state.set(norm.batch_counter, mean[1]).set(norm.batch_state_index, (mean[0], var[0]))
    return call(x, state)[0]


def ema_train(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any) -> Any:
    """Return y and the new averages, by which it is normalized."""
    norm, state, call = _made("ema", True, gamma, beta, mean, eps, momentum)
    state = state.set(norm.ema_first_time_index, jax.numpy.array(False))
    y, state = call(x, state.set(norm.ema_state_index, (mean, var)))
    return y, *state.get(norm.ema_state_index)


def ema_infer(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any) -> Any:
    """Return y at the averages."""
    norm, state, call = _made("ema", False, gamma, beta, mean, eps, 0.5)
    return call(x, state.set(norm.ema_state_index, (mean, var)))[0]


_COUNTING = living_of(_made, "batch")
BATCH = counted(target(batch_train, batch_infer, CONVENTIONS=CONVENTIONS, **_COUNTING), 1.0)
EMA = target(ema_train, ema_infer, CONVENTIONS=CONVENTIONS, **living_of(_made, "ema"))
