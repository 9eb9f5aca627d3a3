"""The accuracy class of each quantity by dtype, layout and number of values.

A: within the radius of pairwise sums. B: within that of sums in any order. C: beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from reference import rounding
from reference.ball import precision
from reference.float64 import reference_train

from ..model import contract
from ..model.cases import dtype_of, state_dtype
from ..model.contract import Array, Conventions, Misbehaved
from ..model.layouts import arrange
from ..model.verdict import Claim
from .answers import misfit
from .subject import FREE_EPS, FREE_SCALE, Probing, row, weight_of

QUANTITIES = ("mean", "variance", "y", "dx", "dgamma", "dbeta")
SIZES = (2**4, 2**8, 2**12, 2**16, 2**20)
_FAR = {"float64": 2.0**17, "float32": 2.0**8, "float16": 2.0**5, "bfloat16": 2.0**3}
_GAMMA, _BETA = 1.5, 0.75
LAYOUTS = {  # name: rank, memory layout of x and dy; rank 3 and 5 where it takes no other
    "(n,c)": (2, "in C order"),
    "(n,c) transposed": (2, "in Fortran order"),
    "(n,c,h,w)": (4, "in C order"),
    "(n,c,h,w) channels last": (4, "channels last"),
    "(n,c,l)": (3, "in C order"),
    "(n,c,d,h,w)": (5, "in C order"),
}


@dataclass(frozen=True)
class Grade:
    """The class of one quantity in one place, its error over either radius, and by mean/sd."""

    quantity: str
    dtype: str
    layout: str
    n: int
    grade: str
    pairwise: float
    any_order: float
    by_ratio: Mapping[str, float]


@dataclass(frozen=True)
class Column:
    """One channel: x, dy (n, 1) and per quantity the value and both radii."""

    ratio: str
    x: Array
    dy: Array
    want: Mapping[str, Array]
    pairwise: Mapping[str, Array]
    any_order: Mapping[str, Array]


def _channels(dtype: str, n: int, seed: int, scale: float) -> Iterator[tuple[str, Array]]:
    """Yield channels of mean/sd 0, about 3.5, and far, by name; the far one not where n is huge."""
    rng = np.random.Generator(np.random.PCG64([seed, n]))
    yield "0", rng.standard_normal((n, 1)) * scale
    yield "3.5", (rng.random((n, 1)) + 0.5) * scale
    if n <= 2**16:
        yield f"{_FAR[dtype]:g}", (rng.standard_normal((n, 1)) + _FAR[dtype]) * scale


@lru_cache(maxsize=16)
def columns(dtype: str, n: int, seed: int, scale: float, eps: float, bessel: bool) -> Any:
    """Return the channels with their references and radii; made once for all targets."""
    found = []
    rng = np.random.Generator(np.random.PCG64([seed, n, 1]))
    kind, state = dtype_of(dtype), state_dtype(dtype).name
    for ratio, x in _channels(dtype, n, seed, scale):
        x = x.astype(kind).astype(np.float64)
        dy = (rng.random((n, 1)) + 0.25 * rng.standard_normal((n, 1))).astype(kind)
        dy = dy.astype(np.float64)
        ref = reference_train(x, dy, [_GAMMA], [_BETA], eps)
        factor = n / (n - 1) if bessel else 1.0
        want = {name: ref.value[name] for name in ("mean", "y", "dx", "dgamma", "dbeta")}
        want["variance"] = ref.var * factor
        radii = []
        for pairwise in (True, False):
            p, of_state = precision(dtype, pairwise=pairwise), precision(state, pairwise=pairwise)
            gamma, beta = np.full((1, 1), _GAMMA), np.full((1, 1), _BETA)
            with np.errstate(all="ignore"):
                spread = rounding.statistics_spread(x, ref, eps, p)
                radius = rounding.gradient_radii(x, dy, ref, gamma, spread, p)
                radius["y"] = rounding.output_radius(x, ref, gamma, beta, spread, p)
                # the running statistics are the batch's times a weight that rounds once
                radius["mean"] = spread.mean + 2 * of_state.magnitude(ref.mean)
                radius["variance"] = (spread.var + 4 * of_state.magnitude(ref.var)) * factor
            bounds = {**ref.bound, "variance": 2 * ref.bound["var"]}
            radii.append({name: radius[name] + bounds[name] for name in QUANTITIES})
        found.append(Column(ratio, x, dy, want, *radii))
    return tuple(found)


def _shape(conventions: Conventions, rank: int, n: int, c: int) -> tuple[int, ...]:
    """Return a shape with n values per statistic; h and w grow with n."""
    if rank == 2:
        return (n, c)
    if conventions.statistics == "per_activation":
        return (n, c, *(1,) * (rank - 2))
    side = 2 ** (math.ceil(math.log2(n)) // 3)
    spatial = {3: (side,), 4: (side, side), 5: (1, side, side)}[rank]
    return (n // math.prod(spatial), c, *spatial)


def places(p: Probing) -> dict[str, tuple[int, str]]:
    """Return the layouts that can be told apart on this target."""
    moved = p.conventions.channel_axis == -1
    ranks = {2, 4} & {*p.conventions.ndim} or {*p.conventions.ndim}
    return {
        name.replace("c,h,w", "h,w,c") if moved else name: (rank, layout)
        for name, (rank, layout) in LAYOUTS.items()
        if rank in ranks
        and not (moved and rank > 2 and layout != "in C order")
        and not (p.conventions.statistics == "per_activation" and layout == "channels last")
    }


def results(
    p: Probing, dtype: str, place: tuple[int, str], x: Array, dy: Array, gamma: Array, beta: Array,
    eps: float,
) -> dict[str, Array]:  # fmt: skip
    """Return the quantities as rows; the first channel is one, and tells the batch's weight."""
    rank, layout = place
    n, c = x.shape
    shape, state = _shape(p.conventions, rank, n, c), state_dtype(dtype)
    kind = dtype_of(dtype)
    arrays = [arrange(p.conventions.shaped(a, shape).astype(kind), layout) for a in (x, dy)]
    gamma, beta = gamma.astype(state), beta.astype(state)
    result = contract.train(
        p.target, arrays[0], gamma, beta, np.zeros(c, state), np.zeros(c, state),
        eps=eps, momentum=0.5, keep_layout=True,
    )  # fmt: skip
    rows = p.conventions.rows
    got = {"y": rows(result.y).astype(np.float64)}
    if result.running_mean is not None and result.running_var is not None:
        share = weight_of(p, result, float(x[0, 0]))
        if np.isfinite(share) and share != 0:
            got["mean"], got["variance"] = (
                row(a) / share for a in (result.running_mean, result.running_var)
            )
    if "backward_train" in p.target.offers:
        back = contract.backward(p.target, arrays[1], result.saved, gamma, keep_layout=True)
        got["dx"] = rows(back.dx).astype(np.float64)
        if back.dgamma is not None and back.dbeta is not None:
            got["dgamma"], got["dbeta"] = row(back.dgamma), row(back.dbeta)
    return got


