"""What a result of `bncheck run` or `bncheck probe` must hold to be compared with another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Check = Callable[[Any], bool]


def _is(*kinds: type) -> Check:
    return lambda value: isinstance(value, kinds)


_text, _optional_text, _plain = _is(str), _is(str, type(None)), _is(str, int, float, type(None))


def _number(value: Any) -> bool:
    """Return whether it is a number, or one that is not finite as text."""
    if isinstance(value, str):
        return value in ("nan", "inf", "-inf")
    try:
        return isinstance(value, (int, float)) and bool(float(value) or True)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _mapping(value: Any) -> bool:
    """Return whether it is an object of plain values and of lists of them."""
    return isinstance(value, dict) and all(
        _plain(v) or (isinstance(v, list) and all(map(_plain, v))) for v in value.values()
    )


def _conventions(value: Any) -> bool:
    return _mapping(value) and all(isinstance(value.get(k, []), list) for k in ("ndim", "dtypes"))


_HEAD: dict[str, Check] = {
    "bncheck": _optional_text,
    "versions": _mapping,
    "conventions": _conventions,
    "complete": _is(bool),
    "target": _optional_text,
}
_ROW: dict[str, Check] = dict.fromkeys(("name", "verdict", "message"), _text)
_ROW |= dict.fromkeys(("worst", "strength"), _number)
_PLACE: dict[str, Check] = {**dict.fromkeys(("quantity", "dtype", "layout"), _text), "n": _is(int)}
_LISTS: dict[str, dict[str, Check]] = {
    "answers": {"question": _text, "verdict": _text, "value": _is(object)},
    "accuracy": {**_PLACE, "grade": _text},
    "exact": {**_PLACE, "exact": _is(bool)},
}


def problem(content: Any) -> str:
    """Return what keeps a JSON value from being a result, or nothing."""
    if not isinstance(content, dict):
        return "it holds no JSON object"
    for key, good in _HEAD.items():
        if key in content and not good(content[key]):
            return f"its {key} is none"
    if isinstance(content.get("invariants"), list):
        if not isinstance(content.get("target"), str):
            return "it names no target"
        return _rows(content["invariants"], "invariants", _ROW, {"where": _text})
    if isinstance(content.get("targets"), list):
        return next(filter(None, map(_target, enumerate(content["targets"]))), "")
    return "it has neither invariants nor targets"


def _target(numbered: tuple[int, Any]) -> str:
    number, target = numbered
    if not isinstance(target, dict) or not isinstance(target.get("target"), str):
        return f"targets[{number}] names no target"
    if "error" in target:
        return "" if isinstance(target["error"], str) else f"targets[{number}] has no error"
    if not all(isinstance(target.get(key), list) for key in _LISTS):
        return f"targets[{number}] lacks one of {', '.join(_LISTS)}"
    found = (_rows(target[key], f"targets[{number}].{key}", _LISTS[key]) for key in _LISTS)
    return next(filter(None, found), "")


def _rows(
    rows: Iterable[Any], where: str, keys: dict[str, Check], free: dict[str, Check] | None = None
) -> str:
    """Return the first row that lacks one of the keys, or has a wrong one that it need not have."""
    for number, row in enumerate(rows):
        for key, good in (keys | (free or {})).items():
            absent = not isinstance(row, dict) or key not in row
            if (absent and key in keys) or not (absent or good(row[key])):
                return f"{where}[{number}] has no {key}"
    return ""
