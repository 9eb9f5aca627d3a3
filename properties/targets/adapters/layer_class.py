"""A NumPy layer class as a target: one new instance per forward, in the usual words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from reference.audit.names import AS_WRITTEN, SIZE, STATE, TRAINING

from ...model.contract import Array

_EPS = ("eps", "epsilon")


def is_layer(found: Any) -> bool:
    """Return whether this is a class with `forward(x, ...)` and `backward(dout)`."""
    return inspect.isclass(found) and all(
        callable(getattr(found, name, None)) for name in ("forward", "backward")
    )


def _copy(a: Array | None) -> Array | None:
    return None if a is None else a.copy()


def _named(names: tuple[str, ...], there: Any) -> str | None:
    """Return the first of these names that is among the parameters."""
    return next((name for name in names if name in there), None)


def _held(layer: Any, names: tuple[str, ...]) -> str | None:
    """Return the first of these names that the layer has as an attribute."""
    return next((name for name in names if hasattr(layer, name)), None)


def from_layer(layer: Any) -> tuple[dict[str, Callable[..., Any]], dict[str, Any]]:
    """Return the contract's functions over a layer class, and what is known of it besides.

    A forward makes an instance, by the number of channels or by gamma and beta, and `saved` is
    that instance. Parameters, state and momentum are passed where the constructor has them and set
    where it keeps them as attributes; an eps that it does not take is marked as fixed.
    """
    parameters = inspect.signature(layer).parameters
    size = _named(SIZE, parameters)
    by_size = size is not None and not set(parameters) & {"gamma", "weight", "scale"}
    eps_name = _named(_EPS, parameters)
    options_of_state = {key: _named(names, parameters) for key, names in STATE.items()}
    trial = _trial(layer, size if by_size else None)

    def make(gamma: Any, beta: Any, state: Mapping[str, Any], eps: float, momentum: Any) -> Any:
        options: dict[str, Any] = {
            name: _copy(state[key]) for key, name in options_of_state.items() if name
        }
        if eps_name:
            options[eps_name] = eps
        if "momentum" in parameters and momentum is not None:
            options["momentum"] = momentum
        if by_size:
            if gamma is None:
                raise NotImplementedError("a layer that makes its own gamma and beta")
            made = layer(**{str(size): len(gamma)}, **options)
        else:
            made = layer(_copy(gamma), _copy(beta), **options)
        values = {"gamma": gamma, "beta": beta, **state}
        for key, names in {**AS_WRITTEN, **STATE}.items():
            name = _held(made, names)
            if name is not None and (values[key] is not None or key in STATE):
                setattr(made, name, _copy(values[key]))
        if "momentum" not in parameters and momentum is not None and hasattr(made, "momentum"):
            made.momentum = momentum
        return made

    def call(made: Any, x: Array, training: bool) -> Any:
        known = inspect.signature(made.forward).parameters
        name = _named(TRAINING, known)
        if name is not None:
            return made.forward(x, **{name: training})
        if "mode" in known:
            return made.forward(x, mode="train" if training else "test")
        if _held(made, TRAINING) and len(known) == 1:
            setattr(made, str(_held(made, TRAINING)), training)
            return made.forward(x)
        return made.forward(x, training)

    def state_of(made: Any) -> tuple[Any, Any]:
        names = (_held(made, STATE["running_mean"]), _held(made, STATE["running_var"]))
        return tuple(None if n is None else np.array(getattr(made, n)) for n in names)  # type: ignore[return-value]

    def forward_train(
        x: Array, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float, momentum: float
    ) -> Any:
        instance = make(gamma, beta, {"running_mean": mean, "running_var": var}, eps, momentum)
        y = call(instance, x, True)
        if mean is None:
            return y, None, None, instance
        return y, *state_of(instance), instance

    def forward_eval(x: Array, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float) -> Any:
        instance = make(gamma, beta, {"running_mean": mean, "running_var": var}, eps, None)
        return call(instance, x, False), instance

    def backward(dy: Array, saved: Any) -> Any:
        result = saved.backward(dy)
        if isinstance(result, tuple) and len(result) == 3:
            return result
        return result, _gradient(saved, "gamma"), _gradient(saved, "beta")

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
    stated = {} if eps_name else {"eps": "fixed"}
    return functions, stated | ({"remark": _AT_ZERO} if _starts_at_zero(trial) else {})


def _gradient(layer: Any, key: str) -> Any:
    """Return a gradient that a layer keeps as dNAME, NAME_grad, or in a dict of gradients."""
    for name in AS_WRITTEN[key]:
        for attribute in (f"d{name}", f"grad_{name}", f"{name}_grad"):
            if hasattr(layer, attribute):
                return _copy(getattr(layer, attribute))
    for held in ("grads", "gradients", "grad"):
        found = getattr(layer, held, None)
        if isinstance(found, Mapping):
            for name in (f"d{key}", *AS_WRITTEN[key]):
                if name in found:
                    return _copy(found[name])
    return None


def _trial(layer: Any, size: str | None) -> Any:
    """Return an instance of two channels as the class makes it, None where it does not."""
    try:
        return layer(**{size: 2}) if size else layer(np.ones(2), np.zeros(2))
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


_AT_ZERO = "its own running variance starts at 0, so early inference divides by too little"


def _starts_at_zero(instance: Any) -> bool:
    """Return whether a running variance that the class starts itself starts at 0.

    Two equal batches b from a start s give v1 = k s + (1 - k) b and v2 = k v1 + (1 - k) b.
    """
    x = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 0.0]])
    try:
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
