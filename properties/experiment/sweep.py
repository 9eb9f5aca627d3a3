"""Many runs on several cores: each is the same whatever the number of processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from typing import Any
from unittest import mock

from ..support.signals import interrupts_ignored
from .training import Curve, Images, Plan, Setting, Stopped, train

_WORK: dict[str, Any] = {}
_ONE_THREAD = {
    f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "VECLIB_MAXIMUM", "BLIS")
}


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
            with interrupts_ignored(), mock.patch.dict(os.environ, _ONE_THREAD):
                runs = [pool.submit(_one, setting) for setting in settings]
            for run in as_completed(runs):
                tick(run.result())
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


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
