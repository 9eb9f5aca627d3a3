"""Wrong running statistics: their divisor, their average, their start, and who reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..model.contract import Array
from ..plants.planted import PLANTED
from ..plants.textbook import Functions, Pieces, by_convention, weighted


def _unbiased(var: Array, n: int, convention: str, eps: Any) -> Array:
    return by_convention(var, n, "unbiased", eps)


def _unguarded(var: Array, n: int, convention: str, eps: Any) -> Array:
    """Return var * n / (n - 1), which is 0 / 0 for one value."""
    return var * var.dtype.type(n) / var.dtype.type(n - 1)


def _eval_at(state: Callable[..., tuple[Array, Array]]) -> Pieces:
    """Return the pieces whose inference takes its statistics from elsewhere."""

    def rewire(functions: Functions) -> Functions:
        def wrong(x: Array, gamma: Any, beta: Any, rm: Array, rv: Array, *, eps: float) -> Any:
            return functions["forward_eval"](x, gamma, beta, *state(rm, rv), eps=eps)

        return {**functions, "forward_eval": wrong}

    return Pieces(rewire=rewire)


def _output_at_updated(average: Callable[..., Array] = weighted) -> Pieces:
    """Return the pieces whose training normalizes with the updated running statistics."""

    def rewire(functions: Functions) -> Functions:
        def wrong(x: Array, gamma: Any, beta: Any, rm: Any, rv: Any, **options: Any) -> Any:
            y, mean, var, saved = functions["forward_train"](x, gamma, beta, rm, rv, **options)
            if mean is not None:
                y, _ = functions["forward_eval"](x, gamma, beta, mean, var, eps=options["eps"])
            return y, mean, var, saved

        return {**functions, "forward_train": wrong}

    return Pieces(average=average, rewire=rewire)


def _swapped(old: Array, new: Array, keep: Any, rest: Any) -> Array:
    return rest * old + keep * new


def _one_percent(old: Array, new: Array, keep: Any, rest: Any) -> Array:
    return weighted(old, new, new.dtype.type(0.99), new.dtype.type(0.01))


WRONG_STATE: dict[str, Pieces] = {
    "running_variance_is_biased": Pieces(
        running_variance=lambda var, n, convention, eps: var,
    ),
    "running_variance_is_unbiased": Pieces(running_variance=_unbiased),
    "running_variance_is_unbiased_in_rank_4": Pieces(
        where=(lambda x: x.ndim == 4, Pieces(running_variance=_unbiased))
    ),
    "unbiased_variance_is_unguarded": Pieces(running_variance=_unguarded),
    "unbiased_variance_is_unguarded_in_rank_4": Pieces(
        where=(lambda x: x.ndim == 4, Pieces(running_variance=_unguarded))
    ),
    "momentum_swapped": PLANTED["momentum_swapped"],
    "momentum_swapped_and_variance_starts_at_zero": Pieces(average=_swapped, initial_var=0.0),
    "momentum_swapped_and_output_at_updated_statistics": _output_at_updated(_swapped),
    "momentum_is_a_constant": Pieces(average=_one_percent),
    "output_at_updated_statistics": _output_at_updated(),
    "running_statistics_never_change": Pieces(average=lambda old, new, keep, rest: old),
    "running_statistics_are_the_batch": Pieces(average=lambda old, new, keep, rest: new),
    "update_is_applied_three_times": Pieces(
        average=lambda old, new, keep, rest: old - 3 * rest * (old - new)
    ),
    "running_variance_starts_at_zero": PLANTED["running_variance_starts_at_zero"],
    "running_variance_holds_eps": PLANTED["running_variance_holds_eps"],
    "empty_batch_gives_nan": PLANTED["empty_batch_gives_nan"],
    "eval_reads_the_initial_statistics": _eval_at(
        lambda rm, rv: (np.zeros_like(rm), np.ones_like(rv))
    ),
    "eval_uses_batch_statistics": PLANTED["eval_uses_batch_statistics"],
}
