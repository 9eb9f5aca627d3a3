"""In what dtype results are really computed, and what dtype the statistics have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from reference import forms, rounding
from reference.ball import Precision
from reference.float64 import Reference, reference_train

from ..model import contract, expected
from ..model.cases import Case, dtype_of, state_dtype
from ..model.contract import Array
from ..model.verdict import Claim
from .answers import FOUND, OPEN, REFUSED, SEEN, Answer, asked, misfit, narrowest
from .subject import FREE_EPS, FREE_SCALE, WIDE, Probing, arithmetic, case_of, row, train, weight_of

_WORST = 32  # times what rounding the statistics alone makes
_N, _C = 7, 24  # seven values: a mean that no binary format has


def _case(p: Probing, dtype: str, scale: float, along: bool = False) -> Case:
    """Return integers of 7 bits, which every format holds, at a scale where eps does not count.

    With along, dy goes along x, so that a wrong path through the variance shows.
    """
    rng = p.random(301)
    rows = rng.integers(-100, 101, size=(_N, _C)) * scale
    rows[:, 0] = scale  # it tells the weight of the batch in the running statistics
    gamma, beta = 1 + rng.integers(1, 64, size=_C) / 64, rng.integers(-50, 50, size=_C) / 64
    dy = rng.integers(-100, 101, size=(_N, _C)) / 64
    dy = dy / 2 + rows / scale / 64 if along else dy
    return case_of(p, dtype, rows, dy=dy, gamma=gamma, beta=beta, eps=FREE_EPS[dtype])


def _reference(case: Case) -> Reference:
    x, dy = expected.rows(case, case.x), expected.rows(case, case.dy)
    return reference_train(x, dy, case.gamma, case.beta, case.eps)


def _got(p: Probing, case: Case, divisor: str) -> dict[str, Array]:
    """Return the results as rows, the batch's statistics read from the running ones."""
    result = train(p, case)
    got = {"y": expected.rows(case, result.y)}
    if divisor in ("biased", "unbiased") and result.running_mean is not None:
        share = weight_of(p, result, float(expected.rows(case, case.x)[0, 0]))
        factor = _N / (_N - 1) if divisor == "unbiased" else 1.0
        got["mean"] = row(result.running_mean) / share
        got["var"] = row(result.running_var) / (share * factor)
    if "backward_train" in p.target.offers:
        back = contract.backward(p.target, case.dy, result.saved, case.gamma)
        got["dx"] = expected.rows(case, back.dx)
        if back.dgamma is not None:
            got["dgamma"] = row(back.dgamma)
    return got


def _radii(case: Case, ref: Reference, p: Precision, stats: Precision) -> dict[str, Array]:
    x, dy = expected.rows(case, case.x), expected.rows(case, case.dy)
    gamma, beta = expected.row(case.gamma, x, 1.0), expected.row(case.beta, x, 0.0)
    with np.errstate(all="ignore"):
        spread = rounding.statistics_spread(x, ref, case.eps, p)
        found = rounding.gradient_radii(x, dy, ref, gamma, spread, p)
        found["y"] = rounding.output_radius(x, ref, gamma, beta, spread, p)
        found["dgamma"] = stats.stored(ref.dgamma, found["dgamma"])
        # halving, the weight and the divisor of the running statistics may round once each
        for name, radius in (("mean", spread.mean), ("var", spread.var)):
            moved = radius + 6 * p.magnitude(ref.value[name])
            found[name] = stats.stored(ref.value[name], moved) + 2 * stats.out_u * np.abs(
                ref.value[name]
            )
    return {name: radius + ref.bound[name] for name, radius in found.items()}


def _claims(
    case: Case, ref: Reference, got: Mapping[str, Array], inner: str, dtype: str
) -> Iterator[Claim]:
    p = arithmetic(inner, dtype)
    stats = arithmetic(inner, state_dtype(dtype).name)
    radii = _radii(case, ref, p, stats)
    for name, a in got.items():
        # the first column has no variance: y is beta there, dx is ruled by eps
        yield Claim(name, a[:, 1:], ref.value[name][:, 1:], radii[name][:, 1:])


def _planted(
    case: Case, ref: Reference, quantity: str, outer: str, found: str, dtype: str
) -> float:
    """Return what statistics rounded to a narrower dtype would show, over the radius."""
    x, dy = expected.rows(case, case.x), expected.rows(case, case.dy)
    gamma, t = row(case.gamma), dtype_of(outer)
    with np.errstate(all="ignore"):
        mean, rstd, var = (
            ref.value[k].astype(t).astype(np.float64) for k in ("mean", "rstd", "var")
        )
        made: dict[str, Callable[[], Array]] = {
            "y": lambda: forms.output_direct(x, gamma, row(case.beta), mean, rstd),
            "mean": lambda: mean,
            "var": lambda: var,
            "dx": lambda: forms.input_gradient_means(dy, x, gamma, mean, rstd),
            "dgamma": lambda: forms.gamma_gradient_direct(dy, x, mean, rstd),
        }
        return misfit(_claims(case, ref, {quantity: made[quantity]()}, found, dtype))


