"""Wrong synchronisation: counts of ranks that are forgotten, sums that are not shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..model.contract import Array
from ..plants.planted import with_divisor
from ..plants.ranks import Sharing, in_parts
from ..plants.textbook import Pieces, by_convention

Change = Callable[[Pieces, list[int]], Pieces]


def _unweighted(sizes: list[int], x: Array) -> Any:
    """Return the mean of the ranks' means."""
    return np.mean([part.mean(axis=0, keepdims=True) for (part,) in in_parts(sizes, x)], axis=0)


def _unweighted_moments(pieces: Pieces, sizes: list[int]) -> Pieces:
    def variance(x: Array, mean: Array) -> Any:
        return _unweighted(sizes, x * x) - mean * mean

    return replace(pieces, mean=lambda x: _unweighted(sizes, x), variance=variance)


def _unweighted_mean(pieces: Pieces, sizes: list[int]) -> Pieces:
    return replace(pieces, mean=lambda x: _unweighted(sizes, x))


def _first_size(sizes: list[int]) -> int:
    return len(sizes) * max(sizes[0], 1)


def _first_size_for_all(pieces: Pieces, sizes: list[int]) -> Pieces:
    """Return pieces that take the first rank's size for that of each."""
    return with_divisor(pieces, _first_size(sizes))


def _first_size_in_the_factor(pieces: Pieces, sizes: list[int]) -> Pieces:
    """Return pieces whose running variance has the n / (n - 1) of that size."""

    def running_variance(var: Array, n: int, convention: str, eps: Any) -> Any:
        return by_convention(var, _first_size(sizes), convention, eps)

    return replace(pieces, running_variance=running_variance)


def _means_of_means(pieces: Pieces, sizes: list[int]) -> Pieces:
    """Return pieces whose dx averages the ranks' means of dy and dy * xhat."""

    def input_gradient(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Any:
        xhat = (x - mean) * rstd
        path = _unweighted(sizes, dy) + xhat * _unweighted(sizes, dy * xhat)
        return gamma * rstd * (dy - path)

    return replace(pieces, input_gradient=input_gradient)


def _parameters_times(factor: Callable[[int], float]) -> Change:
    """Return what makes dgamma and dbeta so many times too large, by the number of ranks."""

    def change(pieces: Pieces, sizes: list[int]) -> Pieces:
        def gamma_gradient(*given: Array) -> Any:
            return pieces.gamma_gradient(*given) * given[0].dtype.type(factor(len(sizes)))

        def beta_gradient(dy: Array) -> Any:
            return pieces.beta_gradient(dy) * dy.dtype.type(factor(len(sizes)))

        return replace(pieces, gamma_gradient=gamma_gradient, beta_gradient=beta_gradient)

    return change


def _one_value_refused(pieces: Pieces, sizes: list[int]) -> Pieces:
    if 1 in sizes:
        raise ValueError("Expected more than 1 value per channel when training")
    return pieces


def _ranks(change: Change) -> Pieces:
    return Pieces(sharing=Sharing(change))


WRONG_RANKS: dict[str, Pieces] = {
    "parameter_gradients_are_added_up_twice": _ranks(_parameters_times(lambda k: k)),
}

# those that were reported are among the known bugs as wrong merging; here as a run may meet them
AS_LAYERS: dict[str, Pieces] = {
    "mean_of_the_ranks_means": _ranks(_unweighted_mean),
    "moments_of_ranks_unweighted": _ranks(_unweighted_moments),
    "means_of_the_ranks_gradients": _ranks(_means_of_means),
    "first_ranks_size_for_all": _ranks(_first_size_for_all),
    "first_ranks_size_in_the_unbiased_factor": _ranks(_first_size_in_the_factor),
    "parameter_gradients_of_ranks_are_means": _ranks(_parameters_times(lambda k: 1 / k)),
    "rank_of_one_value_refused": _ranks(_one_value_refused),
}
