"""NumPy files under audit: a function, a contract implementation, a layer of the seed's shape."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .audit_formula import Formula, NotAFormula, Run, Values
from .audit_numbers import TurnedFloat
from .audit_rewrite import Source, execute, rewrite

ALIASES: dict[str, str] = {
    alias: name
    for name, aliases in {
        "dy": "dout grad grad_output grad_out grad_y dL_dy dLdy upstream dY delta",
        "x": "X input inputs inp",
        "gamma": "weight w scale",
        "beta": "bias shift",
        "eps": "epsilon",
        "mean": "mu batch_mean sample_mean save_mean saved_mean",
        "var": "variance sigma2 batch_var sample_var save_var",
        "std": "sigma",
        "rstd": "invstd inv_std istd ivar save_invstd save_rstd inv_var",
        "xhat": "x_hat xn x_norm xnorm normalized x_normalized",
        "xc": "xmu x_centered centered",
        "y": "out output z",
        "n": "N m M batch_size",
    }.items()
    for alias in [name, *aliases.split()]
}
_SAME = (
    "momentum", "running_mean", "running_var", "ddx", "ddgamma", "ddbeta", "tx", "tgamma", "tbeta",
)  # fmt: skip
ALIASES |= {name: name for name in _SAME}
RETURNS = {
    "forward": ("y",),
    "double_backward": ("grad_x", "grad_gamma", "grad_dy"),
    "forward_mode": ("ty",),
    "jvp": ("ty",),
    "running_statistics": ("new_running_mean", "new_running_var"),
    "statistics": ("mean", "var"),
}
KEPT = {"x", "dy", "xhat", "xc", "y", "ddx", "tx", "n", "eps", "momentum"}


@dataclass(frozen=True)
class Module:
    """A file under audit: rewritten (None where that failed) and as it is."""

    path: Path
    source: Source | None
    plain: Mapping[str, Any]

    def names(self, exact: bool, eps: Any) -> Mapping[str, Any]:
        """Return the module's names, run anew over exact numbers or as it is."""
        if not exact or self.source is None:
            return self.plain
        return execute(self.source, eps)


