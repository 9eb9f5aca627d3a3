"""The arguments of the very call that an invariant makes, where they are not the case's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..model.cases import Case
from . import masks, ranks
from .inference import layer
from .shards import gradient_shards, statistics_of_shards


def arguments(invariant: str, case: Case) -> dict[str, Any]:
    """Return what the call of this invariant is given, by name; empty where it is the case."""
    make = _OF.get(invariant)
    if make is None and invariant.startswith("masked_"):
        return masks.arguments_of(case)
    if make is None and invariant.startswith("ranks_"):
        return ranks.arguments_of(case)
    return make(case) if make else {}


def _folded(case: Case) -> dict[str, Any]:
    weight, bias, transposed, groups = layer(case)
    state = {k: getattr(case, k) for k in ("gamma", "beta", "running_mean", "running_var")}
    return {"weight": weight, "bias": bias, "transposed": transposed, "groups": groups, **state}


def _named(*names: str) -> Callable[[tuple[Any, ...]], dict[str, Any]]:
    return lambda values: dict(zip(names, values, strict=True))


_OF: dict[str, Callable[[Case], dict[str, Any]]] = {
    "folding_preserves_inference": _folded,
    "merged_statistics_are_those_of_the_whole": lambda case: _named("counts", "means", "variances")(
        statistics_of_shards(case)
    ),
    "merged_gradients_are_those_of_the_whole": lambda case: _named(
        "counts", "sums_dy", "sums_dy_xhat"
    )(gradient_shards(case)),
}
