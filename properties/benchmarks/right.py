"""No false alarm: right implementations under every invariant that is not an edge.

    python -m properties.benchmarks.right --channels 10000000 --jobs 2

draws wide batches for each invariant, judges all right implementations of the
same conventions on each, and prints per implementation and dtype how many channels were judged,
how many examples failed, and the largest error of each quantity as a multiple of its radius; then,
per regime, the share of undecided channels. A one-pass variance is run beside, to show that the
radii are not loose. What a framework is known to do otherwise is left out, as its registry says.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields, replace
from functools import cache
from itertools import cycle
from multiprocessing import get_context
from typing import Any

import numpy as np

from ..bugs.controls import controls
from ..engine.exercise import run_invariant
from ..engine.strategies import (
    INPUTS,
    PLACES,
    ROWS,
    bounded,
    choices,
    offered_ranks,
)
from ..invariants import INVARIANTS, Invariant
from ..invariants.levels import EDGE, edge
from ..model import contract, expected
from ..model.cases import FINITE, REGIMES, Case, Recipe, build
from ..model.contract import Array, Conventions, Misbehaved, Target
from ..model.verdict import judge
from ..plants.forms import COMBINED
from ..plants.textbook import Pieces, implementation
from ..run.expectations import entries_for, only_dtypes, read
from ..targets.open import loaded

DTYPES = ("float32", "float64")
CHANNELS = (1, 3, 17, 65, 257, 513, 1025, *[4097] * 7)
ELEMENTS = 2**14  # of x, at most
QUANTITIES = ("y", "dx", "dgamma", "dbeta", "running_mean", "running_var")
REGIME_SEED = 1
EACH = 50  # examples of a random sequence of calls, per implementation and dtype


def one_pass(x: Array, mean: Array) -> Array:
    """Return mean(x * x) - mean**2, which cancels."""
    n = x.dtype.type(len(x))
    return np.asarray(np.maximum((x * x).sum(axis=0, keepdims=True) / n - mean * mean, 0))


@dataclass
class Seen:
    """What came of one implementation in one dtype."""

    channels: int = 0
    examples: int = 0
    failures: int = 0
    worst: dict[str, float] = field(default_factory=dict)

    def add(self, other: Seen) -> None:
        """Take in what another part has seen."""
        self.channels += other.channels
        self.examples += other.examples
        self.failures += other.failures
        for name, value in other.worst.items():
            self.worst[name] = max(self.worst.get(name, 0.0), value)


@cache
def targets() -> dict[str, Target]:
    """Return the right implementations by name, and in brackets one that is not right."""
    plain = Conventions(dtypes=DTYPES)
    found = {name: implementation(pieces, plain, name) for name, pieces in COMBINED.items()}
    found["bn"] = only_dtypes(loaded("bn"), DTYPES)
    try:
        found["torch"] = only_dtypes(loaded("torch"), DTYPES)
    except contract.TargetError as error:
        print(error, file=sys.stderr)
    for name, control in controls().items():
        found[f"control {name}"] = only_dtypes(control.target(), DTYPES)
    found["(one-pass variance)"] = implementation(Pieces(variance=one_pass), plain, "one pass")
    return found


def groups() -> list[list[str]]:
    """Return the names of those that take the same cases: the reference is worked out once."""
    found: dict[Any, list[str]] = {}
    for name, target in targets().items():
        found.setdefault((target.conventions, target.offers), []).append(name)
    return list(found.values())


def recipe(rng: np.random.Generator, invariant: Invariant, target: Target, dtype: str) -> Recipe:
    """Draw a recipe as the strategies do, but most with many channels and all larger."""
    inputs = INPUTS[invariant.inputs]
    columns = choices(inputs, target.conventions, target.offers) | {"dtype": [dtype]}
    if inputs.wide:
        columns["channels"] = CHANNELS
        if not inputs.one:
            ranks = offered_ranks(target.conventions, target.offers)
            more = [p for rank in ranks for p in PLACES.get(rank, ())]
            columns |= {"n": [*columns["n"], *ROWS], "spatial": [*columns["spatial"], *more]}
    drawn: dict[str, Any] = {}
    for name in (f.name for f in fields(Recipe)):
        drawn[name] = columns[name][int(rng.integers(len(columns[name])))]
    if inputs.wide:
        drawn |= bounded(drawn["channels"], drawn["n"], drawn["spatial"], ELEMENTS)
    return Recipe(**drawn)


def _known(target: Target, invariant: Invariant, dtype: str) -> bool:
    entries = entries_for(_registry(), target.spec, invariant.name)
    return any(not e.dtypes or dtype in e.dtypes for e in entries)


@cache
def _registry() -> list[Any]:
    return read()


def _judged(target: Target, invariant: Invariant, case: Case, seen: Seen) -> str:
    """Judge one example claim by claim, count it, and return what failed."""
    failed = ""
    try:
        for claim in invariant.check(target, case):
            outcome = judge([claim])
            first = claim.quantity.split(" ")[0].split("[")[0]
            name = first if first in QUANTITIES else "other"
            seen.worst[name] = max(seen.worst.get(name, 0.0), outcome.worst)
            failed = failed or (str(outcome.failure) if outcome.failure else "")
    except Misbehaved as error:
        failed = str(error)
    seen.examples += 1
    seen.channels += case.conventions.columns(case.x.shape)
    seen.failures += bool(failed)
    return failed


def part(arguments: tuple[list[str], str, int, int]) -> dict[str, Seen]:
    """Judge the implementations of one group on a share of the channels.

    Args:
        arguments: their names, the dtype, how many channels each gets, the seed.
    """
    names, dtype, channels, seed = arguments
    warnings.simplefilter("ignore")
    found = {name: Seen() for name in names}
    first = targets()[names[0]]
    if dtype not in first.conventions.dtypes:
        return {}
    rng = np.random.Generator(np.random.PCG64([seed, DTYPES.index(dtype)]))
    offered = [
        invariant
        for invariant in INVARIANTS.values()
        if invariant.name not in EDGE and all(need in first.offers for need in invariant.needs)
    ]
    turns = [invariant for invariant in offered if invariant.inputs != "sequence"]
    for invariant in cycle(turns[seed % len(turns) :] + turns[: seed % len(turns)]):
        r = recipe(rng, invariant, first, dtype)
        case = build(r, first.conventions)
        if edge(invariant.name, case):
            continue
        for name in names:
            target = targets()[name]
            if _known(target, invariant, dtype):
                continue
            failed = _judged(target, invariant, case, found[name])
            if failed and name[0] != "(":
                print(name, invariant.name, r, failed, file=sys.stderr, flush=True)
        if min(seen.channels for seen in found.values()) >= channels:
            return found
    return found


def undecided(regime: str, batches: int = 200) -> float:
    """Return the share of channels of a regime whose y, dx or dgamma has no finite radius."""
    open_, channels = 0, 0
    rng = np.random.Generator(np.random.PCG64([REGIME_SEED, FINITE.index(regime)]))
    first = targets()["bn"]
    for k in range(batches):
        drawn = recipe(
            rng, INVARIANTS["input_gradient_agrees_with_reference"], first, DTYPES[k % 2]
        )
        case = build(replace(drawn, regime=regime, mixed=()), first.conventions)
        radii = [
            expected.output(case).radius,
            *(g.radius for g in expected.gradients(case).values()),
        ]
        infinite = [~np.isfinite(r).all(axis=0) for r in radii]
        open_ += int(np.any(infinite, axis=0).sum())
        channels += len(infinite[0])
    return open_ / channels


def sequences(arguments: tuple[list[str], str, int, int]) -> dict[str, Seen]:
    """Judge the implementations of one group on random sequences of calls."""
    names, dtype, _, seed = arguments
    found = {}
    for name in names:
        target = only_dtypes(targets()[name], (dtype,))
        for invariant in INVARIANTS.values():
            if invariant.inputs == "sequence" and target.conventions.dtypes:
                result = run_invariant(
                    target, invariant, examples=2 * EACH, seed_number=seed, shrink=False
                )
                failed = result.verdict == "fail"
                found[name] = Seen(result.channels, result.examples, int(failed))
    return found


def _tables(found: dict[tuple[str, str], Seen]) -> Iterator[str]:
    """Yield the lines of the two tables."""
    yield f"| implementation | dtype | channels | failures | {' | '.join(QUANTITIES)} | other |"
    yield "|---" * (5 + len(QUANTITIES)) + "|"
    for (name, dtype), seen in found.items():
        worst = " | ".join(f"{seen.worst.get(q, 0.0):.3g}" for q in (*QUANTITIES, "other"))
        yield f"| {name} | {dtype} | {seen.channels:,} | {seen.failures} | {worst} |"
    yield "\n| regime | ill-conditioned on purpose | channels undecided |\n|---|---|---|"
    for name in FINITE:
        purpose = "yes" if REGIMES[name].ill_conditioned else "no"
        yield f"| {name} | {purpose} | {undecided(name):.2%} |"


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(prog="python -m properties.benchmarks.right")
    parser.add_argument("--channels", type=int, default=10_000_000, help="per implementation")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    parts = 10 * args.jobs
    work = [
        (names, dtype, -(-args.channels // parts), args.seed * 1000 + 3 * k)
        for names in groups()
        for dtype in DTYPES
        for k in range(parts)
    ]
    found: dict[tuple[str, str], Seen] = {}
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:  # PyTorch bears no fork
        several = [(w, pool.submit(part, w)) for w in work]
        several += [(w, pool.submit(sequences, w)) for w in work[::parts]]
        for number, ((_, dtype, *_), done) in enumerate(several, 1):
            for name, seen in done.result().items():
                found.setdefault((name, dtype), Seen()).add(seen)
            print(f"{number}/{len(several)}", file=sys.stderr, flush=True)
    print("\n".join(_tables(found)))


if __name__ == "__main__":
    main()
