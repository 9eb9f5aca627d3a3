"""One point of growth, measured in an interpreter of its own: prints JSON.

python -m properties.benchmarks.growth_point layer N CHANNELS
python -m properties.benchmarks.growth_point run EXAMPLES
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import bn

INVARIANTS_RUN = (
    "output_agrees_with_reference",
    "channels_are_independent",
    "jacobian_is_symmetric",
)
FEW = 1 << 20  # elements up to which a call is timed more often


def peak() -> int:
    """Return the most memory that this process has held, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere this counts what the parent held, too
        lines = status.read_text(encoding="ascii").splitlines()
        found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        if found:
            return int(found[0]) * 1024
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def layer(n: int, c: int) -> dict[str, float]:
    """Return seconds of forward and backward, and the bytes held up to each beyond its arrays.

    What is given and what is returned is not counted; what forward returns for backward, five
    float64 vectors, is told apart. x and dy (n, c) float32 are there before.
    """
    _once(64, 64)  # so that all code is loaded
    first = _once(n, c)
    again = [_once(n, c) for _ in range(5 if n * c <= FEW else 2)]
    ahead, back = (
        min(times) for times in zip(*(once[:2] for once in (first, *again)), strict=True)
    )
    return {
        "forward": ahead,
        "backward": back,
        "forward_beyond": max(0, first[2]),
        "backward_beyond": max(0, first[3]),
        "saved": first[4],
    }


def _once(n: int, c: int) -> tuple[float, float, int, int, int]:
    """Return both times, how much the peak grew up to each beyond results, and what is saved."""
    rng = np.random.default_rng(0)
    x, dy = (rng.random((n, c), dtype=np.float32) for _ in "xd")
    ones = np.ones(c, np.float32)
    start = peak()
    (*outputs, saved), ahead = _timed(
        lambda: bn.forward_train(x, ones, ones, ones, ones, eps=1e-5, momentum=0.9)
    )
    batch = saved.statistics
    kept = sum(a.nbytes for a in (saved.gamma, saved.rstd, batch.pivot, batch.rest, batch.var))
    after_y = peak() - start - kept - sum(a.nbytes for a in outputs)
    gradients, back = _timed(lambda: bn.backward_train(dy, saved))
    outputs += gradients
    return ahead, back, after_y, peak() - start - kept - sum(a.nbytes for a in outputs), kept


def run(examples: int) -> dict[str, float]:
    """Return the seconds of a run of some invariants on bn, and the memory it held at most."""
    from ..engine.exercise import run_invariant
    from ..invariants import INVARIANTS
    from ..targets.open import loaded

    target, start = loaded("bn"), time.process_time()
    for name in INVARIANTS_RUN:
        run_invariant(target, INVARIANTS[name], examples=examples)
    return {"seconds": time.process_time() - start, "peak": peak()}


if __name__ == "__main__":
    kind, *sizes = sys.argv[1:]
    numbers = [int(size) for size in sizes]
    print(json.dumps(layer(*numbers) if kind == "layer" else run(*numbers)))
