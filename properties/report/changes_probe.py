"""What changed between two probes, and whether any of it is for the worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .changes import BETTER, CHANGED, WORSE, Change, mapping, plain

PORTED = (  # answers that whoever moves weights or trains on relies on
    "momentum", "running_var", "bias correction", "cumulative average", "statistics",
    "channel axis", "eps in training", "eps in inference", "initial statistics",
    "running statistics in inference",
)  # fmt: skip


def of_probes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Yield what changed between two probes: versions, answers, accuracy classes, exactness."""
    yield from plain("bncheck", old.get("bncheck"), new.get("bncheck"))
    yield from mapping("version of", old.get("versions", {}), new.get("versions", {}))
    before, after = ({t["target"]: t for t in probe["targets"]} for probe in (old, new))
    if len(before) == len(after) == 1:  # one under another name is the one that is meant
        after = dict(zip(before, after.values(), strict=True))
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            states = ("absent", "new") if one is None else ("probed", "absent")
            yield Change(name, states[0], states[1], CHANGED)
        elif "error" in other or "error" in one:
            was, now = (t.get("error", "probed") for t in (one, other))
            worse = WORSE if "error" in other and "error" not in one else CHANGED
            if was != now:
                yield Change(name, was, now, worse)
        else:
            yield from _portrait(name, one, other)


def _portrait(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    answers = [{a["question"]: a for a in t["answers"]} for t in (old, new)]
    for question in (q for q in answers[0] if q in answers[1]):
        a, b = (_answer(found[question]) for found in answers)
        direction = WORSE if question in PORTED else CHANGED
        if a != b:
            yield Change(f"{name}: {question}", a, b, direction)
    graded = [_classes(t["accuracy"]) for t in (old, new)]
    for key in sorted(graded[0].keys() & graded[1].keys()):
        a, b = (found[key] for found in graded)
        if a != b:
            direction = WORSE if b > a else BETTER
            yield Change(f"{name}: accuracy class of {', '.join(key)}", a, b, direction)
    exact = [{(r["quantity"], r["dtype"], r["layout"], r["n"]): r["exact"] for r in t["exact"]}
             for t in (old, new)]  # fmt: skip
    for place in sorted(exact[0].keys() & exact[1].keys()):
        if exact[0][place] != exact[1][place]:
            what = f"{name}: exact on integers, {place[0]}, {place[1]}, {place[2]}, n = {place[3]}"
            was, now = ("yes" if found[place] else "no" for found in exact)
            yield Change(what, was, now, WORSE if now == "no" else BETTER)


def _answer(answer: Mapping[str, Any]) -> str:
    known = answer["verdict"] in ("found", "seen", "differs")
    return str(answer["value"]) if known else str(answer["verdict"])


def _classes(grades: Any) -> dict[tuple[str, str, str], str]:
    """Return the worst class by quantity, dtype and layout."""
    found: dict[tuple[str, str, str], str] = {}
    for g in grades:
        key = (g["quantity"], g["dtype"], g["layout"])
        found[key] = max(found.get(key, "A"), g["grade"])
    return found
