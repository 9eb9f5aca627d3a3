"""Wrong masks: padding that is counted, in the forward, the backward or the running statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..model.contract import Array
from ..plants.masked import Masking, as_none
from ..plants.planted import PLANTED, with_divisor
from ..plants.textbook import Pieces, by_convention, sum_of_rows


def _padded_with_zeros(pieces: Pieces, places: int) -> Pieces:
    """Return pieces whose statistics are those of what is kept and zeros in all other places."""

    def mean(x: Array) -> Any:
        return sum_of_rows(x) / x.dtype.type(places)

    def variance(x: Array, mean: Array) -> Any:
        t, zeros = x.dtype.type, places - len(x)
        return (sum_of_rows((x - mean) * (x - mean)) + t(zeros) * mean * mean) / t(places)

    return replace(pieces, mean=mean, variance=variance)


def _padded_factor(pieces: Pieces, places: int) -> Pieces:
    """Return pieces whose running variance has the n / (n - 1) of all places."""

    def running_variance(var: Array, n: int, convention: str, eps: Any) -> Any:
        return by_convention(var, places, convention, eps)

    return replace(pieces, running_variance=running_variance)


def _padded_means(pieces: Pieces, places: int) -> Pieces:
    """Return pieces whose backward divides its sums by all places."""

    def input_gradient(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Any:
        n, xhat = x.dtype.type(places), (x - mean) * rstd
        return gamma * rstd * (dy - sum_of_rows(dy) / n - xhat * sum_of_rows(dy * xhat) / n)

    return replace(pieces, input_gradient=input_gradient)


def _own_gradient(pieces: Pieces, places: int) -> Pieces:
    """Return pieces whose backward derives mean and variance with the divisor of all places.

    The sum of x - mean over what is kept is not 0 then.
    """

    def input_gradient(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Any:
        n, xc, dxhat = x.dtype.type(places), x - mean, dy * gamma
        dvar = -sum_of_rows(dxhat * xc) * rstd**3 / 2
        dmean = -sum_of_rows(dxhat) * rstd - 2 * dvar * sum_of_rows(xc) / n
        return dxhat * rstd + (2 * dvar * xc + dmean) / n

    return replace(pieces, input_gradient=input_gradient)


Change = Callable[[Pieces, int], Pieces]


def _both(one: Change, two: Change) -> Change:
    return lambda pieces, places: two(one(pieces, places), places)


def _none_in_rank_4(mask: Array) -> Array:
    return np.ones_like(mask) if mask.ndim == 3 else mask


def _masked(*args: Any, **how: Any) -> Pieces:
    return Pieces(masking=Masking(*args, **how))


WRONG_MASKS: dict[str, Pieces] = {
    "padded_places_are_counted": PLANTED["padded_places_are_counted"],
    "zero_padding_is_counted": _masked(pieces=_both(_padded_with_zeros, _padded_means)),
    "mask_is_ignored": _masked(as_none, as_none),
    "mask_is_ignored_in_rank_4": _masked(_none_in_rank_4, _none_in_rank_4),
}

UNREPORTED: dict[str, Pieces] = {  # nobody reported them so far: causes that a run may name
    "padded_size_everywhere": _masked(pieces=_both(with_divisor, _padded_means)),
    "padded_size_with_its_gradient": _masked(pieces=_both(with_divisor, _own_gradient)),
    "padded_size_in_the_unbiased_factor": _masked(pieces=_padded_factor),
    "padded_means_in_backward": _masked(pieces=_padded_means),
    "mask_is_reversed": _masked(np.logical_not, np.logical_not),
}
