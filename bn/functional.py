"""Batch normalization in training and in inference, forward and backward, as plain functions.

x (n, c, *spatial) is seen as (n, c, s), statistics being over the n * s values of a channel, or
per activation as (n, c * s, 1); what a mask keeps of it as (m, c, 1). Equation numbers are those of
reference/derivation.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import arguments as check
from .blocks import FLOAT64, SMALL, Array, DType, Float64, Mask, Term, combine, paired_sums
from .statistics import (
    Statistics,
    batch_statistics,
    move_running,
    running_statistics,
    working_dtype,
)

CONVENTIONS = {
    "momentum": "keep",
    "running_var": "biased",
    "statistics": "per_channel",
    "channel_axis": 1,
    "ndim": [2, 3, 4, 5],
    "dtypes": ["float16", "float32", "float64"],
    "accumulator": "same",  # float16 is computed in float32
    "subnormals": "kept",
}


@dataclass(frozen=True)
class Saved:
    """What a backward needs: x itself, which must stay as it is until then, and copies."""

    training: bool
    shape: tuple[int, ...]
    per_activation: bool
    mask: Mask | None  # (n, *spatial)
    x: Array  # (n, c, s), or (m, c, 1) of what a mask keeps
    gamma: Float64  # (c,), 1 for None
    given: tuple[bool, bool]  # whether gamma and beta are not None
    statistics: Statistics
    rstd: Float64  # (c,)


def forward_train(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    *,
    eps: float,
    momentum: float,
    mask: Mask | None = None,
    per_activation: bool = False,
) -> tuple[Array, Array | None, Array | None, Saved]:
    """Normalize a batch with its own statistics.

    y = gamma * (x - mean) / sqrt(var + eps) + beta                                  (1) to (6)
    running = momentum * running + (1 - momentum) * batch, var with divisor n       (18), (19)

    One value per channel gives var = 0 and y = beta, a constant channel y = beta exactly; an
    empty batch leaves the running statistics as they are. NaN or Inf makes its own channel NaN,
    in y and in the new running statistics; a variance beyond float64 makes y NaN and itself Inf.

    Args:
        x: (n, c, *spatial), 2 to 5 dimensions; float16, float32 or float64, any memory layout and
            byte order. Leave it unchanged until backward is done.
        gamma, beta: (c,), float32 for float16 x, else of x's dtype; None for 1 and 0.
        running_mean, running_var: like gamma; None for both if they are not tracked.
        eps: finite, >= 0; where var + eps = 0, y = beta.
        momentum: share of the old running statistics that is kept, 0 to 1; at 1 they are copied
            to the bit, at 0 the batch's replace them.
        mask: (n, *spatial) of bool, True where x counts; None for all of it. The results are then
            those of the batch without the other places, where y and dx are 0; not per activation.
    Returns:
        y: like x, in C order and native byte order; the new running statistics, new arrays or
        None; saved, for backward_train, jvp_train and double_backward_train.
    Source: Ioffe and Szegedy (2015), Batch Normalization, arXiv:1502.03167, algorithm 1.
    """
    whole, running = check.batch("x", x, "(n, c, *spatial)"), None
    mask = None if mask is None else check.mask(mask, whole.shape, per_activation)
    x = channel_rows(whole, mask, per_activation)
    given = gamma is not None, beta is not None
    scale, shift = (
        check.parameter("gamma", gamma, x, 1.0),
        check.parameter("beta", beta, x, -0.0),
    )
    if running_mean is not None or running_var is not None:
        running = check.running(running_mean, running_var, x)
    eps, momentum = (
        check.number("eps", eps),
        check.number("momentum", momentum, 1.0),
    )
    with np.errstate(all="ignore"):
        batch = batch_statistics(x, summing_dtype(x))  # (1) (3)
        kept = whole.shape, per_activation, mask, x, scale, given
        saved = Saved(True, *kept, batch, batch.rstd(eps))  # (4)
        y = written([xhat(saved, scale)], shift, saved)  # (6)
        new = (None, None) if running is None else move_running(*running, batch, momentum)
    return y, *new, saved


def forward_eval(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    running_mean: Array,
    running_var: Array,
    *,
    eps: float,
    per_activation: bool = False,
) -> tuple[Array, Saved]:
    """Normalize with the running statistics, each value on its own.

    y = gamma * (x - running_mean) / sqrt(running_var + eps) + beta                       (16)

    Args: as for forward_train, the running statistics not None.
    Returns: y, like x, in C order and native byte order; saved, for backward_eval.
    Source: Ioffe and Szegedy (2015), arXiv:1502.03167, algorithm 2.
    """
    whole = check.batch("x", x, "(n, c, *spatial)")
    x = channel_rows(whole, None, per_activation)
    given = gamma is not None, beta is not None
    scale, shift = (
        check.parameter("gamma", gamma, x, 1.0),
        check.parameter("beta", beta, x, -0.0),
    )
    running = running_statistics(*check.running(running_mean, running_var, x))
    eps = check.number("eps", eps)
    with np.errstate(all="ignore"):
        kept = whole.shape, per_activation, None, x, scale, given
        saved = Saved(False, *kept, running, running.rstd(eps))
        return written([xhat(saved, scale)], shift, saved), saved  # (16)


def backward_train(dy: Array, saved: Saved) -> tuple[Array, Array | None, Array | None]:
    """Return the gradients of a loss by x, gamma and beta from dy, its gradient by y.

    dbeta = sum(dy)                                                                        (8)
    dgamma = sum(dy * xhat)                                                                (9)
    dx = gamma * rstd * (dy - mean(dy) - xhat * mean(dy * xhat))                          (15)

    Args: dy, of the shape and dtype of x; saved, from forward_train, not changed.
    Returns: dx, like x; dgamma, dbeta, like gamma and beta, None where those are None.
    Source: Ioffe and Szegedy (2015), arXiv:1502.03167, section 3, solved for dx.
    """
    check.saved(saved, Saved, training=True)
    dy = rows_like_x("dy", dy, saved)
    with np.errstate(all="ignore"):
        sums = gradient_sums(dy, saved)  # (2, c) (8) (9)
        dgamma, dbeta = parameter_gradients(sums, saved)
        mean_dy, mean_dy_xhat = np.divide(sums, saved.statistics.n, out=sums)  # (c,) each
        scale = saved.gamma * saved.rstd  # (c,)
        terms = [Term(dy, None, mean_dy, scale), xhat(saved, -scale * mean_dy_xhat)]
        return written(terms, None, saved), dgamma, dbeta  # (15)


def backward_eval(dy: Array, saved: Saved) -> tuple[Array, Array | None, Array | None]:
    """Return the gradients of a loss by x, gamma and beta in inference.

    dx = gamma * rstd * dy                                                                (17)

    and dbeta and dgamma as in training, (8) and (9), with xhat from the running statistics.

    Args: dy, of the shape and dtype of x; saved, from forward_eval, not changed.
    Returns: dx, dgamma, dbeta as backward_train does.
    """
    check.saved(saved, Saved, training=False)
    dy = rows_like_x("dy", dy, saved)
    with np.errstate(all="ignore"):
        sums = gradient_sums(dy, saved)  # (2, c) (8) (9)
        dx = written([Term(dy, None, None, saved.gamma * saved.rstd)], None, saved)  # (17)
        return dx, *parameter_gradients(sums, saved)


def channel_rows(array: Array, mask: Mask | None, per_activation: bool) -> Array:
    """See (n, c, *spatial) as (n, c, s), or (n, c * s, 1); what a mask keeps as (m, c, 1)."""
    if mask is not None:
        return np.moveaxis(array, 1, -1)[mask][..., None]
    n, c, s = array.shape[0], array.shape[1], math.prod(array.shape[2:])
    return array.reshape((n, c * s, 1) if per_activation else (n, c, s))


def rows_like_x(name: str, value: Array, saved: Saved) -> Array:
    """Check an array like the forward's x, and see it as x was."""
    size, why = saved.x.dtype.itemsize, "that of x in the forward that returned saved"
    array = check.form(name, value, saved.shape, size, why, "pass that forward's saved")
    return channel_rows(array, saved.mask, saved.per_activation)


