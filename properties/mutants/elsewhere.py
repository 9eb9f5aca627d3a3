"""Bugs that are not in known_bugs.json, each from another tracker, written before they were run."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import Array
from .known import BODIES, SEED, TORCH, Mutant, mutants
from .planted import PLANTED
from .textbook import Functions, Pieces


def _divisor_with_eps(var: Array, n: int, convention: str, eps: Any) -> Array:
    """Return var * n / (n - 1 + eps): eps was put there against a division by zero."""
    t = var.dtype.type
    return var * (t(n) / (t(n - 1) + eps)) if convention == "unbiased" else var


def _fold_at_default_eps(functions: Functions) -> Functions:
    def wrong(*args: Any, eps: float, **options: Any) -> Any:
        return functions["fold"](*args, eps=1e-5, **options)

    return {**functions, "fold": wrong}


def _placeholder_is_x(functions: Functions) -> Functions:
    """Without running statistics let x stand in for them, and average into its first numbers."""

    def wrong(x: Array, gamma: Any, beta: Any, rm: Any, rv: Any, **options: Any) -> Any:
        if rm is None and x.size and x.flags.writeable:
            row: Any = (0, slice(None), *(0,) * (x.ndim - 2))
            mean = x.mean(axis=(0, *range(2, x.ndim)), dtype=np.float64)
            keep = 1 - options["momentum"]
            x[row] = keep * x[row] + options["momentum"] * mean
        return functions["forward_train"](x, gamma, beta, rm, rv, **options)

    return {**functions, "forward_train": wrong}


WRONG_ELSEWHERE: dict[str, Pieces] = {
    "merged_gradients_are_mean_of_means": PLANTED["merged_gradients_are_mean_of_means"],
    "gamma_missing_in_dx": PLANTED["gamma_missing_in_dx"],
    "unbiased_divisor_holds_eps": Pieces(running_variance=_divisor_with_eps),
    "fold_at_default_eps": Pieces(rewire=_fold_at_default_eps),
    "updates_state_before_it_reads_gamma": PLANTED["updates_state_before_it_reads_gamma"],
    "x_stands_in_for_missing_statistics": Pieces(rewire=_placeholder_is_x),
}
BODIES.update(WRONG_ELSEWHERE)

_FOUND = (
    Mutant(
        "torch-syncbn-dgrad",
        "pytorch/pytorch#36382 https://github.com/pytorch/pytorch/pull/36382",
        "mean_dy=mean(mean_dy_k) though the shards are unequal",
        "merged_gradients_are_mean_of_means",
        TORCH,
    ),
    Mutant(
        "knet-gamma-missing",
        "denizyuret/Knet.jl#288 https://github.com/denizyuret/Knet.jl/issues/288",
        "dx from dy*invstd instead of gamma*dy*invstd",
        "gamma_missing_in_dx",
        SEED,
    ),
    Mutant(
        "mlpack-rv-divisor-eps",
        "mlpack/mlpack#2474 https://github.com/mlpack/mlpack/pull/2474",
        "rv=(1-m)*rv+m*var*n/(n-1+eps)",
        "unbiased_divisor_holds_eps",
        TORCH,
    ),
    Mutant(
        "paddle-lite-fold-eps",
        "PaddlePaddle/Paddle-Lite#9861 https://github.com/PaddlePaddle/Paddle-Lite/pull/9861",
        "s=gamma/sqrt(rv+1e-5) whatever eps is",
        "fold_at_default_eps",
        SEED,
    ),
    Mutant(
        "ttnn-update-before-read",
        "tenstorrent/tt-metal#45578 https://github.com/tenstorrent/tt-metal/pull/45578",
        "rm,rv updated in place before gamma,beta are read; running_mean=beta, running_var=gamma",
        "updates_state_before_it_reads_gamma",
        TORCH,
    ),
    Mutant(
        "flaggems-no-stats-writes-x",
        "flagos-ai/FlagGems#6332 https://github.com/flagos-ai/FlagGems/issues/6332",
        "rm is None: the kernel averages into x and normalizes that",
        "x_stands_in_for_missing_statistics",
        TORCH,
    ),
)
ELSEWHERE: dict[str, Mutant] = {mutant.name: mutant for mutant in _FOUND}


def all_mutants() -> dict[str, Mutant]:
    """Return the runnable known bugs and those from elsewhere, by name."""
    return {**mutants(), **ELSEWHERE}
