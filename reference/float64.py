"""The float64 reference: the derivation graph over double-double, each result with its bound.

The bound is 2 ulp of the largest term that is added in the element and, which counts only where all
its terms but vanish, 2**-88 of the column's largest. Columns are scaled by powers of two before
squares are taken, so that nothing overflows or vanishes for any finite float64 x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import graph
from .double import Array, DoubleDouble, pair

_ULP = np.array(2.0**-52)  # as arrays: NumPy takes them faster than floats
_ONE = pair(1.0)
# of an ulp: a mean of n pairs is off by n 2**-106 of its largest term, n < 2**12, and the dozen
# operations behind it carry that on
_COLUMN = np.array(2.0**-36)
_FAINT = 1e-290  # least var + eps of a scaled column: its root and its square stay exact
_FREE = {"mean", "var", "xc", "dbeta"}  # results that do not hang on eps
_LEAST = np.array(2.0**-1074)  # what a value may lose when its scaling is undone


@dataclass(frozen=True)
class Reference:
    """Results in float64, (n, c) or (1, c), and under the same name in `bound` their error bound.

    Fields that were not asked for are absent from `value`; memory holds what is made but once.
    """

    value: dict[str, Array]
    bound: dict[str, Array]
    memory: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    state: tuple[graph.Forward, Array, float, Any] | None = field(default=None, repr=False)

    def memo(self, make: Callable[[Array, Any], Any], a: Array, p: Any) -> Any:
        """Return make(a, p), made once for these very two objects."""
        key = make, id(a), id(p)
        if key not in self.memory:
            self.memory[key] = make(a, p), a, p  # kept, so that no other object gets its id
        return self.memory[key][0]

    def __getattr__(self, name: str) -> Array:
        try:
            return self.value[name]
        except KeyError:
            raise AttributeError(name) from None


def with_gradients(ref: Reference, dy: Any) -> Reference:
    """Return the reference of a forward pass with that of its backward added, (8) to (17)."""
    if ref.state is None:
        raise ValueError("ref.state=None: expected what reference_train or reference_eval returned")
    forward, scale, share, lost = ref.state
    value, terms = dict(ref.value), dict[str, Array]()
    with np.errstate(all="ignore"):
        _read_backward(forward, dy, scale, share, None, value, terms)
    return replace(ref, value=value, bound={**ref.bound, **_bounds(terms, lost)})


def _bounds(terms: dict[str, Array], lost: Any) -> dict[str, Array]:
    """Return the bounds; lost says in which columns nothing that hangs on eps is known, (1, c)."""
    bounds = {name: _ULP * term + _LEAST for name, term in terms.items()}
    if lost is not None:
        known = np.where(lost, np.inf, 0.0)
        bounds |= {name: bounds[name] + known for name in bounds.keys() - _FREE}
    return bounds


def _columns_scale(size: Array, eps: float) -> Array:
    """Return per column a power of two near max(size, sqrt(eps)), (1, c)."""
    largest = np.maximum(size, math.sqrt(eps))
    exponent = np.frexp(np.where(np.isfinite(largest), largest, 1.0))[1]
    return np.asarray(np.ldexp(1.0, np.minimum(exponent, 1023)))


def _row(value: Any, c: int, fill: float) -> Array:
    if value is None:
        return np.full((1, c), fill)
    return np.asarray(value, dtype=np.float64).reshape(1, c)


def reference_train(
    x: Any,
    dy: Any,
    gamma: Any,
    beta: Any,
    eps: float,
    *,
    tangents: tuple[Any, Any, Any] | None = None,
    seconds: tuple[Any, Any, Any] | None = None,
) -> Reference:
    """Return the training pass in float64, equations (1) to (15), and on request (21) to (24).

    Args:
        x: (n, c), any finite values, n at least 1.
        dy: (n, c) or None for the forward pass alone.
        gamma, beta: (c,) or None for 1 and 0.
        eps: positive.
        tangents: (tx, tgamma, tbeta) for `ty`.
        seconds: (ddx, ddgamma, ddbeta) for `ddx_x`, `ddx_gamma`, `ddx_dy`.

    Returns:
        mean, var, rstd, dgamma, dbeta (1, c); xc, xhat, y, dx (n, c).
    """
    x = np.asarray(x, dtype=np.float64)
    scale = _columns_scale(np.abs(x).max(axis=0, keepdims=True), eps)
    scaled_eps = eps / scale / scale  # (1, c)
    c = x.shape[1]
    with np.errstate(all="ignore"):
        forward = graph.forward_train(
            pair(x / scale),
            pair(_row(gamma, c, 1.0)),
            pair(_row(beta, c, 0.0)),
            pair(np.maximum(scaled_eps, _FAINT)),
        )
        lost = None
        if scaled_eps.min(initial=1.0) < _FAINT:  # does not count beside a variance of any size
            lost = (scaled_eps < _FAINT) & (forward.var.value.hi < 2.0**60 * _FAINT)
        return _read(forward, dy, scale, 1.0 / x.shape[0], lost, tangents, seconds)


def reference_eval(
    x: Any, dy: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float
) -> Reference:
    """Return the inference pass in float64, equations (16) and (17).

    Args:
        x: (n, c), any finite values.
        dy: (n, c) or None for the forward pass alone.
        gamma, beta: (c,) or None.
        mean, var: the running statistics, (c,), var at least 0.
        eps: positive.
    """
    x = np.asarray(x, dtype=np.float64)
    c = x.shape[1]
    mean, var = _row(mean, c, 0.0), _row(var, c, 1.0)
    scale = _columns_scale(np.sqrt(var), eps)  # x may be far larger: then y overflows as it should
    with np.errstate(all="ignore"):
        forward = graph.forward_eval(
            pair(x / scale),
            pair(_row(gamma, c, 1.0)),
            pair(_row(beta, c, 0.0)),
            pair(mean / scale),
            pair(var / scale / scale),
            pair(eps / scale / scale),
        )
        return _read(forward, dy, scale, 0.0, None, None, None)


def _read(
    forward: graph.Forward,
    dy: Any,
    scale: Array,
    share: float,
    lost: Any,
    tangents: tuple[Any, Any, Any] | None,
    seconds: tuple[Any, Any, Any] | None,
) -> Reference:
    """Round the graph's values to float64, undo the scaling, and bound each."""
    rstd = (_ONE / forward.std.value).rounded  # (1, c)
    gamma, beta = forward.gamma.value.hi, forward.beta.value.hi
    xhat, xc = forward.xhat.value.rounded, forward.xc.value
    value = {
        "mean": forward.mean.value.rounded * scale,
        "var": forward.var.value.rounded * scale * scale,
        "rstd": rstd / scale,
        "xc": xc.rounded * scale,
        "xhat": xhat,
        "y": forward.y.value.rounded,
    }
    largest_var = np.maximum(forward.var.value.hi, xc.top * xc.top)
    left = _COLUMN * forward.x.value.top  # (1, c)
    terms = {
        "mean": forward.x.value.top * scale,
        "var": largest_var * scale * scale,
        "rstd": value["rstd"],
        "xc": np.abs(value["xc"]) + left * scale,
        "xhat": np.abs(xhat) + left * rstd,
        "y": np.abs(gamma * xhat) + (np.abs(beta) + left * np.abs(gamma) * rstd),
    }
    if dy is not None:
        _read_backward(forward, dy, scale, share, seconds, value, terms)
    if tangents is not None:
        _read_forward_mode(forward, tangents, scale, value, terms)
    return Reference(value, _bounds(terms, lost), state=(forward, scale, share, lost))


