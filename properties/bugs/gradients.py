"""19 wrong backwards, each a right one with a line replaced; the audit's and the exam's."""

from __future__ import annotations

RIGHT = """\
import numpy as np


def backward(dy, x, gamma, beta, eps):
    n = x.shape[0]
    mean = np.sum(x, axis=0) / n
    xc = x - mean
    var = np.sum(xc * xc, axis=0) / n
    std = np.sqrt(var + eps)
    xhat = xc / std
    y = gamma * xhat + beta
    dxhat = gamma * dy
    direct = dxhat / std
    by_mean = -np.sum(dxhat, axis=0) / (n * std)
    by_var = -xc * np.sum(dxhat * xc, axis=0) / (n * std**3)
    dx = direct + by_mean + by_var
    dgamma = np.sum(dy * xhat, axis=0)
    dbeta = np.sum(dy, axis=0)
    return dx, dgamma, dbeta
"""
DIRECT, MEAN = "direct = dxhat / std", "by_mean = -np.sum(dxhat, axis=0) / (n * std)"
VAR = "by_var = -xc * np.sum(dxhat * xc, axis=0) / (n * std**3)"
TOTAL, GAMMA = "dx = direct + by_mean + by_var", "dgamma = np.sum(dy * xhat, axis=0)"
STD = "std = np.sqrt(var + eps)"
# name: the line and what stands in its place
BUGS: dict[str, tuple[str, str]] = {
    "mean path dropped": (TOTAL, "dx = direct + by_var"),
    "variance path dropped": (TOTAL, "dx = direct + by_mean"),
    "sign of the mean path": (TOTAL, "dx = direct - by_mean + by_var"),
    "sign of the variance path": (TOTAL, "dx = direct + by_mean - by_var"),
    "variance path twice": (TOTAL, "dx = direct + by_mean + 2 * by_var"),
    "gamma lost": ("dxhat = gamma * dy", "dxhat = dy"),
    "n - 1 in the mean path": (MEAN, MEAN.replace("n * std", "(n - 1) * std")),
    "n - 1 in the variance path": (VAR, VAR.replace("n * std", "(n - 1) * std")),
    "double root": (DIRECT, "direct = dxhat / np.sqrt(std)"),
    "rstd cubed": (DIRECT, "direct = dxhat / std**3"),
    "no eps": (STD, "std = np.sqrt(var)"),
    "var for var + eps": (VAR, VAR.replace("std**3", "var * std")),
    "eps outside the root": (STD, "std = np.sqrt(var) + eps"),
    "1 % too large": (TOTAL, "dx = 1.01 * (direct + by_mean + by_var)"),
    "0.1 % too large": (TOTAL, "dx = 1.001 * (direct + by_mean + by_var)"),
    "one element 10 % off": (TOTAL, TOTAL + "\n    dx[0, 0] = 1.1 * dx[0, 0]"),
    "dgamma without rstd": (GAMMA, GAMMA.replace("xhat", "xc")),
    "dgamma from y": (GAMMA, GAMMA.replace("xhat", "y")),
    "dbeta as a mean": ("dbeta = np.sum(dy", "dbeta = np.mean(dy"),
}


def source_of(name: str | None) -> str:
    """Return the backward with a bug planted, or the right one."""
    if name is None:
        return RIGHT
    old, new = BUGS[name]
    if RIGHT.count(old) != 1:
        raise ValueError(f"name={name!r}: its line does not occur once")
    return RIGHT.replace(old, new)
