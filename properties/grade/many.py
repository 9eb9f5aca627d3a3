"""Grades many submissions at once, whose right verdicts are known, and counts the wrong ones.

    python -m properties.grade.many --count 1000 --jobs 2

The submissions are files: the known bugs and the right controls, each in several ways to hand
results over, and the cheats.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from ..bugs.controls import controls
from ..bugs.elsewhere import all_mutants
from ..support.argument_types import positive, seconds
from .grading import Asked, grade

CHEATS = Path(__file__).with_name("cheats")
RIGHT = "honest"  # the file beside the cheats that is none

_TEXT = """from properties.bugs.by_name import offered_by
import numpy as np

FUNCTIONS, CONVENTIONS = offered_by({name!r})


def handed_over(function):
    def call(*args, **options):
        found = function(*args, **options)
        return {how} if isinstance(found, tuple) else found

    return call


globals().update({{name: handed_over(f) for name, f in FUNCTIONS.items()}})
"""
_HOW = (  # results are handed over: as they are, in a list, the first in another memory order
    "found",
    "list(found)",
    "(np.asfortranarray(found[0]), *found[1:]) if isinstance(found[0], np.ndarray) else found",
)


def cheats() -> list[Path]:
    """Return the files of the cheats."""
    return sorted(path for path in CHEATS.glob("*.py") if path.stem != RIGHT)


def submissions(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield files in a folder and their right verdicts; they begin again when all were given."""
    shutil.copytree(CHEATS, folder, dirs_exist_ok=True)
    known = [(name, "fail") for name in all_mutants()] + [(name, "pass") for name in controls()]
    while True:
        for number, how in enumerate(_HOW):
            for name, verdict in known:
                stem = "".join(c if c.isalnum() else "_" for c in name)
                path = folder / f"submission_{stem}_{number}.py"
                path.write_text(_TEXT.format(name=name, how=how), encoding="utf-8")
                yield path, verdict
            yield from ((folder / path.name, "fail") for path in cheats())
            yield folder / f"{RIGHT}.py", "pass"


def graded(path: str, seed: int, budget: float, steps: int) -> tuple[str, str, int, float]:
    """Return verdict, cause, steps and seconds of one submission."""
    began = time.monotonic()
    told = grade(Asked(path, seed, budget, steps, strict=True, quick=True))
    return told["verdict"], told["cause"], told["steps"], time.monotonic() - began


def main() -> int:
    """Grade them; 1 where a verdict is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=positive, default=1000, metavar="N")
    parser.add_argument("--jobs", type=positive, default=2, metavar="N")
    parser.add_argument("--budget", type=seconds, default=5.0, metavar="SECONDS")
    parser.add_argument(
        "--steps", type=positive, default=0, metavar="N", help="instead of a budget"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the first; one more each"
    )
    parser.add_argument("--only", choices=("pass", "fail"), default="", help="what is to do so")
    args = parser.parse_args()
    began, wrong = time.monotonic(), 0
    spent: defaultdict[str, float] = defaultdict(float)
    found: Counter[str] = Counter()
    most: defaultdict[str, int] = defaultdict(int)
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool,
    ):
        given = (pair for pair in submissions(Path(folder)) if pair[1] in (args.only or pair[1]))
        asked = list(islice(given, args.count))
        limits = args.budget, args.steps
        todo = [(pool.submit(graded, str(p), args.seed + k, *limits), p, v, k)
                for k, (p, v) in enumerate(asked)]  # fmt: skip
        for future, path, right, k in todo:
            verdict, cause, steps, took = future.result()
            most[verdict] = max(most[verdict], steps)
            found[f"{right}, graded {verdict}"] += 1
            spent[verdict] += took
            if verdict != right:
                wrong += 1
                print(f"{path.stem} --seed {args.seed + k}: {verdict}, not {right}; {cause}")
                sys.stdout.flush()
    for what, count in sorted(found.items()):
        print(f"{count} are to {what}")
    for verdict, took in sorted(spent.items()):
        share = took / sum(n for what, n in found.items() if what.endswith(verdict))
        print(f"{verdict}: {share:.1f} s each, {most[verdict]} steps at most")
    print(f"{len(asked)} graded in {time.monotonic() - began:.0f} s, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
