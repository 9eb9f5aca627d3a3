"""bncheck from Python: check any batch normalization, or test your own with its pieces.

Every name is imported when it is first used, since a pytest plugin loads this package in each
session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import invariants as invariants
    from .run.api import assert_batch_norm as assert_batch_norm
    from .run.api import batches as batches
    from .run.api import check as check
    from .run.api import radius as radius
    from .targets.isolate.limits import Limits as Limits
    from .targets.open import open_target as open_target

_WHERE = {
    "Limits": "targets.isolate.limits",
    "assert_batch_norm": "run.api",
    "batches": "run.api",
    "check": "run.api",
    "open_target": "targets.open",
    "radius": "run.api",
}
__all__ = [
    "Limits",
    "assert_batch_norm",
    "batches",
    "check",
    "invariants",
    "open_target",
    "radius",
]


def __getattr__(name: str) -> Any:
    """Import a public name where it is defined."""
    from importlib import import_module

    if name == "invariants":
        return import_module(".invariants", __name__)
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
