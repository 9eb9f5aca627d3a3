"""Where shards are searched: processes of this machine, or a Dask cluster, one interface."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from ..contract import TargetError
from .work import begin

Opened = tuple[Executor, Callable[[], int]]  # and how many shards to have under way
Open = Callable[[int | None], contextlib.AbstractContextManager[Opened]]


@dataclass(frozen=True)
class Pool:
    """Where to search.

    open gives an executor, of one worker alone when asked for 1; broken are the exceptions that
    say a worker died with a shard.
    """

    open: Open
    broken: tuple[type[BaseException], ...]


def local(jobs: int) -> Pool:
    """Return a pool of so many processes, each started afresh."""

    @contextlib.contextmanager
    def opened(alone: int | None) -> Iterator[Opened]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        executor = ProcessPoolExecutor(
            alone or jobs, mp_context=context, initializer=begin, initargs=(theirs,)
        )
        try:
            with _interrupts_ignored():  # from their first moment the workers leave them to us
                executor.submit(int)
            yield executor, lambda: 2 * (alone or jobs)
        except BaseException:
            ours.close()  # a worker that is still searching leaves at once
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            ours.close()
            theirs.close()

    return Pool(opened, (BrokenProcessPool, CancelledError))


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


def dask(address: str) -> Pool:
    """Return the pool of a Dask scheduler; it sends a shard again whose worker died.

    Raises:
        TargetError: distributed is not installed; on opening, no scheduler answers.
    """
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise TargetError(
            f"--scheduler={address} needs distributed; try: pip install 'bncheck[cluster]'"
        ) from error

    @contextlib.contextmanager
    def opened(alone: int | None) -> Iterator[Opened]:
        try:
            client: Any = Client(address, timeout=10, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            why = (" ".join(str(error).split()) or type(error).__name__).rstrip(".")
            raise TargetError(
                f"--scheduler={address}: no answer: {why}; expected tcp://HOST:PORT of a scheduler"
            ) from error
        executor = client.get_executor(pure=False)
        try:
            yield executor, lambda: 4 * max(sum(client.ncores().values()), 1)
        finally:
            executor.shutdown(wait=False)
            client.close()

    return Pool(opened, (KilledWorker, CancelledError))