def written(terms: Sequence[Term], constant: Float64 | None, saved: Saved) -> Array:
    """Return constant + the sum of the terms in the form of x, 0 where a mask keeps nothing."""
    dtype = summing_dtype(saved.x) if saved.training else working_dtype(saved.x.dtype)
    out = np.empty(saved.x.shape, saved.x.dtype.newbyteorder("="))
    rows = combine(terms, constant, out, dtype)
    if saved.mask is None:
        return rows.reshape(saved.shape)
    whole = np.zeros((*saved.mask.shape, rows.shape[1]), rows.dtype)
    whole[saved.mask] = rows[..., 0]
    return np.ascontiguousarray(np.moveaxis(whole, -1, 1))


def summing_dtype(x: Array) -> DType:
    """Return float64 for float64 and for small batches, which it does not slow; else float32."""
    return FLOAT64 if x.size <= SMALL else working_dtype(x.dtype)


def xhat(saved: Saved, scale: Float64) -> Term:
    """Return the term scale * xhat, (5)."""
    return Term(saved.x, saved.statistics.pivot, saved.statistics.rest, scale * saved.rstd)


def gradient_sums(dy: Array, saved: Saved) -> Float64:
    """Return sum(dy) and sum(dy * xhat) per channel, (2, c), (8) and (9).

    In inference x may lie anywhere about the running mean, which alone cancels nothing.
    """
    pivot, rest = saved.statistics.pivot, saved.statistics.rest
    if not saved.training:
        pivot, rest = pivot + rest, 0.0 * rest  # the running mean, which the dtype of x holds
    sums = paired_sums(saved.x, pivot, dy, summing_dtype(dy))  # (2, c) (8)
    sums[1] -= rest * sums[0]
    sums[1] *= saved.rstd  # (c,) (9)
    return sums


def parameter_gradients(sums: Float64, saved: Saved) -> tuple[Array | None, Array | None]:
    """Round dgamma and dbeta to the dtype of gamma and beta."""
    dbeta, dgamma = sums.astype(working_dtype(saved.x.dtype))
    return dgamma if saved.given[0] else None, dbeta if saved.given[1] else None
