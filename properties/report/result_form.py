"""What a result of `bncheck run` or `bncheck probe` must hold to be compared with another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _optional_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    """Return whether it is a number, or one that is not finite as text."""
    if isinstance(value, str):
        return value in ("nan", "inf", "-inf")
    try:
        return isinstance(value, (int, float)) and bool(float(value) or True)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _plains(value: Any) -> bool:
    return _plain(value) or (isinstance(value, list) and all(map(_plain, value)))


def _mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_plains, value.values()))


def _conventions(value: Any) -> bool:
    lists = ("ndim", "dtypes")
    return _mapping(value) and all(isinstance(value.get(key, []), list) for key in lists)


def _whole(value: Any) -> bool:
    return isinstance(value, int)


def _any(_: Any) -> bool:
    return True


_ROW: dict[str, Check] = {
    "name": _text,
    "verdict": _text,
    "message": _text,
    "worst": _number,
    "strength": _number,
}
_HEAD = {"bncheck": _optional_text, "versions": _mapping, "conventions": _conventions,
         "complete": _flag, "target": _optional_text}  # fmt: skip
_PLACE: dict[str, Check] = {"quantity": _text, "dtype": _text, "layout": _text, "n": _whole}
_LISTS: dict[str, dict[str, Check]] = {
    "answers": {"question": _text, "verdict": _text, "value": _any},
    "accuracy": {**_PLACE, "grade": _text},
    "exact": {**_PLACE, "exact": _flag},
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
    for number, row in enumerate(rows):
        for key, good in keys.items():
            if not isinstance(row, dict) or key not in row or not good(row[key]):
                return f"{where}[{number}] has no {key}"
        for key, good in (free or {}).items():
            if key in row and not good(row[key]):
                return f"{where}[{number}] has no {key}"
    return ""
