"""Forward mode and double backward.

Sources: equations (21) to (24); PyTorch, torch/csrc/autograd/FunctionsManual.cpp,
batchnorm_double_backward, for the second way to write the latter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def forward_mode(x: Array, gamma: Array, eps: Any, tx: Array, tgamma: Array, tbeta: Array) -> Array:
    """Return ty (n, c), equation (21)."""
    xc = x - np.mean(x, axis=0)
    rstd = 1 / np.sqrt(np.mean(xc**2, axis=0) + eps)
    xhat = xc * rstd
    moved = tx - np.mean(tx, axis=0) - xhat * np.mean(tx * xhat, axis=0)
    return gamma * rstd * moved + tgamma * xhat + tbeta


def double_backward(
    dy: Array, x: Array, gamma: Array, eps: Any, ddx: Array, ddgamma: Array, ddbeta: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients by x (n, c), gamma (c,) and dy (n, c), equations (22) to (24)."""
    n = x.shape[0]
    xc = x - np.mean(x, axis=0)
    rstd = 1 / np.sqrt(np.mean(xc**2, axis=0) + eps)
    xhat = xc * rstd
    u = ddx - np.mean(ddx, axis=0)
    v = dy - np.mean(dy, axis=0)
    p, q = np.mean(ddx * xhat, axis=0), np.mean(dy * xhat, axis=0)
    a = np.mean(u * v, axis=0)
    by_x = -gamma * rstd**2 * (xhat * (a - 3 * p * q) + q * u + p * v)
    by_x = by_x + ddgamma * rstd * (v - xhat * q)
    by_gamma = n * rstd * (a - p * q)
    by_dy = gamma * rstd * (u - xhat * p) + ddgamma * xhat + ddbeta
    return by_x, by_gamma, by_dy


def double_backward_from_sums(
    dy: Array, x: Array, gamma: Array, eps: Any, ddx: Array, ddgamma: Array, ddbeta: Array
) -> tuple[Array, Array, Array]:
    """Return the same from sums over the rows, in PyTorch's order of steps."""
    m = x.shape[0]
    xmu = x - np.sum(x, axis=0) / m
    var = np.sum(xmu**2, axis=0) / m
    rstd = (var + eps) ** (-1 / 2)
    rstd3 = rstd**3
    dy_sum, ddx_sum = np.sum(dy, axis=0), np.sum(ddx, axis=0)
    dy_xmu, ddx_xmu = np.sum(dy * xmu, axis=0), np.sum(ddx * xmu, axis=0)
    inner = ddx_sum * dy_sum / m - np.sum(dy * ddx, axis=0)
    inner = inner + 3 / m * rstd**2 * dy_xmu * ddx_xmu
    first = xmu * rstd3 * inner / m
    second = ddx_xmu * rstd3 / m * (dy_sum / m - dy)
    third = dy_xmu * rstd3 / m * (ddx_sum / m - ddx)
    once = dy * rstd - dy_sum / m * rstd - xmu * dy_xmu / m * rstd3
    twice = ddx * rstd - ddx_sum / m * rstd - xmu * ddx_xmu / m * rstd3
    by_x = gamma * (first + second + third) + ddgamma * once
    return by_x, np.sum(ddx * once, axis=0), gamma * twice + ddgamma * xmu * rstd + ddbeta
