"""`mutants:NAME` as a target: a known bug, a bug from elsewhere, a control or a planted error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..model.contract import Target, TargetError
from ..plants.planted import PLANTED
from ..support.terminal import nearest
from .catalogue import NOT_RUNNABLE, SEED, built
from .controls import controls
from .elsewhere import all_mutants


def named(name: str) -> tuple[Target, bool]:
    """Return the target of this name, and whether it states its conventions.

    Raises:
        TargetError: there is none, or the contract lacks what it needs.
    """
    if name in (known := all_mutants()):
        return known[name].target(), True
    if name in (right := controls()):
        control = right[name]
        return built(name, control.pieces, control.conventions), control.stated
    if name in PLANTED:
        return built(name, PLANTED[name], SEED), True
    if name in NOT_RUNNABLE:
        feature, reason = NOT_RUNNABLE[name]
        raise TargetError(f"target=mutants:{name}: not runnable: it needs {feature}; {reason}")
    meant = nearest(name, [*known, *right, *PLANTED], cutoff=0.3)
    hint = meant or "; expected one that bncheck mutants lists"
    raise TargetError(f"target=mutants:{name}: no such mutant{hint}")


def offered_by(name: str) -> tuple[dict[str, Callable[..., Any]], dict[str, Any]]:
    """Return functions and stated conventions, as `targets.load` does."""
    target, stated = named(name)
    conventions = asdict(target.conventions) if stated else {}
    known = {k: v for k, v in conventions.items() if v not in (None, ())}
    passed = {"eps": "passed", "fixed_momentum": "passed"} if stated else {}
    average = {"average": "cumulative"} if "cumulative average" in target.offers else {}
    return dict(target.functions), {**passed, **average, **known}
