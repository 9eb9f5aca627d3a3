"""A layer class of the seed's shape as a target: one new instance per forward."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ...model.contract import Array


def is_layer(found: Any) -> bool:
    """Return whether this is a class with `forward(x, train_flg)` and `backward(dout)`."""
    return inspect.isclass(found) and all(
        callable(getattr(found, name, None)) for name in ("forward", "backward")
    )


def _copy(a: Array | None) -> Array | None:
    return None if a is None else a.copy()


def from_layer(layer: Any) -> tuple[dict[str, Callable[..., Any]], dict[str, Any]]:
    """Return the contract's functions over a layer class, and what its constructor says of eps.

    A forward makes an instance with copies of all state, and `saved` is that instance. eps and
    momentum are passed by keyword where the constructor has them; a fixed eps is marked as such,
    for the probe to find out.
    """
    parameters = inspect.signature(layer).parameters
    takes_eps = "eps" in parameters
    momentum_name = "momentum" if "momentum" in parameters else None

    def make(gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float | None) -> Any:
        options: dict[str, Any] = {"running_mean": _copy(mean), "running_var": _copy(var)}
        if takes_eps:
            options["eps"] = eps
        if momentum_name and momentum is not None:
            options[momentum_name] = momentum
        return layer(_copy(gamma), _copy(beta), **options)

    def forward_train(
        x: Array, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float, momentum: float
    ) -> Any:
        instance = make(gamma, beta, mean, var, eps, momentum)
        y = instance.forward(x, True)
        if mean is None:
            return y, None, None, instance
        return y, instance.running_mean, instance.running_var, instance

    def forward_eval(x: Array, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float) -> Any:
        instance = make(gamma, beta, mean, var, eps, None)
        return instance.forward(x, False), instance

    def backward(dy: Array, saved: Any) -> Any:
        dx = saved.backward(dy)
        return dx, _copy(saved.dgamma), _copy(saved.dbeta)

    def backward_eval(dy: Array, saved: Any) -> Any:
        try:
            return backward(dy, saved)
        except AttributeError as error:  # what a forward in training would have left
            raise NotImplementedError(f"no backward of inference: {error}") from error

    functions: dict[str, Callable[..., Any]] = {
        "forward_train": forward_train,
        "backward_train": backward,
        "forward_eval": forward_eval,
        "backward_eval": backward_eval,
    }
    return functions, {} if takes_eps else {"eps": "fixed"}
