"""The backward of a batch on two devices, each with its own rows.

Sources: T. Chan, G. Golub, R. LeVeque: Updating formulae and a pairwise algorithm for computing
sample variances, COMPSTAT 1982 (merging statistics); PyTorch, torch/nn/modules/_functions.py
(SyncBatchNorm exchanges sum(dy) and sum(dy * xc) only).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def synchronised(dy: Array, x: Array, gamma: Array, eps: Any) -> tuple[Array, Array, Array]:
    """Return dx (n, c), dgamma and dbeta (c,) from two shards, equations (25), (26)."""
    half = x.shape[0] // 2
    left, right = x[:half], x[half:]
    n_left, n_right = left.shape[0], right.shape[0]
    mean_left, mean_right = np.mean(left, axis=0), np.mean(right, axis=0)
    m2_left = np.sum((left - mean_left) ** 2, axis=0)
    m2_right = np.sum((right - mean_right) ** 2, axis=0)
    n = n_left + n_right
    delta = mean_right - mean_left
    mean = mean_left + delta * n_right / n
    var = (m2_left + m2_right + delta**2 * n_left * n_right / n) / n
    rstd = 1 / np.sqrt(var + eps)
    xhat_left, xhat_right = (left - mean) * rstd, (right - mean) * rstd
    sum_dy = np.sum(dy[:half], axis=0) + np.sum(dy[half:], axis=0)
    sum_dy_xhat = np.sum(dy[:half] * xhat_left, axis=0) + np.sum(dy[half:] * xhat_right, axis=0)
    dx_left = gamma * rstd * (dy[:half] - sum_dy / n - xhat_left * sum_dy_xhat / n)
    dx_right = gamma * rstd * (dy[half:] - sum_dy / n - xhat_right * sum_dy_xhat / n)
    return np.concatenate([dx_left, dx_right]), sum_dy_xhat, sum_dy
