"""A failing call as a few lines of the framework's own API, to be pasted without bncheck."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..corpus.files import decode_array, decode_float
from ..model.contract import Array, Conventions
from ..model.verdict import Failure
from .frameworks import TEMPLATES
from .frameworks_common import Given

LARGEST = 64  # values of x, beyond which a reproducer is no longer to be pasted


def number(value: Any) -> str:
    """Return the shortest decimal that gives this number of its dtype again."""
    kind = type(value)
    short = str(np.float32(value)) if kind.__name__ == "bfloat16" else str(value)
    with np.errstate(all="ignore"):
        same = np.array(float(short)).astype(kind) == value
    if not np.isfinite(value):
        return f"float('{float(value)}')"
    return short if same else repr(float(value))


def literal(a: Array | None) -> str:
    """Return an array as nested lists, every number in full."""
    if a is None:
        return "None"
    if a.size == 0:
        return f"np.zeros({a.shape})"  # lists would lose the shape
    if a.ndim == 0:
        return number(a[()])
    return "[" + ", ".join(literal(part) for part in a) + "]"


def reproducer(
    spec: str, conventions: Conventions, calls: list[dict[str, Any]], at: int, failure: Failure
) -> list[str]:
    """Return the lines that show a failing call; none where the framework has no template for it.

    Args:
        spec: a built-in target's name.
        conventions: the target's.
        calls: of a corpus entry.
        at: the number of the failing call.
        failure: what differed there.
    """
    template = TEMPLATES.get(spec)
    given = _given(conventions, calls, at, failure) if template else None
    lines = template(given) if template and given else None
    if not lines:
        return []
    if "np.zeros(" in "".join(lines) and "import numpy as np" not in lines[0]:
        lines = ["import numpy as np", *lines]
    want = number(np.float64(failure.want))
    return [*lines[:-1], f"{lines[-1]}  # wanted {want}, within {failure.radius:.2g}"]


def _given(
    conventions: Conventions, calls: list[dict[str, Any]], at: int, failure: Failure
) -> Given | None:
    call = calls[at]
    mode = call["call"].rpartition("_")[2]
    forward: Mapping[str, Any] = calls[call["saved"]] if "saved" in call else call
    known = ("y", "running_mean", "running_var", "dx", "dgamma", "dbeta")
    if forward["call"] not in ("forward_train", "forward_eval") or failure.quantity not in known:
        return None
    x = decode_array({k: v for k, v in forward["x"].items() if k != "layout"})
    if x.size > LARGEST or conventions.statistics != "per_channel":
        return None
    dy = (
        decode_array({k: v for k, v in call["dy"].items() if k != "layout"})
        if "dy" in call
        else None
    )
    names = ("gamma", "beta", "running_mean", "running_var")
    state = [None if forward[n] is None else decode_array(forward[n]) for n in names]
    kinds = [a.dtype.name for a in state if a is not None]
    index = failure.index if failure.quantity in ("y", "dx") else failure.index[-1:]
    if conventions.channel_axis == -1:
        x, dy = (None if a is None else np.moveaxis(a, 1, -1) for a in (x, dy))  # type: ignore[assignment]
        if len(index) > 1:
            index = (index[0], *index[2:], index[1])
    return Given(
        mode == "train", failure.quantity, ", ".join(map(str, index)), x.dtype.name,
        kinds[0] if kinds else x.dtype.name,
        x.shape[conventions.channel_axis], x.ndim, literal(x), literal(dy),
        literal(state[0]), literal(state[1]), literal(state[2]), literal(state[3]),
        repr(decode_float(forward["eps"])),
        repr(decode_float(forward["momentum"])) if "momentum" in forward else "0.5",
    )  # fmt: skip


def printed(lines: list[str]) -> str:
    """Run the lines in this process and return what they print, or how they fail."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile("\n".join(lines), "<reproducer>", "exec"), {"__name__": "__main__"})
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        return f"{type(error).__name__}: {first}"
    return out.getvalue().strip()