def _scale_and_eps(p: Probing, dtype: str) -> tuple[float, float]:
    """Return the scale of x and the eps of the reference, so that the place of eps is no matter."""
    form, fixed = p.eps_form or ("", None)
    if form == "inside the root" and (dtype == "float16" or fixed is None):
        return 1.0, FREE_EPS["float16"] if fixed is None else fixed
    return FREE_SCALE[dtype], FREE_EPS[dtype]


def grades(p: Probing, up_to: int = SIZES[-1]) -> Iterator[Grade]:
    """Yield the class of each quantity, by dtype, layout and number of values up to some."""
    for n in (n for n in SIZES if n <= up_to):
        for dtype in p.conventions.dtypes:
            yield from _of_size(p, dtype, n)


def _of_size(p: Probing, dtype: str, n: int) -> Iterator[Grade]:
    scale, eps = _scale_and_eps(p, dtype)
    divisor = p.divisor
    p.tick(f"accuracy {dtype} n = {n}")
    made = columns(dtype, n, p.seed, scale, eps, divisor == "unbiased")
    x = np.concatenate([np.full((n, 1), scale), *(column.x for column in made)], axis=1)
    dy = np.concatenate([np.zeros((n, 1)), *(column.dy for column in made)], axis=1)
    c = x.shape[1]
    for layout, place in places(p).items():
        try:
            got = results(p, dtype, place, x, dy, np.full(c, _GAMMA), np.full(c, _BETA), eps)
        except Misbehaved:
            continue  # what it refuses stands among the memory layouts
        for quantity in QUANTITIES:
            if quantity == "variance" and divisor not in ("biased", "unbiased"):
                continue
            if quantity in got:
                yield _graded(quantity, dtype, layout, n, made, got[quantity])


def _graded(
    quantity: str, dtype: str, layout: str, n: int, made: tuple[Column, ...], got: Array
) -> Grade:
    tight, loose, by_ratio = [], [], {}
    for j, column in enumerate(made, start=1):
        part, want = got[:, j : j + 1], column.want[quantity]
        tight.append(_ratio(part, want, column.pairwise[quantity]))
        loose.append(_ratio(part, want, column.any_order[quantity]))
        by_ratio[column.ratio] = tight[-1]
    grade = "A" if max(tight) <= 1 else "B" if max(loose) <= 1 else "C"
    return Grade(quantity, dtype, layout, n, grade, max(tight), max(loose), by_ratio)


def _ratio(got: Array, want: Array, radius: Array) -> float:
    ratio = misfit([Claim("", got, want, radius)])
    return 0.0 if np.isnan(ratio) else ratio  # an infinite radius grades B, as pairwise never is
