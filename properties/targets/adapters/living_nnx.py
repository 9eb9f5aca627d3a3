"""A module of nnx as a layer that lives: its state is that of its variables, as nnx splits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flax import nnx

from .living_jax import Pure, living


def living_of(layer: Callable[..., nnx.BatchNorm]) -> dict[str, Any]:
    """Return the functions of a layer that lives, of what makes a module.

    Args:
        layer: (x, gamma, beta, mean, var, epsilon, momentum) -> module.
    """

    def start(gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
        return _state(layer(mean, gamma, beta, mean, var))

    def call(training: bool, x: Any, parameters: Any, state: Any, eps: Any, momentum: Any) -> Any:
        given = (*(parameters or (None, None)), *_read(state)[:2])
        norm = layer(x, *given, epsilon=eps, momentum=momentum)
        nnx.update(norm, state)
        y = norm(x, use_running_average=not training)
        return y, _state(norm)

    return living(Pure(start, call, _read))


def _state(norm: nnx.BatchNorm) -> Any:
    return nnx.state(norm, nnx.Not(nnx.Param))


def _read(state: Any) -> Any:
    return state["mean"].get_value(), state["var"].get_value(), None
