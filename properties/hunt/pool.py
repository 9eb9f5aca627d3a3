"""Where shards are searched: processes of this machine, or a Dask cluster, one interface."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from ..model.contract import TargetError
from ..run.workers import workers
from ..support.extras import hint

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
        with workers(alone or jobs) as executor:
            yield executor, lambda: 2 * (alone or jobs)

    return Pool(opened, (BrokenProcessPool, CancelledError))


def dask(address: str) -> Pool:
    """Return the pool of a Dask scheduler; it sends a shard again whose worker died.

    Raises:
        TargetError: distributed is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise TargetError(f"--scheduler={address} needs distributed; {hint('cluster')}") from error

    def connected() -> Any:
        try:
            return Client(address, timeout=10, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            why = (" ".join(str(error).split()) or type(error).__name__).rstrip(".")
            raise TargetError(
                f"--scheduler={address}: no answer: {why}; expected tcp://HOST:PORT of a scheduler"
            ) from error

    @contextlib.contextmanager
    def opened(alone: int | None) -> Iterator[Opened]:
        client = connected()
        executor = client.get_executor(pure=False)
        try:
            yield executor, lambda: 4 * max(sum(client.ncores().values()), 1)
        finally:
            executor.shutdown(wait=False)
            client.close()

    connected().close()  # so that a wrong address is told before anything is written
    return Pool(opened, (KilledWorker, CancelledError))
