"""Batch normalization in training and in inference, forward and backward, as plain functions.

x (n, c, *spatial) is seen as (n, c, s), statistics being over the n * s values of a channel, or
per activation as (n, c * s, 1); what a mask keeps of it as (m, c, 1). Equation numbers are those of
reference/derivation.md.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arguments import (
    check_batch,
    check_like,
    check_mask,
    check_number,
    check_running,
    check_saved,
    check_vector,
)
from .blocks import FLOAT64, SMALL, Array, DType, Float64, Term, combine, paired_sums
from .statistics import (
    Statistics,
    batch_statistics,
    move_running,
    running_statistics,
    working_dtype,
)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Saved:
    """What a backward needs: x itself, which must stay as it is until then, and copies."""

    training: bool
    shape: tuple[int, ...]
    kept: Mask | None  # (n, s), what a mask keeps
    x: Array  # (n, c, s), or (m, c, 1) of what is kept
    gamma: Float64  # (c,), 1 for None
    gamma_dtype: DType | None
    beta_dtype: DType | None
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
    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range.
    Source: Ioffe and Szegedy (2015), Batch Normalization, arXiv:1502.03167, algorithm 1.
    """
    rows, shape = channel_rows(x, per_activation)
    kept = None if mask is None else check_mask(mask, shape, per_activation)
    rows = gathered(rows, kept)
    gamma, beta = check_vector("gamma", gamma, rows), check_vector("beta", beta, rows)
    running = check_running(running_mean, running_var, rows)
    eps, momentum = check_number("eps", eps), check_number("momentum", momentum, 1.0)
    with np.errstate(all="ignore"):
        batch = batch_statistics(rows, summing_dtype(rows))
        saved = save(True, shape, kept, rows, gamma, beta, batch, eps)
        y = normalize(saved, beta, summing_dtype(rows))
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
    Raises: TypeError, ValueError: an argument of another kind, shape, dtype or range.
    Source: Ioffe and Szegedy (2015), arXiv:1502.03167, algorithm 2.
    """
    rows, shape = channel_rows(x, per_activation)
    gamma, beta = check_vector("gamma", gamma, rows), check_vector("beta", beta, rows)
    running = check_running(running_mean, running_var, rows, needed=True)
    eps = check_number("eps", eps)
    with np.errstate(all="ignore"):
        saved = save(False, shape, None, rows, gamma, beta, running_statistics(*running), eps)
        return normalize(saved, beta, working_dtype(rows.dtype)), saved


def backward_train(dy: Array, saved: Saved) -> tuple[Array, Array | None, Array | None]:
    """Return the gradients of a loss by x, gamma and beta from dy, its gradient by y.

    dbeta = sum(dy)                                                                        (8)
    dgamma = sum(dy * xhat)                                                                (9)
    dx = gamma * rstd * (dy - mean(dy) - xhat * mean(dy * xhat))                          (15)

    Args:
        dy: of the shape and dtype of x.
        saved: from forward_train; it is not changed.
    Returns:
        dx: like x; dgamma, dbeta: (c,) in the dtypes of gamma and beta, None where those are None.
    Raises:
        TypeError, ValueError: dy of another kind, shape or dtype; saved of another function.
    Source: Ioffe and Szegedy (2015), arXiv:1502.03167, section 3, solved for dx.
    """
    check_saved(saved, Saved, training=True)
    dy = seen_as_x("dy", dy, saved)
    with np.errstate(all="ignore"):
        sums = gradient_sums(dy, saved)
        dgamma, dbeta = parameter_gradients(sums, saved)
        sums /= saved.statistics.n
        return input_gradient(dy, sums, saved), dgamma, dbeta


def backward_eval(dy: Array, saved: Saved) -> tuple[Array, Array | None, Array | None]:
    """Return the gradients of a loss by x, gamma and beta in inference.

    dx = gamma * rstd * dy                                                                (17)

    and dbeta and dgamma as in training, (8) and (9), with xhat from the running statistics.

    Args: dy, of the shape and dtype of x; saved, from forward_eval, not changed.
    Returns: dx, dgamma, dbeta as backward_train does.
    Raises: TypeError, ValueError: dy of another kind, shape or dtype; saved of another function.
    """
    check_saved(saved, Saved, training=False)
    dy = seen_as_x("dy", dy, saved)
    with np.errstate(all="ignore"):
        sums = gradient_sums(dy, saved)
        terms = [Term(dy, None, None, saved.gamma * saved.rstd)]
        dx = combine(terms, None, like_x(saved), working_dtype(dy.dtype))  # (17)
        return dx.reshape(saved.shape), *parameter_gradients(sums, saved)


def channel_rows(x: Array, per_activation: bool) -> tuple[Array, tuple[int, ...]]:
    """Check x; see it as (n, c, s) and give its shape."""
    x = check_batch("x", x, "(n, c, *spatial)")
    n, c, s = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    return x.reshape((n, c * s, 1) if per_activation else (n, c, s)), x.shape


def gathered(rows: Array, kept: Mask | None) -> Array:
    """Return what is kept of (n, c, s) as (m, c, 1); all of it, as it is, without a mask."""
    return rows if kept is None else rows.transpose(0, 2, 1)[kept][..., None]


def seen_as_x(name: str, value: Array, saved: Saved) -> Array:
    """Check an array like the forward's x, and see it as x was."""
    array = check_like(name, value, saved.shape, saved.x)
    if saved.kept is None:
        return array.reshape(saved.x.shape)
    return gathered(array.reshape(*saved.shape[:2], -1), saved.kept)


