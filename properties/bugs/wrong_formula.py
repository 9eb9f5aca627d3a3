"""Wrong formulas of the output: where eps goes, which divisor, what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..model.contract import Array
from ..plants.planted import PLANTED
from ..plants.textbook import Functions, Pieces, root_of_sum


def _outside(var: Array, eps: Any) -> Array:
    return 1 / (np.sqrt(var) + eps)


def _absent(var: Array, eps: Any) -> Array:
    return 1 / np.sqrt(var)


def _constant(value: float) -> Callable[[Array, Any], Array]:
    return lambda var, eps: root_of_sum(var, var.dtype.type(value))


def _through_the_root(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Array:
    """Return dx of xc / (sqrt(var) + eps): the derivative of the root is infinite at var = 0."""
    n, xc = x.shape[0], x - mean
    sd = np.sqrt((xc * xc).sum(axis=0, keepdims=True) / n)
    dxhat = dy * gamma
    dvar = -(dxhat * xc).sum(axis=0, keepdims=True) * rstd * rstd / (2 * sd)
    dxc = dxhat * rstd + dvar * 2 * xc / n
    return dxc - dxc.sum(axis=0, keepdims=True) / n


def _without_beta(x: Array, gamma: Any, beta: Any, mean: Array, rstd: Array) -> Array:
    return (x - mean) * rstd * gamma


def _parameters_on_the_last_axis(functions: Functions) -> Functions:
    def wrong(x: Array, gamma: Any, beta: Any, *args: Any, **options: Any) -> Any:
        y, mean, var, _ = functions["forward_train"](x, None, None, *args, **options)
        given = functions["forward_train"](x, gamma, beta, *args, **options)[3]
        return (y if gamma is None else (y * gamma + beta).astype(y.dtype)), mean, var, given

    return {**functions, "forward_train": wrong}


def _per_activation(functions: Functions) -> Functions:
    """Normalize each activation of a sample on its own, with the parameters of its channel."""

    def wrong(x: Array, gamma: Any, beta: Any, *args: Any, eps: float, **options: Any) -> Any:
        y, *rest = functions["forward_train"](x, gamma, beta, *args, eps=eps, **options)
        if x.ndim > 2 and len(x):
            shape = (1, -1, *(1,) * (x.ndim - 2))
            xc = x - x.mean(axis=0)
            xhat = xc / np.sqrt((xc * xc).mean(axis=0) + eps)
            y = xhat if gamma is None else xhat * gamma.reshape(shape) + beta.reshape(shape)
        return y.astype(x.dtype), *rest

    return {**functions, "forward_train": wrong}


def _in_chunks(functions: Functions) -> Functions:
    """Infer in virtual batches of four, also where they do not divide the batch."""

    def wrong(x: Array, *args: Any, **options: Any) -> Any:
        x.reshape(-1, min(4, max(len(x), 1)), *x.shape[1:])
        return functions["forward_eval"](x, *args, **options)

    return {**functions, "forward_eval": wrong}


def _chunks_variance(x: Array, mean: Array) -> Array:
    """Return the variance merged from chunks of four, each with divisor size - 1."""
    chunks = [x[start : start + 4] for start in range(0, len(x), 4)]
    with np.errstate(all="ignore"):
        squares = [
            (((c - c.mean(axis=0)) ** 2).sum(axis=0) / c.dtype.type(len(c) - 1)) * (len(c) - 1)
            + len(c) * (c.mean(axis=0) - mean) ** 2
            for c in chunks
        ]
    return (sum(squares[1:], start=squares[0]) / x.dtype.type(len(x))).astype(x.dtype)


WRONG_FORMULA: dict[str, Pieces] = {
    "eps_outside_root_everywhere": Pieces(rstd=_outside, eval_rstd=_outside),
    "eps_outside_root_in_forward_only": Pieces(rstd=_outside, backward_rstd=root_of_sum),
    "eps_outside_root_with_its_own_gradient": Pieces(
        rstd=_outside, eval_rstd=_outside, input_gradient=_through_the_root
    ),
    "eps_is_missing": Pieces(rstd=_absent, eval_rstd=_absent),
    "eps_is_always_1e-5": Pieces(rstd=_constant(1e-5), eval_rstd=_constant(1e-5)),
    "eps_is_another_in_rank_2": Pieces(
        where=(lambda x: x.ndim == 2, Pieces(rstd=_constant(1e-6), eval_rstd=_constant(1e-6)))
    ),
    "eval_eps_outside_root": PLANTED["eval_eps_outside_root"],
    "eval_without_eps": PLANTED["eval_without_eps"],
    "variance_divides_by_n_minus_1": PLANTED["variance_divides_by_n_minus_1"],
    "beta_is_missing": Pieces(
        output=_without_beta, beta_gradient=lambda dy: 0 * dy.sum(axis=0, keepdims=True)
    ),
    "parameters_on_the_last_axis": Pieces(rewire=_parameters_on_the_last_axis),
    "per_activation_with_parameters_per_channel": Pieces(rewire=_per_activation),
    "eval_in_virtual_batches": Pieces(rewire=_in_chunks),
    "last_chunk_of_one_value_is_nan": Pieces(variance=_chunks_variance),
}
