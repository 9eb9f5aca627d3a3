"""From the spec of a target to its functions: built-in names, modules, files, layer classes."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ..model.contract import ALONE, FUNCTIONS, LAYER, TargetError
from ..support.terminal import nearest
from .adapters.built_in import BUILT_IN as BUILT_IN
from .adapters.built_in import BuiltIn
from .adapters.installed import in_order, misnamed, named, require
from .adapters.words import Unfit
from .device import placed, refuse, use
from .isolate.hidden import hidden
from .styles import recognised, split


def load(spec: str, alone: bool = False) -> tuple[dict[str, Callable[..., Any]], dict[str, Any]]:
    """Return the functions of the contract that a target has, and the conventions it states.

    Args:
        spec: a built-in name, package.module, package.module:NAME, path/to/file.py,
            path/to/file.py:NAME, path/to/model.onnx:NODE, mutants:NAME or exec:COMMAND; STYLE:
            before a file says how it is written, @DEVICE behind PyTorch code where it runs.
        alone: whether this process is the target's alone: a file has its own name in it then, and
            does not see the suite.

    Raises:
        TargetError: no such target, it does not import, or it has neither a forward_train nor what
            is a target by itself.
    """
    rest, device = placed(spec)
    if device:
        use(device, spec)
        functions, stated = load(rest, alone)
        refuse(known[0] if (known := named(rest)) else None, functions, stated, spec)
        return functions, stated
    if not spec.strip():
        raise TargetError(f"target={spec!r}: expected a name, a module or a file.py")
    if spec.startswith("mutants:"):
        from ..bugs.by_name import offered_by

        return offered_by(spec.removeprefix("mutants:"))
    if spec.startswith("exec:"):
        raise TargetError(f"target={spec}: a program has a process of its own; use open_target")
    if known := named(spec):
        return _built_in(spec, *known)
    if (at := f"{spec}:".find(".onnx:")) > 0:
        return offered(_in_onnx(spec[: at + 5], spec[at + 6 :], spec), spec)
    style, rest = split(spec)
    module, found = _resolve(rest, alone)
    return offered(found, spec, style, module)


def _built_in(
    spec: str, known: BuiltIn, order: str
) -> tuple[dict[str, Callable[..., Any]], dict[str, Any]]:
    """Return what a built-in offers, and of one with an order of modes what has to do with it."""
    require(spec, known)
    where, _, name = known.where.partition(":")
    found = _attribute(_module(where, spec), name or None, spec)
    functions, stated = offered(found, spec)
    stated |= {"layouts": "copied"} if known.copies else {}
    return (dict(in_order(found, order)) if order else functions), stated


def offered(
    found: Any, spec: str, style: str = "", module: Any = None
) -> tuple[dict[str, Callable[..., Any]], dict[str, Any]]:
    """Return functions and stated conventions of a module, or of a class or object in one.

    Args:
        style: how it is written, of `styles.NAMES`; found out where left out.
        module: where it is from; what that states counts for code in a style.
    """
    plain = any(hasattr(found, name) for name in ("forward_train", *ALONE))
    if not plain or style not in ("", "contract"):
        functions, told, thing = recognised(found, spec, style)
        stated = [_stated(holder, spec) for holder in (module, found, thing)]
        return functions, {k: v for each in (told, *stated) for k, v in each.items()}
    functions = {
        name: getattr(found, name) for name in (*FUNCTIONS, *LAYER) if hasattr(found, name)
    }
    for name, function in functions.items():
        if not callable(function):
            raise TargetError(f"target={spec}: {name} is no function but {type(function).__name__}")
    return functions, {**_masked_by(functions.get("forward_train")), **_stated(found, spec)}


def _masked_by(forward_train: Callable[..., Any] | None) -> dict[str, str]:
    """Return the name of the argument that is a mask, if there is one."""
    try:
        names = inspect.signature(forward_train).parameters if forward_train else {}
    except (TypeError, ValueError):
        return {}
    return next(({"masked_by": name} for name in ("mask", "lengths") if name in names), {})


def _stated(found: Any, spec: str) -> dict[str, Any]:
    stated = getattr(found, "CONVENTIONS", {})
    if not isinstance(stated, Mapping):
        raise TargetError(f"CONVENTIONS of target={spec}: expected a mapping, got {stated!r}")
    return dict(stated)


def _resolve(spec: str, alone: bool) -> tuple[Any, Any]:
    """Return the module of a spec, and what it names in it."""
    registered = _third_party()
    if spec in registered:
        return None, _entry(registered[spec])
    if problem := misnamed(spec):
        raise TargetError(f"target={spec}: {problem}")
    path, _, name = spec.rpartition(":") if ":" in spec[2:] else (spec, "", "")
    path = path or spec
    is_file = path.endswith(".py") or "/" in path
    module = _file(path, spec, alone) if is_file else _module(path, spec)
    return module, _attribute(module, name or None, spec)


def _entry(point: Any) -> Any:
    try:
        return point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _import_failed(point.name, error) from error


def _third_party() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group="bncheck.targets")}


def _attribute(found: Any, name: str | None, spec: str) -> Any:
    for part in name.split(".") if name else []:
        if not hasattr(found, part):
            raise TargetError(
                f"target={spec}: no {part} in it; expected one of its names after ':'"
            )
        found = getattr(found, part)
    return found


def _module(name: str, spec: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")  # a module beside where the command was started
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name + ".").startswith(error.name + "."):
            known = sorted({**_third_party(), **BUILT_IN})
            names = ", ".join(known)
            raise TargetError(
                f"target={spec}: no such module{nearest(spec, known)}; "
                f"expected one of {names}, a module or a file.py"
            ) from error
        raise TargetError(
            f"target={spec}: it needs {error.name}, which is not installed; "
            f"try: pip install {error.name}"
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _import_failed(spec, error) from error


def _file(path: str, spec: str, alone: bool) -> ModuleType:
    if not Path(path).is_file():
        raise TargetError(f"target={spec}: no file {path}; expected a Python file")
    name = ("" if alone and _is_free(path) else "bncheck_target_") + Path(path).stem
    description = importlib.util.spec_from_file_location(name, path)
    if description is None or description.loader is None:
        raise TargetError(f"target={spec}: {path} is no Python file; expected a name ending in .py")
    module = importlib.util.module_from_spec(description)
    sys.modules[name] = module
    beside = str(Path(path).resolve().parent)
    sys.path.insert(0, beside)  # so that it can import what lies beside it
    try:
        with hidden() if alone else nullcontext():
            description.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _import_failed(spec, error) from error
    finally:
        sys.path.remove(beside)
    return module


def _is_free(path: str) -> bool:
    """Return whether no other module has the name of a file."""
    found = importlib.util.find_spec(Path(path).stem) if Path(path).stem.isidentifier() else None
    own = found is None or Path(found.origin or "").resolve() == Path(path).resolve()
    return own and Path(path).stem not in sys.modules


def _in_onnx(path: str, node: str, spec: str) -> Any:
    """Return a batch norm of an ONNX file."""
    if not Path(path).is_file():
        raise TargetError(f"target={spec}: no file {path}; expected an ONNX file")
    require(spec, replace(BUILT_IN["onnx"], pip=BUILT_IN["onnxruntime"].pip))
    from .adapters import onnx_file

    try:
        return onnx_file.found_in(path, node)
    except Unfit as error:
        raise TargetError(f"target={spec}: {error}") from error


def _import_failed(spec: str, error: BaseException) -> TargetError:
    text = (str(error).strip().splitlines() or [""])[0]
    return TargetError(f"target={spec}: it does not import: {type(error).__name__}: {text}")
