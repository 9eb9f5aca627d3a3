"""The table of the cheats: who sees them.

    python -m properties.grade.table

prints it, as it stands in this room's README. Each grader gets a process of its own, since some
cheats change the one they are in.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .graders import GRADERS
from .many import CHEATS, RIGHT, cheats

SEED = "1"
OURS = {
    "`run`": ("run", "--seed", SEED, "--exitfirst"),
    "`grade`": ("grade", "--seed", SEED, "--quick"),
}


def _python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False
    )


WORDS = {0: "passes", 1: "seen", 2: "refused", 3: "undecided"}  # by exit status


def _row(path: Path) -> tuple[list[str], str]:
    """Return what each grader says of a file, and which invariant `grade` found broken."""
    graders = [_python("properties.grade.graders", str(path), name) for name in GRADERS]
    words = [WORDS[done.returncode] for done in graders]
    broken = ""
    for command, *options in OURS.values():
        done = _python("properties.cli", command, str(path), *options)
        words.append(WORDS[done.returncode])
        if command == "grade":
            broken = json.loads(done.stdout)["invariant"]
    return words, broken


def main() -> None:
    """Print the table."""
    files = [*cheats(), CHEATS / f"{RIGHT}.py"]
    print(f"| submission | {' | '.join([*GRADERS, *OURS])} | `grade` found broken |")
    print("|---" * (len(GRADERS) + len(OURS) + 2) + "|")
    seen = [0] * (len(GRADERS) + len(OURS))
    with ThreadPoolExecutor(2) as pool:
        for path, (words, broken) in zip(files, pool.map(_row, files), strict=True):
            says = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split(
                "\n"
            )
            print(f"| `{path.stem}`: {says[0]} | {' | '.join(words)} | {broken} |", flush=True)
            if path.stem != RIGHT:
                seen = [n + (word == "seen") for n, word in zip(seen, words, strict=True)]
    counts = [f"{n} of {len(files) - 1}" for n in seen]
    print(f"| seen | {' | '.join(counts)} | |")


if __name__ == "__main__":
    main()
