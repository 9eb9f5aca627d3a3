"""What an example costs: drawn, computed by the target, and judged by reference and radius."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from reference import rounding
from reference.float64 import Reference, reference_train, with_gradients

from ..engine.exercise import run_invariant
from ..engine.strategies import cases
from ..invariants import INVARIANTS
from ..invariants.calls import trained
from ..model import contract, expected
from ..model.cases import Case, Recipe, build
from ..targets.open import loaded
from .drawing import CONVENTIONS, ELEMENTS, OFFERS, time_per_example
from .timing import Table, interleaved, run_python, told

SHOWN = Recipe("unit_scale", 128, 4, (), "float32", 16, 3, 7, "mixed", "generic", 1e-5)


def _judged(case: Case, gradients: bool) -> dict[str, Callable[[], Any]]:
    """Return the reference and the radii of a case as two calls, the second after the first."""
    x, dy = expected.rows(case, case.x), expected.rows(case, case.dy)
    gamma, beta = expected.row(case.gamma, x, 1.0), expected.row(case.beta, x, 0.0)
    p = expected.precision_of(case)
    made: list[Reference] = []

    def reference() -> None:
        ref = reference_train(x, None, gamma, beta, case.eps)
        made[:] = [with_gradients(ref, dy) if gradients else ref]

    def radius() -> None:
        ref = replace(made[0], memory={})
        with np.errstate(all="ignore"):
            spread = rounding.statistics_spread(x, ref, case.eps, p)
            rounding.output_radius(x, ref, gamma, beta, spread, p)
            if gradients:
                rounding.gradient_radii(x, dy, ref, gamma, spread, p)

    return {"reference": reference, "radius": radius}


def split(rounds: int, quick: bool) -> Iterator[Table]:
    """Yield the time per example of 512 elements, in parts."""
    case, target = build(SHOWN, CONVENTIONS), loaded("bn")
    strategy = cases("matrices", CONVENTIONS, OFFERS)
    count = 50 if quick else 200

    def both_ways() -> None:
        contract.backward(target, case.dy, trained(target, case).saved, case.gamma)

    table = Table(
        f"Microseconds per example of {ELEMENTS} elements, processor time",
        ("example", "drawing", "target (bn)", "reference", "radius", "reference + radius"),
    )
    drawing = [time_per_example(strategy, count, number) for number in range(max(3, rounds // 3))]
    runs: dict[str, Callable[[], Any]] = {}
    for way, run in (("y", lambda: trained(target, case)), ("y, dx, dgamma, dbeta", both_ways)):
        runs[f"{way} target"] = run
        for name, judged in _judged(case, way != "y").items():
            runs[f"{way} {name}"] = judged
    times = interleaved(runs, rounds, time.process_time, 5 if quick else 20)
    for way in ("y", "y, dx, dgamma, dbeta"):
        parts = [[1e6 * t for t in times[f"{way} {n}"]] for n in ("target", "reference", "radius")]
        both = [a + b for a, b in zip(parts[1], parts[2], strict=True)]
        table.rows.append((way, 1e6 * median(drawing), *map(median, (*parts, both))))
    yield table


def per_invariant(rounds: int, quick: bool) -> Iterator[Table]:
    """Yield the examples per second of each invariant on bn."""
    target, examples = loaded("bn"), 10 if quick else 50
    table = Table(
        "Examples per second of each invariant on bn, one process, processor time",
        ("invariant", "examples per second"),
    )
    for name, invariant in INVARIANTS.items():
        rates = []
        with told(name):
            for number in range(1 if quick else 3):
                start = time.process_time()
                result = run_invariant(target, invariant, examples=examples, seed_number=number)
                rates.append(result.examples / (time.process_time() - start))
        table.rows.append((name, median(rates)))
    yield table


def _command(names: list[str], examples: int, seed: int) -> tuple[int, int]:
    """Run `bncheck run bn` on some invariants in a process of its own.

    Returns its examples, and the channels in which a planted error would have shown.
    """
    only = [word for name in names for word in ("--only", name)]
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "run.json")
        options = ["--examples", str(examples), "--seed", str(seed), "--json", out]
        run_python(["-m", "properties.cli", "run", "bn", *options, *only])
        rows = json.loads(Path(out).read_text())["invariants"]
        return sum(row["examples"] for row in rows), sum(row["channels"] for row in rows)


def whole_run(rounds: int, quick: bool) -> Iterator[Table]:
    """Yield the whole run, in one process and its invariants dealt out to two."""
    examples, names = 5 if quick else 100, list(INVARIANTS)
    table = Table(
        f"bncheck run bn --examples {examples}, start included, by the clock",
        (
            "processes",
            "seconds",
            "examples",
            "examples per second",
            "channels per second",
            "times as fast",
        ),
    )
    times: dict[int, list[float]] = {1: [], 2: []}
    drawn = decisive = 0
    for seed in range(1 if quick else min(3, rounds)):
        for jobs, spent in times.items():
            with told(f"the whole run in {jobs} processes"):
                start = time.perf_counter()
                with ThreadPoolExecutor(jobs) as pool:
                    shares = [names[i::jobs] for i in range(jobs)]
                    counts = list(
                        pool.map(lambda share, s=seed: _command(share, examples, s), shares)
                    )
                drawn, decisive = (sum(column) for column in zip(*counts, strict=True))
                spent.append(time.perf_counter() - start)
    for jobs, spent in times.items():
        faster = median(a / b for a, b in zip(times[1], spent, strict=True))
        took = median(spent)
        table.rows.append((jobs, took, drawn, drawn / took, decisive / took, faster))
    yield table
