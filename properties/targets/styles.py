"""The styles in which people write batch norm: which one a file or an object is of."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ..model.contract import TargetError
from .adapters.words import Unfit, uses

Functions = dict[str, Callable[..., Any]]


@dataclass(frozen=True)
class Style:
    """A way to write batch norm.

    package is what its files import, "" where that tells nothing. where is MODULE:FUNCTION among
    the adapters; it returns the contract's functions, what is known besides, and the thing that
    was taken, or raises Unfit.
    """

    name: str
    package: str
    where: str
    says: str


PAIR = "a pair such as batchnorm_forward and batchnorm_backward"
STYLES = (
    Style("keras", "keras", "any_keras:found_in", "a keras.Layer"),
    Style("pytorch", "torch", "any_torch:found_in", "a module or a function of tensors"),
    Style("flax", "flax", "any_flax:found_in", "a linen or nnx module"),
    Style("equinox", "equinox", "any_equinox:found_in", "an equinox.Module"),
    Style("cs231n", "", "function_pair:found_in", PAIR),
    Style("numpy-class", "", "layer_class:found_in", "one class with forward and backward"),
    Style("jax", "jax", "any_jax:found_in", "a function of x, gamma and beta, or of params"),
    Style("stax", "jax", "any_jax:pair_in", "a pair of init_fun and apply_fun"),
)
NAMES = ("contract", *(style.name for style in STYLES))


def by_framework(taken: str) -> bool:
    """Return whether the style in which a target was taken leaves derivatives to a framework."""
    return any(style.package and taken.startswith(f"{style.name}:") for style in STYLES)


def misfit(style: str, spec: str) -> str:
    """Return what is wrong with a style that is asked for, "" if nothing is."""
    if style not in NAMES:
        return f"--style={style}: expected one of {', '.join(NAMES)}"
    if not split(f"{style}:{spec}")[0] or split(spec)[0]:
        return f"--style={style}: target={spec} is no file; expected FILE.py or FILE.py:NAME"
    return ""


def styled(style: str, spec: str) -> str:
    """Return the spec of a target with its style in front, where one is asked for.

    Raises:
        TargetError: there is no such style, or the target is no file.
    """
    if style and (wrong := misfit(style, spec)):
        raise TargetError(wrong)
    return f"{style}:{spec}" if style else spec


def split(spec: str) -> tuple[str, str]:
    """Return the style that a spec begins with, as in pytorch:mine.py:Net, and the rest of it."""
    style, _, rest = spec.partition(":")
    return (style, rest) if style in NAMES and (".py" in rest or "/" in rest) else ("", spec)


def recognised(found: Any, spec: str, style: str = "") -> tuple[Functions, dict[str, Any], Any]:
    """Return functions of the contract, what is known besides, and the thing that was taken.

    Args:
        found: a module or an object without forward_train.
        style: the name of the one that it is of; any where left out.

    Raises:
        TargetError: it is of no style, or not of this one.
    """
    unfit: list[tuple[int, str]] = []
    for known in STYLES:
        if style != known.name and (style or not _in_use(found, known.package)):
            continue
        module, _, name = known.where.partition(":")
        try:
            adapter = importlib.import_module(f".adapters.{module}", __package__)
            functions, told, thing = getattr(adapter, name)(found)
        except Unfit as error:
            unfit.append((error.near + bool(known.package), f"{known.name}: {error}"))
        except ImportError as error:
            raise TargetError(f"target={spec}: --style {style}: {error}") from error
        else:
            return functions, {**told, "style": f"{known.name}: {told['style']}"}, thing
    raise TargetError(f"target={spec}: {_unfit(unfit, style)}")


def _in_use(found: Any, package: str) -> bool:
    if not package:
        return True
    line = () if isinstance(found, ModuleType) else inspect.getmro(_class(found))
    its = any(base.__module__.partition(".")[0] == package for base in line)
    return package in sys.modules and (its or uses(found, package))


def _class(found: Any) -> type:
    return found if inspect.isclass(found) else type(found)


def _unfit(unfit: Iterable[tuple[int, str]], style: str) -> str:
    """Say why it is of no style: what is expected, and the three that were nearest."""
    nearest = [text for _, text in sorted(unfit, key=lambda pair: -pair[0])][:3]
    if style:
        return f"it has no forward_train, and is not of --style {''.join(nearest) or style}"
    tried = {text.partition(":")[0] for text in nearest}
    says = [known.says for known in reversed(STYLES) if not known.package or known.name in tried]
    expected = ", ".join(("the functions of the contract", *says))
    return f"it has no forward_train; expected {expected}; nearest: {'; '.join(nearest)}"
