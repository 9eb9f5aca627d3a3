"""Portraits as plain text: one target with how sure each answer is, or several side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from ..model.contract import DTYPES
from .migration import lines
from .portrait import Portrait, exact_summary, summary_of

_QUESTION, _LEAST = 24, 24


def cells(portrait: Portrait, verbose: bool = False) -> dict[str, tuple[str, str]]:
    """Return per question the value and how sure it is, in a word or in figures."""
    if portrait.error:
        return {}
    found = {a.question: (a.text, a.sure if verbose else a.certainty) for a in portrait.answers}
    for dtype in dict.fromkeys(grade.dtype for grade in portrait.grades):
        rows = [grade for grade in portrait.grades if grade.dtype == dtype]
        worst = max(grade.pairwise for grade in rows)
        sure = f"{len(rows)} results"
        sure += f", at most {worst:.2g} of the pairwise radius" if verbose else ""
        found[f"class {dtype}"] = (summary_of(portrait.grades, dtype), sure)
    for dtype in dict.fromkeys(row.dtype for row in portrait.exact):
        count = sum(row.dtype == dtype for row in portrait.exact)
        found[f"exact {dtype}"] = (exact_summary(portrait.exact, dtype), f"{count} results")
    calls = f"{portrait.calls} calls" if portrait.complete else f"cut after {portrait.calls} calls"
    return {**found, "probed in": (calls, "counted")}


def table(portraits: Sequence[Portrait], width: int, verbose: bool = False) -> str:
    """Return the answers, a row per question and a column per target."""
    columns = [cells(portrait, verbose) for portrait in portraits]
    questions = _in_order(dict.fromkeys(question for column in columns for question in column))
    first = max(_QUESTION, *(min(len(q), 40) for q in questions)) if questions else _QUESTION
    heads = [portrait.spec for portrait in portraits]
    if len(portraits) == 1:
        heads.append("how sure")
    room = max(_LEAST, (width - first - 2 * len(heads)) // len(heads))
    rows = [_row(["", *heads], first, room)]
    for question in questions:
        given = [column.get(question, ("-", "-")) for column in columns]
        texts = list(given[0]) if len(portraits) == 1 else [value for value, _ in given]
        rows.append(_row([question, *texts], first, room))
    return "\n".join(rows)


def _in_order(questions: Iterable[str]) -> list[str]:
    """Return the questions as first asked, those of several dtypes side by side."""
    kinds: dict[str, list[str]] = {}
    for question in questions:
        words = question.replace("(", "").replace(")", "").split()
        kinds.setdefault(" ".join(w for w in words if w not in DTYPES), []).append(question)
    return [question for kind in kinds.values() for question in kind]


def _row(texts: Sequence[str], first: int, room: int) -> str:
    wrapped = [
        textwrap.wrap(text, first if i == 0 else room, break_on_hyphens=False) or [""]
        for i, text in enumerate(texts)
    ]
    height = max(len(w) for w in wrapped)
    padded = [w + [""] * (height - len(w)) for w in wrapped]
    return "\n".join(
        "  ".join(w[k].ljust(first if i == 0 else room) for i, w in enumerate(padded)).rstrip()
        for k in range(height)
    )


def pairs(portraits: Sequence[Portrait]) -> list[tuple[Portrait, Portrait]]:
    """Return every ordered pair of up to three targets, else the first with each other one."""
    if len(portraits) <= 3:
        return [(a, b) for a in portraits for b in portraits if a is not b]
    head = portraits[0]
    return [pair for b in portraits[1:] for pair in ((head, b), (b, head))]


def migrations(portraits: Sequence[Portrait]) -> Iterator[str]:
    """Yield what to change from one target to another, for the pairs that are shown."""
    for a, b in pairs([portrait for portrait in portraits if not portrait.error]):
        yield f"\nweights from {a.spec} to {b.spec}:"
        yield from (f"  {line}" for line in lines(a, b))
