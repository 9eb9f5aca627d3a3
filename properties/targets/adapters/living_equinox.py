"""A layer of Equinox in mode "ema" as a layer that lives: its state is Equinox's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .living_jax import Pure, living


def living_of(make: Callable[..., Any]) -> dict[str, Any]:
    """Return the functions of a layer that lives, of what makes one and its fresh state.

    Args:
        make: (mode, train, gamma, beta, like, eps, momentum) -> layer, state, call.
    """
    return living(partial(_living, make))


def _living(
    make: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Pure:
    norm, state, _ = make("ema", True, gamma, beta, mean, eps, momentum)
    state = state.set(norm.ema_first_time_index, jnp.array(False))
    state = state.set(norm.ema_state_index, (mean, var))
    given = () if gamma is None else (gamma, beta)

    def call(x: Any, parameters: Any, state: Any, training: bool) -> Any:
        held = norm
        if parameters:
            held = eqx.tree_at(lambda layer: (layer.weight, layer.bias), norm, parameters)
        held = eqx.nn.inference_mode(held, not training)
        return jax.vmap(held, axis_name="n", in_axes=(0, None), out_axes=(0, None))(x, state)

    return Pure(call, given, state, lambda s: s.get(norm.ema_state_index))
