"""Anybody's batch norm in JAX as a target: a function of arrays, of params, or a pair of stax."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ...model.contract import FUNCTIONS
from . import words
from .from_jax import target
from .words import KEPT, Unfit

Found = tuple[dict[str, Callable[..., Any]], dict[str, Any], Any]
Run = Callable[..., Any]
_STATE = ("running_mean", "running_var")
_NUMBERS = ("eps", "momentum", "training", "inference", "mode")
_ARGUMENTS = ("x", "gamma", "beta", *_STATE, *_NUMBERS)
_OF_PARAMS = ("x", "params", "state", *_NUMBERS)


def found_in(found: Any) -> Found:
    """Return the contract's functions over a function of x, gamma and beta, or of x and params.

    Raises:
        Unfit: there is none, several, or what it takes has no known meaning.
    """
    return words.only(words.functions(found), _function)


def pair_in(found: Any) -> Found:
    """Return the contract's functions over a pair (init_fun, apply_fun), or over what makes one.

    Raises:
        Unfit: there is none, or its parameters are not a scale that starts at 1 and a shift at 0.
    """
    pairs = [(n, v) for n, v in words.own(found) if _is_pair(v)]
    return words.only([*pairs, *words.functions(found)], _pair)


def given_names(found: Any) -> Mapping[str, str]:
    """Return all usual names of parameters and state that a module has as texts, with meanings."""
    source = inspect.getsource(sys.modules[inspect.unwrap(found).__module__])
    texts = {n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant)}
    return {name: key for key, names in KEPT.items() for name in names if name in texts}


def _function(name: str, found: Any) -> Found:
    """Return the target that a function makes."""
    taken = words.meanings(found, _ARGUMENTS, "x", optional=True)
    if hasattr(found, "lower") and hasattr(found, "__wrapped__"):  # by jax.jit: compiled here
        found = found.__wrapped__
    kind = _plain if {"x", "gamma", "beta"} <= set(taken.values()) else _of_params
    run, taken, more = kind(name, found)
    flagged = bool({"training", "inference", "mode"} & set(taken.values()))
    told: dict[str, Any] = {"style": f"{words.told(name, taken)}{more}"}
    told |= {} if "eps" in taken.values() else {"eps": "fixed"}
    return *of_run(run, flagged, told), found


def _plain(name: str, found: Any) -> tuple[Run, dict[str, str], str]:
    taken = words.meanings(found, _ARGUMENTS, "x")
    tracks = set(_STATE) <= set(taken.values())

    def run(
        training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any
    ) -> Any:
        values = {"x": x, "gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
        values |= {"eps": eps, "momentum": momentum, **words.modes(training)}
        args, named = words.given(found, taken, values)
        y = found(*args, **named)
        y, *rest = y if isinstance(y, (tuple, list)) else (y,)
        known = tracks and mean is not None
        return y, *(words.state_in(rest, mean.shape[0]) if known else (None, None))

    return run, taken, ""


def _of_params(name: str, found: Any) -> tuple[Run, dict[str, str], str]:
    taken = words.meanings(found, _OF_PARAMS, "x")
    if "params" not in taken.values():
        raise Unfit(f"{name} takes neither gamma and beta nor params", 1)
    made = _initial(found)
    names = {} if made else given_names(found)
    if not made and not {"gamma", "beta"} <= set(names.values()):
        raise Unfit(f"{name}: no init function, and no names such as gamma in params", 2)

    def trees(values: Mapping[str, Any]) -> list[Any]:
        if made:
            tree = made(values["gamma"].shape[0])
            parts = tree if isinstance(tree, tuple) and type(tree) is tuple else (tree, None)
            return [words.filled(part, values) for part in parts[:2]]
        split = "state" in taken.values()
        of_state = {n: values[k] for n, k in names.items() if k in _STATE}
        params = {n: values[k] for n, k in names.items() if not (split and k in _STATE)}
        return [params, of_state]

    def run(
        training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any
    ) -> Any:
        if gamma is None or mean is None:
            raise NotImplementedError(
                "params without gamma and beta, or without running statistics"
            )
        values = {"gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
        params, state = trees(values)
        values = {"x": x, "params": params, "state": state, "eps": eps, "momentum": momentum}
        args, named = words.given(found, taken, {**values, **words.modes(training)})
        y = found(*args, **named)
        y, *rest = y if isinstance(y, (tuple, list)) else (y,)
        return y, *words.state_in(rest, mean.shape[0])

    return run, taken, f"; {words.listed(names)}" if names else "; params from its init function"


def _initial(found: Any) -> Callable[[int], Any] | None:
    """Return the function beside another that makes its params for a number of channels."""
    beside = sys.modules[inspect.unwrap(found).__module__]
    for name, value in words.own(beside):
        if "init" in name.lower() and inspect.isroutine(value):
            try:
                taken = words.meanings(value, ("channels", "key"))
            except Unfit:
                continue
            if "channels" in taken.values():
                return partial(_params_of, value, taken)
    return None


def _params_of(init: Any, taken: Mapping[str, str], channels: int) -> Any:
    return _call(init, taken, {"channels": channels, "key": _key()})


def _call(function: Any, taken: Mapping[str, str], values: Mapping[str, Any]) -> Any:
    args, named = words.given(function, taken, values)
    return function(*args, **named)


def _key() -> Any:
    return jax.random.PRNGKey(0)


# --- a pair of stax ------------------------------------------------------------------------------


def _is_pair(found: Any) -> bool:
    return isinstance(found, tuple) and len(found) == 2 and all(map(callable, found))


def _pair(name: str, found: Any) -> Found:
    """Return the target that a pair makes, or a function that returns one."""
    taken = {} if _is_pair(found) else words.meanings(found, ("axis", "eps", "channels"))

    def pair(ndim: int, eps: Any) -> Any:
        if _is_pair(found):
            return found
        return _call(found, taken, {"axis": tuple(range(ndim - 1)), "eps": eps})

    roles = _roles(name, pair)

    def run(
        training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any
    ) -> Any:
        if gamma is None:
            raise NotImplementedError("params without gamma and beta")
        init, apply = pair(x.ndim, eps)
        leaves, form = jax.tree.flatten(init(_key(), x.shape)[1])
        held = {"gamma": gamma, "beta": beta}
        new = [held[role].reshape(old.shape) for role, old in zip(roles, leaves, strict=True)]
        return apply(jax.tree.unflatten(form, new), x), None, None

    told: dict[str, Any] = {"style": f"{words.told(name, taken)}: params=({', '.join(roles)})"}
    told |= {} if "eps" in taken.values() else {"eps": "fixed"}
    return *of_run(run, False, told), found


def _roles(name: str, pair: Callable[[int, Any], Any]) -> list[str]:
    """Return what the params of a pair are: what starts at 1 is gamma, and at 0 beta."""
    why = Unfit(f"{name} makes no pair of init_fun and apply_fun", 1)
    for shape in ((4, 3), (4, 2, 2, 3)):
        try:
            init, _ = pair(len(shape), 0.5)
            leaves = jax.tree.leaves(init(_key(), shape)[1])
        except Exception:
            continue
        roles = ["gamma" if (a == 1).all() else "beta" if (a == 0).all() else "" for a in leaves]
        if sorted(roles) == ["beta", "gamma"]:
            return roles
        why = Unfit(f"{name}: params are not one that starts at 1 and one at 0", 2)
    raise why


# --- all -----------------------------------------------------------------------------------------


def of_run(run: Run, flagged: bool, told: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the functions of the contract over (training, x, ..., momentum) -> y, mean, var.

    There is float64 where the file has told JAX so.

    Args:
        flagged: whether it is told that it infers.
        told: what is known besides.

    Raises:
        Unfit: it fails on plain batches of 2 and of 4 dimensions.
    """

    def train(*given: Any) -> Any:
        return run(True, *given)

    def infer(*given: Any) -> Any:
        return run(False, *given, 0.5)[0]

    made = target(train, infer, x64=False, traced=_can_be_traced(train))
    offered = {name: getattr(made, name) for name in FUNCTIONS if hasattr(made, name)}
    offered["forward_train"] = partial(_in_its_types, made.forward_train)
    offered["jvp_train"] = lambda *given: _forward_mode(made.jvp_train, given)
    if not flagged:
        del offered["forward_eval"], offered["backward_eval"]
    return offered, {**told, "dtypes": "no halves", "compiled": "per shape"}


def _in_its_types(forward: Run, x: Any, *given: Any, **options: Any) -> Any:
    if x.dtype.name == "float64" and not jax.config.jax_enable_x64:
        raise NotImplementedError("float64 is off: the file does not set jax_enable_x64")
    return forward(x, *given, **options)


def _can_be_traced(train: Run) -> bool:
    """Return whether it works while nothing but shapes is known, and not on numbers alone."""
    why: Exception | None = None
    for look in (jax.eval_shape, lambda f, *given: f(*given)):
        for shape in ((4, 3), (4, 3, 2, 3), (4, 3, 3), (4, 3, 2, 2, 3)):
            x, ones = jnp.ones(shape), jnp.ones(3)
            try:
                look(train, x, ones, ones, ones, ones, 0.5, 0.25)
            except Exception as error:
                why = why or error
                continue
            return look is jax.eval_shape
    raise Unfit(f"it fails on plain numbers: {type(why).__name__}: {why}", 3)


def _forward_mode(jvp: Run, given: Any) -> Any:
    try:
        return jvp(*given)
    except TypeError as error:
        if "custom_vjp" in str(error):
            raise NotImplementedError("a jax.custom_vjp: it has no forward mode") from error
        raise
