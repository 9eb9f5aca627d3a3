"""The one way to get a target: loaded here or in a process of its own, probed, and closed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..model.contract import Target
from .isolate.limits import Limits, needs_process
from .isolate.remote import isolated
from .load import load, offered
from .offers import probed
from .styles import by_framework


@contextmanager
def open_target(spec: Any, limits: Limits | None = None, afresh: bool = False) -> Iterator[Target]:
    """Hold a target, its first plain call checked and its conventions found out; then close it.

        with open_target("mine.py", Limits(timeout=5)) as target:
            print(target.conventions)

    Args:
        spec: a built-in name, package.module, package.module:NAME, path/to/file.py,
            path/to/file.py:NAME, mutants:NAME or exec:COMMAND; or a module, object or layer class,
            which is called in this process.
        limits: what a call may take; the defaults where left out. A target runs in a process of
            its own unless limits.in_process is set or it is the suite's own code; a program
            always does. Warnings while it is loaded are not shown.
        afresh: whether its process is started again after that, unless a framework has to be
            imported for it: the first call that is judged is the first that it gets.

    Raises:
        TargetError: there is no such target, or its first plain call fails in structure.
    """
    limits = limits or Limits()
    if not isinstance(spec, str):
        name = getattr(spec, "__name__", type(spec).__name__)
        yield probed(name, *offered(spec, name))
        return
    if not needs_process(spec, limits):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target = probed(spec, *load(spec))
        yield target
        return
    remote = isolated(spec, limits)
    try:
        with remote.patient(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target = probed(spec, remote.functions, remote.stated)
        if afresh and not by_framework(target.style):
            remote.afresh()
        yield target
    finally:
        remote.close()


def loaded(spec: str) -> Target:
    """Return a target that runs in this process, for tests and measurements: nothing to close."""
    return probed(spec, *load(spec))
