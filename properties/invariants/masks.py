"""What holds of a batch of which a mask hides some places, as padding of sequences is hidden."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..model import contract, expected, masks
from ..model.cases import Case
from ..model.contract import Array, Gradients, Target, Trained
from ..model.expected import rows
from ..model.masks import Masked
from ..model.verdict import Claim, same_bits
from .calls import parameter_agrees, trained
from .registry import invariant


def masked_training(target: Target, held: Masked) -> Trained:
    """Run forward_train on the case with its mask, in the target's form."""
    more = masks.given(target.conventions, held.mask, held.case.x)
    return trained(target, held.case, more=more)


def masked_dy(held: Masked, result: Trained) -> Array:
    """Return dy: 0 at hidden places, where the loss does not look, unless y is 0 there.

    Who gives a number of x there, as autodiff does, owes its gradient; who gives 0 must not read
    what dy holds.
    """
    dy, y = held.case.conventions.rows(held.case.dy).copy(), rows(held.case, result.y)
    if np.any(y[~held.kept] != 0):
        dy[~held.kept] = 0
    return np.ascontiguousarray(held.case.conventions.shaped(dy, held.case.x.shape))


def masked_gradients(target: Target, held: Masked) -> Gradients:
    """Run forward_train and backward_train on the case with its mask."""
    result = masked_training(target, held)
    return contract.backward(target, masked_dy(held, result), result.saved, held.case.gamma)


@invariant("padded_places_are_counted", "mask", weight=0.5)
def masked_output_is_that_of_the_kept_places(target: Target, case: Case) -> Iterable[Claim]:
    """At the places that a mask keeps the output is that of the batch without the others.

    The sums of (1) and (3) run over what is kept, and n is how many those are. What y is at the
    other places is free; a mask of None, or one that keeps everything, changes nothing.
    """
    held = masks.masked(case)
    if held is not None:
        got, wanted = masked_training(target, held).y, expected.output(held.alone)
        at = rows(held.case, got)[held.kept]
        yield Claim("y at the kept places", at, wanted.value, wanted.radius)


@invariant(
    "running_variance_over_the_padded_size",
    "mask",
    "running statistics",
    inputs="tracked",
    weight=0.5,
)
def masked_running_statistics_are_those_of_the_kept_places(
    target: Target, case: Case
) -> Iterable[Claim]:
    """The running statistics average in mean and variance of the places that a mask keeps.

    (18) and (19) with the n of those places, in the divisor and in n / (n - 1) too.
    """
    held = masks.masked(case)
    if held is not None:
        result = masked_training(target, held)
        mean, var = expected.running(held.alone, *expected.initial(held.alone))
        yield from parameter_agrees("running_mean", result.running_mean, mean)
        yield from parameter_agrees("running_var", result.running_var, var)


@invariant("mask_in_forward_only", "mask", "masked gradients", weight=0.5)
def masked_input_gradient_is_that_of_the_kept_places(target: Target, case: Case) -> Iterable[Claim]:
    """Where a mask keeps x its gradient is that of the batch without the others, elsewhere 0.

    (15) over what is kept: y does not depend on the rest. dy is 0 at the other places unless y is.
    """
    held = masks.masked(case)
    if held is not None:
        wanted = expected.gradients(held.alone)["dx"]
        dx = rows(held.case, masked_gradients(target, held).dx)
        yield Claim("dx at the kept places", dx[held.kept], wanted.value, wanted.radius)
        closed = np.isfinite(wanted.radius).all(axis=0, keepdims=True)
        rest = dx[~held.kept]
        yield Claim("dx at the hidden places", rest, 0 * rest, np.where(closed, 0 * rest, np.inf))


@invariant("mask_in_forward_only", "mask", "masked gradients", inputs="affine", weight=0.5)
def masked_parameter_gradients_are_those_of_the_kept_places(
    target: Target, case: Case
) -> Iterable[Claim]:
    """The gradients of gamma and beta are sums over the places that a mask keeps.

    (9) and (8) over what is kept. dy is 0 at the other places unless y is.
    """
    held = masks.masked(case)
    if held is not None:
        wanted, got = expected.gradients(held.alone), masked_gradients(target, held)
        yield from parameter_agrees("dgamma", got.dgamma, wanted["dgamma"])
        yield from parameter_agrees("dbeta", got.dbeta, wanted["dbeta"])


@invariant("empty_mask_gives_nan", "empty mask", weight=0.5)
def batch_that_is_all_masked_leaves_the_state(target: Target, case: Case) -> Iterable[Claim]:
    """A mask that keeps nothing leaves the state as it was, with zero parameter gradients.

    As with an empty batch there is nothing to average in; y is free.
    """
    held = masks.masked(case, none=True)
    if held is None:
        return
    result = masked_training(target, held)
    if case.running_mean is not None and result.running_mean is not None:
        assert case.running_var is not None and result.running_var is not None
        yield same_bits("running_mean", result.running_mean, case.running_mean)
        yield same_bits("running_var", result.running_var, case.running_var)
    if "masked gradients" in target.offers and case.gamma is not None:
        dy = masked_dy(held, result)
        back = contract.backward(target, dy, result.saved, case.gamma)
        for name, got in (("dgamma", back.dgamma), ("dbeta", back.dbeta)):
            if got is not None:
                yield same_bits(name, np.abs(got), np.zeros_like(got))


def arguments_of(case: Case) -> dict[str, object]:
    """Return what the call with a mask is given, by name."""
    held = masks.masked(case)
    if held is None:
        return {}
    names = ("dy", "gamma", "beta", "running_mean", "running_var")
    mask = {"mask": held.mask}
    return {"x": held.case.x} | mask | {name: getattr(held.case, name) for name in names}
