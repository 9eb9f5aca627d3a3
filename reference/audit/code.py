"""NumPy files under audit: a function, a contract implementation, a layer of the seed's shape."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..styles import pair_of, takes_cache
from .formula import Formula, Values
from .language import NotAFormula
from .layers import Module, arguments, contract, layer_class, pair
from .names import ALIASES, QUANTITIES
from .rewrite import Source, execute, rewrite

KNOW_EPS = {"eps", "std", "rstd", "xhat"}  # a parameter that carries eps into the function
_REST = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
RETURNS = {
    "forward": ("y",),
    "double_backward": ("grad_x", "grad_gamma", "grad_dy"),
    "forward_mode": ("ty",),
    "jvp": ("ty",),
    "running_statistics": ("new_running_mean", "new_running_var"),
    "statistics": ("mean", "var"),
}


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
            return contract(module)
        name = _only_candidate(module)
    if (forward := _forward_of(module, name)) is not None:
        return [pair(module, forward, name)]
    target = module.plain.get(name)
    if inspect.isclass(target):
        return layer_class(module, name)
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
    pair_found = pair_of({name: module.plain[name] for name in found})
    if pair_found and _forward_of(module, pair_found[1]):
        return pair_found[1]
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise NotAFormula(
            f"file={module.path.name!r}: functions are {names}; name one as FILE.py:FUNCTION"
        )
    return found[0]


def _forward_of(module: Module, name: str) -> str | None:
    """Return the forward in the same file whose cache this backward takes, if it takes one."""
    function, forward = module.plain.get(name), name.replace("backward", "forward")
    if forward == name or forward not in module.plain or not takes_cache(function):
        return None
    *_, second = inspect.signature(module.plain[name]).parameters
    return None if second in ALIASES else forward


def _function(module: Module, name: str, returns: tuple[str, ...], mode: str) -> Formula:
    parameters = _parameters(module.plain[name], name)

    def run(names: Mapping[str, Any], given: Values) -> Mapping[str, Any]:
        values = arguments(given, *parameters.values())
        result = names[name](**dict(zip(parameters, values, strict=True)))
        return _named(result, returns or _returns(name), name, mode)

    exact, floating = module.both(run)
    label = f"{module.path.name}:{name}"
    told = bool(KNOW_EPS & set(parameters.values()))
    return Formula(label, exact, floating, module.typed_eps, mode=mode, takes_eps=told)


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
        elif kind.default is kind.empty and kind.kind not in _REST:
            known = "x xc xhat mean var std rstd y dy gamma beta eps n momentum running_mean"
            raise NotAFormula(
                f"parameter={parameter!r} of {name}: unknown; expected names such as {known}"
                " (write a function f(dy, x, gamma, eps), or have its forward in the same file)"
            )
    return meant


def _returns(name: str) -> tuple[str, ...]:
    """Return what a function of this name returns, () to go by the number of its results."""
    if name in QUANTITIES["train"]:
        return (name,)
    return next((returns for key, returns in RETURNS.items() if name.startswith(key)), ())


def _named(result: Any, returns: tuple[str, ...], name: str, mode: str) -> Mapping[str, Any]:
    """Return the results by quantity.

    Raises:
        NotAFormula: there are too many or too few, or a name that is no quantity of this mode.
    """
    if not isinstance(result, Mapping):
        values = list(result) if isinstance(result, (tuple, list)) else [result]
        if not returns and len(values) in (1, 3):
            returns = ("dx", "dgamma", "dbeta")[: len(values)]
        if len(values) != len(returns):
            wanted = ", ".join(returns) or "dx or (dx, dgamma, dbeta)"
            raise NotAFormula(
                f"name={name!r}: returned {len(values)} values, expected {wanted}; say --returns"
            )
        result = dict(zip(returns, values, strict=True))
    unknown = [str(key) for key in result if key not in QUANTITIES[mode]]
    if unknown or not result:
        known = " ".join(QUANTITIES[mode])
        what = unknown[0] if unknown else "nothing"
        raise NotAFormula(f"name={name!r}: returned {what}, expected among {known} in mode {mode}")
    return dict(result)


def load(path: Path) -> Module:
    """Read and run a file.

    Raises:
        NotAFormula: it does not exist, is not Python, or raises on import.
    """
    if not path.is_file():
        raise NotAFormula(f"file={str(path)!r}: no such file; expected FILE.py:FUNCTION")
    try:
        text = path.read_text(encoding="utf-8")
        compile(text, str(path), "exec")
    except (SyntaxError, ValueError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise NotAFormula(f"file={str(path)!r}: not Python source ({reason})") from None
    plain = _import(path)
    known = plain.get("CONVENTIONS")
    eps = known.get("eps") if isinstance(known, Mapping) else None
    source: Source | None = rewrite(text, str(path), eps)
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
