"""A layer class of the seed's shape as a target: one new instance per forward."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

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
    stated = {} if takes_eps else {"eps": "fixed"}
    return functions, stated | ({"remark": _AT_ZERO} if _starts_at_zero(layer) else {})


_AT_ZERO = "its own running variance starts at 0, so early inference divides by too little"


def _starts_at_zero(layer: Any) -> bool:
    """Return whether a running variance that the class starts itself starts at 0.

    Two equal batches b from a start s give v1 = k s + (1 - k) b and v2 = k v1 + (1 - k) b.
    """
    x = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 0.0]])
    try:
        instance = layer(np.ones(2), np.zeros(2))
        instance.forward(x.copy(), True)
        first = np.array(instance.running_var, dtype=np.float64)
        instance.forward(x.copy(), True)
        second = np.array(instance.running_var, dtype=np.float64)
        batch = x.var(axis=0) * (1.5 if np.all(second > x.var(axis=0)) else 1.0)
        with np.errstate(all="ignore"):
            keep = (second - batch) / (first - batch)
            start = (first - (1 - keep) * batch) / keep
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False
    return start.shape == (2,) and bool(np.all(np.abs(start) < 1e-6))
