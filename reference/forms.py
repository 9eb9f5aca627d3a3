"""The named forms: the right ways to compute batch norm that a tolerance has to admit.

Each is written once, over any arithmetic (float arrays of any dtype, `Ball`), and taken as a
function of the statistics it was given. Left out, with the reason: variance as
mean(x^2) - mean^2 (cancels); dgamma as rstd * (sum(dy*x) - mean*sum(dy)) (cancels); gradients
from y (divide by gamma).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Form = Callable[..., Any]


def _total(a: Any) -> Any:
    return a.sum(axis=0, keepdims=True)


def output_direct(x: Any, gamma: Any, beta: Any, mean: Any, rstd: Any) -> Any:
    """Return gamma * xhat + beta.  # (6)"""
    return (x - mean) * rstd * gamma + beta  # (n, c)


def output_folded(x: Any, gamma: Any, beta: Any, mean: Any, rstd: Any) -> Any:
    """Return a * x + b with a = gamma * rstd and b = beta - mean * a.  # (6)"""
    a = gamma * rstd  # (1, c)
    return x * a + (beta - mean * a)  # (n, c)


def input_gradient_means(dy: Any, x: Any, gamma: Any, mean: Any, rstd: Any) -> Any:
    """Return gamma * rstd * (dy - mean(dy) - xhat * mean(dy * xhat)).  # (15)"""
    n = x.shape[0]
    xhat = (x - mean) * rstd  # (n, c)
    return (dy - _total(dy) / n - xhat * (_total(dy * xhat) / n)) * (gamma * rstd)  # (n, c)


def input_gradient_sums(dy: Any, x: Any, gamma: Any, mean: Any, rstd: Any) -> Any:
    """Return gamma * rstd / n * (n * dy - sum(dy) - xhat * sum(dy * xhat)).  # (15)"""
    n = x.shape[0]
    xhat = (x - mean) * rstd  # (n, c)
    return (dy * n - _total(dy) - xhat * _total(dy * xhat)) * (gamma * rstd / n)  # (n, c)


def input_gradient_linear(dy: Any, x: Any, gamma: Any, mean: Any, rstd: Any) -> Any:
    """Return a * dy + c1 * x + c0, the three coefficients being one number per channel.  # (15)"""
    n = x.shape[0]
    a = gamma * rstd  # (1, c)
    second = _total(dy * (x - mean)) * rstd / n  # (1, c)
    c1 = a * rstd * second  # (1, c)
    c0 = c1 * mean - a * (_total(dy) / n)  # (1, c)
    return dy * a - x * c1 + c0  # (n, c)


def input_gradient_nodes(dy: Any, x: Any, gamma: Any, mean: Any, rstd: Any) -> Any:
    """Return dx node by node, as the seed does.  # (10) to (14)"""
    n = x.shape[0]
    xc = x - mean  # (n, c)
    dxhat = dy * gamma  # (n, c)
    dvar = _total(dxhat * xc) * (rstd * rstd * rstd) / 2  # (1, c), without its sign
    dxc = dxhat * rstd - xc * (dvar * 2 / n)  # (n, c)
    return dxc - _total(dxc) / n  # (n, c)


def gamma_gradient_direct(dy: Any, x: Any, mean: Any, rstd: Any) -> Any:
    """Return sum(dy * xhat).  # (9)"""
    return _total(dy * ((x - mean) * rstd))  # (1, c)


def gamma_gradient_late(dy: Any, x: Any, mean: Any, rstd: Any) -> Any:
    """Return rstd * sum(dy * xc).  # (9)"""
    return _total(dy * (x - mean)) * rstd  # (1, c)


def tangent_direct(tx: Any, x: Any, gamma: Any, mean: Any, rstd: Any) -> Any:
    """Return the part of ty that comes from tx.  # (21)"""
    return input_gradient_means(tx, x, gamma, mean, rstd)  # (n, c)


def second_by_x(ddx: Any, ddgamma: Any, dy: Any, x: Any, gamma: Any, mean: Any, rstd: Any) -> Any:
    """Return the double backward by x in closed form.  # (24)"""
    n = x.shape[0]
    xhat = (x - mean) * rstd  # (n, c)
    v = ddx - _total(ddx) / n  # (n, c)
    g = dy - _total(dy) / n  # (n, c)
    p, q, a = _total(v * xhat) / n, _total(g * xhat) / n, _total(v * g) / n  # (1, c)
    inner = xhat * (a - p * q * 3) + v * q + g * p  # (n, c)
    return (g - xhat * q) * (ddgamma * rstd) - inner * (gamma * rstd * rstd)  # (n, c)


def second_by_gamma(ddx: Any, dy: Any, x: Any, mean: Any, rstd: Any) -> Any:
    """Return the double backward by gamma.  # (23)"""
    n = x.shape[0]
    xhat = (x - mean) * rstd  # (n, c)
    inner = dy - _total(dy) / n - xhat * (_total(dy * xhat) / n)  # (n, c)
    return _total(ddx * (inner * rstd))  # (1, c)


OUTPUT: tuple[Form, ...] = (output_direct, output_folded)
INPUT_GRADIENT: tuple[Form, ...] = (
    input_gradient_means,
    input_gradient_sums,
    input_gradient_linear,
    input_gradient_nodes,
)
GAMMA_GRADIENT: tuple[Form, ...] = (gamma_gradient_direct, gamma_gradient_late)