def _read_backward(
    forward: graph.Forward,
    dy: Any,
    scale: Array,
    share: float,
    seconds: tuple[Any, Any, Any] | None,
    value: dict[str, Array],
    terms: dict[str, Array],
) -> None:
    dy = np.asarray(dy, dtype=np.float64)
    seed = graph.Node(pair(dy))
    dx, dgamma, dbeta = graph.backward(forward, seed)
    gamma, xhat = forward.gamma.value.hi, value["xhat"]
    value["dx"] = dx.value.rounded / scale
    value["dgamma"], value["dbeta"] = dgamma.value.rounded, dbeta.value.rounded
    value["mean_dy"] = value["dbeta"] * share  # (1, c)
    value["mean_dy_xhat"] = value["dgamma"] * share  # (1, c)
    tops = {}
    for name, summed in (("dgamma", dgamma), ("dbeta", dbeta)):
        (term,) = summed.parents
        tops[name] = term.value.top  # (1, c)
        terms[name] = np.maximum(tops[name], np.abs(value[name]))
    largest = 2 * forward.x.value.top * value["rstd"] * scale  # (1, c), no xhat is larger
    left = _COLUMN * (tops["dbeta"] + largest * tops["dgamma"])  # (1, c)
    inner = np.abs(dy) + (np.abs(value["mean_dy"]) + left) + np.abs(xhat * value["mean_dy_xhat"])
    terms["dx"] = np.abs(gamma) * value["rstd"] * inner
    if seconds is not None:
        _read_double_backward(forward, seed, seconds, scale, value, terms)