def load(path: Path) -> Module:
    """Read and run a file.

    Raises:
        NotAFormula: it does not exist, is not Python, or raises on import.
    """
    if not path.is_file():
        raise NotAFormula(f"file={str(path)!r}: no such file; expected FILE.py:FUNCTION")
    try:
        text = path.read_text(encoding="utf-8")
        source: Source | None = rewrite(text, str(path))
    except (SyntaxError, ValueError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise NotAFormula(f"file={str(path)!r}: not Python source ({reason})") from None
    plain = _import(path)
    try:
        if source is not None:
            execute(source, 1)
    except Exception:  # what runs plainly and fails over exact numbers is audited in float64
        source = None
    return Module(path, source, plain)


def _import(path: Path) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location(f"bncheck_audited_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise NotAFormula(f"file={str(path)!r}: expected a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise NotAFormula(f"file={str(path)!r}: does not import ({reason})") from None
    finally:
        sys.path.remove(str(path.parent))
    return vars(module)


def from_file(
    path: Path, name: str | None, returns: Sequence[str] = (), mode: str = "train"
) -> list[Formula]:
    """Return what a file offers: one formula, or one per mode for an implementation.

    Args:
        name: the function or class; None for a contract implementation or the only candidate.
        returns: the quantities a function returns, in order; empty to go by its name and count.

    Raises:
        NotAFormula: there is nothing of that name, or its parameters are not documented names.
    """
    module = load(path)
    if name is None:
        if "forward_train" in module.plain:
            return _contract(module)
        name = _only_candidate(module)
    target = module.plain.get(name)
    if inspect.isclass(target):
        return [_layer(module, name)]
    if not callable(target):
        offered = ", ".join(_candidates(module)) or "none"
        raise NotAFormula(
            f"name={name!r}: no such function in {module.path.name}; it has {offered}"
        )
    return [_function(module, name, tuple(returns), mode)]


def _candidates(module: Module) -> list[str]:
    return [
        name for name, value in module.plain.items()
        if callable(value) and getattr(value, "__module__", "").startswith("bncheck_audited")
    ]  # fmt: skip


def _only_candidate(module: Module) -> str:
    found = _candidates(module)
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise NotAFormula(
            f"file={module.path.name!r}: functions are {names}; name one as FILE.py:FUNCTION"
        )
    return found[0]


def _flat(name: str, value: Any) -> Any:
    """Channel values are (c,) for code, as NumPy users write them."""
    return value if name in KEPT or not isinstance(value, np.ndarray) else value.reshape(-1)


def _both(module: Module, run: Callable[[Mapping[str, Any], Values], Mapping[str, Any]]) -> Any:
    def exact(given: Values) -> Mapping[str, Any]:
        return run(module.names(True, given["eps"]), given)

    def floating(given: Values) -> Mapping[str, Any]:
        return run(module.names(False, given["eps"]), given)

    return (exact if module.source else None), floating


def _typed(module: Module) -> tuple[str, ...]:
    return module.source.typed_eps if module.source else ()


def _function(module: Module, name: str, returns: tuple[str, ...], mode: str) -> Formula:
    parameters = _parameters(module.plain[name], name)

    def run(names: Mapping[str, Any], given: Values) -> Mapping[str, Any]:
        values = {p: _copied(_flat(meant, given[meant])) for p, meant in parameters.items()}
        return _named(names[name](**values), returns or _returns(name), name)

    exact, floating = _both(module, run)
    label = f"{module.path.name}:{name}"
    return Formula(label, exact, floating, _typed(module), mode=mode)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _parameters(function: Callable[..., Any], name: str) -> dict[str, str]:
    """Return what each parameter means; those with defaults of their own may stay unknown."""
    try:
        signature = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise NotAFormula(f"name={name!r}: its parameters cannot be read; wrap it") from None
    meant = {}
    for parameter, kind in signature.items():
        if parameter in ALIASES:
            meant[parameter] = ALIASES[parameter]
        elif kind.default is kind.empty and kind.kind not in (
            kind.VAR_KEYWORD,
            kind.VAR_POSITIONAL,
        ):
            known = "x xc xhat mean var std rstd y dy gamma beta eps n momentum running_mean"
            raise NotAFormula(
                f"parameter={parameter!r} of {name}: unknown; expected names such as {known}"
                " (write a function f(dy, x, gamma, eps))"
            )
    return meant


def _returns(name: str) -> tuple[str, ...]:
    from .audit_points import QUANTITIES  # late: only names are needed

    if name in QUANTITIES["train"]:
        return (name,)
    return next((returns for key, returns in RETURNS.items() if name.startswith(key)), ())


def _named(result: Any, returns: tuple[str, ...], name: str) -> Mapping[str, Any]:
    if isinstance(result, Mapping):
        return result
    values = list(result) if isinstance(result, (tuple, list)) else [result]
    if not returns:
        returns = ("dx", "dgamma", "dbeta")[: len(values)] if len(values) in (1, 3) else ()
    if len(values) != len(returns):
        wanted = ", ".join(returns) or "dx or (dx, dgamma, dbeta)"
        raise NotAFormula(
            f"name={name!r}: returned {len(values)} values, expected {wanted}; say --returns"
        )
    return dict(zip(returns, values, strict=True))


def _contract(module: Module) -> list[Formula]:
    """A contract implementation: one formula per mode that it offers both ways."""
    found = []
    for mode in ("train", "eval"):
        if {f"forward_{mode}", f"backward_{mode}"} <= set(module.plain):
            runner = _run_train if mode == "train" else _run_eval
            exact, floating = _both(module, runner)
            label = f"{module.path.name} ({mode})"
            found.append(Formula(label, exact, floating, _typed(module), mode=mode))
    if not found:
        raise NotAFormula(f"file={module.path.name!r}: forward_train without backward_train")
    return found


def _inputs(given: Values, *names: str) -> list[Any]:
    return [_copied(_flat(name, given[name])) for name in names]


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


def _layer(module: Module, name: str) -> Formula:
    """A layer class of the seed's shape, a new instance per run."""

    def run(names: Mapping[str, Any], given: Values) -> Mapping[str, Any]:
        layer = names[name](*_inputs(given, "gamma", "beta"), **_state(names[name], given))
        y = layer.forward(*_inputs(given, "x"), True)
        dx = layer.backward(*_inputs(given, "dy"))
        out = {"y": y, "dx": dx, "dgamma": layer.dgamma, "dbeta": layer.dbeta}
        return out | {f"new_{k}": getattr(layer, k) for k in ("running_mean", "running_var")
                      if hasattr(layer, k)}  # fmt: skip

    exact, floating = _both(module, run)
    notes = _inference_note(module, name)
    return Formula(f"{module.path.name}:{name}", exact, floating, _typed(module), notes)


def _state(layer: Any, given: Values) -> dict[str, Any]:
    parameters = inspect.signature(layer).parameters
    names = [
        name for name in ("momentum", "running_mean", "running_var", "eps") if name in parameters
    ]
    return dict(zip(names, _inputs(given, *names), strict=True))


def _inference_note(module: Module, name: str) -> tuple[str, ...]:
    """Say so if inference crashes, as it does in the seed."""
    one = np.ones(1)
    try:
        given = {"gamma": one, "beta": one, "running_mean": one, "running_var": one,
                 "momentum": 0.9, "eps": 1e-5}  # fmt: skip
        layer = module.plain[name](one, one, **_state(module.plain[name], given))
        layer.forward(np.ones((2, 1)), False)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return (f"inference is not audited: forward(x, False) raises {reason}",)
    return ("inference is not audited: a layer class has no backward for it",)


__all__ = ["ALIASES", "Module", "Run", "TurnedFloat", "from_file", "load"]
