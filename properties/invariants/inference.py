"""What holds in inference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from reference.rounding_second import folding_radii

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Array, Target
from ..model.expected import Wanted, row, rows
from ..model.verdict import Claim
from .calls import agrees, evaluated, parameter_agrees, trained
from .registry import invariant


def _wanted(case: Case) -> Wanted:
    assert case.running_mean is not None and case.running_var is not None
    mean, var = case.running_mean, case.running_var
    return case.memo("eval y", lambda: expected.eval_output(case, mean, var))


@invariant("eval_eps_outside_root", "forward_eval", inputs="tracked")
def inference_is_one_affine_map_per_channel(target: Target, case: Case) -> Iterable[Claim]:
    """Inference is gamma * (x - running_mean) / sqrt(running_var + eps) + beta.

    The given statistics stand where the batch's stood, (16).
    """
    yield agrees("y in inference", case, evaluated(target, case)[0], _wanted(case))


@invariant("eval_leaves_rows_beyond_1024", "forward_eval", inputs="large", weight=0.1)
def large_batches_lose_no_row_in_inference(target: Target, case: Case) -> Iterable[Claim]:
    """Every row of a large batch is normalized in inference.

    (16) holds for each row by itself.
    """
    yield agrees("y in inference", case, evaluated(target, case)[0], _wanted(case))


@invariant("eval_uses_batch_statistics", "forward_eval", inputs="tracked")
def inference_of_a_sample_ignores_the_others(target: Target, case: Case) -> Iterable[Claim]:
    """In inference a sample's output is the same whatever batch it is in.

    No statistic of the batch enters (16).
    """
    alone = case.memo("alone", lambda: replace(case, x=case.x[:1].copy(), dy=case.dy[:1].copy()))
    whole, _ = evaluated(target, case)
    got, _ = evaluated(target, alone)
    wanted = _wanted(alone)
    yield Claim(
        "y of the first sample alone", rows(case, got), rows(case, whole[:1]), 2 * wanted.radius
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
    mean, var = case.running_mean, case.running_var
    wanted = case.memo("eval gradients", lambda: expected.eval_gradients(case, mean, var))
    _, saved = evaluated(target, case)
    got = contract.backward(target, case.dy, saved, case.gamma, mode="eval")
    yield agrees("dx in inference", case, got.dx, wanted["dx"])
    yield from parameter_agrees("dgamma in inference", got.dgamma, wanted["dgamma"])
    yield from parameter_agrees("dbeta in inference", got.dbeta, wanted["dbeta"])


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


def by_output(weight: Array, outputs: int, transposed: bool, groups: int) -> Array:
    """Return the weight as (k, out), each column what belongs to one output channel."""
    if not transposed:
        return weight.reshape(outputs, -1).T
    split = weight.reshape(groups, weight.shape[0] // groups, outputs // groups, -1)
    return split.transpose(1, 3, 0, 2).reshape(-1, outputs)


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
    columns = by_output(weight.astype(np.float64), outputs, transposed, groups)
    like = np.zeros((1, outputs))
    pr = expected.precision_of(case, state=True)
    want_weight, weight_radius, want_bias, bias_radius = folding_radii(
        columns,
        row(bias, like, 0.0),
        row(case.gamma, like, 1.0),
        row(case.beta, like, 0.0),
        row(case.running_mean, like, 0.0),
        row(case.running_var, like, 1.0),
        case.eps,
        pr,
    )
    own = 2.0 if pr.u == 2.0**-53 else 1.0  # what is wanted was itself computed in float64
    got = by_output(new_weight.astype(np.float64), outputs, transposed, groups)
    yield Claim("folded weight", got, want_weight, own * weight_radius)
    yield Claim("folded bias", row(new_bias, like, 0.0), want_bias, own * bias_radius)
