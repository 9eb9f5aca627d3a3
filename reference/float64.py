"""The float64 reference: the derivation graph over double-double, each result with its bound.

The bound is 2 ulp of the largest term that is added in the element. Columns are scaled by powers
of two before squares are taken, so that nothing overflows or vanishes for any finite float64 x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import graph
from .double import Array, DoubleDouble, pair

_ULP = 2.0**-52
_LEAST = 2.0**-1074  # what a value may lose when its scaling is undone


@dataclass(frozen=True)
class Reference:
    """Results in float64, (n, c) or (1, c), and under the same name in `bound` their error bound.

    Fields that were not asked for are absent from `value`; memory holds what is made but once.
    """

    value: dict[str, Array]
    bound: dict[str, Array]
    memory: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    state: tuple[graph.Forward, Array, float] | None = field(default=None, repr=False)

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
    forward, k, share = ref.state
    value, terms = dict(ref.value), dict[str, Array]()
    with np.errstate(all="ignore"):
        _read_backward(forward, dy, k, share, None, value, terms)
    return replace(ref, value=value, bound={**ref.bound, **_bounds(terms)})


def _bounds(terms: dict[str, Array]) -> dict[str, Array]:
    return {name: _ULP * term + _LEAST for name, term in terms.items()}


def _columns_scale(size: Array, eps: float) -> Array:
    """Return per column the exponent of a power of two near max(size, sqrt(eps)), (1, c)."""
    largest = np.maximum(size, np.sqrt(eps))
    return np.frexp(np.where(np.isfinite(largest), largest, 1.0))[1].astype(np.int64)


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
    k = _columns_scale(np.abs(x).max(axis=0, keepdims=True), eps)
    scaled_eps = np.maximum(np.ldexp(np.float64(eps), -2 * k), 1e-290)  # (1, c)
    c = x.shape[1]
    with np.errstate(all="ignore"):
        forward = graph.forward_train(
            pair(np.ldexp(x, -k)),
            pair(_row(gamma, c, 1.0)),
            pair(_row(beta, c, 0.0)),
            pair(scaled_eps),
        )
        return _read(forward, dy, k, 1.0 / x.shape[0], tangents, seconds)


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
    k = _columns_scale(np.sqrt(var), eps)  # x may be far larger: then y overflows as it should
    with np.errstate(all="ignore"):
        forward = graph.forward_eval(
            pair(np.ldexp(x, -k)),
            pair(_row(gamma, c, 1.0)),
            pair(_row(beta, c, 0.0)),
            pair(np.ldexp(mean, -k)),
            pair(np.ldexp(var, -2 * k)),
            pair(np.ldexp(np.float64(eps), -2 * k)),
        )
        return _read(forward, dy, k, 0.0, None, None)


def _read(
    forward: graph.Forward,
    dy: Any,
    k: Array,
    share: float,
    tangents: tuple[Any, Any, Any] | None,
    seconds: tuple[Any, Any, Any] | None,
) -> Reference:
    """Round the graph's values to float64, undo the scaling, and bound each."""
    one = pair(np.float64(1.0))
    rstd = (one / forward.std.value).hi  # (1, c)
    gamma, beta = forward.gamma.value.hi, forward.beta.value.hi
    xhat, xc = forward.xhat.value.hi, forward.xc.value.hi
    largest_x = np.abs(forward.x.value.hi).max(axis=0, keepdims=True, initial=0.0)
    largest_var = np.maximum(
        forward.var.value.hi, (xc * xc).max(axis=0, keepdims=True, initial=0.0)
    )
    value = {
        "mean": np.ldexp(forward.mean.value.hi, k),
        "var": np.ldexp(forward.var.value.hi, 2 * k),
        "rstd": np.ldexp(rstd, -k),
        "xc": np.ldexp(xc, k),
        "xhat": xhat,
        "y": forward.y.value.hi,
    }
    terms = {
        "mean": np.ldexp(largest_x, k),
        "var": np.ldexp(largest_var, 2 * k),
        "rstd": value["rstd"],
        "xc": np.abs(value["xc"]),
        "xhat": np.abs(xhat),
        "y": np.abs(gamma * xhat) + np.abs(beta),
    }
    if dy is not None:
        _read_backward(forward, dy, k, share, seconds, value, terms)
    if tangents is not None:
        _read_forward_mode(forward, tangents, k, value, terms)
    return Reference(value, _bounds(terms), state=(forward, k, share))


