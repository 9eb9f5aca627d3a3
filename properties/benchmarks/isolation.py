"""What a process of its own costs: the same target isolated and not, in one interleaved run.

    python -m properties.benchmarks.isolation [--rounds 5] [--examples 20]

prints, for batches of 512 elements, the time per example of each invariant in process and isolated,
and their ratio, by the clock and in processor time of both processes together: the medians over
rounds in which the two run one after the other. The bound of 1.3 is for the last line, the sum, by
the clock where nothing else runs. The line before is a bare call.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np

from ..engine.exercise import run_invariant
from ..engine.strategies import INPUTS
from ..invariants import INVARIANTS
from ..model import contract
from ..model.contract import Array, Target
from ..targets.isolate.limits import Limits
from ..targets.isolate.remote import Remote
from ..targets.load import load
from ..targets.offers import probed
from .timing import ratio

SPEC = "bn"
WHOLE = "(every invariant on batches of 512)"
CALL = "(a bare call of forward_train)"


def exercised(target: Target, name: str, examples: int, number: int) -> Callable[[], object]:
    """Return what runs an invariant on the target."""
    return lambda: run_invariant(
        target, INVARIANTS[name], examples=examples, seed_number=number, shrink=False
    )


def called(target: Target, times: int) -> Callable[[], object]:
    """Return what calls forward_train on 128 rows of 4 channels."""
    x = np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32)
    gamma = np.ones(4, np.float32)
    state = (gamma, gamma, gamma, gamma)

    def run() -> None:
        for _ in range(times):
            contract.train(target, x, *state, eps=0.5, momentum=0.5)

    return run


def clocks(pid: int) -> Array:
    """Return the time, and the processor time of this process and of another (Linux)."""
    other = time.clock_gettime((~pid << 3) | 2) if sys.platform == "linux" else 0.0
    return np.array([time.perf_counter(), time.process_time() + other])


def seconds(pair: list[Callable[[], object]], pid: int, number: int) -> Array:
    """Return how long each of two takes, by both clocks; the order is turned every round."""
    times = np.empty((2, 2))
    for which in (1, 0) if number % 2 else (0, 1):
        start = clocks(pid)
        pair[which]()
        times[which] = clocks(pid) - start
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What isolation costs at 512 elements.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=20)
    args = parser.parse_args()
    for kind, inputs in INPUTS.items():
        if inputs.n[0] > 1 and inputs.n[1] < 1000:
            INPUTS[kind] = replace(inputs, n=(128, 128), channels=(4, 4))
    functions, stated = load(SPEC)
    remote = Remote(SPEC, Limits())
    matrices = {**stated, "ndim": [2]}
    here = probed(SPEC, functions, matrices)
    there = probed(SPEC, remote.functions, matrices)
    assert remote.process is not None
    pid = remote.process.popen.pid
    names = [n for n, i in INVARIANTS.items() if INPUTS[i.inputs].n == (128, 128)]
    rows: dict[str, list[Array]] = {}
    for number in range(args.rounds):
        for name in names:
            pair = [exercised(t, name, args.examples, number) for t in (here, there)]
            rows.setdefault(name, []).append(seconds(pair, pid, number))
        pair = [called(t, args.examples) for t in (here, there)]
        rows.setdefault(CALL, []).append(seconds(pair, pid, number))
    remote.close()
    rows[WHOLE] = list(np.sum([rows[name] for name in names], axis=0))
    print(f"{'':<55}  in process   isolated  ratio    processors: in   isolated  ratio")
    for name, rounds in rows.items():
        print(f"{name:<55}", *(_column(np.array(rounds), clock, args.examples) for clock in (0, 1)))


def _column(rounds: Array, clock: int, examples: int) -> str:
    own, isolated = rounds[:, :, clock].T.tolist()
    here, there = (median(times) / examples * 1e6 for times in (own, isolated))
    return f"{here:9.0f} us {there:7.0f} us  {ratio(isolated, own):5.2f}"


if __name__ == "__main__":
    main()
