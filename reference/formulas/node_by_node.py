"""The backward pass node by node, as two teaching texts write it.

Sources: K. Saito: Deep Learning from Scratch, O'Reilly Japan 2016, common/layers.py (this project's
seed); F. Kratzert: Understanding the backward pass through Batch Normalization Layer, 2016,
kratzert.github.io.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def saito(dy: Array, x: Array, gamma: Array, eps: Any) -> tuple[Array, Array, Array]:
    """Return dx (n, c), dgamma and dbeta (c,): the seed's __backward."""
    xc = x - x.mean(axis=0)
    var = np.mean(xc**2, axis=0)
    std = np.sqrt(var + eps)
    xn = xc / std
    dbeta = dy.sum(axis=0)
    dgamma = np.sum(xn * dy, axis=0)
    dxn = gamma * dy
    dxc = dxn / std
    dstd = -np.sum((dxn * xc) / (std * std), axis=0)
    dvar = 0.5 * dstd / std
    dxc = dxc + (2.0 / x.shape[0]) * xc * dvar
    dmu = np.sum(dxc, axis=0)
    dx = dxc - dmu / x.shape[0]
    return dx, dgamma, dbeta


def kratzert(dy: Array, x: Array, gamma: Array, eps: Any) -> tuple[Array, Array, Array]:
    """Return dx (n, c), dgamma and dbeta (c,), in nine steps."""
    n = x.shape[0]
    xmu = x - 1 / n * np.sum(x, axis=0)
    var = 1 / n * np.sum(xmu**2, axis=0)
    sqrtvar = np.sqrt(var + eps)
    ivar = 1 / sqrtvar
    xhat = xmu * ivar
    dbeta = np.sum(dy, axis=0)
    dgamma = np.sum(dy * xhat, axis=0)
    dxhat = dy * gamma
    divar = np.sum(dxhat * xmu, axis=0)
    dsqrtvar = -1 / (sqrtvar**2) * divar
    dvar = 0.5 * 1 / np.sqrt(var + eps) * dsqrtvar
    dsq = 1 / n * np.ones_like(x) * dvar
    dxmu = dxhat * ivar + 2 * xmu * dsq
    dmu = -1 * np.sum(dxmu, axis=0)
    dx = dxmu + 1 / n * np.ones_like(x) * dmu
    return dx, dgamma, dbeta
