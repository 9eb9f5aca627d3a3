"""Who sits in place of the user's batch norm: a right one, right variants, the known bugs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..bugs.catalogue import built
from ..bugs.controls import controls
from ..bugs.elsewhere import all_mutants
from ..model.contract import Array, Conventions
from ..plants.textbook import Pieces

Functions = dict[str, Callable[..., Any]]
RIGHT, WIDE = "right", "float64-inside"
_OTHER_CONTRACT = {"mlpack-cumulative", "channels-last", "masked"}  # and those left to the probe


def variants() -> list[str]:
    """Return the names of the right ways that a test should let pass."""
    stated = [name for name, control in controls().items() if control.stated]
    return [name for name in [*stated, WIDE] if name not in _OTHER_CONTRACT]


def bugs() -> list[str]:
    """Return the names of the known bugs."""
    return list(all_mutants())


def functions_of(name: str, conventions: Conventions) -> Functions:
    """Return fresh functions of the contract for a subject, in the conventions of the style."""
    known = all_mutants()
    if name in known:
        pieces = known[name].pieces
    elif name in (RIGHT, WIDE):
        pieces = Pieces()
    else:
        pieces = controls()[name].pieces
    functions = dict(built(name, pieces, conventions).functions)
    return _wide(functions) if name == WIDE else functions


def _wide(functions: Functions) -> Functions:
    """Compute in float64 and answer in the dtypes that were given."""

    def wide(a: Any) -> Any:
        return None if a is None else np.asarray(a).astype(np.float64)

    def like(value: Any, given: Any) -> Any:
        return None if value is None or given is None else value.astype(given.dtype)

    def train(x: Array, gamma: Any, beta: Any, mean: Any, var: Any, **options: Any) -> Any:
        y, *state, saved = functions["forward_train"](
            *map(wide, (x, gamma, beta, mean, var)), **options
        )
        return like(y, x), like(state[0], mean), like(state[1], var), (saved, gamma)

    def evaluate(x: Array, gamma: Any, beta: Any, mean: Any, var: Any, **options: Any) -> Any:
        y, saved = functions["forward_eval"](*map(wide, (x, gamma, beta, mean, var)), **options)
        return like(y, x), (saved, gamma)

    def back(name: str) -> Any:
        def backward(dy: Array, saved: Any) -> Any:
            dx, dgamma, dbeta = functions[name](wide(dy), saved[0])
            return like(dx, dy), like(dgamma, saved[1]), like(dbeta, saved[1])

        return backward

    def inner(name: str) -> Any:
        return lambda *args: functions[name](*args[:-1], args[-1][0])

    return {
        **functions,
        "forward_train": train,
        "forward_eval": evaluate,
        "backward_train": back("backward_train"),
        "backward_eval": back("backward_eval"),
        **{name: inner(name) for name in ("jvp_train", "double_backward_train")},
    }
