"""What an entry of the corpus may hold: the rules of corpus/schema.json, with plain messages."""

from __future__ import annotations

import math
from typing import Any

from ..model.layouts import LAYOUTS
from .numbers import Malformed, decode_float

DTYPES = ("float16", "bfloat16", "float32", "float64")
_FINITE = ("gamma", "beta", "running_mean", "eps", "momentum", "dy", "weight", "bias")
_NUMBERS = 2**20

# call: (arrays that must be there, arrays that may be None, other keys, what is expected)
CALLS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "forward_train": (
        ("x",),
        ("gamma", "beta", "running_mean", "running_var"),
        ("eps", "momentum", "mask"),
        ("mean", "var", "y"),
    ),
    "backward_train": (("dy",), (), ("saved",), ("dx", "dgamma", "dbeta")),
    "forward_eval": (
        ("x", "running_mean", "running_var"),
        ("gamma", "beta"),
        ("eps",),
        ("y",),
    ),
    "backward_eval": (("dy",), (), ("saved",), ("dx", "dgamma", "dbeta")),
    "initial_state": ((), (), ("channels", "dtype"), ("running_mean", "running_var")),
    "double_backward_train": (
        ("ddx", "ddgamma", "ddbeta", "dy"),
        (),
        ("saved",),
        ("by_x", "by_gamma", "by_dy"),
    ),
    "jvp_train": (("tx", "tgamma", "tbeta"), (), ("saved",), ("ty",)),
    "merge_statistics": (("counts", "means", "variances"), (), (), ("mean", "var")),
    "merge_gradients": (("counts", "sums_dy", "sums_dy_xhat"), (), (), ("mean_dy", "mean_dy_xhat")),
    "fold": (
        ("weight", "running_mean", "running_var"),
        ("bias", "gamma", "beta"),
        ("eps", "transposed", "groups"),
        ("weight", "bias"),
    ),
}


def _need(holds: bool, where: str, what: str) -> None:
    if not holds:
        raise Malformed(f"{where}: {what}")


def _keys(value: Any, where: str, needed: set[str], allowed: set[str]) -> None:
    _need(isinstance(value, dict), where, f"{_short(value)}: expected an object")
    unknown, missing = value.keys() - needed - allowed, needed - value.keys()
    _need(
        not unknown, where, f"unknown key {_first(unknown)!r}: expected {sorted(needed | allowed)}"
    )
    _need(not missing, where, f"{_first(missing)!r} is missing")


def _first(names: set[str]) -> str:
    return min(names, default="")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def check_entry(value: Any) -> None:
    """Raise Malformed, with the place, unless value is a valid entry."""
    _keys(value, "entry", {"source", "core", "calls", "digest"}, set())
    _need(isinstance(value["source"], str) and value["source"] != "", "source", "expected a text")
    _need(isinstance(value["core"], bool), "core", "expected true or false")
    _need(isinstance(value["digest"], str), "digest", "expected a text")
    calls = value["calls"]
    _need(isinstance(calls, list) and len(calls) > 0, "calls", "expected a list of calls")
    for number, call in enumerate(calls):
        _check_call(call, f"calls[{number}]", calls[:number])


def _check_call(call: Any, where: str, before: list[Any]) -> None:
    _need(isinstance(call, dict), where, f"{_short(call)}: expected an object")
    name = call.get("call")
    _need(isinstance(name, str) and name in CALLS, where, f"call={_short(name)}: no such function")
    arrays, optional, others, results = CALLS[name]
    optional_others = {"transposed", "groups", "mask"} & set(others)
    needed = {"call", "expected", *arrays, *optional, *others} - optional_others
    _keys(call, where, needed, optional_others)
    for key in (*arrays, *optional):
        if call[key] is not None or key in arrays:
            _check_array(call[key], f"{where}.{key}", key)
    if "mask" in call:
        _check_mask(call["mask"], f"{where}.mask", call["x"]["shape"])
    for key in others:
        if key in call and key != "mask":
            _check_other(key, call[key], f"{where}.{key}", before)
    _keys(call["expected"], f"{where}.expected", set(), set(results))
    if name == "forward_train":
        both = ("mean" in call["expected"]) == ("var" in call["expected"])
        _need(both, f"{where}.expected", "expected mean and var, or neither")
    for key, wanted in call["expected"].items():
        _check_wanted(wanted, f"{where}.expected.{key}")


