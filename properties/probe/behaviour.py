"""What odd input does: one value, an empty batch, integers, NaN, and other memory layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..model import expected
from ..model.cases import Case
from ..model.contract import Array, Misbehaved, Trained
from ..model.layouts import LAYOUTS, arrange
from ..model.verdict import Claim
from .answers import SEEN, Answer, misfit
from .subject import FREE_EPS, FREE_SCALE, Probing, case_of, row, train

_C = 4


def _case(p: Probing, n: int, rank: int | None = None, *, large: bool = True) -> Case:
    """Return whole numbers, at a scale where eps does not count if large."""
    scale = FREE_SCALE[p.dtype] / 4 if large else 1.0
    rows = p.random(501).integers(-8, 9, size=(n, _C)) * scale
    start = {"running_mean": np.arange(_C) + 1.0, "running_var": np.arange(_C) + 2.0}
    beta, eps = np.arange(_C) - 1.5, FREE_EPS[p.dtype] if large else 0.5
    return case_of(p, p.dtype, rows, rank, beta=beta, eps=eps, momentum=0.5, **start)


def _observed(question: str, ask: Callable[[], str]) -> Answer:
    try:
        return Answer(question, SEEN, ask(), "seen")
    except Misbehaved as error:
        return Answer(question, SEEN, f"refused: {error}", "seen")


def _kind(a: Array, named: dict[str, Any]) -> str:
    """Return which of the named values an array has to the bit, NaN, or its first number."""
    for name, value in named.items():
        if np.array_equal(a, value):
            return name
    if np.isnan(a).all():
        return "NaN"
    return f"{float(a.ravel()[0]):.6g}, ..." if a.size else "empty"


def one_value(p: Probing) -> Answer:
    """Return y and the running variance with one value per channel."""

    def ask() -> str:
        case = _case(p, 1, large=False)
        result = train(p, case)
        got, want = expected.rows(case, result.y), expected.output(case)
        near = misfit([Claim("y", got, want.value, want.radius)]) <= 1
        y = "beta" if near else _kind(got, {})
        return f"y is {y}; running_var is {_after(case, result, 'running_var')}"

    return _observed("one value per channel", ask)


def _after(case: Case, result: Trained, name: str) -> str:
    """Return what became of a running statistic; at momentum 1/2 averaging with 0 is exact."""
    old = row(getattr(case, name))
    named = {"as it was": old, "averaged with 0": old / 2}
    return _kind(row(getattr(result, name)), named)


def empty_batch(p: Probing) -> Answer:
    """Return the running statistics after an empty batch."""

    def ask() -> str:
        case = _case(p, 4)
        result = train(p, replace(case, x=case.x[:0]))
        names = ("running_mean", "running_var")
        return "; ".join(f"{name} is {_after(case, result, name)}" for name in names)

    return _observed("empty batch", ask)


def integers(p: Probing) -> Answer:
    """Return what x of an integer dtype gives."""

    def ask() -> str:
        case = _case(p, 8, large=False)
        result = train(p, replace(case, x=case.x.astype(np.int32)))
        want = train(p, case).y
        same = result.y.dtype == want.dtype and np.array_equal(result.y, want)
        return f"y of {result.y.dtype}, " + (
            "as of the same numbers in floats" if same else _how_near(case, result.y)
        )

    return _observed("integer x", ask)


def _how_near(case: Case, y: Array) -> str:
    want = expected.output(case)
    rows = expected.rows(case, y.astype(np.float64))
    far = misfit([Claim("y", rows, want.value, want.radius)])
    if far <= 1:
        return "within the radius of the same numbers in floats"
    single = expected.output(replace(case, recipe=replace(case.recipe, dtype="float32")))
    far = misfit([Claim("y", rows, single.value, single.radius)])
    return "as of float32" if far <= 1 else "another result"


def nan_in_one_channel(p: Probing) -> Answer:
    """Return how far a NaN in one channel reaches."""

    def ask() -> str:
        case = _case(p, 8)
        plain = train(p, case)
        rows = case.conventions.rows(case.x).copy()
        rows[0, 1] = np.nan
        x = np.ascontiguousarray(case.conventions.shaped(rows, case.x.shape))
        result = train(p, replace(case, x=x))
        y, before = (expected.rows(case, r.y) for r in (result, plain))
        others = [0, 2, 3]
        own = "NaN" if np.isnan(y[:, 1]).all() else "partly finite"
        if np.isfinite(y[:, 1]).all():
            own = "finite: the NaN is hidden"
        rest = "untouched" if np.array_equal(y[:, others], before[:, others]) else "changed"
        return (
            f"its channel is {own}, the others are {rest}; "
            f"its running statistics become {_state_of(result)}"
        )

    return _observed("NaN in one channel", ask)


def _state_of(result: Trained) -> str:
    mean, var = row(result.running_mean)[0, 1], row(result.running_var)[0, 1]
    if np.isnan(mean) and np.isnan(var):
        return "NaN"
    return "finite" if np.isfinite([mean, var]).all() else "not finite"


def layouts(p: Probing) -> Answer:
    """Return what each memory layout of x does: the same bits, within the radius, or not."""
    question = "memory layouts"
    most = 2 if p.conventions.channel_axis == -1 else 4  # with the channels moved, x is a copy
    rank = max((rank for rank in p.conventions.ndim if rank <= most), default=p.rank)
    case = _case(p, 16, rank=rank)
    found: dict[str, list[str]] = {}
    try:
        plain = train(p, case).y
    except Misbehaved as error:
        return Answer(question, SEEN, f"refused: {error}", "seen")
    for layout in (name for name in LAYOUTS if name not in ("broadcast", "in C order")):
        x = arrange(case.x, layout)
        if p.conventions.channel_axis == -1 and x.ndim > 2:
            continue
        try:
            y = train(p, replace(case, x=x), keep_layout=True).y
        except Misbehaved as error:
            found.setdefault(f"refused ({error})", []).append(layout)
            continue
        if y.dtype == plain.dtype and np.array_equal(y, plain):
            found.setdefault("the same bits", []).append(layout)
        else:
            far = _how_near(case, y)
            told = "within the radius" if far.startswith("within") else "WRONG"
            found.setdefault(told, []).append(layout)
    if not found:
        return Answer(question, SEEN, "none: x is given with its channels moved", "seen")
    told = "; ".join(f"{what}: {', '.join(names)}" for what, names in found.items())
    return Answer(question, SEEN, told, "seen", numbers=found)


def behaviour(p: Probing) -> list[Answer]:
    """Return what each odd input does."""
    asks = (one_value, empty_batch, integers, nan_in_one_channel, layouts)
    return [ask(p) for ask in asks]
