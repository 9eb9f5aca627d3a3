"""What a worker does: load the target by its spec once, then search the shards it is given."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

from ..engine.database import once
from ..model.contract import Target, TargetError
from ..run.text import versions
from ..run.workers import until_the_end
from ..targets.isolate.limits import Limits
from ..targets.open import open_target
from .cells import cell_as_json
from .search import Failing, search
from .shards import Shard

_BNCHECK = Path(__file__).resolve().parents[2]
_ONE_AT_A_TIME = threading.Lock()  # a target need not stand threads, which a cluster's workers have
_ROOMS = (
    "properties/model",
    "properties/engine",
    "properties/hunt",
    "properties/invariants",
    "reference",
)


def target_of(spec: str) -> Target:
    """Return the target, called in this process and open as long as it lives."""
    return until_the_end(open_target(spec, Limits(in_process=True)))


def fingerprint(target: Target) -> str:
    """Return what changes when the target's source, bncheck or a version changes."""
    found = hashlib.sha256(repr(sorted({**versions(), "python": _python()}.items())).encode())
    for path in _sources(target):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _sources(target: Target) -> list[Path]:
    """Return the files of the hunt, of the target's packages, and of what lies beside its file."""
    where = target.spec.partition(":")[0] if ":" in target.spec[2:] else target.spec
    beside = Path(where).resolve().parent if where.endswith(".py") else None
    names = [getattr(f, "__module__", None) or "" for f in target.functions.values()]
    own = "properties" if where == "mutants" else where
    tops = {name.partition(".")[0] for name in [*names, own]}
    files = {path for room in _ROOMS for path in (_BNCHECK / room).glob("*.py")}
    if "properties" in tops:
        tops.remove("properties")
        files |= {p for p in (_BNCHECK / "properties").rglob("*.py") if "suite" not in p.parts}
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "none").resolve()
        if path.suffix == ".py" and (name.partition(".")[0] in tops or path.parent == beside):
            files.add(path)
    return sorted(path for path in files if path.is_file())


@cache
def _loaded(spec: str) -> tuple[Target, str]:
    target = target_of(spec)
    return target, fingerprint(target)


def search_shard(
    spec: str, mark: str, shard: Shard, examples: int, seed_number: int, database: str
) -> dict[str, Any]:
    """Search one shard and return its cells and its smallest failing case as JSON.

    Args:
        spec: of the target.
        mark: the fingerprint of the target where the hunt was started.
        shard: what to search.
        examples: how many to draw.
        seed_number: of the hunt.
        database: as `database.opened` reads it, or empty.

    Raises:
        TargetError: the target cannot be loaded here, or is another one here.
    """
    with _ONE_AT_A_TIME:
        return _searched(spec, mark, shard, examples, seed_number, database)


def _searched(
    spec: str, mark: str, shard: Shard, examples: int, seed_number: int, database: str
) -> dict[str, Any]:
    target, own = _loaded(spec)
    if own != mark:
        raise TargetError(
            f"target={spec}: on worker {platform.node()} (process {os.getpid()}) it, bncheck or a "
            "version differs; expected the same files and versions everywhere"
        )
    found = search(target, shard, examples, seed_number, database=once(database))
    return {
        "cells": [[decade, cell_as_json(cell)] for decade, cell in found.cells.items()],
        "smallest": failing_as_json(found.smallest),
    }


def failing_as_json(failing: Failing | None) -> dict[str, Any] | None:
    """Return what a state file keeps of a failing case."""
    if failing is None:
        return None
    return {"point": failing.point.as_json(), "message": failing.message}