def _check_mask(value: Any, where: str, of: list[int]) -> None:
    _keys(value, where, {"data", "dtype", "shape"}, {"repeat"})
    _check_shape(value, where, "data")
    _need(value["dtype"] == "int64", where, "expected dtype int64")
    shape = [*of[:1], *of[2:]]
    _need(value["shape"] == shape, where, f"shape={value['shape']}: expected {shape}, x's places")
    good = all(_whole(kept) and kept < 2 for kept in value["data"])
    _need(good and any(value["data"]), where, "expected 0 where hidden, 1 where kept, and some 1")


def _check_other(key: str, value: Any, where: str, before: list[Any]) -> None:
    if key in ("eps", "momentum"):
        _need(math.isfinite(_float(value, where)), where, f"{value}: expected a finite number")
    elif key == "saved":
        good = _whole(value) and value < len(before)
        good = good and str(before[value].get("call", "")).startswith("forward_")
        _need(good, where, f"{_short(value)}: expected the number of an earlier forward call")
    elif key in ("channels", "groups"):
        _need(_whole(value) and 1 <= value <= _NUMBERS, where, f"{_short(value)}: expected a count")
    elif key == "dtype":
        _need(value in DTYPES, where, f"{_short(value)}: expected one of {DTYPES}")
    else:
        _need(isinstance(value, bool), where, f"{_short(value)}: expected true or false")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _size(value: Any) -> bool:
    return _whole(value) and value <= _NUMBERS


def _float(value: Any, where: str) -> float:
    try:
        return decode_float(value)
    except Malformed as error:
        raise Malformed(f"{where}: {error}") from error


def _check_shape(value: dict[str, Any], where: str, data: str) -> int:
    shape, times = value["shape"], value.get("repeat", 1)
    good = isinstance(shape, list) and len(shape) <= 6 and all(map(_whole, shape))
    _need(good, where, f"shape={_short(shape)}: expected a list of sizes")
    _need(_size(times) and times >= 1, where, f"repeat={_short(times)}: expected a count")
    _need(isinstance(value[data], list), where, f"{data}: expected a list")
    size = math.prod(shape)
    _need(
        size <= _NUMBERS and all(map(_size, shape)),
        where,
        f"shape={shape}: expected at most {_NUMBERS} numbers",
    )
    found = len(value[data]) * times
    _need(found == size, where, f"{found} numbers for shape={shape}: expected {size}")
    return int(size)


def _check_array(value: Any, where: str, key: str) -> None:
    _keys(value, where, {"data", "dtype", "shape"}, {"layout", "repeat"})
    _check_shape(value, where, "data")
    layout = value.get("layout", "in C order")
    _need(layout in LAYOUTS, where, f"layout={_short(layout)}: expected one of {list(LAYOUTS)}")
    if key == "counts":
        _need(value["dtype"] == "int64", where, "expected dtype int64")
        good = all(_whole(count) and count < 2**63 for count in value["data"])
        _need(good, where, "expected counts")
        return
    _need(value["dtype"] in DTYPES, where, f"dtype={_short(value['dtype'])}: expected {DTYPES}")
    for number, text in enumerate(value["data"]):
        place = f"{where}.data[{number}]"
        finite = math.isfinite(_float(text, place))
        _need(finite or key not in _FINITE, place, f"{text}: expected a finite number")


def _check_wanted(value: Any, where: str) -> None:
    _keys(value, where, {"shape", "value", "radius"}, {"repeat"})
    _check_shape(value, where, "value")
    _check_shape(value, where, "radius")
    for number, (text, radius) in enumerate(zip(value["value"], value["radius"], strict=True)):
        place = f"{where}[{number}]"
        _need(not math.isinf(_float(text, place)), place, f"{text}: expected a number or nan")
        _need(_float(radius, place) >= 0, place, f"radius {radius}: expected at least 0")
