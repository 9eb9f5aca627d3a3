"""Calls as the corpus holds them: recorded as they are made, with every number in full."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..model.contract import ARGUMENTS, Array, Misbehaved, Target
from ..model.layouts import LAYOUTS, LEAD, arrange, lead_of
from .numbers import encode_float

Calls = list[dict[str, Any]]


def shortened(data: list[Any]) -> tuple[list[Any], int]:
    """Return the shortest part that gives data when it is repeated so many times."""
    n = len(data)
    if n > 64:
        for size in range(1, 33):
            if n % size == 0 and data == data[:size] * (n // size):
                return data[:size], n // size
    return data, 1


def encode_array(a: Array) -> dict[str, Any]:
    """Return an array as dtype, shape, layout and C99 hexadecimal floats (integers as such)."""
    flat = np.ascontiguousarray(a).ravel()
    if a.dtype.kind in "iu":
        data: list[Any] = [int(v) for v in flat]
    else:
        data = [encode_float(float(v)) for v in flat.astype(np.float64)]
    data, times = shortened(data)
    found = {"data": data, "dtype": a.dtype.newbyteorder("=").name, "shape": list(a.shape)}
    layout = layout_of(a)
    return found | ({"layout": layout} if layout else {}) | ({"repeat": times} if times > 1 else {})


_OTHERWISE = ("in C order", "misaligned", "byte-swapped", "read-only", "inside a larger buffer")
_BY_STRIDES = (
    "broadcast", "reversed", "strided", "in Fortran order",
    *(name for name in LAYOUTS if name not in _OTHERWISE),
)  # fmt: skip


def layout_of(a: Array) -> str:
    """Return the name of the memory layout, empty for plain C order."""
    if not a.dtype.isnative:
        return "byte-swapped"
    if not a.flags.aligned:
        return "misaligned"
    if not a.flags.writeable and a.flags.c_contiguous:
        return "read-only"
    if a.flags.c_contiguous:
        return ""
    if lead_of(a) == LEAD:
        return "inside a larger buffer"
    for name in _BY_STRIDES:
        if a.ndim > 1 and arrange(a, name).strides == a.strides:
            return name
    return "in Fortran order" if a.flags.f_contiguous else "strided"


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return encode_array(value)
    if isinstance(value, (float, np.floating)):
        return encode_float(float(value))
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return np.dtype(value).name


class _Held(NamedTuple):
    """What a forward call saved, and the number of that call."""

    call: int
    saved: Any


def _plain(target: Target, key: str, a: Any) -> Any:
    """Return an array of x's shape as the corpus holds it: a statistic per channel, axis 1."""
    if key not in ("x", "dy", "ddx", "tx") or a.ndim == 2:
        return a
    if target.conventions.statistics == "per_activation":
        return a.reshape(a.shape[0], target.conventions.columns(a.shape))
    if target.conventions.channel_axis == -1:
        return np.ascontiguousarray(np.moveaxis(a, -1, 1))
    return a


def recorded(target: Target, exercise: Callable[[Target], Any]) -> Calls:
    """Return the calls that exercise makes, their arguments as they were before each call."""
    calls: Calls = []

    def around(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def logged(*args: Any, **options: Any) -> Any:
            given: Mapping[str, Any] = dict(zip(ARGUMENTS[name], args, strict=False)) | options
            call: dict[str, Any] = {"call": name}
            for key, value in given.items():
                held = isinstance(value, _Held)
                call[key] = value.call if held else _encode(_plain(target, key, value))
            calls.append(call)
            number = len(calls) - 1
            bare = (a.saved if isinstance(a, _Held) else a for a in args)
            result = function(*bare, **options)
            if name.startswith("forward_") and isinstance(result, (tuple, list)) and result:
                return (*result[:-1], _Held(number, result[-1]))
            return result

        return logged

    functions = {name: around(name, function) for name, function in target.functions.items()}
    with contextlib.suppress(Misbehaved):  # the calls up to there are what matters
        exercise(replace(target, functions=functions))
    return _usable(calls)


def _usable(calls: Calls) -> Calls:
    """Return the calls up to the first that was handed a NaN or a negative variance as state."""
    for number, call in enumerate(calls):
        numbers = {
            key: np.array([float.fromhex(text) for text in value["data"]])
            for key, value in call.items()
            if isinstance(value, dict) and value["dtype"] != "int64"
        }
        rows = [a for key, a in numbers.items() if key not in ("x", "means", "variances")]
        finite = all(np.isfinite(a).all() for a in rows)
        used = "running_var" in numbers and call["call"] != "forward_train"
        if not finite or (used and (numbers["running_var"] < 0).any()):
            return calls[:number]
    return calls
