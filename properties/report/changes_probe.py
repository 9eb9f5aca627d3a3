"""What changed between two probes, and whether any of it is for the worse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
    for question, a, b in _differences(_answers, old, new):
        yield Change(f"{name}: {question}", a, b, WORSE if question in PORTED else CHANGED)
    for key, a, b in _differences(_classes, old, new):
        what = f"{name}: accuracy class of {', '.join(key)}"
        yield Change(what, a, b, WORSE if b > a else BETTER)
    for (*place, n), a, b in _differences(_exact, old, new):
        what = f"{name}: exact on integers, {', '.join(place)}, n = {n}"
        yield Change(what, a, b, WORSE if b == "no" else BETTER)


Read = Callable[[Mapping[str, Any]], dict[Any, str]]


def _differences(
    read: Read, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[Any, str, str]]:
    """Yield what both portraits have and is not the same in them, with both values."""
    before, after = read(old), read(new)
    for key, value in before.items():
        if key in after and value != after[key]:
            yield key, value, after[key]


def _answers(portrait: Mapping[str, Any]) -> dict[Any, str]:
    known = ("found", "seen", "differs")
    return {
        a["question"]: str(a["value" if a["verdict"] in known else "verdict"])
        for a in portrait["answers"]
    }


def _classes(portrait: Mapping[str, Any]) -> dict[Any, str]:
    """Return the worst class by quantity, dtype and layout."""
    found: dict[Any, str] = {}
    for g in portrait["accuracy"]:
        key = (g["quantity"], g["dtype"], g["layout"])
        found[key] = max(found.get(key, "A"), g["grade"])
    return dict(sorted(found.items()))


def _exact(portrait: Mapping[str, Any]) -> dict[Any, str]:
    found = {
        (r["quantity"], r["dtype"], r["layout"], r["n"]): "yes" if r["exact"] else "no"
        for r in portrait["exact"]
    }
    return dict(sorted(found.items()))
