"""How far one example lies off: per decade of mean/sd, in ulp and as a multiple of its radius."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..model import expected
from ..model.cases import Case, Recipe, build
from ..model.contract import Array, Misbehaved, Target
from .quantities import Quantity, certified

CONSTANT = "constant"  # the decade of channels whose variance is zero
LAST = 8  # decades beyond go into this one
_FORMAT = {  # bits of precision, exponent of the least normal number
    "float16": (11, -14),
    "bfloat16": (8, -126),
    "float32": (24, -126),
    "float64": (53, -1022),
}
Decade = int | str


@dataclass(frozen=True)
class Point:
    """The error of one channel of one example.

    ulp, radius_ulp and pairwise_ulp are in units in the last place of the largest term that is
    added in the channel, relative is against that term; multiple and pairwise_multiple are against
    the radii of sums in any order and in pairs.
    """

    decade: Decade
    mean_over_sd: float
    ulp: float
    relative: float
    radius_ulp: float
    pairwise_ulp: float
    multiple: float
    pairwise_multiple: float
    recipe: Recipe
    channel: int = 0

    @property
    def decided(self) -> bool:
        """Whether the radius is finite."""
        return bool(np.isfinite(self.radius_ulp))

    def as_json(self) -> dict[str, Any]:
        """Return what a state file keeps; numbers as they are, infinities as text."""
        found = {k: v for k, v in asdict(self).items() if k != "recipe"}
        found = {k: v if isinstance(v, str) or np.isfinite(v) else str(v) for k, v in found.items()}
        return {**found, "recipe": asdict(self.recipe)}


def read_point(value: dict[str, Any]) -> Point:
    """Return a point from what `as_json` gave."""
    recipe: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in value["recipe"].items()
    }
    numbers = {k: float(v) for k, v in value.items() if k not in ("recipe", "decade", "channel")}
    channel = value.get("channel", 0)
    return Point(decade=value["decade"], recipe=Recipe(**recipe), channel=channel, **numbers)


def dtype_of(quantity: Quantity, dtype: str) -> str:
    """Return the dtype that the quantity has beside x of this dtype."""
    return "float32" if quantity.state and dtype in ("float16", "bfloat16") else dtype


def unit(term: Array, dtype: str) -> Array:
    """Return the unit in the last place of each number in this dtype."""
    bits, least = _FORMAT[dtype]
    exponent = np.frexp(np.abs(term))[1] - 1
    return np.ldexp(1.0, np.maximum(exponent, least) - (bits - 1))


def ratios(case: Case) -> Array:
    """Return mean/sd of each channel, infinite where the variance is zero, (c,)."""
    ref = expected.training(case).ref
    with np.errstate(all="ignore"):
        found = np.abs(ref.mean) / np.sqrt(ref.var)
    return np.where(ref.var > 0, found, np.inf)[0]


def decade_of(ratio: float) -> Decade:
    """Return the decade of mean/sd: -1 below one, 0 to 8, or "constant"."""
    if not np.isfinite(ratio):
        return CONSTANT
    return -1 if ratio < 1 else min(int(np.floor(np.log10(ratio))), LAST)


def measure(target: Target, quantity: Quantity, case: Case) -> tuple[list[Point], str]:
    """Return the points of a case, one per channel, and how the target misbehaved, if it did."""
    channels, inf = ratios(case), math.inf
    try:
        got = quantity.got(target, case)
    except Misbehaved as error:
        broken = [
            Point(decade_of(r), float(r), inf, inf, 0.0, 0.0, inf, inf, case.recipe, j)
            for j, r in enumerate(channels)
        ]
        return broken, str(error)
    with np.errstate(all="ignore"):
        return list(_points(quantity, case, got, channels)), ""


def _points(quantity: Quantity, case: Case, got: Array, channels: Array) -> Iterator[Point]:
    wanted = case.memo(("hunt", quantity.name), lambda: certified(case, quantity.name))
    error = np.where(got == wanted.value, 0.0, np.abs(got - wanted.value))
    error = np.where(np.isnan(error), np.inf, error)  # (n, c) or (1, c)
    radii = [np.broadcast_to(r, error.shape) for r in (wanted.radius, wanted.pairwise)]
    radii = [np.where(np.isnan(r), np.inf, r) for r in radii]
    ulp = unit(wanted.term, dtype_of(quantity, case.recipe.dtype))[0]
    term = wanted.term[0]
    open_ = ~np.isfinite(radii[0])
    multiples = [np.where(open_ | (error == 0), 0.0, error / r).max(axis=0) for r in radii]
    # a channel is judged where its radius is finite, and shown where it is not anywhere
    judged = ~open_ | open_.all(axis=0)
    at = np.where(judged, error, -1.0).argmax(axis=0), np.arange(error.shape[1])
    off = error[at]
    columns = (
        channels, off / ulp, off / np.maximum(term, 5e-324), *(r[at] / ulp for r in radii),
        *multiples,
    )  # fmt: skip
    for j, found in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        ratio, ulps, relative, radius, paired, multiple, of_pairs = found
        yield Point(
            decade_of(ratio), ratio, ulps, relative, radius, paired, multiple, of_pairs,
            case.recipe, j,
        )  # fmt: skip


def case_of(target: Target, point: Point) -> Case:
    """Return the case of a point."""
    return build(point.recipe, target.conventions)
