"""Two NumPy functions as a target: a forward that hands a cache to a backward, as in CS231n."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from reference import styles

from ...model.contract import Array
from .words import Unfit, own


def found_in(found: Any) -> tuple[dict[str, Callable[..., Any]], dict[str, Any], Any]:
    """Return the contract's functions over the pair that a module defines, and what is known.

    Raises:
        Unfit: it defines none.
    """
    functions = {name: value for name, value in own(found) if inspect.isfunction(value)}
    names = styles.pair_of(functions) if isinstance(found, ModuleType) else None
    if names is None:
        raise Unfit("no NAMEforward with a NAMEbackward of dy and a cache")
    forward, backward = (functions[name] for name in names)

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

    offered: dict[str, Callable[..., Any]] = {
        "forward_train": forward_train,
        "backward_train": backward_train,
    }
    if styles.by_dict(forward):  # nothing else says which mode is meant
        offered["forward_eval"] = forward_eval
    last = f"{list(inspect.signature(forward).parameters)[3]}=dict" * styles.by_dict(forward)
    told = {"style": f"{names[0]}(x, gamma, beta, {last or 'eps, ...'}), {names[1]}(dy, cache)"}
    return offered, told | ({} if styles.states_eps(forward) else {"eps": "fixed"}), forward
