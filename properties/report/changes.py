"""What changed between two results of the same kind, and whether any of it is for the worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

WORSE, BETTER, CHANGED = "worse", "better", "changed"
_RANK = {  # how bad a verdict is; a pass that is unexpected is no fault of the implementation
    "pass": 0,
    "unexpected pass": 0,
    "remark": 1,
    "expected failure": 1,
    "undecided": 2,
    "not offered": 2,
    "fail": 3,
}
_OFFERED = ("ndim", "dtypes", "mask_ndim")  # conventions that list what is taken


@dataclass(frozen=True)
class Change:
    """One difference; direction is worse, better or changed, again a command that shows it."""

    what: str
    old: str
    new: str
    direction: str
    detail: str = ""
    again: str = ""


def of_runs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Yield what changed between two runs, the invariants last."""
    yield from plain("bncheck", old.get("bncheck"), new.get("bncheck"))
    yield from plain("target", old["target"], new["target"])
    yield from mapping("version of", old.get("versions", {}), new.get("versions", {}))
    yield from _conventions(old.get("conventions", {}), new.get("conventions", {}))
    yield from _invariants(old, new)


def _invariants(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Yield what changed row by row; a row that was split in parts is held against the whole."""
    before, after = _rows(old), _rows(new)
    for key in dict.fromkeys((*before, *after)):
        one, other = before.get(key), after.get(key)
        what = f"{key[0]} [{key[1]}]" if key[1] else key[0]
        if one is None and other is not None:
            whole = _whole(key[0], before)
            yield from _row(what, whole, other) if whole else _appeared(what, other, old)
        elif other is None and one is not None:
            if not _whole(key[0], after):
                gone = "removed" if new.get("complete", True) else "not reached"
                yield Change(what, one["verdict"], gone, CHANGED)
        elif one is not None and other is not None:
            yield from _row(what, one, other)


def _whole(name: str, rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the best row of an invariant, whatever its part; empty if there is none."""
    found = (row for (other, _), row in rows.items() if other == name)
    return min(found, key=lambda row: _rank(row["verdict"]), default={})


def _appeared(what: str, row: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Change]:
    absent = "new" if old.get("complete", True) else "not reached"
    direction = WORSE if row["verdict"] == "fail" else CHANGED
    yield Change(what, absent, row["verdict"], direction, _short(row), again(row))


def plain(what: str, old: Any, new: Any) -> Iterator[Change]:
    """Yield that a value is another one."""
    if old != new:
        yield Change(what, _text(old), _text(new), CHANGED)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def mapping(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Yield which values of a mapping are others."""
    for key in dict.fromkeys((*old, *new)):
        yield from plain(f"{what} {key}", old.get(key), new.get(key))


def _conventions(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Yield changed conventions: for the better where more is taken, for the worse where less is.

    Another convention, such as the other direction of momentum, is neither.
    """
    for key in dict.fromkeys((*old, *new)):
        a, b = old.get(key), new.get(key)
        if a == b:
            continue
        direction = CHANGED
        if key in _OFFERED and isinstance(a, list) and isinstance(b, list):
            direction = BETTER if set(a) <= set(b) else WORSE
        yield Change(f"convention {key}", _text(a), _text(b), direction)


def _rows(run: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(row["name"], row.get("where", "")): row for row in run["invariants"]}


def _row(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    a, b = old["verdict"], new["verdict"]
    if a == b:
        yield from _measured(what, old, new)
        return
    direction = WORSE if _rank(b) > _rank(a) else BETTER if _rank(b) < _rank(a) else CHANGED
    told = b in ("fail", "undecided", "unexpected pass", "not offered")
    yield Change(what, a, b, direction, _short(new) if told else "", again(new))


def _rank(verdict: str) -> int:
    return _RANK.get(verdict, len(_RANK))


def _measured(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Yield how the evidence of an unchanged verdict changed, where that shows in two digits."""
    told = []
    for key, says in (("worst", "worst error / allowed"), ("strength", "would have seen")):
        a, b = (f"{float(row[key]):.1e}" for row in (old, new))
        if a != b:
            told.append((f"{says} {a}", b))
    if told:
        a, b = (", ".join(part) for part in zip(*told, strict=True))
        yield Change(what, a, b, CHANGED)


def _short(row: Mapping[str, Any]) -> str:
    """Return the place, got, wanted and error of a failure in one line."""
    lines = [line.strip() for line in row["message"].splitlines()]
    wanted = ("at ", "got ", "wanted ", "error ", "because ")
    told = [" ".join(line.split()) for line in lines if line.startswith(wanted)]
    return "; ".join(told) or (lines[0] if lines else "")


def again(row: Mapping[str, Any]) -> str:
    """Return the command in the message of a failing row that shows it again, or nothing."""
    for line in row["message"].splitlines():
        if line.startswith("  again   "):
            return line.removeprefix("  again   ")
    return ""
