"""Implementations under audit: the functions of the contract, or a layer class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from .bind import both, copied, flat, typed
from .formula import Formula, Values
from .literals import NotAFormula
from .module import Module
from .names import AS_WRITTEN, SIZE, STATE, TRAINING


def contract(module: Module) -> list[Formula]:
    """A contract implementation: one formula per mode that it offers."""
    found = []
    known = module.plain.get("CONVENTIONS", {})
    known = known if isinstance(known, Mapping) else {}
    eps = known.get("eps")
    stated = {key: known[key] for key in ("momentum", "running_var") if key in known}
    for mode in ("train", "eval"):
        if f"forward_{mode}" in module.plain:
            runner = _run_train if mode == "train" else _run_eval
            exact, floating = both(module, runner)
            label = f"{module.path.name} ({mode})"
            found.append(
                Formula(
                    label, exact, floating, typed(module), mode=mode,
                    takes_eps=eps is None, eps=eps, stated=stated,
                )
            )  # fmt: skip
    if not found:
        raise NotAFormula(f"file={module.path.name!r}: no forward_train in it")
    return found


def _inputs(given: Values, *names: str) -> list[Any]:
    return [copied(flat(name, given[name])) for name in names]


def _run_train(names: Mapping[str, Any], given: Values) -> Mapping[str, Any]:
    arguments = _inputs(given, "x", "gamma", "beta", "running_mean", "running_var")
    settings = {"eps": given["eps"], "momentum": given["momentum"]}
    y, mean, var, saved = names["forward_train"](*arguments, **settings)
    out = {"y": y}
    if mean is not None and var is not None:
        out |= {"new_running_mean": mean, "new_running_var": var}
    out |= _gradients(names, given, "backward_train", saved)
    if "jvp_train" in names:
        out["ty"] = names["jvp_train"](*_inputs(given, "tx", "tgamma", "tbeta"), saved)
    if "double_backward_train" in names:
        seeds = _inputs(given, "ddx", "ddgamma", "ddbeta", "dy")
        results = names["double_backward_train"](*seeds, saved)
        out |= dict(zip(("grad_x", "grad_gamma", "grad_dy"), results, strict=True))
    return out


def _run_eval(names: Mapping[str, Any], given: Values) -> Mapping[str, Any]:
    arguments = _inputs(given, "x", "gamma", "beta", "running_mean", "running_var")
    returned = names["forward_eval"](*arguments, eps=given["eps"])
    y, saved = returned if isinstance(returned, tuple) else (returned, None)
    return {"y": y} | _gradients(names, given, "backward_eval", saved)


def _gradients(names: Mapping[str, Any], given: Values, name: str, saved: Any) -> dict[str, Any]:
    """Return what a backward gives, nothing where there is none."""
    if name not in names:
        return {}
    results = zip(("dx", "dgamma", "dbeta"), names[name](*_inputs(given, "dy"), saved), strict=True)
    return {quantity: value for quantity, value in results if value is not None}


def layer_class(module: Module, name: str) -> list[Formula]:
    """Return a layer class of the seed's shape, a new instance per run: training, then inference.

    Inference has no backward in such a class, so y alone is audited there, where it runs at all.
    """
    label = f"{module.path.name}:{name}"
    crash = _crash(module, name)
    notes = (f"inference is not audited: forward(x, False) raises {crash}",) if crash else ()
    exact, floating = both(module, lambda names, given: _train_layer(names[name], given))
    told = "eps" in inspect.signature(module.plain[name]).parameters
    found = [Formula(label, exact, floating, typed(module), notes, takes_eps=told)]
    if not crash:
        exact, floating = both(module, lambda names, given: _eval_layer(names[name], given))
        label, eps = f"{label} (eval)", typed(module)
        found.append(Formula(label, exact, floating, eps, mode="eval", takes_eps=told))
    return found


def _train_layer(layer_type: Any, given: Values) -> Mapping[str, Any]:
    layer = _layer(layer_type, given)
    y = _forward(layer, given, True)
    dx = layer.backward(*_inputs(given, "dy"))
    out = {"y": y, "dx": dx}
    for name, others in AS_WRITTEN.items():
        for other in others:
            if hasattr(layer, f"d{other}"):
                out |= {f"d{name}": getattr(layer, f"d{other}")}
                break
    for key, names in STATE.items():
        for name in names:
            if hasattr(layer, name):
                out |= {f"new_{key}": getattr(layer, name)}
                break
    return out


def _eval_layer(layer_type: Any, given: Values) -> Mapping[str, Any]:
    return {"y": _forward(_layer(layer_type, given), given, False)}


def _forward(layer: Any, given: Values, training: bool) -> Any:
    """Call forward in a mode, by its parameter's name where it has one of the usual."""
    parameters = inspect.signature(layer.forward).parameters
    named = next((name for name in TRAINING if name in parameters), None)
    if named is not None:
        return layer.forward(*_inputs(given, "x"), **{named: training})
    return layer.forward(*_inputs(given, "x"), training)


def _layer(layer_type: Any, given: Values) -> Any:
    """Return a layer with the parameters and the state of this point.

    What its constructor does not take is set on it, if it is there; a class that starts its
    running statistics itself finds them started.
    """
    parameters = inspect.signature(layer_type).parameters
    known = ("momentum", "running_mean", "running_var", "eps")
    names = [name for name in known if name in parameters]
    state = dict(zip(names, _inputs(given, *names), strict=True))
    size = next((name for name in SIZE if name in parameters), None)
    if size is not None and not set(parameters) & {"gamma", "weight", "scale"}:
        layer = layer_type(**{size: np.shape(given["x"])[1]}, **state)
    else:
        layer = layer_type(*_inputs(given, "gamma", "beta"), **state)
    for name in ("gamma", "beta", "running_mean", "running_var"):
        for other in {**AS_WRITTEN, **STATE}[name]:
            if hasattr(layer, other):
                setattr(layer, other, *_inputs(given, name))
    return layer


def _crash(module: Module, name: str) -> str:
    """Return what inference raises, as it does in the seed; "" if it runs."""
    one = np.ones(1)
    rows = ("gamma", "beta", "running_mean", "running_var")
    given = {**dict.fromkeys(rows, one), "momentum": 0.9, "eps": 1e-5, "x": np.ones((2, 1))}
    try:
        _eval_layer(module.plain[name], given)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def pair(module: Module, forward: str, backward: str) -> Formula:
    """Return a forward that hands a cache to a backward, as in CS231n, as one formula.

    The forward's last parameter may be a dict of mode, eps, momentum and running statistics.
    """

    def run(names: Mapping[str, Any], given: Values) -> Mapping[str, Any]:
        parameters = list(inspect.signature(names[forward]).parameters)
        held = dict(zip(_HELD, _inputs(given, *_HELD), strict=True))
        rest: dict[str, Any] = {}
        if len(parameters) > 3 and parameters[3] not in _HELD:
            state = {"mode": "train", **held}
            rest = {parameters[3]: state}
        else:
            rest, state = {key: held[key] for key in _HELD if key in parameters}, {}
        y, cache, *_ = names[forward](*_inputs(given, "x", "gamma", "beta"), **rest)
        out = {"y": y}
        if state:
            out |= {f"new_{k}": state[k] for k in ("running_mean", "running_var")}
        result = names[backward](*_inputs(given, "dy"), cache)
        return out | dict(zip(("dx", "dgamma", "dbeta"), result, strict=True))

    exact, floating = both(module, run)
    return Formula(f"{module.path.name}:{backward}", exact, floating, typed(module))


_HELD = ("eps", "momentum", "running_mean", "running_var")
