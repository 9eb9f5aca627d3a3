"""Statistics of a batch, of several shards of one, and their running average."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import arguments as check
from .blocks import FLOAT32, FLOAT64, Array, DType, Float64, channel_sums, paired_sums


@dataclass(frozen=True)
class Statistics:
    """Mean and biased variance of n values per channel; the mean is pivot + rest.

    pivot is a value of the working dtype: values - pivot loses nothing that counts, where
    values - mean with a rounded mean would be off by half an ulp of the mean everywhere. It is
    zero where the mean lies within one standard deviation of zero.
    """

    n: int
    pivot: Float64
    rest: Float64
    var: Float64

    @property
    def mean(self) -> Float64:
        """The mean, rounded to float64."""
        return self.pivot + self.rest

    def rstd(self, eps: float) -> Float64:
        """1 / sqrt(var + eps), (4); 0 where both are 0, NaN where var overflowed."""
        rstd: Float64 = 1 / np.sqrt(self.var + eps)  # (c,) (4)
        rstd[np.isinf(self.var)] = np.nan
        if eps == 0:
            rstd[self.var == 0] = 0
        return rstd


def batch_statistics(x: Array, dtype: DType) -> Statistics:
    """Return mean and biased variance per channel of x (n, c, s).

    mean = pivot + sum(x - pivot) / n                              (1)
    var = sum((x - pivot)**2) / n - (mean - pivot)**2              (3)

    with pivot = 0 first, and again with pivot = mean where the mean exceeds one standard
    deviation: the subtraction then cancels at most one bit. A channel with NaN or Inf has
    mean = var = NaN; one whose variance overflows float64 keeps its mean and has var = Inf. Without
    values both are zero.

    Source: Chan, Golub, LeVeque (1983), Algorithms for computing the sample variance.
    """
    n = x.shape[0] * x.shape[2]
    pivot = np.zeros(x.shape[1])
    if x.size == 0:
        return Statistics(n, pivot, pivot, pivot)
    rest, square = paired_sums(x, pivot, None, dtype) / n
    var = square - rest * rest
    far = (rest * rest > var) | ((var == 0) & (rest != 0))  # squares may have vanished
    if far.any():
        pivot = np.where(far, rest.astype(dtype), 0.0)
        rest, square = paired_sums(x, pivot, None, dtype) / n
        var = square - rest * rest
        near = np.where(far, (pivot + rest).astype(dtype), 0.0)
        pivot, rest = near, rest + (pivot - near)
    np.maximum(var, 0.0, out=var)
    if not (good := np.isfinite(var)).all():
        lost = ~good
        small = np.ldexp(x[:, lost].astype(np.float64), -560)  # their squares do not overflow
        zero = np.zeros(small.shape[1])
        mean = paired_sums(small, zero, None, FLOAT64)[0] / n
        about, square = paired_sums(small, mean, None, FLOAT64) / n
        finite = np.isfinite(mean)
        pivot = np.where(lost, 0.0, pivot)
        rest[lost] = np.where(finite, np.ldexp(mean, 560), np.nan)
        var[lost] = np.where(finite, np.ldexp(square - about * about, 1120), np.nan)
    return Statistics(n, pivot, rest, var)


def running_statistics(running_mean: Array, running_var: Array) -> Statistics:
    """See running statistics as those of a batch."""
    mean, var = running_mean.astype(np.float64), running_var.astype(np.float64)
    pivot = np.where(mean * mean > var, mean, 0.0)
    return Statistics(0, pivot, mean - pivot, var)


def working_dtype(dtype: DType) -> DType:
    """float64 for float64, else float32."""
    return FLOAT64 if dtype.itemsize == 8 else FLOAT32


def move_running(
    running_mean: Array, running_var: Array, batch: Statistics, momentum: float
) -> tuple[Array, Array]:
    """Return momentum * running + (1 - momentum) * batch, new arrays, (18), (19).

    Exactly running for momentum = 1 or an empty batch, exactly batch for momentum = 0, NaN too.
    """

    def average(old: Array, now: Float64) -> Array:
        if momentum == 1 or batch.n == 0:
            new: Array = old
        elif momentum == 0:
            new = now
        else:
            new = momentum * old.astype(np.float64) + (1 - momentum) * now  # (c,) (18) (19)
        return new.astype(old.dtype.newbyteorder("="))

    with np.errstate(all="ignore"):
        return average(running_mean, batch.mean), average(running_var, batch.var)


def initial_state(channels: int, dtype: Any) -> tuple[Array, Array]:
    """Return running_mean = 0 and running_var = 1, (20).

    Args: channels, their number c; dtype, that of x: float16 has float32 statistics.
    Returns: running_mean, running_var, (c,) each.
    Source: Ioffe and Szegedy (2015), arXiv:1502.03167; the start at 1 is PyTorch's and Keras's.
    """
    kept = working_dtype(check.dtype("dtype", dtype, "pass x.dtype"))
    channels = check.count("channels", channels, 0)
    return np.zeros(channels, kept), np.ones(channels, kept)


def merge_statistics(
    counts: NDArray[np.integer[Any]], means: Array, variances: Array
) -> tuple[int, Array, Array]:
    """Return count, mean and biased variance of the whole batch from those of its k shards.

    mean = sum(count_i mean_i) / n,  var = sum(count_i (var_i + (mean_i - mean)**2)) / n   (25)

    Args: counts, (k,) integers, the values per channel of each shard, shards of 0 being ignored;
        means and biased variances, (k, c), one float dtype.
    Returns: count; mean, var, (c,) in the dtype of means, zero if all shards are empty.
    Source: Chan, Golub, LeVeque (1983), eq. 2.1.
    """
    counts, checked = check.shards(counts, means=means, variances=variances)
    check.variances("variances", variances)
    count, full, kept = int(counts.sum()), counts > 0, means.dtype.newbyteorder("=")
    means, variances = (a[full].astype(np.float64) for a in checked)  # (k, c)
    weights = counts[full, None] / max(1, count)  # (k, 1)
    with np.errstate(all="ignore"):
        pivot = add_shards(means[:1])
        means -= pivot
        rest = add_shards(weights * means)
        var = add_shards(weights * (variances + (means - rest) ** 2))  # (c,) (25)
        return count, (pivot + rest).astype(kept), var.astype(kept)


def merge_gradients(
    counts: NDArray[np.integer[Any]], sums_dy: Array, sums_dy_xhat: Array
) -> tuple[int, Array, Array]:
    """Return count, mean(dy) and mean(dy * xhat) of the whole batch from the sums of k shards.

    mean_dy = sum(sums_dy) / n,  mean_dy_xhat = sum(sums_dy_xhat) / n                      (26)

    Args: counts, as for merge_statistics; sums_dy, sums_dy_xhat, (k, c), one float dtype, xhat
        being the whole batch's.
    Returns: count; mean_dy, mean_dy_xhat, (c,) in that dtype, zero if all shards are empty.
    Source: PyTorch, SyncBatchNorm (batch_norm_backward_elemt takes these means).
    """
    counts, sums = check.shards(counts, sums_dy=sums_dy, sums_dy_xhat=sums_dy_xhat)
    count, full, kept = int(counts.sum()), counts > 0, sums_dy.dtype.newbyteorder("=")
    with np.errstate(all="ignore"):
        totals = [add_shards(a[full].astype(np.float64)) for a in sums]
        mean_dy, mean_dy_xhat = ((a / max(1, count)).astype(kept) for a in totals)  # (c,) (26)
    return count, mean_dy, mean_dy_xhat


def add_shards(parts: Float64) -> Float64:
    """Add (k, c) over k in pairs; zeros where there are none."""
    if len(parts) == 0:
        return np.zeros(parts.shape[1])
    return np.array(channel_sums(parts, np.empty_like(parts), (parts.shape[1], 1)))
