"""What a run says is wrong with each known bug, beside what is: a table, and who is misnamed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..bugs.elsewhere import all_mutants
from ..run.diagnosis import causes
from .matrix import subjects, twins

STORED = Path(__file__).with_name("causes.md")
SAME = {"dx_without_both_paths": "dx_without_any_path"}  # one error under two names


@dataclass(frozen=True)
class Told:
    """A known bug, what its model says, and the causes that are printed, by name and in words."""

    bug: str
    model: str
    body: str
    names: tuple[tuple[str, ...], ...]
    printed: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Own, one of several, silent, or wrong: none of those printed is the bug."""
        own = (SAME.get(self.body, self.body),)
        if not self.names:
            return "silent"
        if own not in self.names:
            return "wrong"
        return "own" if len(self.names) == 1 else "one of several"


def told() -> Iterator[Told]:
    """Yield each mutant with its causes; those of one body and conventions are asked once."""
    everything, stands_for = all_mutants(), twins()
    found = {}
    for name, make in subjects().items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[name] = causes(make())
    for name, mutant in everything.items():
        known = found[stands_for[name]]
        words = tuple(cause.sentence for cause in known)
        yield Told(name, mutant.model, mutant.body, tuple(c.names for c in known), words)


def to_markdown(rows: list[Told]) -> str:
    """Return the table, with how many are named on top."""
    count = {v: sum(r.verdict == v for r in rows) for v in _VERDICTS}
    lines = [
        "# Causes that are printed of the known bugs",
        "",
        f"{len(rows)} bugs: " + ", ".join(f"{count[v]} {v}" for v in _VERDICTS) + ".",
        "Made by `bncheck kill-matrix --out DIR`.",
        "",
        "| bug | what it is | what is printed | |",
        "|---|---|---|---|",
    ]
    for r in sorted(rows, key=lambda r: r.bug):
        printed = " **or** ".join(r.printed) or "nothing"
        row = (r.bug, f"`{r.model}`", printed, r.verdict)
        lines.append("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |")
    return "\n".join(lines) + "\n"


_VERDICTS = ("own", "one of several", "silent", "wrong")
