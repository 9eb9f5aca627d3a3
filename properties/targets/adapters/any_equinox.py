"""Anybody's batch norm in Equinox as a target: a module with its state, under vmap or not."""

from __future__ import annotations

import inspect
from typing import Any

import equinox as eqx
import jax

from . import words
from .any_jax import Found, of_run
from .words import KEPT, Unfit

_MADE_OF = ("channels", "axis_name", "eps", "momentum", "affine", "training", "inference", "key")
_CALLED = ("self", "x", "state", "training", "inference", "mode", "key")


def found_in(found: Any) -> Found:
    """Return the contract's functions over an equinox.Module class.

    Raises:
        Unfit: there is none, several, or its parameters are not found.
    """
    layers = [(n, v) for n, v in words.classes(found, eqx.Module) if inspect.isclass(v)]
    if not layers:
        raise Unfit("no class of equinox.Module")
    return words.only(layers, _layer)


def _layer(name: str, found: Any) -> Found:
    made_of = words.meanings(found, _MADE_OF)
    called = words.meanings(found.__call__, _CALLED, "x")
    called = {n: key for n, key in called.items() if key not in ("self", "key")}
    model, _ = _made(found, made_of, 3, {"eps": 0.5, "momentum": 0.25, "affine": True})
    where = {key: words.first(KEPT[key], model) for key in ("gamma", "beta")}
    if not all(where.values()):
        raise Unfit(f"{name} has no weight and bias, or gamma and beta", 3)
    over = "axis_name" in made_of.values()

    def run(
        training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any
    ) -> Any:
        if gamma is None or (mean is None and "state" in called.values()):
            raise NotImplementedError("a module that makes its own parameters and state")
        values = {"eps": eps, "momentum": momentum, "affine": True, **words.modes(training)}
        model, state = _made(found, made_of, gamma.shape[0], values)
        names = [str(where["gamma"]), str(where["beta"])]
        model = eqx.tree_at(
            lambda m: [getattr(m, n) for n in names], model, [gamma, beta], is_leaf=_is_none
        )
        if state is not None and mean is not None:
            state = _filled(state, mean, var)
        given = {"x": x, "state": state, **words.modes(training)}

        def call(a: Any) -> Any:
            args, named = words.given(model.__call__, called, {**given, "x": a})
            return model(*args, **named)

        out = (0, None) if "state" in called.values() else 0
        y = jax.vmap(call, axis_name="batch", out_axes=out)(x) if over else call(x)
        y, *rest = y if isinstance(y, tuple) else (y,)
        return y, *(words.state_in(rest, gamma.shape[0]) if rest else (None, None))

    kept = {str(n): key for key, n in where.items()}
    say = f"{words.told(name, made_of)}({words.listed(called)}); {words.listed(kept)}"
    told: dict[str, Any] = {"style": say}
    told |= {} if "eps" in made_of.values() else {"eps": "fixed"}
    return *of_run(run, True, told), found


def _is_none(value: Any) -> bool:
    return value is None


def _made(found: Any, made_of: Any, channels: int, values: Any) -> Any:
    """Return a fresh model and its state, None where it has none.

    Raises:
        Unfit: it cannot be made.
    """
    given = {"channels": channels, "axis_name": "batch", "key": jax.random.PRNGKey(0), **values}
    args, named = words.given(found, made_of, given)
    try:
        model, state = eqx.nn.make_with_state(found)(*args, **named)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise Unfit(f"{found.__name__} cannot be made: {what}", 3) from error
    return model, state if jax.tree.leaves(state) else None


def _filled(state: Any, mean: Any, var: Any) -> Any:
    """Return a state with these averages in it: the first of their size, and the second."""
    leaves, form = jax.tree.flatten(state)
    at = [k for k, leaf in enumerate(leaves) if leaf.size == mean.size and leaf.ndim > 0][:2]
    for k, value in zip(at, (mean, var), strict=False):
        leaves[k] = value.reshape(leaves[k].shape)
    return jax.tree.unflatten(form, leaves)
