"""From claims to a verdict: what was got, what was wanted, and how far apart they may lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .contract import Array


@dataclass(frozen=True, eq=False)
class Claim:
    """got must lie within radius of want; scale is what a relative error is measured against."""

    quantity: str
    got: Array
    want: Array
    radius: Any
    scale: Any = None
    bits: bool = False


def same_bits(quantity: str, got: Array, want: Array) -> Claim:
    """Claim that two arrays are equal to the bit; NaN equals NaN of any payload, here alone."""
    if got.dtype != want.dtype or got.shape != want.shape:
        both = f"{quantity}: {got.dtype} {got.shape} against {want.dtype} {want.shape}"
        return Claim(both, np.array([1.0]), np.array([0.0]), 0.0, bits=True)
    return Claim(quantity, got, want, 0.0, bits=True)


def is_true(quantity: str, holds: bool) -> Claim:
    """Claim a plain fact."""
    return Claim(quantity, np.array([1.0 if holds else 0.0]), np.array([1.0]), 0.0, bits=True)


@dataclass(frozen=True)
class Failure:
    """The worst place of a failed claim."""

    quantity: str
    index: tuple[int, ...]
    got: float
    want: float
    error: float
    radius: float


@dataclass(frozen=True)
class Outcome:
    """What the claims of one example came to.

    worst is the largest error as a multiple of its radius; strength the least relative error that
    would have been seen (0 where bits are compared); undecided says that some radius was infinite.
    """

    worst: float = 0.0
    strength: float = np.inf
    undecided: bool = False
    failure: Failure | None = None
    claims: tuple[Claim, ...] = field(default=(), repr=False)


def _differences(claim: Claim) -> tuple[Array, Array]:
    """Return |got - want| and the radius; equal infinities agree, a stray NaN is infinitely far."""
    got, want = (np.asarray(a, dtype=np.float64) for a in (claim.got, claim.want))
    got, want, radius = np.broadcast_arrays(got, want, np.asarray(claim.radius, dtype=np.float64))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(got - want)
    if claim.bits:
        both_nan = np.isnan(got) & np.isnan(want)
        error = np.where((got == want) | both_nan, 0.0, error)
    else:
        error = np.where(got == want, 0.0, error)
    return np.where(np.isnan(error), np.inf, error), radius


def judge(claims: Iterable[Claim]) -> Outcome:
    """Return what the claims of one example come to."""
    claims = tuple(claims)
    with np.errstate(all="ignore"):
        return _judge(claims)


def _judge(claims: tuple[Claim, ...]) -> Outcome:
    worst, strength, undecided, failure = 0.0, np.inf, False, None
    for claim in claims:
        error, radius = _differences(claim)
        if error.size == 0:
            continue
        open_ = ~np.isfinite(radius)
        undecided = undecided or bool(open_.any())
        ratio = np.where(error > 0, error / radius, 0.0)
        ratio = np.where(open_, 0.0, ratio)
        top = float(ratio.max())
        if top > worst:
            worst = top
            if top > 1.0:
                failure = _failure(claim, error, radius, ratio)
        if not claim.bits:
            strength = min(strength, _strength(claim, radius))
    if all(claim.bits for claim in claims):
        strength = 0.0
    return Outcome(worst, strength, undecided, failure, claims)


def _failure(claim: Claim, error: Array, radius: Array, ratio: Array) -> Failure:
    index = tuple(int(i) for i in np.unravel_index(int(ratio.argmax()), ratio.shape))
    got = np.broadcast_to(np.asarray(claim.got, dtype=np.float64), ratio.shape)
    want = np.broadcast_to(np.asarray(claim.want, dtype=np.float64), ratio.shape)
    return Failure(
        claim.quantity,
        index,
        float(got[index]),
        float(want[index]),
        float(error[index]),
        float(radius[index]),
    )


def _strength(claim: Claim, radius: Array) -> float:
    """Return the least relative error that exceeds twice the radius at some element."""
    scale = np.abs(np.asarray(claim.want if claim.scale is None else claim.scale, dtype=np.float64))
    scale, radius = np.broadcast_arrays(scale, radius)
    usable = (scale > 0) & np.isfinite(radius) & np.isfinite(scale)
    if not usable.any():
        return float(np.inf)
    return float((2 * radius[usable] / scale[usable]).min())
