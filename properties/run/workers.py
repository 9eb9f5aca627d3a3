"""Worker processes of this machine, which leave no trace of themselves whoever is stopped."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from typing import TypeVar

from ..support.signals import interrupts_ignored


@contextlib.contextmanager
def workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Hold an executor of so many processes, each started afresh."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(theirs,))
    cut: list[int | None] = []
    try:
        with interrupts_ignored():  # the workers leave them to us from their first moment
            for _ in range(jobs):
                executor.submit(int)
        yield executor
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            cut = [child.pid for child in multiprocessing.active_children()]
        ours.close()  # a worker in the middle of something ends at once
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        ours.close()
        theirs.close()
        if cut:
            _forget_calls(cut)


def _forget_calls(cut: list[int | None]) -> None:
    """Remove the files of the last calls of workers that were cut short as they began one."""
    from ..targets.isolate.trace import FOLDER

    for pid in cut:
        for path in FOLDER.glob(f"call-{pid}-*.bin"):
            path.unlink(missing_ok=True)


# --- in a worker ---------------------------------------------------------------------------------

T = TypeVar("T")
_HELD = contextlib.ExitStack()  # what a worker has open as long as it lives
atexit.register(_HELD.close)


def until_the_end(context: contextlib.AbstractContextManager[T]) -> T:
    """Enter a context that is left when this process ends, or when who started it has gone."""
    return _HELD.enter_context(context)


def _begin(theirs: Connection) -> None:
    """Leave interrupts to the parent, and end when it closes its end or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_until_closed, args=(theirs,), daemon=True).start()


def _until_closed(theirs: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        theirs.recv_bytes()
    _HELD.close()
    os._exit(1)