def _read_double_backward(
    forward: graph.Forward,
    seed: graph.Node,
    seconds: tuple[Any, Any, Any],
    scale: Array,
    value: dict[str, Array],
    terms: dict[str, Array],
) -> None:
    """L scales as 1/s in dx, so ddx is scaled down with x: its gradients come back by 1/s, 1, 1."""
    c, rstd = scale.shape[1], value["rstd"] * scale
    ddx = np.asarray(seconds[0], dtype=np.float64)
    ddgamma, ddbeta = _row(seconds[1], c, 0.0), _row(seconds[2], c, 0.0)
    nodes = [graph.Node(pair(v)) for v in (ddx / scale, ddgamma, ddbeta)]
    by_x, by_gamma, by_dy = graph.double_backward(forward, seed, *nodes)
    value["ddx_x"] = by_x.value.rounded / scale
    value["ddx_gamma"], value["ddx_dy"] = by_gamma.value.rounded, by_dy.value.rounded
    gamma, xhat = np.abs(forward.gamma.value.hi), np.abs(forward.xhat.value.hi)
    v, g = np.abs(ddx / scale), np.abs(seed.value.hi)
    n = max(v.shape[0], 1)
    mean_v, mean_g = v.sum(axis=0, keepdims=True) / n, g.sum(axis=0, keepdims=True) / n
    p, q = (v * xhat).sum(axis=0, keepdims=True) / n, (g * xhat).sum(axis=0, keepdims=True) / n
    a = (v * g).sum(axis=0, keepdims=True) / n + mean_v * mean_g
    inner = xhat * (a + 3 * p * q) + q * (v + mean_v) + p * (g + mean_g)
    spread = g + mean_g + xhat * q
    terms["ddx_x"] = (gamma * rstd**2 * inner + np.abs(ddgamma) * rstd * spread) / scale
    terms["ddx_gamma"] = (v * rstd * spread).sum(axis=0, keepdims=True)
    terms["ddx_dy"] = (
        gamma * rstd * (v + mean_v + xhat * p) + np.abs(ddgamma) * xhat + np.abs(ddbeta)
    )


def _read_forward_mode(
    forward: graph.Forward,
    tangents: tuple[Any, Any, Any],
    scale: Array,
    value: dict[str, Array],
    terms: dict[str, Array],
) -> None:
    c = scale.shape[1]
    tx = np.asarray(tangents[0], dtype=np.float64) / scale
    tgamma, tbeta = _row(tangents[1], c, 0.0), _row(tangents[2], c, 0.0)
    ty = graph.forward_mode(forward, *(graph.Node(pair(v)) for v in (tx, tgamma, tbeta)))
    xhat, gamma = np.abs(forward.xhat.value.hi), np.abs(forward.gamma.value.hi)
    rstd = 1.0 / np.abs(forward.std.value.hi)
    n = max(tx.shape[0], 1)
    mean_t = np.abs(tx).sum(axis=0, keepdims=True) / n
    mean_tx = (np.abs(tx) * xhat).sum(axis=0, keepdims=True) / n
    value["ty"] = ty.value.rounded
    terms["ty"] = (
        gamma * rstd * (np.abs(tx) + mean_t + xhat * mean_tx)
        + np.abs(tgamma) * xhat
        + np.abs(tbeta)
    )


__all__ = ["DoubleDouble", "Reference", "reference_eval", "reference_train"]
