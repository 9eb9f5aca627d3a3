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
    share: float = np.inf  # of the largest that was wanted in this claim, or of its scale


@dataclass(frozen=True)
class Outcome:
    """What the claims of one example came to.

    worst is the largest error as a multiple of its radius; undecided says that some radius was
    infinite.
    """

    worst: float = 0.0
    undecided: bool = False
    failure: Failure | None = None
    claims: tuple[Claim, ...] = field(default=(), repr=False)

    def strength(self) -> float:
        """Return the least relative error that would have been seen; 0 where bits are compared."""
        measured = [claim for claim in self.claims if not claim.bits]
        with np.errstate(all="ignore"):
            return min((_strength(claim) for claim in measured), default=0.0)


def channels_beyond(claims: Iterable[Claim], factor: float, channels: int) -> int:
    """Return in how many channels a claim is off by more than this multiple of its radius.

    A claim without a column per channel counts for one.
    """
    found = np.zeros(channels, dtype=bool)
    other = False
    with np.errstate(all="ignore"):
        for claim in claims:
            error, radius = _differences(claim)
            if not error.size:
                continue
            beyond = np.isfinite(radius) & (error > factor * radius)
            if beyond.ndim == 2 and beyond.shape[1] == channels:
                found |= beyond.any(axis=0)
            else:
                other = other or bool(beyond.any())
    return max(int(found.sum()), int(other))


def _differences(claim: Claim) -> tuple[Array, Array]:
    """Return |got - want| and the radius; equal infinities agree, a stray NaN is infinitely far."""
    got, want = np.asarray(claim.got, dtype=np.float64), np.asarray(claim.want, dtype=np.float64)
    radius = np.asarray(claim.radius, dtype=np.float64)
    error = np.abs(got - want)
    if np.isfinite(error).all():
        return error, radius
    same = got == want
    if claim.bits:
        same = same | (np.isnan(got) & np.isnan(want))
    error = np.where(same, 0.0, error)
    return np.where(np.isnan(error), np.inf, error), radius


def judge(claims: Iterable[Claim]) -> Outcome:
    """Return what the claims of one example come to."""
    claims = tuple(claims)
    worst, undecided, failure = 0.0, False, None
    with np.errstate(all="ignore"):
        for claim in claims:
            error, radius = _differences(claim)
            if error.size == 0:
                continue
            closed = np.isfinite(radius)
            undecided = undecided or not closed.all()
            if not error.any():
                continue
            ratio = np.where(closed & (error > 0), error / radius, 0.0)
            top = float(ratio.max())
            if top > worst:
                worst = top
                if top > 1.0:
                    failure = _failure(claim, error, radius, ratio)
    return Outcome(worst, undecided, failure, claims)


def _failure(claim: Claim, error: Array, radius: Array, ratio: Array) -> Failure:
    index = tuple(int(i) for i in np.unravel_index(int(ratio.argmax()), ratio.shape))
    arrays = (claim.got, claim.want, error, radius)
    at = (
        float(np.broadcast_to(np.asarray(a, dtype=np.float64), ratio.shape)[index]) for a in arrays
    )
    of = np.asarray(claim.want if claim.scale is None else claim.scale, dtype=np.float64)
    largest = float(np.abs(of[np.isfinite(of)]).max(initial=0.0))
    got, want, off, allowed = at
    share = off / largest if largest else np.inf
    return Failure(claim.quantity, index, got, want, off, allowed, share)


def _strength(claim: Claim) -> float:
    """Return the least relative error that exceeds twice the radius at some element."""
    scale = np.abs(np.asarray(claim.want if claim.scale is None else claim.scale, dtype=np.float64))
    relative = 2 * np.asarray(claim.radius, dtype=np.float64) / scale
    usable = np.isfinite(relative) & (scale > 0)
    return float(relative[usable].min()) if usable.any() else float(np.inf)
