"""A result depends on the numbers that are passed in, not on where they lie or on other calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Array, Target
from ..model.expected import Wanted, initial
from ..model.verdict import Claim, same_bits
from .calls import agrees, evaluated, own, parameter_agrees, trained
from .registry import invariant

ARGUMENTS = ("x", "dy", "gamma", "beta", "running_mean", "running_var")


@invariant("answers_kept_by_storage", inputs="well", weight=0.3)
def new_numbers_in_the_same_storage_give_new_results(target: Target, case: Case) -> Iterable[Claim]:
    """The same storage with new numbers gives the results of the new numbers.

    The contract: a result depends on the numbers that are passed in. One array of x after another
    is written into the same memory: another batch, that batch but for one value, that with other
    parameters, and the case. Who keeps answers by address, shape, or some of the numbers gives an
    old one. Each is compared with the target's own on its rows in another order, in new memory.
    """
    there = replace(case, **copied(case))
    for k, now in enumerate(_rewritten(case), 1):
        for name in ARGUMENTS:
            if (array := getattr(there, name)) is not None:
                array[...] = getattr(now, name)
        moved = _moved(now, k)
        result, alone = trained(target, there, keep_layout=True), trained(target, moved)
        yield agrees("y", now, result.y, own(now, _back(alone.y, k), expected.output(now)))
        if "running statistics" in target.offers and now.running_mean is not None:
            right = expected.running(now, *initial(now))
            for quantity, wanted in zip(("running_mean", "running_var"), right, strict=True):
                near = getattr(alone, quantity).astype(np.float64).reshape(1, -1)
                got = getattr(result, quantity)
                yield from parameter_agrees(quantity, got, Wanted(near, 2 * wanted.radius))
        if "backward_train" in target.offers:
            back = contract.backward(target, there.dy, result.saved, there.gamma, keep_layout=True)
            its = contract.backward(target, moved.dy, alone.saved, moved.gamma)
            near_dx = own(now, _back(its.dx, k), expected.gradients(now)["dx"])
            yield agrees("dx", now, back.dx, near_dx)
        mean, var = there.running_mean, there.running_var
        if "forward_eval" in target.offers and mean is not None and var is not None:
            given = there.x, there.gamma, there.beta, mean, var
            y, _ = contract.evaluate(target, *given, eps=case.eps, keep_layout=True)
            near_y = _back(evaluated(target, moved)[0], k)
            assert now.running_mean is not None and now.running_var is not None
            inferred = expected.eval_output(now, now.running_mean, now.running_var)
            yield agrees("y in inference", now, y, own(now, near_y, inferred))


def _moved(case: Case, k: int) -> Case:
    """Return the case with its rows k places on."""
    return case.memo(
        "rows moved",
        lambda: replace(case, x=np.roll(case.x, k, axis=0), dy=np.roll(case.dy, k, axis=0)),
    )


def _back(rows: Array, k: int) -> Array:
    return np.roll(rows, -k, axis=0)


def copied(case: Case) -> dict[str, Any]:
    """Return copies of the arrays of a case, by name."""
    given = {name: getattr(case, name) for name in ARGUMENTS}
    return {name: None if a is None else a.copy() for name, a in given.items()}


def _rewritten(case: Case) -> Iterator[Case]:
    """Yield what the storage holds, one after the other; the last is the case."""
    first = case.another(1)
    yield first

    def with_one_value() -> Case:
        x, at = first.x.copy(), int(case.random(21).integers(case.x.size))
        x.flat[at] = case.x.flat[at]
        return replace(first, x=x)

    one = case.memo("one value changed", with_one_value)
    yield one
    others = {name: getattr(case, name) for name in ARGUMENTS[1:]}
    yield case.memo("parameters changed", lambda: replace(one, **others))
    yield case


@invariant("hands_out_one_buffer", inputs="well", weight=0.3)
def outputs_outlive_other_forwards(target: Target, case: Case) -> Iterable[Claim]:
    """What a forward returned stays as it was while others of the same shape run.

    The contract: results belong to the caller. They are read again after eight further forwards,
    so that a ring of buffers comes round.
    """
    evaluates = "forward_eval" in target.offers and case.running_mean is not None
    first = trained(target, case)
    results = {"y": first.y, "mean": first.running_mean, "var": first.running_var}
    if evaluates:
        results["y in inference"] = evaluated(target, case)[0]
    held = {name: a.copy() for name, a in results.items() if a is not None}
    for k in range(4):
        trained(target, case.another(1 + k % 2))
        if evaluates:
            evaluated(target, case.another(1 + k % 2))
    for name, before in held.items():
        yield same_bits(f"{name} after other forwards", np.asarray(results[name]), before)


@invariant("identity_at_the_initial_state", "forward_eval", inputs="well_affine", weight=0.3)
def initial_parameters_are_like_any_others(target: Target, case: Case) -> Iterable[Claim]:
    """With gamma 1, beta 0, running mean 0 and variance 1 the results are those of the formulas.

    An untrained layer is not the identity: in training it normalizes, and in inference it divides
    by sqrt(1 + eps), (16). Where gamma is 2 the output is twice that, and nothing is initial.
    """
    assert case.gamma is not None
    zero, one = np.zeros_like(case.gamma), np.ones_like(case.gamma)
    fresh = case.memo(
        "fresh", lambda: replace(case, gamma=one, beta=zero, running_mean=zero, running_var=one)
    )
    twice = fresh.memo("gamma 2", lambda: replace(fresh, gamma=2 * one))
    y, doubled = trained(target, fresh).y, trained(target, twice).y
    yield agrees("y", fresh, y, own(fresh, doubled / 2, expected.output(fresh)))
    y, doubled = evaluated(target, fresh)[0], evaluated(target, twice)[0]
    inferred = expected.eval_output(fresh, zero, one)
    yield agrees("y in inference", fresh, y, own(fresh, doubled / 2, inferred))


@invariant("writes_into_x", inputs="well", weight=0.2)
def inputs_are_not_written_to_for_a_while(target: Target, case: Case) -> Iterable[Claim]:
    """No call writes into its arguments, not even to put back what was there.

    The contract: inputs are never changed, and somebody else may read them meanwhile. Where the
    target has a process of its own its arguments lie in write-protected memory.
    """
    held = copied(case)
    there = replace(case, **held)
    with contract.write_protected():
        result = trained(target, there, keep_layout=True)
        if "backward_train" in target.offers:
            contract.backward(target, there.dy, result.saved, there.gamma, keep_layout=True)
        if "forward_eval" in target.offers and case.running_mean is not None:
            evaluated(target, there)
    for name, array in held.items():
        if array is not None:
            yield same_bits(f"{name} afterwards", array, getattr(case, name))
