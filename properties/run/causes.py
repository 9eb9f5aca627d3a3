"""The wrong batch norms that a diagnosis knows, each as a sentence with the usual fix.

Those of LAST_AXIS take the channels on the last axis themselves.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from reference import forms

from ..bugs.elsewhere import BODIES
from ..bugs.wrong_masks import UNREPORTED
from ..bugs.wrong_ranks import AS_LAYERS
from ..bugs.wrong_sizes import forgets_the_offset
from ..model.contract import Array
from ..plants.layers import AveragesInInference, CountsOneTooMany
from ..plants.planted import PLANTED
from ..plants.textbook import Functions, Pieces, by_convention, folded, root_of_sum

Named = dict[str, Pieces]


def _over_n_minus_1_in_output(x: Array, gamma: Any, beta: Any, mean: Array, rstd: Array) -> Array:
    """Return y of the unbiased variance; the running variance stays as it is."""
    xc, n = x - mean, x.shape[0]
    square = (xc * xc).sum(axis=0, keepdims=True)
    eps = 1 / (rstd * rstd) - square / n
    return xc / np.sqrt(square / max(n - 1, 1) + eps) * gamma + beta


def _gamma_ignored(functions: Functions) -> Functions:
    """Take gamma for 1 everywhere, and give it no gradient."""

    def forward(name: str) -> Any:
        def wrong(x: Array, gamma: Any, *rest: Any, **options: Any) -> Any:
            one = None if gamma is None else np.ones_like(gamma)
            return functions[name](x, one, *rest, **options)

        return wrong

    def backward(name: str) -> Any:
        def wrong(dy: Array, saved: Any) -> Any:
            dx, dgamma, dbeta = functions[name](dy, saved)
            return dx, None if dgamma is None else np.zeros_like(dgamma), dbeta

        return wrong

    names = ("forward_train", "forward_eval"), ("backward_train", "backward_eval")
    wrong = {name: forward(name) for name in names[0]} | {name: backward(name) for name in names[1]}
    return {**functions, **wrong}


def _over_n_minus_1_throughout(functions: Functions) -> Functions:
    """Normalize by the unbiased variance, with the gradients of that, as autograd gives them.

    xc / sqrt(n/(n-1) var + eps) = k xc / sqrt(var + k k eps), where k k = (n - 1) / n.
    """

    def scaled(gamma: Any, k: float) -> Any:
        return gamma * gamma.dtype.type(k)

    def forward(x: Array, gamma: Any, *rest: Any, eps: float, **options: Any) -> Any:
        given = np.ones(x.shape[1], x.dtype) if gamma is None else gamma
        n = x.size // max(given.size, 1)
        k = np.sqrt((n - 1) / n) if n > 1 else 1.0
        found = functions["forward_train"](x, scaled(given, k), *rest, eps=eps * k * k, **options)
        return *found[:3], (found[3], k, gamma is None)

    def backward(dy: Array, saved: Any) -> Any:
        dx, dgamma, dbeta = functions["backward_train"](dy, saved[0])
        return (dx, None, None) if saved[2] else (dx, scaled(dgamma, saved[1]), dbeta)

    return {**functions, "forward_train": forward, "backward_train": backward}


def _swapped(name: str, one: int, two: int) -> Pieces:
    """Return the right pieces with two results of a function swapped."""

    def rewire(functions: Functions) -> Functions:
        def wrong(*args: Any, **options: Any) -> Any:
            found = list(functions[name](*args, **options))
            found[one], found[two] = found[two], found[one]
            return tuple(found)

        return {**functions, name: wrong}

    return Pieces(rewire=rewire)


def _given_swapped(one: int, two: int) -> Pieces:
    """Return the right pieces with two arguments of the forwards swapped."""

    def rewire(functions: Functions) -> Functions:
        def swap(name: str) -> Any:
            def wrong(*args: Any, **options: Any) -> Any:
                given = list(args)
                given[one], given[two] = given[two], given[one]
                return functions[name](*given, **options)

            return wrong

        return {**functions, **{name: swap(name) for name in ("forward_train", "forward_eval")}}

    return Pieces(rewire=rewire)


def _plus_one(functions: Functions) -> Functions:
    def wrong(*args: Any, **options: Any) -> Any:
        y, saved = functions["forward_eval"](*args, **options)
        return y + 1, saved

    return {**functions, "forward_eval": wrong}


def _over_n_minus_1(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Array:
    """Return dx whose variance path divides by n - 1."""
    n, xhat = x.shape[0], (x - mean) * rstd
    path = xhat * (dy * xhat).sum(axis=0, keepdims=True) / max(n - 1, 1)
    return gamma * rstd * (dy - dy.mean(axis=0, keepdims=True) - path)


def _factor_n(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Array:
    return forms.input_gradient_means(dy, x, gamma, mean, rstd) * x.dtype.type(x.shape[0])


def _no_paths(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Array:
    return gamma * rstd * dy


def _eps_added_to_xhat(functions: Functions) -> Functions:
    """Add eps to xhat; the root before it has none."""

    def wrong(x: Array, gamma: Any, beta: Any, *rest: Any, eps: float, **options: Any) -> Any:
        y, *others = functions["forward_train"](x, gamma, beta, *rest, eps=eps, **options)
        if gamma is None:
            return y + eps, *others
        shape = (1, -1, *(1,) * (x.ndim - 2)) if gamma.size == x.shape[1] else (1, *x.shape[1:])
        return y + eps * gamma.reshape(shape), *others

    return {**functions, "forward_train": wrong}


def _square_as_plain(
    weight: Array, bias: Any, scale: Array, shift: Array, transposed: bool, groups: int
) -> Any:
    """Fold a transposed layer along axis 0 where its length fits, else along axis 1."""
    new, new_bias = folded(weight, bias, scale, shift, transposed, groups)
    if transposed:
        axis = 0 if weight.shape[0] == len(scale) else 1
        shape = [1] * weight.ndim
        shape[axis] = -1
        new = weight * scale.reshape(shape)
    return new, new_bias


EXTRA: Named = {
    "transposed_fold_takes_the_axis_that_fits": Pieces(fold=_square_as_plain),
    "gamma_ignored": Pieces(rewire=_gamma_ignored),
    "layer_averages_in_inference": Pieces(layer=AveragesInInference),
    "layer_counts_one_too_many": Pieces(layer=CountsOneTooMany),
    "output_and_gradients_over_n_minus_1": Pieces(rewire=_over_n_minus_1_throughout),
    "output_gradients_and_running_variance_over_n_minus_1": Pieces(
        rewire=_over_n_minus_1_throughout,
        running_variance=lambda var, n, convention, eps: (
            by_convention(var, n, convention, eps) * var.dtype.type(n / max(n - 1, 1))
        ),
    ),
    "output_over_n_minus_1": Pieces(output=_over_n_minus_1_in_output),
    "eps_added_after_the_division": Pieces(
        rstd=lambda var, eps: root_of_sum(var, 0 * eps), rewire=_eps_added_to_xhat
    ),
    "eps_missing_in_training": Pieces(rstd=lambda var, eps: root_of_sum(var, 0 * eps)),
    "divides_by_the_variance": Pieces(rstd=lambda var, eps: 1 / (var + eps)),
    "gamma_and_beta_swapped": _given_swapped(1, 2),
    "running_results_swapped": _swapped("forward_train", 1, 2),
    "parameter_gradients_swapped": _swapped("backward_train", 1, 2),
    "running_variance_is_a_deviation": Pieces(
        running_variance=lambda var, n, convention, eps: np.sqrt(var)
    ),
    "running_variance_is_a_reciprocal_root": Pieces(
        running_variance=lambda var, n, convention, eps: root_of_sum(var, eps)
    ),
    "view_in_4d_read_from_the_start_of_its_buffer": Pieces(rewire=forgets_the_offset(4)),
    "eval_output_plus_one": Pieces(rewire=_plus_one),
    "eval_divides_by_the_variance": Pieces(eval_rstd=lambda var, eps: 1 / (var + eps)),
    "variance_path_over_n_minus_1": Pieces(input_gradient=_over_n_minus_1),
    "dx_without_any_path": Pieces(input_gradient=_no_paths),
    "dx_is_n_times": Pieces(input_gradient=_factor_n),
    "dgamma_is_a_mean": Pieces(
        gamma_gradient=lambda dy, x, mean, rstd: (
            forms.gamma_gradient_direct(dy, x, mean, rstd) / x.dtype.type(x.shape[0])
        )
    ),
    "dgamma_of_raw_x": Pieces(
        gamma_gradient=lambda dy, x, mean, rstd: (dy * x).sum(axis=0, keepdims=True)
    ),
}

OF_MASKS_AND_RANKS: Named = {**UNREPORTED, **AS_LAYERS}

SENTENCES: dict[str, str] = tomllib.loads(
    Path(__file__).with_name("causes.toml").read_text(encoding="utf-8")
)

LAST_AXIS = ("channels_last_refused_in_rank_2", "channels_last_ignored_in_rank_5")


@cache
def known() -> Named:
    """Return the wrong batch norms that have a sentence; of one name the catalogue's counts."""
    everything = {**PLANTED, **BODIES, **OF_MASKS_AND_RANKS, **EXTRA}
    return {name: everything[name] for name in SENTENCES}


def _changed(pieces: Pieces) -> dict[str, Any]:
    plain = Pieces()
    return {
        f.name: getattr(pieces, f.name)
        for f in fields(Pieces)
        if getattr(pieces, f.name) is not getattr(plain, f.name)
    }


_FORWARD = {"mean", "variance", "rstd", "output", "rewire"}


def pairs(names: set[str]) -> Iterator[tuple[tuple[str, str], Pieces]]:
    """Yield two errors at once: those of these names, and any two of the forward."""
    changed = {name: _changed(pieces) for name, pieces in known().items()}
    for one, two in combinations(changed, 2):
        first, second = changed[one], changed[two]
        both_forward = first.keys() <= _FORWARD and second.keys() <= _FORWARD
        if not both_forward and not {one, two} <= names:
            continue
        rewires = [c["rewire"] for c in (first, second) if "rewire" in c]
        if (first.keys() & second.keys()) - {"rewire"} or "where" in {*first, *second}:
            continue
        changes = {**first, **second}
        if len(rewires) == 2:
            changes["rewire"] = lambda functions, rs=rewires: rs[1](rs[0](functions))
        yield (one, two), replace(Pieces(), **changes)