def computed_in(p: Probing, dtype: str, divisor: str = "") -> Answer:
    """Return the dtype that results of this one are computed in, the coarsest of the quantities.

    The widest format whose radius holds is the answer; statistics rounded to the next narrower
    one must show. A quantity that is outside of every format's radius is wrong, and says nothing.
    """
    question = f"computed in ({dtype})"

    def ask() -> Answer:
        near = _case(p, dtype, 1.0)  # within reach of a half
        at_one = _got(p, near, divisor)
        straight = _case(p, dtype, 1.0, along=True)
        wrong = _wrong(straight, _got(p, straight, divisor), dtype)
        if len(wrong) == len(at_one):
            return Answer(question, OPEN, "", f"{', '.join(wrong)}: wrong in any precision")
        case = _case(p, dtype, FREE_SCALE[dtype])
        answer = _ringed(question, case, _without(_got(p, case, divisor), wrong), dtype)
        names = list(answer.evidence)
        finer = names[: names.index(answer.value)] if answer.value in names else []
        if answer.verdict in (FOUND, OPEN) and not any(np.isnan(answer.evidence[f]) for f in finer):
            return answer
        second = _ringed(question, near, _without(at_one, wrong), dtype)
        return second if second.verdict in (FOUND, OPEN) else answer

    return asked(question, ask)


def _formats(dtype: str) -> list[str]:
    return [name for name in WIDE if name != "bfloat16" or dtype == name or _has_bfloat16()]


def _wrong(case: Case, got: Mapping[str, Array], dtype: str) -> list[str]:
    """Return the quantities that no format explains, on a batch that each of them holds.

    A radius admits the worst; an error that is so much larger than what rounding to a format
    really makes is none of rounding.
    """
    ref, formats = _reference(case), _formats(dtype)

    def fits(name: str) -> bool:
        def off(inner: str) -> float:
            return misfit(_claims(case, ref, {name: got[name]}, inner, dtype))

        finest = formats[0]
        return not off(finest) > 1 or any(
            not off(inner) > 1
            and off(finest) <= _WORST * _planted(case, ref, name, inner, finest, dtype)
            for inner in formats[1:]
        )

    return [name for name in got if not fits(name)]


def _without(got: Mapping[str, Array], names: list[str]) -> dict[str, Array]:
    return {name: value for name, value in got.items() if name not in names}


def _ringed(question: str, case: Case, got: Mapping[str, Array], dtype: str) -> Answer:
    ref = _reference(case)
    formats = _formats(dtype)
    answers = {}
    for name in got:
        evidence = {
            inner: misfit(_claims(case, ref, {name: got[name]}, inner, dtype)) for inner in formats
        }
        at = next((f for f in formats if evidence[f] <= 1), formats[-1])
        narrower = [f for f in formats if WIDE[f] < WIDE[at]]
        plants = {f: _planted(case, ref, name, f, at, dtype) for f in narrower}
        answers[name] = narrowest(question, evidence, plants)
    return _coarsest(question, answers)


def _coarsest(question: str, answers: Mapping[str, Answer]) -> Answer:
    for answer in answers.values():
        if answer.verdict not in (FOUND, OPEN):
            name = next(k for k, v in answers.items() if v is answer)
            return replace(answer, sure=f"{name}: {answer.sure}")
    by = {name: answer.value for name, answer in answers.items()}
    last = min(answers, key=lambda k: (WIDE[by[k].split(" or ")[0]], answers[k].verdict == OPEN))
    return replace(answers[last], numbers={"by quantity": by, "coarsest": last})


def _has_bfloat16() -> bool:
    try:
        dtype_of("bfloat16")
    except ImportError:
        return False
    return True


def statistics_dtype(p: Probing) -> Answer:
    """Return the dtype that the running statistics come back in, per dtype of x."""
    question = "dtype of the statistics"

    def ask() -> Answer:
        found: dict[str, Any] = {}
        for dtype in p.conventions.dtypes:
            result = train(p, _case(p, dtype, 1.0))
            if result.running_mean is None or result.running_var is None:
                return Answer(question, REFUSED, "it keeps none")
            kinds = {result.running_mean.dtype.name, result.running_var.dtype.name}
            found[dtype] = " and ".join(sorted(kinds))
        told = ", ".join(f"{kind} for {dtype}" for dtype, kind in found.items())
        return Answer(question, SEEN, told, "returned", numbers=found)

    return asked(question, ask)
