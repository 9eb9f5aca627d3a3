"""The known bugs of real batch norms as runnable wrong implementations, and those that are not.

`known_bugs.json` holds each bug's source, symptom, cause and one-line model; here stands which
wrong pieces realize it, in which stated conventions, or why none can. Bugs of one model share a
body.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from ..model.contract import Conventions, Target
from ..plants.textbook import Pieces, implementation
from .wrong_backward import WRONG_BACKWARD
from .wrong_formula import WRONG_FORMULA
from .wrong_layers import WRONG_LAYERS
from .wrong_layout import WRONG_LAYOUT
from .wrong_masks import WRONG_MASKS
from .wrong_precision import WRONG_PRECISION
from .wrong_ranks import WRONG_RANKS
from .wrong_sharing import WRONG_SHARING
from .wrong_state import WRONG_STATE

SEED = Conventions()
KEEP_UNBIASED = Conventions(running_var="unbiased")
UPDATE = Conventions(momentum="update")
TORCH = Conventions(momentum="update", running_var="unbiased")
HALVES = ("float32", "float64", "float16")
SEED_HALF = Conventions(dtypes=HALVES)
TORCH_HALF = replace(TORCH, dtypes=HALVES)
LAST = Conventions(channel_axis=-1)

BODIES: dict[str, Pieces] = {
    **WRONG_STATE,
    **WRONG_FORMULA,
    **WRONG_PRECISION,
    **WRONG_LAYOUT,
    **WRONG_BACKWARD,
    **WRONG_SHARING,
    **WRONG_LAYERS,
    **WRONG_MASKS,
    **WRONG_RANKS,
}

KNOWN: dict[str, tuple[str, Conventions]] = {
    # running variance
    "tinygrad-rv-biased": ("running_variance_is_biased", TORCH),
    "ttnn-rv-biased": ("running_variance_is_biased", TORCH),
    "tf-fused-vs-nonfused": ("running_variance_is_unbiased_in_rank_4", SEED),
    "mxnet-cpu-cudnn-rv": ("running_variance_is_unbiased", SEED),
    "mxnet-cudnn-n1-nan": ("unbiased_variance_is_unguarded", KEEP_UNBIASED),
    "flux-n1-nan": ("unbiased_variance_is_unguarded", TORCH),
    "torch-n1-nan": ("unbiased_variance_is_unguarded", TORCH),
    "tf-gpu-n1-nan": ("unbiased_variance_is_unguarded_in_rank_4", KEEP_UNBIASED),
    "paddle-n1-nan": ("unbiased_variance_is_unguarded", KEEP_UNBIASED),
    # momentum, start, who reads and writes the state
    "paddle-momentum-swapped": ("momentum_swapped", SEED),
    "oneflow-momentum-notion": ("momentum_swapped", TORCH),
    "mxnet-cudnn-factor": ("momentum_swapped_and_variance_starts_at_zero", SEED),
    "bcn-alpha": ("momentum_swapped_and_output_at_updated_statistics", TORCH),
    "onnxscript-momentum": ("momentum_swapped", SEED),
    "nvcaffe-first-factor": ("running_variance_starts_at_zero", SEED),
    "equinox-rv0-zero": ("running_variance_starts_at_zero", SEED),
    "nnabla-rv0-zero": ("running_variance_starts_at_zero", SEED),
    "chainer-rv0-zero": ("running_variance_starts_at_zero", SEED),
    "ort-y-depends-on-momentum": ("output_at_updated_statistics", SEED),
    "ort-stats-not-bound": ("running_statistics_never_change", SEED),
    "ort-test-wrong-oracle": ("running_statistics_are_the_batch", SEED),
    "aprender-never-updated": ("running_statistics_never_change", TORCH),
    "tf-stale-delta": ("update_is_applied_three_times", SEED),
    "tch-eval-init-stats": ("eval_reads_the_initial_statistics", TORCH),
    "torch-nbt-reset": ("layer_forgets_its_count", TORCH),
    # eps
    "ncnn-eps-outside": ("eps_outside_root_everywhere", SEED),
    "ncnn-eps-missing": ("eps_is_missing", SEED),
    "darknet-eps-outside": ("eps_outside_root_everywhere", SEED),
    "darknet-cpu-gpu-eps": ("eps_is_another_in_rank_2", SEED),
    "keras-eps-moved": ("eps_outside_root_everywhere", SEED),
    "chainer-eps-missing-eval": ("eval_without_eps", SEED),
    "brn-eps-leak": ("running_variance_holds_eps", UPDATE),
    "paddle-eps-constant": ("eps_is_always_1e-5", SEED),
    "lasagne-std-plus-eps": ("eps_outside_root_with_its_own_gradient", UPDATE),
    # precision
    "flax-negative-var": ("one_pass_variance", SEED),
    "ttnn-cancellation": ("one_pass_variance_in_half", TORCH_HALF),
    "xla-onepass": ("one_pass_variance", SEED),
    "keras3-moments": ("one_pass_variance", SEED),
    "torch-half-varsum": ("variance_summed_in_half", TORCH_HALF),
    "coreai-params-half": ("eval_variance_in_half", SEED_HALF),
    "directml-mixed16": ("statistics_summed_in_half", SEED_HALF),
    "torch-fp16-cl-nan-bwd": ("backward_of_other_layouts_in_half", TORCH_HALF),
    "torch-bf16-native-grad": ("gamma_gradient_summed_in_bfloat16", TORCH_HALF),
    "trt-fold-half": ("fold_in_half", SEED_HALF),
    "cudnn-persistent": ("large_batches_summed_in_half", KEEP_UNBIASED),
    "mxnet-fp16-mean": ("mean_summed_in_half", SEED_HALF),
    # layout
    "torch-syncbn-cl-mismatch": ("backward_reads_x_in_the_layout_of_dy", TORCH),
    "torch-mps-cl-bwd": ("backward_labels_x_channels_last", TORCH),
    "torch-mps-bn3d-noncontig": ("other_layouts_refused_in_rank_5", TORCH),
    "torch-gradout-noncontig": ("backward_takes_dy_as_contiguous", TORCH),
    "paddle-nhwc-2d": ("channels_last_refused_in_rank_2", LAST),
    "coreml-axis-last": ("channels_last_ignored_in_rank_5", LAST),
    "jax-axis-arg": ("parameters_on_the_last_axis", SEED),
    "ort-spatial-mode": ("per_activation_with_parameters_per_channel", SEED),
    # backward
    "xla-eval-grad": ("eval_backward_as_in_training", SEED),
    "mxnet-eval-grad": ("eval_backward_at_batch_statistics", KEEP_UNBIASED),
    "torch7-eval-saved": ("eval_backward_reads_unset_memory", TORCH),
    "torch-cudnn-eval-grad-drift": ("eval_backward_reads_the_last_training", TORCH),
    "matconvnet-moments": ("eval_backward_as_in_training", SEED),
    "paddle-eval-saved": ("eval_backward_reads_unset_memory", SEED),
    "oneflow-nostats-xgrad": ("gradients_shifted_without_running_statistics", TORCH),
    "torch-mixed-noaffine": ("half_without_gamma_refused", TORCH_HALF),
    "inplaceabn-inversion": ("xhat_rebuilt_from_the_output", TORCH),
    # shards
    "torch-syncbn-rv-count": ("merge_takes_the_first_count_for_all", TORCH),
    "paddle-sync-mean-of-means": ("merged_mean_is_mean_of_means", SEED),
    "flax-pmean": ("merged_moments_are_unweighted", SEED),
    "syncbn-mean-of-vars": ("merged_variance_is_mean_of_variances", TORCH),
    "apex-count1": ("shard_of_one_value_refused", TORCH),
    "ghost-eval": ("eval_in_virtual_batches", SEED),
    "ghost-last-chunk": ("last_chunk_of_one_value_is_nan", SEED),
    # folding
    "yolov3-fold-bias": ("fold_leaves_bias_unscaled", TORCH),
    "ttnn-fold-nobias": ("fold_without_bias_gives_none", TORCH),
    "torch-fold-grouped-transpose": ("transposed_fold_scales_axis_1", TORCH),
    "levit-fold-groups": ("fold_takes_inputs_from_weight", TORCH),
    "onnx-track-false-eval": ("eval_reads_the_initial_statistics", TORCH),
    # masks
    "tf-mask-ignored": ("mask_is_ignored", SEED),
    "keras-fused-mask": ("mask_is_ignored_in_rank_4", SEED),
    # sizes, edges, modes
    "apex-ln-65536": ("rows_beyond_65536_left_out", TORCH),
    "sonnet-empty-batch": ("empty_batch_gives_nan", SEED),
    "keras-frozen-batchstats": ("eval_uses_batch_statistics", SEED),
    "jax-eval-batchstats": ("eval_uses_batch_statistics", SEED),
    # teaching and student code
    "dlfs-defaults": ("running_variance_starts_at_zero", replace(SEED, eps=10e-7)),
    "dlfs-eval-backward": ("eval_backward_is_the_last_training's", SEED),
    "hmchen-eps-unused": ("eps_is_missing", SEED),
    "cs231n-test-eps-outside": ("eval_eps_outside_root", SEED),
    "cs231n-test-no-eps": ("eval_without_eps", SEED),
    "student-train-eps-outside": ("eps_outside_root_in_forward_only", SEED),
    "student-ddof1": ("variance_divides_by_n_minus_1", SEED),
    "darknet-cpu-no-bias": ("beta_is_missing", SEED),
    "darknet-momentum-cpu-gpu": ("momentum_is_a_constant", SEED),
    "darknet-eval-backward-ptr": ("eval_backward_as_in_training", SEED),
    "fold-bias-unscaled": ("fold_leaves_bias_unscaled", SEED),
}

NOT_RUNNABLE: dict[str, tuple[str, str]] = {
    "keras-zero-debias": ("bias correction", "no call carries the number of updates so far"),
    "mobilenet-caffe-neg-var": ("loading files", "the file's variances are read by the caller"),
    "mmdet-fold-bias-dropped": ("loading files", "fold returns arrays; no module is reloaded"),
    "torch-eval-neg-rv": ("refusing bad arguments", "a negative running_var is the caller's error"),
    "torch-empty-running": (
        "refusing bad arguments",
        "statistics of a wrong size are never passed",
    ),
    "torch-update-stats-fpe": ("no channels", "a batch has at least one channel"),
    "mxnet-grad-add": ("accumulating gradients", "backward returns gradients, it adds to none"),
    "oneflow-need-grad": ("gradients on demand", "all three gradients are always asked for"),
    "torch-nested-jvp": ("nested forward mode", "jvp_train is a first derivative"),
    "torch-syncbn-group": ("process groups", "merging is handed the shards that belong together"),
    "torch-syncbn-eval-sync": ("process groups", "inference is handed no shards"),
    "vbn-reset": ("reference batches", "no call takes statistics of another batch in training"),
    "torch-track-toggle": ("flags of a layer", "None says at each call that nothing is tracked"),
    "complex-track-false": (
        "a duty to take None",
        "running statistics of None are a capability: what raises on them does not offer it",
    ),
}


@dataclass(frozen=True)
class Mutant:
    """A known bug as an implementation: where it was found, what it is, how it is built."""

    name: str
    source: str
    model: str
    body: str
    conventions: Conventions

    @property
    def pieces(self) -> Pieces:
        return BODIES[self.body]

    def target(self) -> Target:
        """Return a fresh target; some bodies keep state between calls."""
        return built(self.name, self.pieces, self.conventions)


def built(name: str, pieces: Pieces, conventions: Conventions) -> Target:
    """Return the target `mutants:NAME` of these pieces in these stated conventions."""
    target = implementation(pieces, conventions, f"mutants:{name}")
    offers = target.offers - {"eps"} if conventions.eps is not None else target.offers
    mask, mask_ndim = target.conventions.mask, target.conventions.mask_ndim
    conventions = replace(conventions, mask=mask, mask_ndim=mask_ndim)
    return Target(target.spec, target.functions, conventions, offers)


@cache
def known_bugs() -> dict[str, dict[str, Any]]:
    """Return the entries of known_bugs.json by id, the equally right ones included."""
    path = Path(__file__).with_name("known_bugs.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    return {entry["id"]: entry for group in content.values() for entry in group}


def mutants() -> dict[str, Mutant]:
    """Return the runnable known bugs by name."""
    bugs = known_bugs()
    return {
        name: Mutant(name, bugs[name]["source"], bugs[name]["mutation"], body, conventions)
        for name, (body, conventions) in KNOWN.items()
    }
