"""The right forms of the named list as implementations: controls that must never be accused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from reference import forms

from ..model.contract import Array
from .textbook import Pieces


def _in_order(x: Array) -> Any:
    """Return the sum over the rows, one row after the other."""
    return np.add.accumulate(x, axis=0)[-1:]


def _pairwise(x: Array) -> Any:
    """Return the sum over the rows by halves."""
    while len(x) > 1:
        half = len(x) // 2
        x = np.concatenate([x[:half] + x[half : 2 * half], x[2 * half :]])
    return x


def _summed_by(total: Any) -> tuple[Any, Any]:
    """Return two-pass mean and variance with this sum."""

    def mean(x: Array) -> Any:
        return total(x) / x.dtype.type(len(x))

    def variance(x: Array, mean: Array) -> Any:
        xc = x - mean
        return total(xc * xc) / x.dtype.type(len(x))

    return mean, variance


def _welford(x: Array) -> tuple[Array, Array]:
    """Return mean and variance by Welford's updates (1962)."""
    mean, m2 = x[:1] * 0, x[:1] * 0
    for k in range(len(x)):
        row = x[k : k + 1]
        before = row - mean
        mean = mean + before / x.dtype.type(k + 1)
        m2 = m2 + before * (row - mean)
    return mean, m2 / x.dtype.type(len(x))


def _chunked(x: Array) -> tuple[Array, Array]:
    """Return mean and variance of three chunks merged (Chan, Golub, LeVeque 1983)."""
    t, size = x.dtype.type, -(-len(x) // 3)
    mean = m2 = x[:1]
    count = 0
    for start in range(0, len(x), size):
        chunk = x[start : start + size]
        n = len(chunk)
        own = chunk.sum(axis=0, keepdims=True) / t(n)
        own_m2 = ((chunk - own) ** 2).sum(axis=0, keepdims=True)
        if count == 0:
            mean, m2 = own, own_m2
        else:
            delta = own - mean
            m2 = m2 + own_m2 + delta * delta * t(count * n / (count + n))
            mean = mean + delta * t(n / (count + n))
        count += n
    return mean, m2 / t(count)


def _shifted(x: Array) -> tuple[Array, Array]:
    """Return mean and variance about the first value."""
    n, pivot = x.dtype.type(len(x)), x[:1]
    d = x - pivot
    first = d.sum(axis=0, keepdims=True) / n
    return pivot + first, (d * d).sum(axis=0, keepdims=True) / n - first * first


def _statistics(both: Any, **others: Any) -> Pieces:
    """Return pieces that take mean and variance from one function, called once."""
    held: list[Array] = []

    def mean(x: Array) -> Any:
        held[:] = both(x)
        return held[0]

    return Pieces(mean=mean, variance=lambda x, mean: held[1], **others)


def _fused_output(x: Array, gamma: Array, beta: Array, mean: Array, rstd: Array) -> Array:
    """Return a * x + b with one rounding, in the next wider format."""
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    a = (gamma * rstd).astype(x.dtype)
    b = (beta - mean.astype(wide) * a).astype(x.dtype)
    y: Array = (x.astype(wide) * a + b).astype(x.dtype)
    return y


def _of_sums(sums: tuple[Any, Any]) -> Pieces:
    return Pieces(mean=sums[0], variance=sums[1])


RIGHT_FORMS: dict[str, Pieces] = {
    "two_pass": Pieces(),
    "two_pass_in_order": _of_sums(_summed_by(_in_order)),
    "two_pass_pairwise": _of_sums(_summed_by(_pairwise)),
    "welford": _statistics(_welford),
    "chunked_merge": _statistics(_chunked),
    "shifted": _statistics(_shifted),
    "output_folded": Pieces(output=forms.output_folded, eval_output=forms.output_folded),
    "output_fused": Pieces(output=_fused_output, eval_output=_fused_output),
    "dx_sums": Pieces(
        input_gradient=forms.input_gradient_sums,
        tangent=forms.input_gradient_sums,
        gamma_gradient=forms.gamma_gradient_late,
    ),
    "dx_linear": Pieces(
        input_gradient=forms.input_gradient_linear, tangent=forms.input_gradient_linear
    ),
    "dx_nodes": Pieces(
        input_gradient=forms.input_gradient_nodes, tangent=forms.input_gradient_nodes
    ),
    "welford_folded_linear": _statistics(
        _welford,
        output=forms.output_folded,
        eval_output=forms.output_folded,
        input_gradient=forms.input_gradient_linear,
        gamma_gradient=forms.gamma_gradient_late,
    ),
}

_GRADIENTS: dict[str, dict[str, Any]] = {
    name: {"input_gradient": form, "tangent": form}
    for name, form in {
        "means": forms.input_gradient_means,
        "sums": forms.input_gradient_sums,
        "linear": forms.input_gradient_linear,
        "nodes": forms.input_gradient_nodes,
    }.items()
}
_FOLDED: dict[str, Any] = {"output": forms.output_folded, "eval_output": forms.output_folded}
_FUSED: dict[str, Any] = {"output": _fused_output, "eval_output": _fused_output}
_LATE: dict[str, Any] = {"gamma_gradient": forms.gamma_gradient_late}

COMBINED: dict[str, Pieces] = {  # every named form in one implementation or another
    "two passes in order, y direct, dx by means": replace(
        RIGHT_FORMS["two_pass_in_order"], **_GRADIENTS["means"]
    ),
    "two passes pairwise, y folded, dx by sums": replace(
        RIGHT_FORMS["two_pass_pairwise"], **_FOLDED, **_GRADIENTS["sums"], **_LATE
    ),
    "Welford, y folded, dx linear": replace(
        RIGHT_FORMS["welford"], **_FOLDED, **_GRADIENTS["linear"], **_LATE
    ),
    "chunks merged, y fused, dx by nodes": replace(
        RIGHT_FORMS["chunked_merge"], **_FUSED, **_GRADIENTS["nodes"]
    ),
    "shifted, y direct, dx linear": replace(RIGHT_FORMS["shifted"], **_GRADIENTS["linear"]),
}
