"""The invariants of one run spread over worker processes, their results in the usual order."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ..engine.database import once
from ..engine.exercise import Result
from ..invariants import INVARIANTS
from ..model.contract import Target, TargetError
from ..targets.isolate.limits import Limits
from ..targets.offers import find
from .expectations import Expectation, held
from .workers import workers


@dataclass(frozen=True)
class Task:
    """What a worker is to find: the target, and how it is exercised.

    limits is None where the target is called in the worker itself; registry holds the failures
    that are expected; database is as `database.opened` reads it.
    """

    spec: str
    limits: Limits | None
    registry: tuple[Expectation, ...]
    examples: int
    seed: int
    database: str = ""


def spread(task: Task, names: Sequence[str], jobs: int) -> Iterator[tuple[str, list[Result]]]:
    """Yield the results of each invariant, in the order of the names, as one process has them.

    Args:
        task: what each worker is told.
        names: of invariants.
        jobs: how many workers.

    Raises:
        TargetError: a worker cannot load the target, or died.
    """
    with workers(jobs) as executor:
        # those that take longest begin first, so that no worker waits for the last of them alone
        early = sorted(names, key=lambda name: -INVARIANTS[name].weight)
        asked: dict[str, Future[list[Result]]] = {n: executor.submit(_one, task, n) for n in early}
        for name in names:
            try:
                found = asked[name].result()
            except BrokenProcessPool as error:
                raise TargetError(
                    f"target={task.spec}: a worker process died at {name} or beside it; --jobs 1 "
                    "shows which, unless the target has its own process"
                ) from error
            yield name, [replace(r, invariant=INVARIANTS[name]) for r in found]


# --- in a worker ---------------------------------------------------------------------------------


@cache
def _target(spec: str, limits: Limits | None) -> Target:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find(spec, limits)


def _one(task: Task, name: str) -> list[Any]:
    target = _target(task.spec, task.limits)
    options = {"examples": task.examples, "seed_number": task.seed}
    kept = once(task.database)
    return [_bare(r) for r in held(target, name, task.registry, database=kept, **options)]


def _bare(result: Any) -> Any:
    """Return a result without what is known elsewhere, and what its case remembers."""
    case = None if result.case is None else replace(result.case)
    return replace(result, invariant=None, case=case)
