"""Bugs that are not in known_bugs.json, each from another tracker, written before they were run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..model.contract import Array, Conventions
from ..plants.planted import PLANTED
from ..plants.textbook import Functions, Pieces, folded
from .catalogue import BODIES as BODIES
from .catalogue import SEED, TORCH, Mutant, mutants
from .wrong_sizes import WRONG_SIZES


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


def _mean_paths_alone_hold_gamma(
    dy: Array, x: Array, gamma: Array, mean: Array, rstd: Array
) -> Array:
    """Return rstd / n * (n * dy - gamma * (sum(dy) + xhat * sum(dy * xhat)))."""
    n = x.dtype.type(x.shape[0])
    xhat = (x - mean) * rstd
    paths = dy.sum(axis=0, keepdims=True) + xhat * (dy * xhat).sum(axis=0, keepdims=True)
    return (n * dy - gamma * paths) * (rstd / n)


_THREADS_READ = 4096  # 1024 threads of four numbers each


def _statistics_with_overlapping_tail(x: Array, eps: Any) -> tuple[Array, Array]:
    """Return mean and rstd; in the tail thread t reads numbers t to t + 3, not 4t to 4t + 3."""
    whole = x.shape[0] - x.shape[0] % _THREADS_READ
    threads = np.arange((x.shape[0] - whole) // 4)
    read = np.concatenate([np.arange(whole), *(whole + threads + k for k in range(4))])
    read = np.concatenate([read, np.arange(whole + 4 * len(threads), x.shape[0])])
    n = x.dtype.type(x.shape[0])
    mean = x[read].sum(axis=0, keepdims=True) / n
    var = ((x[read] - mean) ** 2).sum(axis=0, keepdims=True) / n
    return mean, 1 / np.sqrt(var + eps)


def _backward_with_overlapping_tail(functions: Functions) -> Functions:
    """Compute the statistics anew in the backward of large batches, from overlapping reads."""

    def forward(x: Array, *args: Any, eps: float, **options: Any) -> Any:
        *results, saved = functions["forward_train"](x, *args, eps=eps, **options)
        if saved.x.shape[0] > _THREADS_READ:
            mean, rstd = _statistics_with_overlapping_tail(saved.x, saved.x.dtype.type(eps))
            saved = replace(saved, mean=mean, rstd=rstd)
        return *results, saved

    return {**functions, "forward_train": forward}


def _parameters_at_the_flat_index(functions: Functions) -> Functions:
    """In inference take the parameters of value i at i modulo the number of channels."""

    def wrong(x: Array, gamma: Any, beta: Any, rm: Array, rv: Array, *, eps: float) -> Any:
        y, saved = functions["forward_eval"](x, gamma, beta, rm, rv, eps=eps)
        if x.ndim > 2:
            t: Any = np.float64 if x.dtype.itemsize == 8 else np.float32
            at = (np.arange(x.size) % len(rm)).reshape(x.shape)
            mean, rstd = rm.astype(t)[at], 1 / np.sqrt(rv.astype(t)[at] + t(eps))
            scale = 1 if gamma is None else gamma.astype(t)[at]
            shift = 0 if beta is None else beta.astype(t)[at]
            y = ((x.astype(t) - mean) * (rstd * scale) + shift).astype(y.dtype)
        return y, saved

    return {**functions, "forward_eval": wrong}


def _transposed_viewed_from_the_front(
    weight: Array, bias: Any, scale: Array, shift: Array, transposed: bool, groups: int
) -> Any:
    """Fold a transposed layer's (in, out / groups, ...) as if it were (out, ...)."""
    new, new_bias = folded(weight, bias, scale, shift, transposed, groups)
    if transposed:
        new = (weight.reshape(len(scale), -1) * scale[:, None]).reshape(weight.shape)
    return new, new_bias


