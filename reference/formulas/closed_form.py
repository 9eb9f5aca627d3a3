"""The closed form of dx, in the shapes that papers and kernels use.

Sources: C. Thorey: What does the gradient flowing through batch normalization looks like?, 2016,
cthorey.github.io; PyTorch, aten/src/ATen/native/Normalization.cpp (saved mean and inverse
deviation); S. Rota Bulò, L. Porzi, P. Kontschieder: In-Place Activated BatchNorm, CVPR 2018,
arXiv:1712.02616, section 3 (from the output instead of the input).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def closed_form(dy: Array, x: Array, gamma: Array, eps: Any) -> tuple[Array, Array, Array]:
    """Return dx (n, c), dgamma and dbeta (c,) by equation (15)."""
    xc = x - np.mean(x, axis=0)
    rstd = (np.mean(xc * xc, axis=0) + eps) ** -0.5
    xhat = xc * rstd
    dx = gamma * rstd * (dy - np.mean(dy, axis=0) - xhat * np.mean(dy * xhat, axis=0))
    return dx, np.sum(dy * xhat, axis=0), np.sum(dy, axis=0)


def thorey(dy: Array, x: Array, gamma: Array, eps: Any) -> Array:
    """Return dx (n, c) with everything drawn in front but the sums."""
    n = x.shape[0]
    mu = np.sum(x, axis=0) / n
    var = np.sum((x - mu) ** 2, axis=0) / n
    scale = (1.0 / n) * gamma * (var + eps) ** (-1.0 / 2.0)
    inner = np.sum(dy * (x - mu), axis=0)
    return scale * (n * dy - np.sum(dy, axis=0) - (x - mu) * (var + eps) ** (-1.0) * inner)


def from_saved_statistics(
    dy: Array, x: Array, gamma: Array, mean: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    """Return dx (n, c), dgamma and dbeta (c,) from the saved mean and 1/std."""
    n = x.shape[0]
    dot = np.sum((x - mean) * dy, axis=0)
    k = dot * rstd * rstd / n
    dx = (dy - np.sum(dy, axis=0) / n - (x - mean) * k) * rstd * gamma
    return dx, dot * rstd, np.sum(dy, axis=0)


def from_output(
    dy: Array, y: Array, gamma: Array, beta: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    """Return dx (n, c), dgamma and dbeta (c,) with xhat recovered from y."""
    n = y.shape[0]
    xhat = (y - beta) / gamma
    dgamma = np.sum(dy * xhat, axis=0)
    dbeta = np.sum(dy, axis=0)
    return (dy - dgamma / n * xhat - dbeta / n) * gamma * rstd, dgamma, dbeta


def frozen_statistics(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: Any
) -> tuple[Array, Array, Array]:
    """Return dx (n, c), dgamma and dbeta (c,) of inference, equation (17)."""
    rstd = 1 / np.sqrt(var + eps)
    dgamma = np.sum(dy * (x - mean) * rstd, axis=0)
    return dy * gamma * rstd, dgamma, np.sum(dy, axis=0)
