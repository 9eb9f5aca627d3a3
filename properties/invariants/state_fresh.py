"""What holds of the running statistics of a layer that starts afresh."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Target
from ..model.expected import Wanted
from ..model.verdict import Claim, judge
from .calls import agrees
from .registry import invariant
from .state import inference_near, trained_through, wanted_after


@invariant(
    "fresh_variance_counts_its_start_twice",
    "initial_state",
    "forward_eval",
    inputs="well",
    weight=0.6,
)
def batches_from_the_start_bring_inference_to_the_batch(
    target: Target, case: Case
) -> Iterable[Claim]:
    """After k equal batches from the initial state inference is at those, and the start's rest.

    The start has the share keep**k, (18) and (19); who divides by 1 - keep**k, as Adam does, has
    to start at zero, and is then at the batch itself. It does not apply where nothing is averaged
    in (keep = 1).
    """
    k, keep = 1 + case.recipe.option % 3, expected.keep_of(case)
    if keep == 1.0 or case.gamma is None:
        return
    c, dtype = case.gamma.shape[0], case.gamma.dtype
    start = contract.initial_state(target, c, dtype)
    fresh = replace(case, running_mean=start[0], running_var=start[1])
    last = trained_through(target, [fresh] * k)
    assert last.running_mean is not None and last.running_var is not None
    y, _ = contract.evaluate(
        target, case.x, case.gamma, case.beta, last.running_mean, last.running_var, eps=case.eps
    )
    claims = [
        agrees("y in inference", case, y, wanted) for wanted in (_from(fresh, k), _freed(case, k))
    ]
    yield min(claims, key=lambda claim: judge([claim]).worst)


def _from(fresh: Case, k: int) -> Wanted:
    """Return y in inference after k batches from a start that keeps its share."""
    mean, var = wanted_after([fresh] * k)
    return inference_near(fresh, mean.value, mean, var.value, var)


def _freed(case: Case, k: int) -> Wanted:
    """Return y in inference after k batches from zero, divided by what they weigh together."""
    zero = np.zeros_like(case.gamma)
    hidden = wanted_after([replace(case, running_mean=zero, running_var=zero)] * k)
    rest = 1.0 - expected.keep_of(case) ** k
    u = expected.precision_of(case, state=True).u
    mean, var = (
        Wanted(h.value / rest, h.radius / rest + (k + 4) * u * np.abs(h.value) / rest**2)
        for h in hidden
    )
    return inference_near(case, mean.value, mean, var.value, var)
