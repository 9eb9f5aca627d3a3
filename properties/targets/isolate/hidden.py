"""Keeps out of sight of a target what tells that it is being checked, while its code runs.

The modules of the suite leave sys.modules; who imports one of them by name is still given it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ROOTS = {"properties", "reference", "bn", "hypothesis", "_hypothesis_globals", "pytest", "_pytest"}
MARKS = ("PYTEST_", "HYPOTHESIS_")  # what the names of environment variables begin with


class _Kept(MetaPathFinder, Loader):
    """Gives the modules out that were taken from sys.modules, to who imports them."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self.modules = modules

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in self.modules else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        self.own = self.modules[spec.name].__spec__
        return self.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own


@contextmanager
def hidden() -> Iterator[None]:
    """Take the suite out of sys.modules for as long as this lasts."""
    kept = {n: m for n, m in list(sys.modules.items()) if n.partition(".")[0] in ROOTS}
    for name in kept:
        del sys.modules[name]
    finder = _Kept(kept)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path[:] = [one for one in sys.meta_path if one is not finder]
        sys.modules.update(kept)
