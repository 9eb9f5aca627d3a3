"""A fresh layer: what its start counts in the first averages, and in inference after k calls.

Equal batches, k = 1, 2, 3, from initial_state on, each state handed on as it was returned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..model import contract, expected
from ..model.cases import Case, state_dtype
from ..model.contract import Array, Misbehaved
from ..model.verdict import Claim
from .answers import OPEN, Answer, chosen, misfit
from .steps import Weights, averaged
from .subject import Probing, case_of, row, train

_CALLS, _C, _MOMENTUM, _EPS = 3, 8, 0.25, 2.0**-10
QUESTIONS = ("first batch", "start in inference")


@dataclass(frozen=True)
class Link:
    """One call of the chain: the state before and after it, and y of inference there."""

    k: int
    before: Array
    after: Array
    case: Case
    y: Array


def _chain(p: Probing, eps: float) -> tuple[Array, list[Link]]:
    """Return the start, mean over variance (2, c), and what each call made of it."""
    rng = p.random(701)
    rows = rng.integers(-3, 4, size=(8, _C)) + rng.permutation(_C) - 3.0
    rows[0] += 8 - rows.sum(axis=0) % 8  # a whole mean
    case = case_of(p, p.dtype, rows, momentum=_MOMENTUM, eps=eps)
    mean, var = contract.initial_state(p.target, _C, state_dtype(p.dtype))
    start, links = np.concatenate([row(mean), row(var)]), []
    for k in range(1, _CALLS + 1):
        case = replace(case, running_mean=mean, running_var=var)
        result = train(p, case)
        before = np.concatenate([row(mean), row(var)])
        after = np.concatenate([row(result.running_mean), row(result.running_var)])
        assert result.running_mean is not None and result.running_var is not None
        mean, var = result.running_mean, result.running_var
        given = (case.gamma, case.beta, mean, var)
        y, _ = contract.evaluate(p.target, case.x, *given, eps=eps)
        links.append(Link(k, before, after, case, expected.rows(case, y)))
    return start, links


def _batch(p: Probing, case: Case) -> tuple[expected.Wanted, ...]:
    conventions = replace(p.conventions, running_var=p.divisor)
    return expected.batch_statistics(replace(case, conventions=conventions))


def _first(p: Probing, link: Link, keep: float) -> Answer:
    """Return whether the first batch is averaged with the start, or takes its place."""
    precision = expected.precision_of(link.case, state=True)
    models = {
        "averaged with the start": Weights(keep, 1 - keep, 2 * precision.u),
        "takes the place of the start": Weights(0.0, 1.0, 2 * precision.u),
    }
    evidence = {}
    for name, weights in models.items():
        pairs = zip(link.before, link.after, _batch(p, link.case), strict=True)
        claims = []
        for old, new, batch in pairs:
            want = averaged(old.reshape(1, -1), batch, weights, precision)
            claims.append(Claim("running", new.reshape(1, -1), want.value, want.radius))
        evidence[name] = misfit(claims)
    return chosen(QUESTIONS[0], evidence, after=link.after.tolist())


def _claims(link: Link, mean: Array, var: Array) -> Iterator[Claim]:
    """Claim that y is inference at these statistics, each average having rounded k times."""
    with np.errstate(all="ignore"):
        want = expected.eval_output(link.case, mean, var)
        u = expected.precision_of(link.case, state=True).u
        slack = (4 * link.k + 8) * u * (np.abs(want.value) + np.abs(mean) / np.sqrt(var))
        yield Claim("y in inference", link.y, want.value, want.radius + slack)


def _used(p: Probing, link: Link, keep: float) -> dict[str, tuple[Array, Array]]:
    """Return the statistics of each hypothesis: what inference may make of the averages."""
    power = keep**link.k
    mean, var = link.after
    freed = tuple(batch.value[0] for batch in _batch(p, link.case))
    corrected = (mean / (1 - power), var / (1 - power))
    return {
        "fades by keep**k": (mean, var),
        "is left out": (freed[0], freed[1]),
        "adds keep**k / (1 - keep**k) of itself": corrected,
    }


def _inference(p: Probing, start: Array, links: list[Link], keep: float) -> Answer:
    made = [_used(p, link, keep) for link in links]
    names = list(made[0])
    if np.all(start == 0):
        names.remove("adds keep**k / (1 - keep**k) of itself")  # that of nothing is nothing
    both = list(zip(links, made, strict=True))
    if all(_alike(link, used["fades by keep**k"], used["is left out"]) for link, used in both):
        names.remove("is left out")  # it has been since the first batch
    evidence = {
        name: max(misfit(_claims(link, *used[name])) for link, used in both) for name in names
    }
    return chosen(QUESTIONS[1], evidence, start=start[:, 0].tolist(), calls=len(links))


def _alike(link: Link, one: Any, other: Any) -> bool:
    claim = next(_claims(link, *one))
    return bool(misfit(_claims(replace(link, y=claim.want), *other)) <= 2)


def fresh(p: Probing, momentum: str) -> list[Answer]:
    """Return what becomes of the start of a fresh layer, in its averages and in inference.

    Args:
        p: with the divisor and the place of eps known.
        momentum: keep or update, whatever else leaves both questions open.
    """
    form, fixed = p.eps_form or ("", None)
    for function in ("initial_state", "forward_eval"):
        if function not in p.target.offers:
            return [p.lacks(question, function) for question in QUESTIONS]
    if momentum not in ("keep", "update") or p.divisor not in ("biased", "unbiased"):
        why = "how statistics are averaged is not known"
        return [Answer(question, OPEN, "", why) for question in QUESTIONS]
    keep = _MOMENTUM if momentum == "keep" else 1 - _MOMENTUM
    try:
        start, links = _chain(p, _EPS if fixed is None else fixed)
        first = _first(p, links[0], keep)
        if form != "inside the root":
            return [first, Answer(QUESTIONS[1], OPEN, "", "eps is not inside the root")]
        return [first, _inference(p, start, links, keep)]
    except Misbehaved as error:
        return [Answer(question, OPEN, "", str(error)) for question in QUESTIONS]
