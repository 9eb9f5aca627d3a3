"""What a user waits for: the start, the audit, the replay, and a planted bug under -x."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from statistics import median

from .timing import Table, interleaved, run_python, told

FORMULA = "gamma/std*(dy - mean(dy) - xhat*mean(dy*xhat))"
BNCHECK = ("-m", "properties.cli")
WAITED = {
    "python -c pass": ("-c", "pass"),
    "python -c 'import numpy'": ("-c", "import numpy"),
    "bncheck --help": (*BNCHECK, "--help"),
    "bncheck audit --dx (the right formula)": (*BNCHECK, "audit", "--dx", FORMULA),
    "bncheck replay bn --core": (*BNCHECK, "replay", "bn", "--core"),
    "bncheck replay bn": (*BNCHECK, "replay", "bn"),
}


def _children() -> float:
    """Return the processor seconds of all that was run and has ended."""
    times = os.times()
    return times.children_user + times.children_system


def waits(rounds: int, quick: bool) -> Iterator[Table]:
    """Yield how long the short commands take, interpreter's start included."""
    rounds = 2 if quick else min(rounds, 7)
    table = Table("Seconds until a command is done", ("command", "by the clock", "processor"))
    runs = {name: lambda words=words: run_python(words) for name, words in WAITED.items()}
    with told("short commands"):
        clock = interleaved(runs, rounds)
        processor = interleaved(runs, max(1, rounds // 2), _children)
    for name in runs:
        table.rows.append((name, median(clock[name]), median(processor[name])))
    yield table


def kills(rounds: int, quick: bool) -> Iterator[Table]:
    """Yield how long `bncheck run -x` takes to report each known bug, start included."""
    from ..bugs.elsewhere import all_mutants

    names = list(all_mutants())[:: 12 if quick else 1]
    table = Table(
        "Seconds until bncheck run mutants:NAME -x --seed 1 is done, start included",
        ("mutant", "by the clock", "processor", "reported"),
    )
    for name in names:
        with told(f"mutants:{name}"):
            start, spent = time.perf_counter(), _children()
            words = ("run", f"mutants:{name}", "-x", "--seed", "1")
            seen = "FAIL: " in run_python((*BNCHECK, *words))
            row = (name, time.perf_counter() - start, _children() - spent)
        table.rows.append((*row, "yes" if seen else "no"))
    clock, processor = ([row[k] for row in table.rows] for k in (1, 2))
    seen_all = sum(row[3] == "yes" for row in table.rows)
    told_of = f"{seen_all} of {len(names)}"
    table.rows.insert(0, ("(slowest)", max(clock), max(processor), ""))
    table.rows.insert(0, ("(median)", median(clock), median(processor), told_of))
    yield table
