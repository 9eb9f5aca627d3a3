"""NumPy code as people write it: layer classes, and a forward that hands a cache to a backward.

What they are made of and called with goes by the usual words, over floats as over exact numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

SIZE = (  # what a layer class calls the number of channels
    "num_features", "n_features", "features", "num_channels", "n_channels", "channels",
    "in_channels", "input_size", "input_dim", "size", "dim", "n_dim", "d", "D", "c", "C",
)  # fmt: skip
TRAINING = ("training", "train", "train_flg", "is_training", "train_mode")
EPS = ("eps", "epsilon")
PARAMETERS = {"gamma": ("gamma", "weight", "scale"), "beta": ("beta", "bias", "shift")}
STATE = {
    "running_mean": ("running_mean", "moving_mean", "run_mean"),
    "running_var": ("running_var", "moving_var", "moving_variance", "run_var", "running_variance"),
}
COUNT = (  # what a layer calls the number of batches it has seen
    "num_batches_tracked", "num_batches", "n_batches", "batches", "count", "counter", "steps",
    "step", "t", "iteration", "iterations",
)  # fmt: skip
_SETTINGS = ("eps", "momentum", "running_mean", "running_var")  # of a pair, or in its dict


def _first(names: tuple[str, ...], there: Any) -> str | None:
    """Return the first of these names that is there: a key, or an attribute."""
    has = there.__contains__ if isinstance(there, Mapping) else lambda name: hasattr(there, name)
    return next((name for name in names if has(name)), None)


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


# --- a layer class -------------------------------------------------------------------------------


def is_layer(found: Any) -> bool:
    """Return whether this is a class with `forward(x, ...)` and `backward(dout)`."""
    return inspect.isclass(found) and all(
        callable(getattr(found, name, None)) for name in ("forward", "backward")
    )


def takes_eps(layer: Any) -> bool:
    """Return whether a class takes its eps."""
    return _first(EPS, inspect.signature(layer).parameters) is not None


def made(layer: Any, values: Mapping[str, Any]) -> Any:
    """Return an instance, by its number of channels or by gamma and beta, with this state.

    What the constructor does not take is set on the instance, if it is there. An eps that is no
    parameter is left as it is written.

    Args:
        values: gamma, beta (c,) or None; of eps, momentum, running_mean and running_var those that
            are known.

    Raises:
        NotImplementedError: it makes its own gamma and beta, and none are wanted.
    """
    parameters = inspect.signature(layer).parameters
    size = _first(SIZE, parameters)
    by_size = size is not None and not set(parameters) & set(PARAMETERS["gamma"])
    words = {**STATE, "eps": EPS, "momentum": ("momentum",)}
    options = {
        name: _copy(values[key])
        for key, names in words.items()
        if key in values and (name := _first(names, parameters))
    }
    if by_size:
        if values["gamma"] is None:
            raise NotImplementedError("a layer that makes its own gamma and beta")
        instance = layer(**{str(size): len(values["gamma"])}, **options)
    else:
        instance = layer(_copy(values["gamma"]), _copy(values["beta"]), **options)
    for key, names in {**PARAMETERS, **STATE, "momentum": ("momentum",)}.items():
        name = _first(names, instance)
        if name and key in values and (values[key] is not None or key in STATE):
            setattr(instance, name, _copy(values[key]))
    return instance


def called(instance: Any, x: Any, training: bool) -> Any:
    """Return y, the mode passed by the name that forward has for it, or set where it is kept."""
    known = inspect.signature(instance.forward).parameters
    if name := _first(TRAINING, known):
        return instance.forward(x, **{name: training})
    if "mode" in known:
        return instance.forward(x, mode="train" if training else "test")
    if len(known) == 1 and (flag := _first(TRAINING, instance)):
        setattr(instance, flag, training)
        return instance.forward(x)
    return instance.forward(x, training)


def gone_back(instance: Any, dy: Any) -> tuple[Any, Any, Any]:
    """Return dx, dgamma and dbeta: returned together, or kept as attributes or in a dict."""
    result = instance.backward(dy)
    if isinstance(result, tuple) and len(result) == 3:
        return result
    return result, _gradient(instance, "gamma"), _gradient(instance, "beta")


def _gradient(instance: Any, key: str) -> Any:
    for word in PARAMETERS[key]:
        if name := _first((f"d{word}", f"grad_{word}", f"{word}_grad"), instance):
            return _copy(getattr(instance, name))
    for word in ("grads", "gradients", "grad"):
        found = getattr(instance, word, None)
        if isinstance(found, Mapping) and (name := _first((f"d{key}", *PARAMETERS[key]), found)):
            return _copy(found[name])
    return None


def count_of(instance: Any) -> int | None:
    """Return how many batches an instance says it has seen, None where it does not count."""
    name = _first(COUNT, instance)
    value = getattr(instance, name) if name else None
    return int(value) if isinstance(value, (int, np.integer)) else None


def set_count(instance: Any, count: int | None) -> None:
    """Tell an instance how many batches it has seen."""
    name = _first(COUNT, instance)
    if name and count is not None:
        setattr(instance, name, count)


def state_of(instance: Any) -> dict[str, Any]:
    """Return the running statistics that an instance keeps."""
    found = {key: _first(names, instance) for key, names in STATE.items()}
    return {key: _copy(getattr(instance, name)) for key, name in found.items() if name}


# --- a pair of functions -------------------------------------------------------------------------


def pair_of(functions: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the names of a forward and of the backward that takes its cache, if there are such.

    They differ in `forward` and `backward`; a plain pair counts before one with more to its name,
    such as `batchnorm_backward_alt` or `spatial_batchnorm_forward`.
    """
    for name in sorted(functions, key=len):
        backward = name.replace("forward", "backward")
        if backward != name and takes_cache(functions.get(backward)):
            return name, backward
    return None


def takes_cache(backward: Any) -> bool:
    """Return whether this is a function of dy and one thing more."""
    return inspect.isfunction(backward) and len(inspect.signature(backward).parameters) == 2


def by_dict(forward: Callable[..., Any]) -> bool:
    """Return whether a forward takes a dict, of mode, eps, momentum and running statistics."""
    names = list(inspect.signature(forward).parameters)
    return len(names) > 3 and names[3] not in _SETTINGS


def passed(
    forward: Callable[..., Any], x: Any, gamma: Any, beta: Any, mode: str, given: Mapping[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Return y, the cache, and the dict as the forward left it.

    Args:
        mode: "train" or "test", in the dict alone.
        given: eps, momentum, running_mean, running_var; without a dict those that it has parameters
            for are passed by name.
    """
    state = {key: _copy(value) for key, value in given.items()}
    if by_dict(forward):
        state = {"mode": mode, **state}
        y, cache, *_ = forward(x, gamma, beta, state)
    else:
        named = inspect.signature(forward).parameters
        y, cache, *_ = forward(x, gamma, beta, **{k: v for k, v in state.items() if k in named})
    return y, cache, state


def states_eps(forward: Callable[..., Any]) -> bool:
    """Return whether a forward takes its eps."""
    return by_dict(forward) or "eps" in inspect.signature(forward).parameters
