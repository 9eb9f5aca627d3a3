"""What holds in inference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Array, Target
from ..model.expected import row, rows
from ..model.further import by_output, folded
from ..model.verdict import Claim
from ..model.wanted import wanted
from .calls import agrees, evaluated, parameter_agrees, trained
from .registry import invariant


@invariant("eval_eps_outside_root", "forward_eval", inputs="tracked")
def inference_is_one_affine_map_per_channel(target: Target, case: Case) -> Iterable[Claim]:
    """Inference is gamma * (x - running_mean) / sqrt(running_var + eps) + beta.

    The given statistics stand where the batch's stood, (16).
    """
    yield agrees("y in inference", case, evaluated(target, case)[0], wanted(case, "eval_y"))


@invariant("eval_leaves_rows_beyond_1024", "forward_eval", inputs="large", weight=0.1)
def large_batches_lose_no_row_in_inference(target: Target, case: Case) -> Iterable[Claim]:
    """Every row of a large batch is normalized in inference.

    (16) holds for each row by itself.
    """
    yield agrees("y in inference", case, evaluated(target, case)[0], wanted(case, "eval_y"))


@invariant("eval_uses_batch_statistics", "forward_eval", inputs="tracked")
def inference_of_a_sample_ignores_the_others(target: Target, case: Case) -> Iterable[Claim]:
    """In inference a sample's output is the same whatever batch it is in.

    No statistic of the batch enters (16).
    """
    alone = case.memo("alone", lambda: replace(case, x=case.x[:1].copy(), dy=case.dy[:1].copy()))
    whole, _ = evaluated(target, case)
    got, _ = evaluated(target, alone)
    right = wanted(alone, "eval_y")
    yield Claim(
        "y of the first sample alone", rows(case, got), rows(case, whole[:1]), 2 * right.radius
    )


@invariant("eval_without_eps", "forward_eval", inputs="tracked")
def training_and_inference_agree_when_statistics_do(target: Target, case: Case) -> Iterable[Claim]:
    """Inference at the batch's own mean and biased variance gives the training output.

    (6) and (16) are then the same formula.
    """
    assert case.running_mean is not None
    p, dtype = expected.training(case), case.running_mean.dtype
    with np.errstate(over="ignore"):
        mean, var = (a.astype(dtype).ravel() for a in (p.ref.mean, p.ref.var))
    if not np.isfinite(var).all():
        return
    train, infer = (
        expected.output(case),
        case.memo("eval at batch", lambda: expected.eval_output(case, mean, var)),
    )
    moved = np.abs(infer.value - train.value)  # by rounding the statistics to their dtype
    got, _ = evaluated(target, case, mean, var)
    want = rows(case, trained(target, case).y)
    yield Claim("y in inference", rows(case, got), want, train.radius + infer.radius + moved)


@invariant("eval_backward_as_in_training", "forward_eval", "backward_eval", inputs="tracked")
def inference_gradients_agree_with_reference(target: Target, case: Case) -> Iterable[Claim]:
    """In inference dx is gamma * rstd * dy, with no path through the statistics.

    They are constants there, (17).
    """
    assert case.running_mean is not None and case.running_var is not None
    _, saved = evaluated(target, case)
    got = contract.backward(target, case.dy, saved, case.gamma, mode="eval")
    yield agrees("dx in inference", case, got.dx, wanted(case, "eval_dx"))
    yield from parameter_agrees("dgamma in inference", got.dgamma, wanted(case, "eval_dgamma"))
    yield from parameter_agrees("dbeta in inference", got.dbeta, wanted(case, "eval_dbeta"))


def layer(case: Case) -> tuple[Array, Array | None, bool, int]:
    """Return weight, bias, transposed and groups of a layer before this batch norm."""
    return case.memo("layer", lambda: _layer(case))


def _layer(case: Case) -> tuple[Array, Array | None, bool, int]:
    assert case.running_mean is not None
    outputs = case.running_mean.shape[0]
    option = case.recipe.option
    groups = 2 if outputs % 2 == 0 and option & 1 else 1
    transposed, kernel = bool(option & 2), (2, 3)[: (option >> 2) % 3]
    if not kernel and (groups > 1 or transposed):
        kernel = (1,)  # a dense layer has neither
    inputs = 2 * groups
    if transposed:
        shape: tuple[int, ...] = (inputs, outputs // groups, *kernel)
    else:
        shape = (outputs, inputs // groups, *kernel)
    dtype = case.running_mean.dtype
    weight = case.like_x(3, shape).astype(dtype)
    bias = None if option & 16 else case.like_x(4, (outputs,)).astype(dtype)
    return weight, bias, transposed, groups


@invariant("fold_leaves_bias_unscaled", "fold", inputs="tracked", weight=3, alone=True)
def folding_preserves_inference(target: Target, case: Case) -> Iterable[Claim]:
    """A layer with the batch norm folded in computes what the two computed in turn.

    weight and bias are scaled by gamma * rstd per output and the bias shifted, (27).
    """
    assert case.running_mean is not None and case.running_var is not None
    outputs = case.running_mean.shape[0]
    weight, bias, transposed, groups = layer(case)
    state = (case.gamma, case.beta, case.running_mean, case.running_var)
    new_weight, new_bias = contract.fold(
        target, weight, bias, *state, eps=case.eps, transposed=transposed, groups=groups
    )
    columns = by_output(weight, outputs, transposed, groups)
    pr = expected.precision_of(case, state=True)
    want, want_bias = folded(columns, bias, *state, case.eps, pr)
    got = by_output(new_weight.astype(np.float64), outputs, transposed, groups)
    yield Claim("folded weight", got, want.value, want.radius)
    yield Claim("folded bias", row(new_bias, got, 0.0), want_bias.value, want_bias.radius)
