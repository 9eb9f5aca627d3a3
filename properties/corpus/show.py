"""A corpus entry as a table, as NumPy arrays, or as C arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..model.contract import ARGUMENTS
from .files import Entry, decode_array, decode_wanted
from .numbers import decode_float

_C_TYPES = {"float32": "float", "float64": "double", "int64": "long long"}


def _is_array(value: Any) -> bool:
    return isinstance(value, dict) and "data" in value


def as_table(entry: Entry) -> str:
    """Return the calls with their arrays in decimal, and what they must give."""
    lines = [entry.key, f"source: {entry.source}", f"core: {'yes' if entry.core else 'no'}"]
    for number, call in enumerate(entry.calls):
        lines.append(f"calls[{number}] {call['call']}")
        for key, value in call.items():
            if key not in ("call", "expected"):
                lines.append(f"  {key:<13} {_text(value)}")
        for key, value in call["expected"].items():
            want, radius = decode_wanted(value)
            lines.append(f"  -> {key:<10} {_numbers(want)} within {_numbers(radius)}")
    return "\n".join(lines)


def _numbers(a: Any) -> str:
    return np.array2string(a, threshold=64, separator=", ").replace("\n", "\n" + 16 * " ")


def _text(value: Any) -> str:
    if _is_array(value):
        layout = f" {value['layout']}" if "layout" in value else ""
        return f"{_numbers(decode_array(value))}  {value['dtype']} {value['shape']}{layout}"
    return repr(decode_float(value)) if isinstance(value, str) and "0x" in value else repr(value)


def as_python(entry: Entry) -> str:
    """Return NumPy arrays and the calls on a `target`, to paste."""
    lines = ["import numpy as np", "", f"# {entry.key}"]
    for number, call in enumerate(entry.calls):
        given = []
        positional = ARGUMENTS[call["call"]]
        others = [key for key in call if key not in (*positional, "call", "expected")]
        for key in (*positional, *others):
            value, name = call[key], f"{key}_{number}"
            if _is_array(value):
                lines.append(f"{name} = {_python_array(value)}")
            else:
                name = f"saved_{value}" if key == "saved" else _python_scalar(value)
            given.append(name if key in positional else f"{key}={name}")
        lines.append(f"result_{number} = target.{call['call']}({', '.join(given)})")
        if call["call"].startswith("forward_"):
            lines.append(f"saved_{number} = result_{number}[-1]")
    return "\n".join(lines)


def _python_scalar(value: Any) -> str:
    if isinstance(value, str) and "0x" in value:
        return f"float.fromhex({value!r})"
    return repr(value)


def _python_array(value: dict[str, Any]) -> str:
    if value["dtype"] == "int64":
        numbers = ", ".join(map(str, value["data"]))
    else:
        numbers = ", ".join(f"float.fromhex({text!r})" for text in value["data"])
    times = f" * {value['repeat']}" if "repeat" in value else ""
    note = f"  # {value['layout']}" if "layout" in value else ""
    return f"np.array([{numbers}]{times}, {value['dtype']!r}).reshape({value['shape']}){note}"


def as_c(entry: Entry) -> str:
    """Return C arrays with the wanted values and their radii, to paste."""
    lines = ["#include <math.h>", f"/* {entry.key.replace('*/', '* /')} */"]
    for number, call in enumerate(entry.calls):
        lines.append(f"/* calls[{number}] {call['call']} */")
        for key, value in call.items():
            if _is_array(value):
                lines.append(_c_array(f"{key}_{number}", value, value["data"], value["dtype"]))
            elif isinstance(value, str) and "0x" in value:
                lines.append(f"const double {key}_{number} = {_c_number(value)};")
        for key, value in call["expected"].items():
            for part in ("value", "radius"):
                name = f"{key}_{number}_{part}"
                lines.append(_c_array(name, value, value[part], "float64"))
    return "\n".join(lines)


def _c_number(value: Any) -> str:
    words = {"nan": "NAN", "inf": "INFINITY", "-inf": "-INFINITY"}
    return words.get(value, str(value))


def _c_array(name: str, of: dict[str, Any], data: list[Any], dtype: str) -> str:
    kind = _C_TYPES.get(dtype, "float")
    shape = " x ".join(map(str, of["shape"])) or "1"
    times = f", {of['repeat']} times" if "repeat" in of else ""
    numbers = ", ".join(_c_number(v) for v in data) or "0"
    return f"const {kind} {name}[] = {{{numbers}}}; /* {shape}{times} */"
