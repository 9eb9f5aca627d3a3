"""Statistics of a batch, of several shards of one, and their running average."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import check_count, check_dtype, check_shards, check_variances
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


def running_average(running: Array, batch: Float64, momentum: float, n: int) -> Array:
    """Return momentum * running + (1 - momentum) * batch as a new array, (18), (19).

    Exactly running for momentum = 1 or an empty batch, exactly batch for momentum = 0, NaN too.
    """
    if momentum == 1 or n == 0:
        new: Array = running
    elif momentum == 0:
        new = batch
    else:
        new = momentum * running.astype(np.float64) + (1 - momentum) * batch  # (c,) (18) (19)
    return new.astype(running.dtype.newbyteorder("="))


def move_running(
    mean: Array, var: Array, batch: Statistics, momentum: float
) -> tuple[Array, Array]:
    """Return the running statistics after one more batch."""
    with np.errstate(all="ignore"):
        return (
            running_average(mean, batch.mean, momentum, batch.n),  # (c,) (18)
            running_average(var, batch.var, momentum, batch.n),  # (c,) (19)
        )


def initial_state(channels: int, dtype: Any) -> tuple[Array, Array]:
    """Return running_mean = 0 and running_var = 1, (20).

    Args:
        channels: number of channels c.
        dtype: dtype of x; float16 has float32 statistics.
    Returns:
        running_mean, running_var: (c,) each.
    Source: Ioffe and Szegedy (2015), arXiv:1502.03167; the start at 1 is PyTorch's and Keras's.
    """
    kept = working_dtype(check_dtype("dtype", dtype, "pass x.dtype"))
    channels = check_count("channels", channels, 0)
    return np.zeros(channels, kept), np.ones(channels, kept)


def merge_statistics(
    counts: NDArray[np.integer[Any]], means: Array, variances: Array
) -> tuple[int, Array, Array]:
    """Return count, mean and biased variance of the whole batch from those of its k shards.

    mean = sum(count_i mean_i) / n,  var = sum(count_i (var_i + (mean_i - mean)**2)) / n   (25)

    Args:
        counts: (k,) integers, the values per channel of each shard; shards of 0 are ignored.
        means, variances: (k, c), one float dtype; the variances biased.
    Returns:
        count: int; mean, var: (c,) in the dtype of means, zero if all shards are empty.
    Raises:
        TypeError, ValueError: an argument of another kind or shape.
    Source: Chan, Golub, LeVeque (1983), eq. 2.1.
    """
    counts, (means, variances) = check_shards(counts, means=means, variances=variances)
    check_variances("variances", variances)
    kept = means.dtype.newbyteorder("=")
    count, full = int(counts.sum()), counts > 0
    if count == 0:
        return 0, np.zeros(means.shape[1], kept), np.zeros(means.shape[1], kept)
    weights = counts[full, None] / count  # (k, 1)
    means, variances = means[full].astype(np.float64), variances[full].astype(np.float64)
    with np.errstate(all="ignore"):
        pivot = means[0].copy()
        means -= pivot  # (k, c)
        rest = sum_shards(weights * means)
        var = sum_shards(weights * (variances + (means - rest) ** 2))  # (c,) (25)
        return count, (pivot + rest).astype(kept), var.astype(kept)


def merge_gradients(
    counts: NDArray[np.integer[Any]], sums_dy: Array, sums_dy_xhat: Array
) -> tuple[int, Array, Array]:
    """Return count, mean(dy) and mean(dy * xhat) of the whole batch from the sums of k shards.

    mean_dy = sum(sums_dy) / n,  mean_dy_xhat = sum(sums_dy_xhat) / n                      (26)

    Args:
        counts: (k,) integers; shards of 0 are ignored.
        sums_dy, sums_dy_xhat: (k, c), one float dtype; xhat is the whole batch's.
    Returns:
        count: int; mean_dy, mean_dy_xhat: (c,) in that dtype, zero if all shards are empty.
    Raises:
        TypeError, ValueError: an argument of another kind or shape.
    Source: PyTorch, SyncBatchNorm (batch_norm_backward_elemt takes these means).
    """
    counts, sums = check_shards(counts, sums_dy=sums_dy, sums_dy_xhat=sums_dy_xhat)
    count, full = int(counts.sum()), counts > 0
    with np.errstate(all="ignore"):
        means = [sum_shards(part[full].astype(np.float64)) / max(1, count) for part in sums]
        mean_dy, mean_dy_xhat = (  # (c,) (26)
            mean.astype(part.dtype.newbyteorder("="))
            for mean, part in zip(means, sums, strict=True)
        )
    return count, mean_dy, mean_dy_xhat


def sum_shards(parts: Float64) -> Float64:
    """Add (k, c) over k in pairs."""
    if len(parts) == 0:
        return np.zeros(parts.shape[1])
    return np.array(channel_sums(parts, np.empty_like(parts), (parts.shape[1], 1)))
