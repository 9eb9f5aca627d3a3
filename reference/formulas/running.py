"""Running statistics in the two conventions of momentum and of the variance's divisor.

Sources: K. Saito: Deep Learning from Scratch, O'Reilly Japan 2016 (keep, biased); PyTorch,
torch.nn.BatchNorm1d (update, unbiased); S. Ioffe, C. Szegedy, ICML 2015, algorithm 2 (unbiased).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def running_statistics_kept(
    x: Array, running_mean: Array, running_var: Array, momentum: Any
) -> tuple[Array, Array]:
    """Return the new running mean and biased variance (c,); momentum says what is kept."""
    mu = x.mean(axis=0)
    var = np.mean((x - mu) ** 2, axis=0)
    new_mean = momentum * running_mean + (1 - momentum) * mu
    return new_mean, momentum * running_var + (1 - momentum) * var


def running_statistics_updated(
    x: Array, running_mean: Array, running_var: Array, momentum: Any
) -> tuple[Array, Array]:
    """Return the new running mean and unbiased variance (c,); momentum says what is renewed."""
    n = x.shape[0]
    mean = np.sum(x, axis=0) / n
    unbiased = np.sum((x - mean) ** 2, axis=0) / (n - 1)
    new_mean = (1 - momentum) * running_mean + momentum * mean
    return new_mean, (1 - momentum) * running_var + momentum * unbiased
