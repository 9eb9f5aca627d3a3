"""How anything is timed here: contenders in turn, round after round, and medians of ratios."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
Clock = Callable[[], float]


@dataclass(frozen=True)
class Table:
    """A part's result: what it is, its columns, and rows of texts and numbers."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the table as text, numbers with three digits."""
        lines = [f"**{self.title}**", "", f"| {' | '.join(self.columns)} |"]
        lines.append("|" + "---|" * len(self.columns))
        lines += [f"| {' | '.join(_text(cell) for cell in row)} |" for row in self.rows]
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """Return the table for JSON."""
        return asdict(self)


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return str(cell)


def interleaved(
    contenders: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Clock = time.perf_counter,
    repeats: int = 1,
) -> dict[str, list[float]]:
    """Return seconds per call of each contender, one entry per round.

    Within a round all run one after the other, so that entries of one round may be divided; each
    runs once before, uncounted.
    """
    for run in contenders.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = clock()
            for _ in range(repeats):
                run()
            times[name].append((clock() - start) / repeats)
    return times


def ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """Return the median over rounds of what one takes as a multiple of the other."""
    return median(a / b for a, b in zip(times, base, strict=True))


def run_python(arguments: Sequence[str], threads: int = 1, limit: float = 600.0) -> str:
    """Run a fresh interpreter and return its output; whatever its exit status is below 2.

    Raises:
        RuntimeError: it could not do what it was told; the text has its last line.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(threads),
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    if done.returncode not in (0, 1, 3):
        last = (done.stderr.strip().splitlines() or ["(no text)"])[-1]
        raise RuntimeError(f"{' '.join(arguments)}: exit status {done.returncode}: {last}")
    return done.stdout


def environment(threads: int) -> dict[str, str]:
    """Return an environment in which libraries take this many threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads))}


@contextmanager
def told(text: str) -> Iterator[None]:
    """Say on a terminal what is going on, in one line that goes away."""
    shown = sys.stderr.isatty()
    if shown:
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, versions, and how busy it was."""
    from ..run.text import versions

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    facts = {"processor": _processor(), "cores": cores, "system": platform.system(), "load": load}
    return {**facts, **versions()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
