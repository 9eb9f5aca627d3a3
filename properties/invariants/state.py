"""What holds of the running statistics, and at the edges of what a batch may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from reference.rounding import Spread, output_radius, rstd_spread

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Array, Target, Trained
from ..model.expected import Wanted, initial, row
from ..model.verdict import Claim, is_true, same_bits
from .calls import agrees, evaluated, parameter_agrees, trained, trained_back
from .registry import invariant


def trained_through(target: Target, cases: Iterable[Case]) -> Trained:
    """Train on one case after another, handing the running statistics on."""
    last = None
    for case in cases:
        if last is not None:
            case = replace(case, running_mean=last.running_mean, running_var=last.running_var)
        last = trained(target, case)
    assert last is not None
    return last


def wanted_after(cases: Iterable[Case]) -> tuple[Wanted, Wanted]:
    """Return the running statistics after training on these, from where the first starts."""
    state = None
    for case in cases:
        state = expected.running(case, *(state or initial(case)))
    assert state is not None
    return state


@invariant("momentum_swapped", "running statistics", inputs="tracked")
def running_statistics_follow_the_closed_form(target: Target, case: Case) -> Iterable[Claim]:
    """After several different batches the running statistics are the stated averages.

    keep**k times the start, plus the batches' with weights (1 - keep) keep**j, (18), (19).
    """
    cases = [case, case.another(1), case.another(2)]
    mean, var = case.memo("wanted after three", lambda: wanted_after(cases))
    last = trained_through(target, cases)
    yield from parameter_agrees("running_mean", last.running_mean, mean)
    yield from parameter_agrees("running_var", last.running_var, var)


@invariant("running_variance_holds_eps", "forward_eval", inputs="tracked")
def equal_batches_bring_inference_to_the_batch(target: Target, case: Case) -> Iterable[Claim]:
    """After k equal batches inference is at keep**k of the start and the rest of the batch.

    The geometric sum of (18) and (19), put into (16); an unbiased variance has its n / (n - 1).
    """
    k = 3
    keep = expected.keep_of(case)
    mean, var = case.memo("wanted after equal", lambda: wanted_after([case] * k))
    start_mean, start_var = initial(case)
    fresh_mean, fresh_var = expected.batch_statistics(case)
    at_mean = keep**k * start_mean.value + (1 - keep**k) * fresh_mean.value
    at_var = keep**k * start_var.value + (1 - keep**k) * fresh_var.value
    last = trained_through(target, [case] * k)
    assert last.running_mean is not None and last.running_var is not None
    y, _ = contract.evaluate(
        target, case.x, case.gamma, case.beta, last.running_mean, last.running_var, eps=case.eps
    )
    yield agrees("y in inference", case, y, inference_near(case, at_mean, mean, at_var, var))


def inference_near(
    case: Case, mean: Array, near_mean: Wanted, var: Array, near_var: Wanted
) -> Wanted:
    """Return y at these statistics, admitting that the target's lie within their radii."""
    pr = expected.precision_of(case)
    p = expected.inference(case, mean, var)
    with np.errstate(all="ignore"):
        # the closed form here and the iterated one differ by rounding in float64
        moved = near_mean.radius + 2.0**-49 * (np.abs(mean) + np.abs(near_mean.value))
        moved_var = near_var.radius + 2.0**-49 * (np.abs(var) + np.abs(near_var.value))
        spread = Spread(moved, moved_var, rstd_spread(var, moved_var, case.eps, pr))
        radius = output_radius(p.x, p.ref, p.gamma, p.beta, spread, pr)
        # a folded form rounds mean * a, whose mean is the target's own
        return Wanted(p.ref.y, radius + p.ref.bound["y"])


@invariant("eval_updates_running_statistics", "forward_eval", inputs="tracked")
def inference_changes_nothing(target: Target, case: Case) -> Iterable[Claim]:
    """Inference leaves the running statistics and all it was given as they were.

    Only training updates, (16). Nor does it change the state of its process, such as the random
    numbers' or the environment.
    """
    given = (case.x, case.gamma, case.beta, case.running_mean, case.running_var)
    held = [None if a is None else a.copy() for a in given]
    x, gamma, beta, mean, var = held
    assert x is not None and mean is not None and var is not None
    with contract.side_effects_heeded():
        contract.evaluate(target, x, gamma, beta, mean, var, eps=case.eps, keep_layout=True)
    names = ("x", "gamma", "beta", "running_mean", "running_var")
    for name, before, after in zip(names, given, held, strict=True):
        if before is not None and after is not None:
            yield same_bits(f"{name} after inference", after, before)


@invariant("backward_moves_the_statistics", "backward_train", inputs="tracked", weight=0.5)
def results_outlive_other_calls(target: Target, case: Case) -> Iterable[Claim]:
    """What a call returned stays as it was, whatever is called after it.

    The results of a training and of its backward are read again after a second backward,
    inference, and the training and backward of another batch of the same shape.
    """
    first = trained(target, case)
    back = contract.backward(target, case.dy, first.saved, case.gamma)
    results = {
        "y": first.y, "running_mean": first.running_mean, "running_var": first.running_var,
        "dx": back.dx, "dgamma": back.dgamma, "dbeta": back.dbeta,
    }  # fmt: skip
    held = {name: a.copy() for name, a in results.items() if a is not None}
    contract.backward(target, case.dy, first.saved, case.gamma)
    if "forward_eval" in target.offers:
        evaluated(target, case)
    trained_back(target, case.another(1))
    for name, before in held.items():
        yield same_bits(f"{name} after other calls", np.asarray(results[name]), before)


