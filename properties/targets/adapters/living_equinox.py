"""A layer of Equinox as a layer that lives: its state is Equinox's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .counted import LONG_AGO
from .living_jax import Pure, living


def living_of(make: Callable[..., Any], mode: str) -> dict[str, Any]:
    """Return the functions of a layer that lives, of what makes one and its fresh state.

    Args:
        make: (mode, train, gamma, beta, like, eps, momentum) -> layer, state, call.
        mode: "ema", or "batch", which counts its batches: here from long ago on, where what the
            averages were started with is forgotten.
    """

    def start(gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
        norm, state, _ = make(mode, True, gamma, beta, mean, 1.0, 0.5)
        if mode == "ema":
            known = {norm.ema_first_time_index: jnp.array(False), norm.ema_state_index: (mean, var)}
        else:
            known = {norm.batch_counter: jnp.array(LONG_AGO), norm.batch_state_index: (mean, var)}
        for index, value in known.items():
            state = state.set(index, value)
        return jax.tree.leaves(state)

    def call(training: bool, x: Any, parameters: Any, leaves: Any, eps: Any, momentum: Any) -> Any:
        gamma, beta = parameters or (None, None)
        _, fresh, over = make(mode, training, gamma, beta, _averages(leaves)[0], eps, momentum)
        y, state = over(x, jax.tree.unflatten(jax.tree.structure(fresh), leaves))
        return y, jax.tree.leaves(state)

    def read(leaves: Any) -> Any:
        (flag_or_count,) = (a for a in leaves if not a.ndim)
        return *_averages(leaves), int(flag_or_count) if mode == "batch" else None

    return living(Pure(start, call, read))


def _averages(leaves: Any) -> list[Any]:
    return [a for a in leaves if a.ndim]
