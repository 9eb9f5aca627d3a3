"""The invariants of one run spread over worker processes, their results in the usual order."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

from .contract import Target, TargetError
from .expectations import Expectation, held
from .invariants import INVARIANTS
from .isolate import trace
from .isolate.limits import Limits
from .probe import find
from .run import Result


@dataclass(frozen=True)
class Task:
    """What a worker is to find: the target, and how it is exercised.

    limits is None where the target is called in the worker itself; registry holds the failures
    that are expected.
    """

    spec: str
    limits: Limits | None
    registry: tuple[Expectation, ...]
    examples: int
    seed: int


def spread(task: Task, names: Sequence[str], jobs: int) -> Iterator[tuple[str, list[Result]]]:
    """Yield the results of each invariant, in the order of the names, as one process has them.

    Args:
        task: what each worker is told.
        names: of invariants.
        jobs: how many workers.

    Raises:
        TargetError: a worker cannot load the target, or died.
    """
    with _workers(jobs) as executor:
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


@contextlib.contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(theirs,))
    cut: list[int | None] = []
    try:
        with _interrupts_ignored():  # the workers leave them to us from their first moment
            for _ in range(jobs):
                executor.submit(int)
        yield executor
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            cut = [child.pid for child in multiprocessing.active_children()]
        ours.close()  # a worker in the middle of an invariant ends at once
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        ours.close()
        theirs.close()
        for pid in cut:  # a worker may have been about to begin a call
            for path in trace.FOLDER.glob(f"call-{pid}-*.bin"):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


# --- in a worker ---------------------------------------------------------------------------------


def _begin(theirs: Connection) -> None:
    """Leave interrupts to the parent, and end when it closes its end or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_until_closed, args=(theirs,), daemon=True).start()


def _until_closed(theirs: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        theirs.recv_bytes()
    _close()
    os._exit(1)


def _close() -> None:
    """End the target's process, and remove the file of its last call."""
    from .isolate.remote import close_all

    close_all()


@cache
def _target(spec: str, limits: Limits | None) -> Target:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find(spec, limits)


def _one(task: Task, name: str) -> list[Any]:
    target = _target(task.spec, task.limits)
    options = {"examples": task.examples, "seed_number": task.seed}
    return [_bare(r) for r in held(target, name, task.registry, **options)]


def _bare(result: Any) -> Any:
    """Return a result without what is known elsewhere, and what its case remembers."""
    case = None if result.case is None else replace(result.case)
    return replace(result, invariant=None, case=case)
