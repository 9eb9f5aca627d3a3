"""Two NumPy functions as a target: a forward that hands a cache to a backward, as in CS231n."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ...model.contract import Array

_HELD = ("eps", "momentum", "running_mean", "running_var")


def pair_of(module: Any) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """Return the forward and the backward of a module, None where there is no such pair.

    Their names differ in `forward` and `backward`; a plain pair counts before one with more to its
    name, such as `batchnorm_backward_alt` or `spatial_batchnorm_forward`.
    """
    if not isinstance(module, ModuleType):
        return None
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    }
    for name in sorted(own, key=len):
        other = name.replace("forward", "backward")
        if other != name and other in own and len(inspect.signature(own[other]).parameters) == 2:
            return own[name], own[other]
    return None


def from_pair(
    forward: Callable[..., Any], backward: Callable[..., Any]
) -> tuple[dict[str, Callable[..., Any]], dict[str, Any]]:
    """Return the contract's functions over a pair.

    The forward takes x, gamma, beta and either a dict of mode, eps, momentum and running
    statistics, which it updates, or some of these by name.
    """
    names = list(inspect.signature(forward).parameters)
    by_dict = len(names) > 3 and names[3] not in _HELD
    by_name = [name for name in _HELD if name in names]

    def call(x: Array, gamma: Any, beta: Any, state: dict[str, Any]) -> tuple[Any, Any]:
        given = {key: value for key, value in state.items() if value is not None}
        if by_dict:
            y, cache, *_ = forward(x, gamma, beta, given)
        else:
            y, cache, *_ = forward(x, gamma, beta, **{k: given[k] for k in by_name if k in given})
        state.update(given)
        return y, cache

    def forward_train(
        x: Array, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float, momentum: float
    ) -> Any:
        if mean is None:
            raise NotImplementedError("a dict without running statistics")
        state = {"mode": "train", "eps": eps, "momentum": momentum,
                 "running_mean": mean.copy(), "running_var": var.copy()}  # fmt: skip
        y, cache = call(x, gamma, beta, state)
        return y, state["running_mean"], state["running_var"], cache

    def forward_eval(x: Array, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float) -> Any:
        state = {"mode": "test", "eps": eps, "momentum": 0.9, "running_mean": mean.copy(),
                 "running_var": var.copy()}  # fmt: skip
        return call(x, gamma, beta, state)[0]

    def backward_train(dy: Array, saved: Any) -> Any:
        result = backward(dy, saved)
        return result if isinstance(result, tuple) else (result, None, None)

    functions: dict[str, Callable[..., Any]] = {
        "forward_train": forward_train,
        "backward_train": backward_train,
    }
    if by_dict:  # nothing else says which mode is meant
        functions["forward_eval"] = forward_eval
    return functions, {} if by_dict or "eps" in names else {"eps": "fixed"}
