"""Whether what a built-in target needs is installed, found out without importing it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ...model.contract import TargetError
from .built_in import BUILT_IN, ORDERS, BuiltIn


def missing(built_in: BuiltIn) -> str:
    """Return what is missing or too old for a built-in, without importing it; "" if nothing is."""
    return "; ".join(filter(None, map(_lacks, built_in.needs)))


def _lacks(need: str) -> str:
    from packaging.requirements import Requirement

    found, requirement = version_of(need), Requirement(need)
    if found is None:
        return f"{requirement} is not installed"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{requirement.name} {found} is installed: expected {requirement}"
    return ""


_ALSO = {"tensorflow": ("tensorflow-cpu", "tensorflow-intel"), "mlx": ("mlx-cpu",)}


def version_of(need: str) -> str | None:
    """Return the version of a requirement's distribution, or of one that stands for it."""
    from packaging.requirements import Requirement

    name = Requirement(need).name
    for candidate in (name, *_ALSO.get(name, ())):
        try:
            return version(candidate)
        except PackageNotFoundError:
            continue
    return None


def require(spec: str, built_in: BuiltIn) -> None:
    """Raise a TargetError of one line where something that a built-in needs is missing."""
    if problem := missing(built_in):
        raise TargetError(f"target={spec}: {problem}; try: pip install {built_in.pip}")


def named(spec: str) -> tuple[BuiltIn, str] | None:
    """Return the built-in of this name, and the order of its second derivative if one is named."""
    if spec in BUILT_IN:
        return BUILT_IN[spec], ""
    base, _, order = spec.rpartition(":")
    if base in BUILT_IN and BUILT_IN[base].differentiates and order in ORDERS:
        return BUILT_IN[base], order
    return None


def misnamed(spec: str) -> str:
    """Return what may stand behind the name of a framework's target; "" if it is none."""
    base, _, rest = spec.rpartition(":")
    if base not in BUILT_IN or not BUILT_IN[base].needs:
        return ""
    orders = ORDERS if BUILT_IN[base].differentiates else ()
    own = (name.removeprefix(f"{base}:") for name in BUILT_IN if name.startswith(f"{base}:"))
    names = ", ".join((*own, *orders)) or "nothing"
    return f"no {rest!r} of {base}; expected {names} after {base}:"


def in_order(found: Any, order: str) -> dict[str, Callable[..., Any]]:
    """Return forward, backward and the second derivative of an adapter in one order of modes."""
    return {
        "forward_train": found.forward_train,
        "backward_train": found.backward_train,
        "double_backward_train": partial(found.second_derivative_train, order),
    }