def spread(rows: Array, saved: Saved) -> Array:
    """Return a result in the shape of x, 0 where a mask keeps nothing."""
    if saved.kept is None:
        return rows.reshape(saved.shape)
    n, s = saved.kept.shape
    whole = np.zeros((n, s, rows.shape[1]), rows.dtype)
    whole[saved.kept] = rows[..., 0]
    return np.ascontiguousarray(whole.transpose(0, 2, 1)).reshape(saved.shape)


def summing_dtype(x: Array) -> DType:
    """Return float64 for float64 and for small batches, which it does not slow; else float32."""
    return FLOAT64 if x.size <= SMALL else working_dtype(x.dtype)


def save(
    training: bool,
    shape: tuple[int, ...],
    kept: Mask | None,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    statistics: Statistics,
    eps: float,
) -> Saved:
    """Keep x and copies of the rest."""
    scale = np.ones(x.shape[1]) if gamma is None else np.array(gamma, np.float64)
    kinds = [None if v is None else v.dtype.newbyteorder("=") for v in (gamma, beta)]
    return Saved(
        training, shape, kept, x, scale, kinds[0], kinds[1], statistics, statistics.rstd(eps)
    )


def xhat_term(saved: Saved, scale: Float64) -> Term:
    """Return scale * xhat, (5)."""
    return Term(saved.x, saved.statistics.pivot, saved.statistics.rest, scale * saved.rstd)


def like_x(saved: Saved) -> Array:
    """Return memory for a result like x (n, c, s)."""
    return np.empty(saved.x.shape, saved.x.dtype.newbyteorder("="))


def normalize(saved: Saved, beta: Array | None, dtype: DType) -> Array:
    """Return y = gamma * xhat + beta, (6)."""
    constant = None if beta is None else beta.astype(np.float64)
    y = combine([xhat_term(saved, saved.gamma)], constant, like_x(saved), dtype)  # (6), (16)
    return spread(y, saved)


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


def input_gradient(dy: Array, means: Float64, saved: Saved) -> Array:
    """Return dx, like x, from the means of dy and of dy * xhat (2, c), (15)."""
    scale = saved.gamma * saved.rstd  # (c,)
    terms = [Term(dy, None, means[0], scale), xhat_term(saved, -scale * means[1])]
    return spread(combine(terms, None, like_x(saved), summing_dtype(dy)), saved)  # (15)


def parameter_gradients(sums: Float64, saved: Saved) -> tuple[Array | None, Array | None]:
    """Round dgamma and dbeta to the dtypes of gamma and beta."""
    dgamma = None if saved.gamma_dtype is None else sums[1].astype(saved.gamma_dtype)
    dbeta = None if saved.beta_dtype is None else sums[0].astype(saved.beta_dtype)
    return dgamma, dbeta