WRONG_ELSEWHERE: dict[str, Pieces] = {
    "merged_gradients_are_mean_of_means": PLANTED["merged_gradients_are_mean_of_means"],
    "gamma_missing_in_dx": PLANTED["gamma_missing_in_dx"],
    "unbiased_divisor_holds_eps": Pieces(running_variance=_divisor_with_eps),
    "fold_at_default_eps": Pieces(rewire=_fold_at_default_eps),
    "updates_state_before_it_reads_gamma": PLANTED["updates_state_before_it_reads_gamma"],
    "x_stands_in_for_missing_statistics": Pieces(rewire=_placeholder_is_x),
    "gamma_in_the_mean_paths_alone": Pieces(input_gradient=_mean_paths_alone_hold_gamma),
    "backward_statistics_overlap_in_the_tail": Pieces(rewire=_backward_with_overlapping_tail),
    "dx_without_both_paths": Pieces(
        input_gradient=lambda dy, x, gamma, mean, rstd: dy * (gamma * rstd)
    ),
    "eval_parameters_at_the_flat_index": Pieces(rewire=_parameters_at_the_flat_index),
    "transposed_fold_views_from_the_front": Pieces(fold=_transposed_viewed_from_the_front),
    **WRONG_SIZES,
}
PER_ACTIVATION = Conventions(statistics="per_activation")
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
    Mutant(
        "miopen-peract-scale",
        "ROCm/MIOpen#104 https://github.com/ROCm/MIOpen/issues/104",
        "per activation: dx=rstd/n*(n*dy-gamma*(sum(dy)+xhat*sum(dy*xhat)))",
        "gamma_in_the_mean_paths_alone",
        PER_ACTIVATION,
    ),
    Mutant(
        "rocm-backward-tail-stride",
        "ROCm/rocm-libraries#9030 https://github.com/ROCm/rocm-libraries/issues/9030",
        "backward takes mean and rstd anew; the last n%4096 values are read at stride 1, not 4",
        "backward_statistics_overlap_in_the_tail",
        TORCH,
    ),
    Mutant(
        "dl4j-dx-one-term",
        "deeplearning4j/deeplearning4j#8335 "
        "https://github.com/deeplearning4j/deeplearning4j/issues/8335",
        "dx=gamma*rstd*dy in training: the paths through mean and variance are missing",
        "dx_without_both_paths",
        SEED,
    ),
    Mutant(
        "tfjs-channels-first",
        "tensorflow/tfjs#1106 https://github.com/tensorflow/tfjs/issues/1106",
        "inference takes mean[i%c], var[i%c], gamma[i%c], beta[i%c] for the flat index i",
        "eval_parameters_at_the_flat_index",
        SEED,
    ),
    Mutant(
        "ultralytics-deconv-axis",
        "ultralytics/ultralytics#25364 https://github.com/ultralytics/ultralytics/pull/25364",
        "transposed: weight.view(out,-1)*scale though weight is (in,out/groups,...)",
        "transposed_fold_views_from_the_front",
        TORCH,
    ),
    Mutant(
        "apex-channel-tail",
        "NVIDIA/apex#1768 https://github.com/NVIDIA/apex/issues/1768 "
        "and the blocked layouts of oneDNN",
        "c%16 channels of the last block take the output of its first",
        "channel_tail_is_its_first_channel",
        SEED,
    ),
    Mutant(
        "torch-cl-storage-offset",
        "pytorch/pytorch#174345 https://github.com/pytorch/pytorch/issues/174345",
        "a channels-last view is read from the start of its storage",
        "view_read_from_the_start_of_its_buffer",
        TORCH,
    ),
    Mutant(
        "yolo-checkpoint-twice",
        "Tencent/YOLO-Master#262 https://github.com/Tencent/YOLO-Master/issues/262",
        "backward runs the forward again, which averages rm, rv again",
        "layer_recomputes_in_backward",
        TORCH,
    ),
    Mutant(
        "fairscale-backward-average",
        "facebookresearch/fairscale#1035 https://github.com/facebookresearch/fairscale/issues/1035",
        "rm, rv are averaged in backward, not in forward",
        "layer_averages_in_backward",
        TORCH,
    ),
    Mutant(
        "maml-backup-tied",
        "AntreasAntoniou/HowToTrainYourMAMLPytorch#42 "
        "https://github.com/AntreasAntoniou/HowToTrainYourMAMLPytorch/issues/42",
        "a copy of the state shares its memory",
        "layer_shares_its_state",
        TORCH,
    ),
    Mutant(
        "miopen-backward-768",
        "ROCm/MIOpen#1109 https://github.com/ROCm/MIOpen/issues/1109",
        "backward sums over the first 768 rows alone",
        "backward_sums_768_rows",
        TORCH,
    ),
    Mutant(
        "arm-width-tail",
        "ARM-software/ComputeLibrary#202 https://github.com/ARM-software/ComputeLibrary/issues/202",
        "inference leaves the last width%4 places unwritten",
        "eval_width_tail_unwritten",
        SEED,
    ),
    Mutant(
        "arm-256-channels",
        "ARM-software/ComputeLibrary#235 https://github.com/ARM-software/ComputeLibrary/issues/235",
        "inference takes the parameters of channel c at c%256",
        "eval_channel_held_in_8_bits",
        SEED,
    ),
    Mutant(
        "miopen-index-overflow",
        "ROCm/rocm-libraries#10259 https://github.com/ROCm/rocm-libraries/pull/10259, scaled down",
        "x[i] is read at i%2**16, as 32 bits do at 2**32",
        "index_held_in_16_bits",
        TORCH,
    ),
    Mutant(
        "xpu-vector-tail",
        "intel/torch-xpu-ops#1238 https://github.com/intel/torch-xpu-ops/pull/1238",
        "statistics leave out the last places%4 of each plane",
        "statistics_without_the_tail",
        TORCH,
    ),
    Mutant(
        "onednn-reorder-tail",
        "uxlfoundation/oneDNN#71 https://github.com/uxlfoundation/oneDNN/issues/71",
        "dx is written for c//8*8 channels",
        "channel_tail_of_dx_unwritten",
        SEED,
    ),
    Mutant(
        "onednn-blocks-mixed",
        "uxlfoundation/oneDNN#486 https://github.com/uxlfoundation/oneDNN/issues/486",
        "y in nChw8c is read as nChw16c",
        "blocks_of_8_read_as_16",
        SEED,
    ),
    Mutant(
        "tts-padding-counted",
        "Tomiinek/Multilingual_Text_to_Speech#81 "
        "https://github.com/Tomiinek/Multilingual_Text_to_Speech/issues/81 "
        "; see also pytorch/pytorch#70529",
        "mean=sum(x*mask)/n, var=sum((x-mean)**2*mask)/n with n of all places",
        "padded_places_are_counted",
        TORCH,
    ),
    Mutant(
        "deepspeech-zero-padding",
        "SeanNaren/deepspeech.pytorch#312 "
        "https://github.com/SeanNaren/deepspeech.pytorch/issues/312",
        "mean and var of x*mask over all places: short sequences add zeros",
        "zero_padding_is_counted",
        TORCH,
    ),
    Mutant(
        "nnabla-sync-sums-twice",
        "sony/nnabla#1120 https://github.com/sony/nnabla/pull/1120",
        "dgamma and dbeta of all ranks are added up again: times the number of ranks",
        "parameter_gradients_are_added_up_twice",
        SEED,
    ),
)
ELSEWHERE: dict[str, Mutant] = {mutant.name: mutant for mutant in _FOUND}


def all_mutants() -> dict[str, Mutant]:
    """Return the runnable known bugs and those from elsewhere, by name."""
    return {**mutants(), **ELSEWHERE}
