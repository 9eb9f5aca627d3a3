"""Anybody's batch norm in Flax as a target: a linen or nnx module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from . import words
from .any_jax import Found, of_run
from .words import KEPT, Unfit

_MADE_OF = ("channels", "eps", "momentum", "ndim", "training", "inference", "key")
_CALLED = ("self", "x", "training", "inference", "mode")


def found_in(found: Any) -> Found:
    """Return the contract's functions over a linen or nnx module, its class or an instance.

    Raises:
        Unfit: there is none, several, or its parameters are not found.
    """
    layers = words.classes(found, nn.Module) + words.classes(found, nnx.Module)
    if not layers:
        raise Unfit("no linen and no nnx module")
    return words.only(layers, _layer)


def _layer(name: str, found: Any) -> Found:
    cls = found if inspect.isclass(found) else type(found)
    made_of = words.meanings(found, _MADE_OF) if inspect.isclass(found) else {}
    called = words.meanings(cls.__call__, _CALLED, "x")
    called = {name: key for name, key in called.items() if key != "self"}
    linen = issubclass(cls, nn.Module)

    def make(training: bool, x: Any, channels: int, eps: Any, momentum: Any) -> Any:
        values = {"channels": channels, "ndim": x.ndim, "eps": eps, "momentum": momentum}
        values |= {**words.modes(training), "key": None if linen else nnx.Rngs(0)}
        if not inspect.isclass(found):
            return _renumbered(found, values) if linen else nnx.clone(found)
        args, named = words.given(found, made_of, values)
        return found(*args, **named)

    def run(
        training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any
    ) -> Any:
        if gamma is None or mean is None:
            raise NotImplementedError("a module that makes its own parameters and state")
        module = make(training, x, gamma.shape[0], eps, momentum)
        values = {"gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
        values |= {"eps": eps, "momentum": momentum}
        return (_linen if linen else _nnx)(module, called, training, x, values)

    kept = _names(name, run)
    say = f"{words.told(name, made_of) if made_of else name}({words.listed(called)})"
    told: dict[str, Any] = {"style": f"{say}; {words.listed(kept)}"}
    fixed = "eps" not in made_of.values() and (inspect.isclass(found) or not linen)
    told |= {"eps": "fixed"} if fixed else {}
    return *of_run(lambda *given: run(*given)[:3], True, told), found


def _renumbered(found: Any, values: Mapping[str, Any]) -> Any:
    """Return a linen module with the eps and momentum of a call where it has such fields."""
    keys = ("eps", "momentum", "training", "inference")
    fields = {key: words.first(words.WORDS[key], found) for key in keys}
    return found.clone(**{name: values[key] for key, name in fields.items() if name})


def _names(name: str, run: Callable[..., Any]) -> dict[str, str]:
    """Return where gamma, beta and the running statistics are kept.

    Raises:
        Unfit: it fails on plain shapes, or gamma and beta are not found.
    """
    why: Exception | None = None
    for shape in ((4, 3), (4, 2, 2, 3), (4, 2, 3), (4, 2, 2, 2, 3)):
        kept: dict[str, str] = {}

        def tried(x: Any, kept: dict[str, str] = kept) -> Any:
            c = (jnp.ones(3) for _ in range(4))
            y, _, _, names = run(True, x, *c, 0.5, 0.25)
            kept |= names
            return y

        try:
            jax.eval_shape(tried, jax.ShapeDtypeStruct(shape, jnp.float32))
        except Exception as error:
            why = why or error
            continue
        if not {"gamma", "beta"} <= set(kept.values()):
            raise Unfit(f"{name} keeps {', '.join(kept) or 'nothing'}: no scale and bias", 3)
        return kept
    raise Unfit(f"{name} fails on plain shapes: {type(why).__name__}: {why}", 3)


def _arguments(function: Any, called: Mapping[str, str], x: Any, training: bool) -> Any:
    return words.given(function, called, {"x": x, **words.modes(training)})


def _linen(module: Any, called: Mapping[str, str], training: bool, x: Any, values: Any) -> Any:
    """Return y, the new running statistics, and the names of what it keeps, of a linen module."""
    args, named = _arguments(module.__call__, called, x, training)
    tree = jax.eval_shape(lambda: module.init(jax.random.PRNGKey(0), *args, **named))
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    kept = {str(path[-1].key): words.key_of(path) for path in paths if words.key_of(path)}
    state = [name for name in tree if name != "params"]
    filled = words.filled(tree, values)
    y = module.apply(filled, *args, **named, mutable=state if training else False)
    y, new = y if training else (y, {})
    return y, *words.state_in(new, values["gamma"].shape[0]), kept


def _nnx(module: Any, called: Mapping[str, str], training: bool, x: Any, values: Any) -> Any:
    """Return the same of an nnx module."""
    for key in ("eps", "momentum"):
        if (name := words.first(words.WORDS[key], module)) and isinstance(
            getattr(module, name), (int, float)
        ):
            setattr(module, name, values[key])
    kept = {name: key for key, names in KEPT.items() if (name := words.first(names, module))}
    for name, key in kept.items():
        held = getattr(module, name)
        held.set_value(values[key].reshape([1 if s == 1 else -1 for s in held.shape]))
    if not called.keys() - {n for n, k in called.items() if k == "x"}:
        (module.train if training else module.eval)()
    args, named = _arguments(module.__call__, called, x, training)
    y = module(*args, **named)
    new = {key: getattr(module, name).get_value() for name, key in kept.items()}
    return y, *words.state_in(new, values["gamma"].shape[0]), kept
