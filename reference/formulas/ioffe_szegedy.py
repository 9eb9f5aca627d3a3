"""The gradients as printed by Ioffe and Szegedy, with and without the term that is zero.

Source: S. Ioffe, C. Szegedy: Batch Normalization, ICML 2015, arXiv:1502.03167, section 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def ioffe_szegedy(dy: Array, x: Array, gamma: Array, eps: Any) -> tuple[Array, Array, Array]:
    """Return dx (n, c), dgamma and dbeta (c,), in the paper's order of steps."""
    m = x.shape[0]
    mean = np.sum(x, axis=0) / m
    var = np.sum((x - mean) ** 2, axis=0) / m
    xhat = (x - mean) / np.sqrt(var + eps)
    dxhat = dy * gamma
    dvar = np.sum(dxhat * (x - mean), axis=0) * (-1 / 2) * (var + eps) ** (-3 / 2)
    direct = np.sum(dxhat * (-1 / np.sqrt(var + eps)), axis=0)
    dmean = direct + dvar * np.sum(-2 * (x - mean), axis=0) / m
    dx = dxhat * (1 / np.sqrt(var + eps)) + dvar * 2 * (x - mean) / m + dmean / m
    return dx, np.sum(dy * xhat, axis=0), np.sum(dy, axis=0)


def ioffe_szegedy_without_zero_term(
    dy: Array, x: Array, gamma: Array, eps: Any
) -> tuple[Array, Array, Array]:
    """The same without dvar * mean(-2 (x - mean)), which is zero: equation (14)."""
    m = x.shape[0]
    mean = np.sum(x, axis=0) / m
    var = np.sum((x - mean) ** 2, axis=0) / m
    xhat = (x - mean) / np.sqrt(var + eps)
    dxhat = dy * gamma
    dvar = np.sum(dxhat * (x - mean), axis=0) * (-1 / 2) * (var + eps) ** (-3 / 2)
    dmean = np.sum(dxhat * (-1 / np.sqrt(var + eps)), axis=0)
    dx = dxhat * (1 / np.sqrt(var + eps)) + dvar * 2 * (x - mean) / m + dmean / m
    return dx, np.sum(dy * xhat, axis=0), np.sum(dy, axis=0)
