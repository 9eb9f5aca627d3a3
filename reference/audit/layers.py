"""Whole layers under audit: the functions of the contract, a layer class, a pair with a cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import styles
from .formula import Formula, Run, Values
from .language import NotAFormula
from .names import ROWS
from .rewrite import Source, execute


@dataclass(frozen=True)
class Module:
    """A file under audit: rewritten (None where that failed) and as it is."""

    path: Path
    source: Source | None
    plain: Mapping[str, Any]

    @property
    def typed_eps(self) -> tuple[str, ...]:
        """The literals that were read as eps."""
        return self.source.typed_eps if self.source else ()

    def both(
        self, run: Callable[[Mapping[str, Any], Values], Mapping[str, Any]]
    ) -> tuple[Run | None, Run]:
        """Return run over the names made exact (None where there are none) and over the plain."""
        source = self.source

        def exact(given: Values) -> Mapping[str, Any]:
            assert source is not None
            return run(execute(source, given["eps"]), given)

        return (exact if source else None), (lambda given: run(self.plain, given))


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
            exact, floating = module.both(runner)
            label = f"{module.path.name} ({mode})"
            found.append(
                Formula(
                    label, exact, floating, module.typed_eps, mode=mode,
                    takes_eps=eps is None, eps=eps, stated=stated,
                )
            )  # fmt: skip
    if not found:
        raise NotAFormula(f"file={module.path.name!r}: no forward_train in it")
    return found


def arguments(given: Values, *names: str) -> list[Any]:
    """Return copies, which the code may write into; channel values are (c,), as users write."""
    found = []
    for name in names:
        value = given[name]
        if isinstance(value, np.ndarray):
            value = value.copy() if name in ROWS else value.reshape(-1).copy()
        found.append(value)
    return found


def _run_train(names: Mapping[str, Any], given: Values) -> Mapping[str, Any]:
    inputs = arguments(given, "x", "gamma", "beta", "running_mean", "running_var")
    settings = {"eps": given["eps"], "momentum": given["momentum"]}
    y, mean, var, saved = names["forward_train"](*inputs, **settings)
    out = {"y": y}
    if mean is not None and var is not None:
        out |= {"new_running_mean": mean, "new_running_var": var}
    out |= _gradients(names, given, "backward_train", saved)
    if "jvp_train" in names:
        out["ty"] = names["jvp_train"](*arguments(given, "tx", "tgamma", "tbeta"), saved)
    if "double_backward_train" in names:
        seeds = arguments(given, "ddx", "ddgamma", "ddbeta", "dy")
        results = names["double_backward_train"](*seeds, saved)
        out |= dict(zip(("grad_x", "grad_gamma", "grad_dy"), results, strict=True))
    return out


def _run_eval(names: Mapping[str, Any], given: Values) -> Mapping[str, Any]:
    inputs = arguments(given, "x", "gamma", "beta", "running_mean", "running_var")
    returned = names["forward_eval"](*inputs, eps=given["eps"])
    y, saved = returned if isinstance(returned, tuple) else (returned, None)
    return {"y": y} | _gradients(names, given, "backward_eval", saved)


def _gradients(names: Mapping[str, Any], given: Values, name: str, saved: Any) -> dict[str, Any]:
    """Return what a backward gives, nothing where there is none."""
    if name not in names:
        return {}
    return _known(names[name](*arguments(given, "dy"), saved))


def _known(results: Any) -> dict[str, Any]:
    """Return the gradients that are given, by quantity."""
    results = results if isinstance(results, tuple) else (results, None, None)
    named = zip(("dx", "dgamma", "dbeta"), results, strict=True)
    return {quantity: value for quantity, value in named if value is not None}


def layer_class(module: Module, name: str) -> list[Formula]:
    """Return a layer class, a new instance per run: training, then inference.

    Inference has no backward in such a class, so y alone is audited there, where it runs at all.
    """
    label = f"{module.path.name}:{name}"
    crash = _crash(module, name)
    notes = (f"inference is not audited: forward(x, False) raises {crash}",) if crash else ()
    exact, floating = module.both(lambda names, given: _train_layer(names[name], given))
    told = styles.takes_eps(module.plain[name])
    found = [Formula(label, exact, floating, module.typed_eps, notes, takes_eps=told)]
    if not crash:
        exact, floating = module.both(lambda names, given: _eval_layer(names[name], given))
        label, eps = f"{label} (eval)", module.typed_eps
        found.append(Formula(label, exact, floating, eps, mode="eval", takes_eps=told))
    return found


def _train_layer(layer_type: Any, given: Values) -> Mapping[str, Any]:
    layer = _layer(layer_type, given)
    x, dy = arguments(given, "x", "dy")
    y = styles.called(layer, x, True)
    results = styles.gone_back(layer, dy)
    state = {f"new_{key}": value for key, value in styles.state_of(layer).items()}
    return {"y": y, **_known(results), **state}


def _eval_layer(layer_type: Any, given: Values) -> Mapping[str, Any]:
    (x,) = arguments(given, "x")
    return {"y": styles.called(_layer(layer_type, given), x, False)}


_LAYER = ("gamma", "beta", "running_mean", "running_var", "momentum", "eps")


def _layer(layer_type: Any, given: Values) -> Any:
    return styles.made(layer_type, dict(zip(_LAYER, arguments(given, *_LAYER), strict=True)))


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
    """Return a forward that hands a cache to a backward, as one formula."""

    def run(names: Mapping[str, Any], given: Values) -> Mapping[str, Any]:
        settings = dict(zip(_PASSED, arguments(given, *_PASSED), strict=True))
        x, gamma, beta = arguments(given, "x", "gamma", "beta")
        y, cache, state = styles.passed(names[forward], x, gamma, beta, "train", settings)
        out = {"y": y}
        if styles.by_dict(names[forward]):
            out |= {f"new_{key}": state[key] for key in ("running_mean", "running_var")}
        return out | _known(names[backward](*arguments(given, "dy"), cache))

    exact, floating = module.both(run)
    told = styles.states_eps(module.plain[forward])
    label = f"{module.path.name}:{backward}"
    return Formula(label, exact, floating, module.typed_eps, takes_eps=told)


_PASSED = ("eps", "momentum", "running_mean", "running_var")
