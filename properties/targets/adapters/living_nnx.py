"""A module of nnx as a layer that lives, split into its graph and its state as nnx's users do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flax import nnx

from .living_jax import Pure, living


def living_of(layer: Callable[..., nnx.BatchNorm]) -> dict[str, Any]:
    """Return the functions of a layer that lives, of what makes a module.

    Args:
        layer: (x, gamma, beta, mean, var, epsilon, momentum) -> module.
    """
    return living(partial(_living, layer))


def _living(
    layer: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Pure:
    norm = layer(mean, gamma, beta, mean, var, epsilon=eps, momentum=momentum)
    graph, parameters, rest = nnx.split(norm, nnx.Param, ...)
    names = [] if gamma is None else ["scale", "bias"]

    def call(x: Any, given: Any, state: Any, training: bool) -> Any:
        held = nnx.State({name: nnx.Param(v) for name, v in zip(names, given, strict=True)})
        merged = nnx.merge(graph, held if names else parameters, state, copy=True)
        merged.dtype = x.dtype
        y = merged(x, use_running_average=not training)
        return y, nnx.split(merged, nnx.Param, ...)[2]

    given = () if gamma is None else (gamma, beta)
    return Pure(call, given, rest, lambda s: (s["mean"].get_value(), s["var"].get_value()))
