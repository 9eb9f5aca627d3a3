"""What normalizes: the batch or running statistics in training, corrected or not in inference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Array
from ..model.verdict import Claim
from .answers import Answer, asked, chosen, misfit
from .subject import FREE_EPS, FREE_SCALE, Probing, case_of, train

_C = 8
_MOMENTA = (127 / 128, 1 / 128)


def _case(p: Probing, momentum: float) -> Case:
    scale = FREE_SCALE[p.dtype]
    rng = p.random(401)
    rows = rng.integers(-8, 9, size=(8, _C)) * scale / 4
    mean, var = (rng.integers(1, 9, size=_C) * scale / 4, rng.integers(1, 9, size=_C) * scale**2)
    if p.dtype == "float16":
        var = np.minimum(var, 2.0**20)
    return case_of(
        p, p.dtype, rows, momentum=momentum, eps=FREE_EPS[p.dtype],
        running_mean=mean, running_var=var,
    )  # fmt: skip


def _evaluated(p: Probing, case: Case) -> Array:
    assert case.running_mean is not None and case.running_var is not None
    state = (case.gamma, case.beta, case.running_mean, case.running_var)
    y, _ = contract.evaluate(p.target, case.x, *state, eps=case.eps)
    return expected.rows(case, y)


def _claims(case: Case, y: Array, by_mean: float, by_var: float) -> Iterator[Claim]:
    """Claim that y is inference at the running statistics divided by these."""
    assert case.running_mean is not None and case.running_var is not None
    mean, var = case.running_mean / by_mean, case.running_var / by_var
    want = expected.eval_output(case, mean, var)
    p = expected.precision_of(case)
    # a correction divides the statistics first, an update may keep more bits: both round
    slack = 8 * p.u * (np.abs(want.value) + np.abs(mean) / np.sqrt(var))
    yield Claim("y in inference", y, want.value, want.radius + slack)


def _divisors(case: Case, y: Array) -> tuple[float, float]:
    """Return by what running mean and variance would be divided, from y."""
    assert case.running_mean is not None and case.running_var is not None
    x = expected.rows(case, case.x)
    with np.errstate(all="ignore"):
        slope = np.array([np.polyfit(x[:, j], y[:, j], 1) for j in range(x.shape[1])])  # (c, 2)
        rstd, at_zero = slope[:, 0], slope[:, 1]
        by_mean = np.median(case.running_mean / (-at_zero / rstd))
        by_var = np.median(case.running_var * rstd * rstd)
    return float(by_mean), float(by_var)


def normalized_by(p: Probing) -> Answer:
    """Return which statistics normalize in training: the batch's, or running ones."""
    question = "training normalizes by"

    def ask() -> Answer:
        case = _case(p, 0.25)
        result = train(p, case)
        y, batch = expected.rows(case, result.y), expected.output(case)
        evidence = {"the batch's statistics": misfit([Claim("y", y, batch.value, batch.radius)])}
        for name, mean, var in (
            ("the running statistics as updated", result.running_mean, result.running_var),
            ("the running statistics as given", case.running_mean, case.running_var),
        ):
            if mean is not None and var is not None:
                state = replace(case, running_mean=mean, running_var=var)
                evidence[name] = misfit(_claims(state, y, 1.0, 1.0))
        return chosen(question, evidence)

    return asked(question, ask)


def running_in_inference(p: Probing) -> Answer:
    """Return whether inference takes the running statistics as given, after k training calls."""
    question = "running statistics in inference"

    def ask() -> Answer:
        if "forward_eval" not in p.target.offers:
            return p.lacks(question, "forward_eval")
        seen = []
        for momentum in _MOMENTA:
            case = _case(p, momentum)
            train(p, case)
            seen.append((case, _evaluated(p, case)))
        hypotheses = {"as given": [(1.0, 1.0)] * len(seen)}
        for kind, at in (("keep", 0), ("update", 1)):
            hypotheses |= {
                name: divisors
                for name, divisors in _corrected(kind, at, seen).items()
                if not _worn_off([case for case, _ in seen], divisors)
            }
        evidence = {}
        for name, divisors in hypotheses.items():
            both = zip(seen, divisors, strict=True)
            evidence[name] = max(misfit(_claims(c, y, *by)) for (c, y), by in both)
        measured = {f"momentum={c.momentum!r}": _divisors(c, y) for c, y in seen}
        return chosen(question, evidence, divided_by=measured)

    return asked(question, ask)


def _worn_off(cases: list[Case], divisors: list[tuple[float, float]]) -> bool:
    """Return whether a correction has become too small to be told from none."""
    for case, by in zip(cases, divisors, strict=True):
        claim = next(_claims(case, np.zeros(1), *by))
        if not misfit(_claims(case, claim.want, 1.0, 1.0)) <= 2:
            return False
    return True


def _corrected(
    kind: str, at: int, seen: list[tuple[Case, Array]]
) -> dict[str, list[tuple[float, float]]]:
    """Return the corrections 1 - keep**k that fit the call in which keep is near one."""
    by = _divisors(*seen[at])
    found = {}
    for what, measured in (("both", by[1]), ("the variance", by[1]), ("the mean", by[0])):
        keep = _MOMENTA[0]
        power = 1 - measured
        if not 0 < power < 1:
            continue
        count = max(1, round(math.log(power) / math.log(keep))) - at
        divisors = []
        for i, momentum in enumerate(_MOMENTA):
            d = 1 - (momentum if kind == "keep" else 1 - momentum) ** (count + i)
            by_mean = 1.0 if what == "the variance" else d
            divisors.append((by_mean, 1.0 if what == "the mean" else d))
        found[f"{what} divided by 1 - {kind}**calls"] = divisors
    return found