@invariant("running_mean_adds_up", "running statistics", inputs="tracked")
def running_statistics_stay_in_the_hull(target: Target, case: Case) -> Iterable[Claim]:
    """The running statistics lie between their start and the statistics of the batches.

    An average lies between what it is taken of, for momentum from 0 to 1.
    """
    cases = [case, case.another(1)]
    last = trained_through(target, cases)
    start = initial(case)
    wanted = case.memo("wanted after two", lambda: wanted_after(cases))
    batches = [expected.batch_statistics(c) for c in cases]
    for i, (name, got) in enumerate(
        (("running_mean", last.running_mean), ("running_var", last.running_var))
    ):
        assert got is not None
        got = got.astype(np.float64).reshape(1, -1)
        ends = np.stack([start[i].value, *(b[i].value for b in batches)])
        inside = np.clip(got, ends.min(axis=0), ends.max(axis=0))
        inside = np.where(np.isnan(got), 0.0, inside)
        yield Claim(name, got, inside, wanted[i].radius)


@invariant("writes_into_x")
def training_leaves_its_inputs_unchanged(target: Target, case: Case) -> Iterable[Claim]:
    """Training changes none of the arrays it was given.

    The contract: new statistics come back, inputs are never written to, nor is the state of the
    process, such as the random numbers' or the environment.
    """
    given = (case.x, case.gamma, case.beta, case.running_mean, case.running_var)
    x, gamma, beta, mean, var = (None if a is None else a.copy() for a in given)
    assert x is not None
    held = replace(case, x=x, gamma=gamma, beta=beta, running_mean=mean, running_var=var)
    dy = case.dy.copy()
    with contract.side_effects_heeded():
        result = trained(target, held, keep_layout=True)
        if "backward_train" in target.offers:
            contract.backward(target, dy, result.saved, gamma, keep_layout=True)
    names = ("x", "gamma", "beta", "running_mean", "running_var", "dy")
    for name, before, after in zip(
        names, (*given, case.dy), (x, gamma, beta, mean, var, dy), strict=True
    ):
        if before is not None and after is not None:
            yield same_bits(f"{name} after training", after, before)


@invariant("updates_state_before_it_reads_gamma", inputs="tracked")
def arguments_may_share_memory(target: Target, case: Case) -> Iterable[Claim]:
    """One array passed in two roles gives the same bits as two arrays with the same numbers.

    The contract: inputs are never changed, so it cannot matter where they lie.
    """
    assert case.running_mean is not None and case.running_var is not None
    mean, var = case.running_mean.copy(), case.running_var.copy()
    shared = replace(case, gamma=var, beta=mean, running_mean=mean, running_var=var)
    apart = replace(shared, gamma=var.copy(), beta=mean.copy())
    one, two = trained(target, apart, keep_layout=True), trained(target, shared, keep_layout=True)
    yield same_bits("y of shared arrays", two.y, one.y)
    for name in ("running_mean", "running_var"):
        yield same_bits(f"{name} of shared arrays", getattr(two, name), getattr(one, name))


@invariant("unbiased_variance_of_one_value_is_nan", "one value", inputs="one_value")
def one_value_per_channel_gives_beta(target: Target, case: Case) -> Iterable[Claim]:
    """With one value per channel the output is beta, and the running statistics stay finite.

    xc is zero, (2). Whether the running variance then averages in 0 or is left alone is free.
    """
    result = trained(target, case)
    yield agrees("y", case, result.y, expected.output(case))
    if case.running_mean is None or result.running_mean is None or result.running_var is None:
        return
    if "running statistics" not in target.offers:
        return
    mean, var = expected.running(case, *initial(case))
    yield from parameter_agrees("running_mean", result.running_mean, mean)
    got = result.running_var.astype(np.float64).reshape(1, -1)
    old = row(case.running_var, got, 1.0)
    nearer = np.where(np.abs(got - old) < np.abs(got - var.value), old, var.value)
    yield Claim("running_var", got, nearer, var.radius)


@invariant("empty_batch_gives_nan", "empty batch", inputs="empty")
def empty_batch_leaves_the_state(target: Target, case: Case) -> Iterable[Claim]:
    """An empty batch gives an empty output, zero parameter gradients and the state as it was.

    There is nothing to average in.
    """
    result = trained(target, case)
    if case.running_mean is not None and result.running_mean is not None:
        assert case.running_var is not None and result.running_var is not None
        yield same_bits("running_mean", result.running_mean, case.running_mean)
        yield same_bits("running_var", result.running_var, case.running_var)
    if "backward_train" in target.offers and case.gamma is not None:
        back = contract.backward(target, case.dy, result.saved, case.gamma)
        for name, got in (("dgamma", back.dgamma), ("dbeta", back.dbeta)):
            if got is not None:
                yield same_bits(name, np.abs(got), np.zeros_like(got))


@invariant("running_variance_starts_at_zero", "initial_state")
def fresh_state_is_zero_and_one(target: Target, case: Case) -> Iterable[Claim]:
    """Fresh running statistics are mean 0 and variance 1.

    Fresh inference is then the identity but for eps; with any other start an untrained layer
    rescales its input, (20).
    """
    c = case.conventions.columns(case.x.shape)
    dtype = np.dtype(
        "float32" if case.recipe.dtype in ("float16", "bfloat16") else case.recipe.dtype
    )
    mean, var = contract.initial_state(target, c, dtype)
    yield Claim("running_mean", mean, np.zeros(c), 0.0, bits=True)
    yield Claim("running_var", var, np.ones(c), 0.0, bits=True)
    yield is_true(f"the state has dtype {mean.dtype}, asked for {dtype}", mean.dtype == dtype)
