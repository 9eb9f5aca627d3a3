"""Many runs on several cores: each is the same whatever the number of processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any

from .training import Curve, Images, Plan, Setting, Stopped, train

_WORK: dict[str, Any] = {}
_THREADS = ("OPENBLAS", "OMP", "MKL", "VECLIB_MAXIMUM", "BLIS")


def sweep(
    images: Images,
    plan: Plan,
    settings: Sequence[Setting],
    jobs: int,
    tick: Callable[[Curve], None] = lambda curve: None,
) -> None:
    """Run all settings, each on one core, and hand every curve to tick as it is done.

    A KeyboardInterrupt stops the runs that are under way and is passed on.
    """
    context = get_context("spawn")
    stop = context.Event()
    work = (images, plan, stop)
    with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=work) as pool:
        try:
            with _started_quietly():
                runs = [pool.submit(_one, setting) for setting in settings]
            for run in as_completed(runs):
                tick(run.result())
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _started_quietly() -> Iterator[None]:
    """Start processes that know no Ctrl-C, which is for their parent, and use one thread each."""
    names = [f"{name}_NUM_THREADS" for name in _THREADS]
    before = {name: os.environ.get(name) for name in names}
    main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if main:
            signal.signal(signal.SIGINT, previous)


def _begin(images: Images, plan: Plan, stop: Any) -> None:
    _WORK.update(images=images, plan=plan, stop=stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one(setting: Setting) -> Curve:
    stop: Callable[[], bool] = _WORK["stop"].is_set
    if stop():
        raise Stopped
    return train(_WORK["images"], _WORK["plan"], setting, stop=stop)
