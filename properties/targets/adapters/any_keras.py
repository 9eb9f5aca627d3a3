"""Anybody's batch norm as a layer of Keras, on the backend that the file runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from ...model.contract import FUNCTIONS
from . import words
from .words import KEPT, Unfit

Found = tuple[dict[str, Any], dict[str, Any], Any]
_MADE_OF = ("channels", "eps", "momentum")
_CALLED = ("self", "x", "training", "inference", "mode")


def found_in(found: Any) -> Found:
    """Return the contract's functions over a keras.Layer class.

    Raises:
        Unfit: there is none, several, or its variables are not found.
    """
    layers = [(n, v) for n, v in words.classes(found, keras.Layer) if isinstance(v, type)]
    if not layers:
        raise Unfit("no class of keras.Layer")
    return words.only(layers, _layer)


def _layer(name: str, found: Any) -> Found:
    made_of = words.meanings(found, _MADE_OF)
    called = words.meanings(found.call, _CALLED, "x")
    called = {n: key for n, key in called.items() if key != "self"}
    layer = _built(name, found, made_of)
    kept = {v.name: _key(v) for v in layer.variables if _key(v)}
    if not {"gamma", "beta"} <= set(kept.values()):
        raise Unfit(f"{name} has variables {', '.join(v.name for v in layer.variables)} alone", 3)
    numbers = {key: words.first(words.WORDS[key], layer) for key in ("eps", "momentum")}

    def run(
        training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any
    ) -> Any:
        if gamma is None or mean is None:
            raise NotImplementedError("a layer that makes its own parameters and state")
        if str(x.dtype).endswith("float64") and keras.config.floatx() != "float64":
            raise NotImplementedError("float64: the file does not set keras.config.set_floatx")
        keras.config.set_dtype_policy(keras.backend.standardize_dtype(x.dtype))
        values = {"channels": gamma.shape[0], "eps": eps, "momentum": momentum}
        ours = {key: value for key, value in values.items() if not numbers.get(key)}
        layer = _made(found, made_of, ours)
        layer.build(tuple(x.shape))
        for key, attribute in numbers.items():
            if attribute:  # a constructor may make floats of them
                setattr(layer, attribute, values[key])
        held = {"gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
        weights, state = (
            [_shaped(held.get(_key(v)), v) for v in variables]
            for variables in (layer.trainable_variables, layer.non_trainable_variables)
        )
        args, named = words.given(layer.call, called, {"x": x, **words.modes(training)})
        y, new = layer.stateless_call(weights, state, *args, **named)
        keys = [_key(v) for v in layer.non_trainable_variables]
        known = dict(zip(keys, new, strict=True))
        return y, *(_flat(known.get(key)) for key in ("running_mean", "running_var"))

    say = f"{words.told(name, made_of)}({words.listed(called)}); {words.listed(kept)}"
    fixed = "eps" not in made_of.values() and not numbers["eps"]
    return *_of_run(run, say, fixed), found


def _built(name: str, found: Any, made_of: Mapping[str, str]) -> Any:
    """Return a layer that is built for plain shapes.

    Raises:
        Unfit: it cannot be built.
    """
    why: Exception | None = None
    for shape in ((4, 3), (4, 2, 2, 3), (4, 2, 3), (4, 2, 2, 2, 3)):
        try:
            layer = _made(found, made_of, {"channels": 3})
            layer.build(shape)
            return layer
        except Exception as error:
            why = why or error
    raise Unfit(f"{name} cannot be built: {type(why).__name__}: {why}", 3)


def _made(found: Any, made_of: Mapping[str, str], values: Mapping[str, Any]) -> Any:
    args, named = words.given(found, made_of, values)
    return found(*args, **named)


def _key(variable: Any) -> str:
    return next((key for key, names in KEPT.items() if variable.name.lower() in names), "")


def _shaped(value: Any, variable: Any) -> Any:
    """Return a value in the dimensions of a variable, or what that has itself."""
    if value is None:
        return variable.value
    if len(variable.shape) == len(value.shape):
        return value
    return keras.ops.reshape(value, [1 if size == 1 else -1 for size in variable.shape])


def _flat(value: Any) -> Any:
    return None if value is None else keras.ops.reshape(value, (-1,))


def _of_run(run: Any, say: str, fixed: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the functions of the contract on the backend that Keras runs on."""
    told: dict[str, Any] = {"style": say} | ({"eps": "fixed"} if fixed else {})
    backend = keras.backend.backend()
    if backend == "jax":
        from . import any_jax

        return any_jax.of_run(run, True, told)
    if backend == "torch":
        from . import any_torch

        return any_torch.of_run(run, say, fixed, flagged=True)
    if backend != "tensorflow":
        raise Unfit(f"Keras runs on {backend}: expected jax, torch or tensorflow", 3)
    from . import from_tensorflow

    made = from_tensorflow.target(run)
    offered = {name: getattr(made, name) for name in FUNCTIONS if hasattr(made, name)}
    return offered, {**told, "dtypes": "no halves"}
