"""What holds of a batch that lies on several ranks, as synchronised batch norm has it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Gradients, Target, Trained
from ..model.ranks import Ranked, ranked
from ..model.verdict import Claim
from .calls import agrees, parameter_agrees
from .registry import invariant


def trained_on_ranks(target: Target, held: Ranked) -> Trained:
    """Run sync_forward_train on the ranks' arrays; y is the whole batch's, put together again."""
    case = held.whole
    state = (case.gamma, case.beta, case.running_mean, case.running_var)
    xs = held.parts(case.x)
    return contract.sync_train(target, xs, *state, eps=case.eps, momentum=case.momentum)


def back_on_ranks(target: Target, held: Ranked) -> Gradients:
    """Run sync_forward_train and sync_backward_train; dx is the whole batch's."""
    saved = trained_on_ranks(target, held).saved
    return contract.sync_backward(target, held.parts(held.whole.dy), saved, held.whole.gamma)


@invariant("ranks_normalize_by_themselves", "sync_forward_train", alone=True, weight=0.5)
def ranks_give_the_output_of_the_whole_batch(target: Target, case: Case) -> Iterable[Claim]:
    """The ranks' outputs are those of the whole batch, however unequal its parts, some empty.

    Mean and variance of the union of the shards enter on every rank, (25).
    """
    held = ranked(case)
    got, wanted = trained_on_ranks(target, held).y, expected.output(held.whole)
    yield agrees("y of all ranks", held.whole, got, wanted)


@invariant(
    "statistics_of_ranks_are_averaged",
    "sync_forward_train",
    inputs="tracked",
    alone=True,
    weight=0.5,
)
def ranks_average_in_the_statistics_of_the_whole_batch(
    target: Target, case: Case
) -> Iterable[Claim]:
    """The new running statistics average in those of the whole batch.

    (18) and (19) with mean, variance and n of the union, (25).
    """
    held = ranked(case)
    result = trained_on_ranks(target, held)
    mean, var = expected.running(held.whole, *expected.initial(held.whole))
    yield from parameter_agrees("running_mean", result.running_mean, mean)
    yield from parameter_agrees("running_var", result.running_var, var)


@invariant("rank_gradient_sums_are_not_shared", "sync_backward_train", alone=True, weight=0.5)
def ranks_give_the_input_gradient_of_the_whole_batch(target: Target, case: Case) -> Iterable[Claim]:
    """The ranks' input gradients are those of the whole batch.

    The means of dy and of dy * xhat run over all ranks, (26), as x on one moves y on all.
    """
    held = ranked(case)
    dx, wanted = back_on_ranks(target, held).dx, expected.gradients(held.whole)["dx"]
    yield agrees("dx of all ranks", held.whole, dx, wanted)


@invariant(
    "first_ranks_parameter_gradients",
    "sync_backward_train",
    inputs="affine",
    alone=True,
    weight=0.5,
)
def ranks_add_up_the_parameter_gradients(target: Target, case: Case) -> Iterable[Claim]:
    """The gradients of gamma and beta are the sums over all ranks.

    (9) and (8) of the whole batch. It does not apply to code whose caller adds them up.
    """
    held = ranked(case)
    got, wanted = back_on_ranks(target, held), expected.gradients(held.whole)
    yield from parameter_agrees("dgamma", got.dgamma, wanted["dgamma"])
    yield from parameter_agrees("dbeta", got.dbeta, wanted["dbeta"])


def arguments_of(case: Case) -> dict[str, object]:
    """Return what the call on ranks is given, by name; the whole batch and where it is cut."""
    held = ranked(case)
    names = ("dy", "gamma", "beta", "running_mean", "running_var")
    given = {"x": held.whole.x, "samples per rank": np.diff(held.cuts)}
    return given | {name: getattr(held.whole, name) for name in names}
