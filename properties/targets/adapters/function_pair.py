"""Two NumPy functions as a target: a forward that hands a cache to a backward, as in CS231n."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from reference import styles

from ...model.contract import Array


def pair_in(module: Any) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """Return the forward and the backward that a module defines, None where there is no pair."""
    if not isinstance(module, ModuleType):
        return None
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    }
    found = styles.pair_of(own)
    return found and (own[found[0]], own[found[1]])


def from_pair(
    forward: Callable[..., Any], backward: Callable[..., Any]
) -> tuple[dict[str, Callable[..., Any]], dict[str, Any]]:
    """Return the contract's functions over a pair, and what is known of it besides."""

    def forward_train(
        x: Array, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float, momentum: float
    ) -> Any:
        if mean is None:
            raise NotImplementedError("a dict without running statistics")
        held = {"eps": eps, "momentum": momentum, "running_mean": mean, "running_var": var}
        y, cache, state = styles.passed(forward, x, gamma, beta, "train", held)
        return y, state["running_mean"], state["running_var"], cache

    def forward_eval(x: Array, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float) -> Any:
        held = {"eps": eps, "running_mean": mean, "running_var": var}
        return styles.passed(forward, x, gamma, beta, "test", held)[0]

    def backward_train(dy: Array, saved: Any) -> Any:
        result = backward(dy, saved)
        return result if isinstance(result, tuple) else (result, None, None)

    functions: dict[str, Callable[..., Any]] = {
        "forward_train": forward_train,
        "backward_train": backward_train,
    }
    if styles.by_dict(forward):  # nothing else says which mode is meant
        functions["forward_eval"] = forward_eval
    return functions, {} if styles.states_eps(forward) else {"eps": "fixed"}