def _read_backward(
    forward: graph.Forward,
    dy: Any,
    k: Array,
    share: float,
    seconds: tuple[Any, Any, Any] | None,
    value: dict[str, Array],
    terms: dict[str, Array],
) -> None:
    dy = np.asarray(dy, dtype=np.float64)
    seed = graph.Node(pair(dy))
    dx, dgamma, dbeta = graph.backward(forward, seed)
    gamma, xhat = forward.gamma.value.hi, forward.xhat.value.hi
    value["dx"] = np.ldexp(dx.value.hi, -k)
    value["dgamma"], value["dbeta"] = dgamma.value.hi, dbeta.value.hi
    value["mean_dy"] = value["dbeta"] * share  # (1, c)
    value["mean_dy_xhat"] = value["dgamma"] * share  # (1, c)
    inner = np.abs(dy) + np.abs(value["mean_dy"]) + np.abs(xhat * value["mean_dy_xhat"])
    terms["dx"] = np.abs(gamma) * value["rstd"] * inner
    terms["dgamma"] = np.abs(dy * xhat).max(axis=0, keepdims=True, initial=0.0)
    terms["dgamma"] = np.maximum(terms["dgamma"], np.abs(value["dgamma"]))
    terms["dbeta"] = np.maximum(
        np.abs(dy).max(axis=0, keepdims=True, initial=0.0), np.abs(value["dbeta"])
    )
    if seconds is not None:
        _read_double_backward(forward, seed, seconds, k, value, terms)


def _read_double_backward(
    forward: graph.Forward,
    seed: graph.Node,
    seconds: tuple[Any, Any, Any],
    k: Array,
    value: dict[str, Array],
    terms: dict[str, Array],
) -> None:
    """L scales as 1/s in dx, so ddx is scaled down with x: its gradients come back by 1/s, 1, 1."""
    c, rstd = k.shape[1], np.ldexp(value["rstd"], k)
    ddx = np.asarray(seconds[0], dtype=np.float64)
    ddgamma, ddbeta = _row(seconds[1], c, 0.0), _row(seconds[2], c, 0.0)
    nodes = [graph.Node(pair(v)) for v in (np.ldexp(ddx, -k), ddgamma, ddbeta)]
    by_x, by_gamma, by_dy = graph.double_backward(forward, seed, *nodes)
    value["ddx_x"] = np.ldexp(by_x.value.hi, -k)
    value["ddx_gamma"], value["ddx_dy"] = by_gamma.value.hi, by_dy.value.hi
    gamma, xhat = np.abs(forward.gamma.value.hi), np.abs(forward.xhat.value.hi)
    v, g = np.abs(np.ldexp(ddx, -k)), np.abs(seed.value.hi)
    n = max(v.shape[0], 1)
    mean_v, mean_g = v.sum(axis=0, keepdims=True) / n, g.sum(axis=0, keepdims=True) / n
    p, q = (v * xhat).sum(axis=0, keepdims=True) / n, (g * xhat).sum(axis=0, keepdims=True) / n
    a = (v * g).sum(axis=0, keepdims=True) / n + mean_v * mean_g
    inner = xhat * (a + 3 * p * q) + q * (v + mean_v) + p * (g + mean_g)
    spread = g + mean_g + xhat * q
    terms["ddx_x"] = np.ldexp(gamma * rstd**2 * inner + np.abs(ddgamma) * rstd * spread, -k)
    terms["ddx_gamma"] = (v * rstd * spread).sum(axis=0, keepdims=True)
    terms["ddx_dy"] = (
        gamma * rstd * (v + mean_v + xhat * p) + np.abs(ddgamma) * xhat + np.abs(ddbeta)
    )


def _read_forward_mode(
    forward: graph.Forward,
    tangents: tuple[Any, Any, Any],
    k: Array,
    value: dict[str, Array],
    terms: dict[str, Array],
) -> None:
    c = k.shape[1]
    tx = np.ldexp(np.asarray(tangents[0], dtype=np.float64), -k)
    tgamma, tbeta = _row(tangents[1], c, 0.0), _row(tangents[2], c, 0.0)
    ty = graph.forward_mode(forward, *(graph.Node(pair(v)) for v in (tx, tgamma, tbeta)))
    xhat, gamma = np.abs(forward.xhat.value.hi), np.abs(forward.gamma.value.hi)
    rstd = 1.0 / np.abs(forward.std.value.hi)
    n = max(tx.shape[0], 1)
    mean_t = np.abs(tx).sum(axis=0, keepdims=True) / n
    mean_tx = (np.abs(tx) * xhat).sum(axis=0, keepdims=True) / n
    value["ty"] = ty.value.hi
    terms["ty"] = (
        gamma * rstd * (np.abs(tx) + mean_t + xhat * mean_tx)
        + np.abs(tgamma) * xhat
        + np.abs(tbeta)
    )


__all__ = ["DoubleDouble", "Reference", "reference_eval", "reference_train"]
