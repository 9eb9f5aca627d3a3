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


def contract(module: Module) -> list[Formula]:
    """A contract implementation: one formula per mode that it offers both ways."""
    found = []
    for mode in ("train", "eval"):
        if {f"forward_{mode}", f"backward_{mode}"} <= set(module.plain):
            runner = _run_train if mode == "train" else _run_eval
            exact, floating = both(module, runner)
            label = f"{module.path.name} ({mode})"
            found.append(Formula(label, exact, floating, typed(module), mode=mode))
    if not found:
        raise NotAFormula(f"file={module.path.name!r}: forward_train without backward_train")
    return found


def _inputs(given: Values, *names: str) -> list[Any]:
    return [copied(flat(name, given[name])) for name in names]


def _run_train(names: Mapping[str, Any], given: Values) -> Mapping[str, Any]:
    arguments = _inputs(given, "x", "gamma", "beta", "running_mean", "running_var")
    settings = {"eps": given["eps"], "momentum": given["momentum"]}
    y, mean, var, saved = names["forward_train"](*arguments, **settings)
    dx, dgamma, dbeta = names["backward_train"](*_inputs(given, "dy"), saved)
    out = {"y": y, "new_running_mean": mean, "new_running_var": var}
    out |= {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}
    if "jvp_train" in names:
        out["ty"] = names["jvp_train"](*_inputs(given, "tx", "tgamma", "tbeta"), saved)
    if "double_backward_train" in names:
        seeds = _inputs(given, "ddx", "ddgamma", "ddbeta", "dy")
        results = names["double_backward_train"](*seeds, saved)
        out |= dict(zip(("grad_x", "grad_gamma", "grad_dy"), results, strict=True))
    return out


def _run_eval(names: Mapping[str, Any], given: Values) -> Mapping[str, Any]:
    arguments = _inputs(given, "x", "gamma", "beta", "running_mean", "running_var")
    y, saved = names["forward_eval"](*arguments, eps=given["eps"])
    dx, dgamma, dbeta = names["backward_eval"](*_inputs(given, "dy"), saved)
    return {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}


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
    layer = layer_type(*_inputs(given, "gamma", "beta"), **_state(layer_type, given))
    y = layer.forward(*_inputs(given, "x"), True)
    dx = layer.backward(*_inputs(given, "dy"))
    out = {"y": y, "dx": dx, "dgamma": layer.dgamma, "dbeta": layer.dbeta}
    kept = [key for key in ("running_mean", "running_var") if hasattr(layer, key)]
    return out | {f"new_{key}": getattr(layer, key) for key in kept}


def _eval_layer(layer_type: Any, given: Values) -> Mapping[str, Any]:
    layer = layer_type(*_inputs(given, "gamma", "beta"), **_state(layer_type, given))
    return {"y": layer.forward(*_inputs(given, "x"), False)}


def _state(layer: Any, given: Values) -> dict[str, Any]:
    parameters = inspect.signature(layer).parameters
    known = ("momentum", "running_mean", "running_var", "eps")
    names = [name for name in known if name in parameters]
    return dict(zip(names, _inputs(given, *names), strict=True))


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
