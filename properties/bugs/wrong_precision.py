"""Wrong roundings: cancellation, narrow accumulators, narrow parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..model.contract import Array
from ..plants.textbook import Pieces, root_of_sum


def _one_pass(x: Array, mean: Array) -> Array:
    """Return mean(x * x) - mean * mean, which cancels where the mean is large."""
    return (x * x).sum(axis=0, keepdims=True) / x.dtype.type(x.shape[0]) - mean * mean


def _half(a: Any) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        return a.astype(np.float16)


def _summed_in_half(x: Array) -> Array:
    """Return the sum over the rows, each partial sum rounded to float16."""
    return np.add.accumulate(_half(x), axis=0, dtype=np.float16)[-1:].astype(x.dtype)


def _mean_in_half(x: Array) -> Array:
    return _summed_in_half(x) / x.dtype.type(x.shape[0])


def _variance_summed_in_half(x: Array, mean: Array) -> Array:
    xc = x - mean
    return _summed_in_half(xc * xc) / x.dtype.type(x.shape[0])


def _one_pass_in_half(x: Array, mean: Array) -> Array:
    mean = _half(mean)
    square = _half(_summed_in_half(x * x) / x.dtype.type(x.shape[0]))
    return (square - _half(mean * mean)).astype(x.dtype)


def to_bfloat16(a: Array) -> Array:
    """Return float32 numbers rounded to the 8 bits of a bfloat16, to the nearest even."""
    bits = a.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32).astype(a.dtype)


def _gamma_gradient_in_bfloat16(dy: Array, x: Array, mean: Array, rstd: Array) -> Array:
    total = np.zeros_like(mean)
    for row in dy * ((x - mean) * rstd):
        total = to_bfloat16(total + row)
    return total


def _gradient_summed_in_half(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Array:
    n, xhat = x.dtype.type(x.shape[0]), (x - mean) * rstd
    first, second = _summed_in_half(dy) / n, _summed_in_half(dy * xhat) / n
    return (dy - first - xhat * second) * (gamma * rstd)


def _eval_root_in_half(var: Array, eps: Any) -> Array:
    return root_of_sum(_half(var).astype(var.dtype), eps)


def _fold_in_half(weight: Array, bias: Any, scale: Array, shift: Array, *how: Any) -> Any:
    return Pieces().fold(weight, bias, _half(scale).astype(scale.dtype), shift, *how)


def _not_c_order(x: Array) -> bool:
    return x.dtype == np.float16 and not x.flags.c_contiguous


def _many(x: Array) -> bool:
    return x.size > 4096 * x.shape[1]


WRONG_PRECISION: dict[str, Pieces] = {
    "one_pass_variance": Pieces(variance=_one_pass),
    "one_pass_variance_in_half": Pieces(variance=_one_pass_in_half),
    "mean_summed_in_half": Pieces(mean=_mean_in_half),
    "variance_summed_in_half": Pieces(variance=_variance_summed_in_half),
    "statistics_summed_in_half": Pieces(mean=_mean_in_half, variance=_variance_summed_in_half),
    "large_batches_summed_in_half": Pieces(where=(_many, Pieces(mean=_mean_in_half))),
    "backward_of_other_layouts_in_half": Pieces(
        where=(_not_c_order, Pieces(input_gradient=_gradient_summed_in_half))
    ),
    "gamma_gradient_summed_in_bfloat16": Pieces(gamma_gradient=_gamma_gradient_in_bfloat16),
    "eval_variance_in_half": Pieces(
        where=(lambda x: x.dtype == np.float16, Pieces(eval_rstd=_eval_root_in_half))
    ),
    "fold_in_half": Pieces(fold=_fold_in_half),
}
