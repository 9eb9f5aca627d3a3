"""The invariants of one run spread over worker processes, their results in the usual order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import cache
from typing import Any

from ..engine.exercise import Result
from ..invariants import INVARIANTS
from ..model.contract import TargetError
from .session import Options, Session, session
from .workers import until_the_end, workers


def spread(options: Options, names: Sequence[str], jobs: int) -> Iterator[tuple[str, list[Result]]]:
    """Yield the results of each invariant, in the order of the names, as one process has them.

    Args:
        options: of the run; its database with whole paths.
        names: of invariants.
        jobs: how many workers.

    Raises:
        TargetError: a worker cannot load the target, or died.
    """
    with workers(jobs) as executor:
        # those that take longest begin first, so that no worker waits for the last of them alone
        early = sorted(names, key=lambda name: -INVARIANTS[name].weight)
        asked: dict[str, Future[list[Result]]] = {
            name: executor.submit(_one, options, name) for name in early
        }
        for name in names:
            try:
                found = asked[name].result()
            except BrokenProcessPool as error:
                raise TargetError(
                    f"target={options.spec}: a worker process died at {name} or beside it; "
                    "--jobs 1 shows which, unless the target has its own process"
                ) from error
            yield name, [replace(r, invariant=INVARIANTS[name]) for r in found]


# --- in a worker ---------------------------------------------------------------------------------


@cache
def _session(options: Options) -> Session:
    return until_the_end(session(options))


def _one(options: Options, name: str) -> list[Any]:
    return [_bare(result) for result in _session(options).results(name)]


def _bare(result: Any) -> Any:
    """Return a result without what is known elsewhere, and what its case remembers."""
    case = None if result.case is None else replace(result.case)
    return replace(result, invariant=None, case=case)
