"""Where eps stands, and its value: each form held against y over many scales of the variance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import numpy as np

from reference import rounding
from reference.float64 import Reference, reference_eval

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Array
from ..model.verdict import Claim
from .answers import DIFFERS, FOUND, Answer, asked, chosen, misfit
from .subject import Probing, case_of, train

GIVEN = {"float16": (2.0**-4, 2.0**-8)}
_USUAL = (2.0**-4, 2.0**-30)
_SCALES = {"float16": range(-13, 5)}
_SCALES_USUAL = range(-36, 5)


@dataclass(frozen=True)
class Form:
    """One place for eps: rstd of var and eps, and eps of rstd and var (NaN where it is hidden)."""

    rstd: Callable[[Array, Any], Array]
    eps: Callable[[Array, Array], Array]


def _where(rstd: Array, var: Array, eps: Array) -> Array:
    """Return eps where it is what rules, and that is where rstd is not that of var alone."""
    return np.where(rstd * np.sqrt(var) < 0.75, eps, np.nan)


FORMS: dict[str, Form] = {
    "inside the root": Form(
        lambda v, e: 1 / np.sqrt(v + e), lambda r, v: _where(r, v, 1 / (r * r) - v)
    ),
    "outside the root": Form(
        lambda v, e: 1 / (np.sqrt(v) + e), lambda r, v: _where(r, v, 1 / r - np.sqrt(v))
    ),
    "maximum of variance and eps": Form(
        lambda v, e: 1 / np.sqrt(np.maximum(v, e)), lambda r, v: _where(r, v, 1 / (r * r))
    ),
    "floor of the standard deviation": Form(
        lambda v, e: 1 / np.maximum(np.sqrt(v), e), lambda r, v: _where(r, v, 1 / r)
    ),
    "squared, inside the root": Form(
        lambda v, e: 1 / np.sqrt(v + e * e),
        lambda r, v: _where(r, v, np.sqrt(np.maximum(1 / (r * r) - v, 0))),
    ),
}
IGNORED = "ignored"


@dataclass(frozen=True)
class Seen:
    """What was got at one eps: the case, y, and the variances with their radii."""

    case: Case
    y: Array
    ref: Reference
    spread: rounding.Spread


def _batch(p: Probing, eps: float) -> Case:
    """Return channels m + s with mean 0 and exactly the variance s * s, s from tiny to large."""
    scales = 2.0 ** np.array(_SCALES.get(p.dtype, _SCALES_USUAL), dtype=np.float64)
    signs = p.random(201).permuted(np.repeat([[-1.0], [1.0]], 4, axis=0), axis=0)
    rows = signs * scales
    return case_of(p, p.dtype, rows, eps=eps, running_var=scales**2, running_mean=scales * 0)


def _see(p: Probing, eps: float, mode: str) -> Seen:
    case = _batch(p, eps)
    x = expected.rows(case, case.x)
    precision = expected.precision_of(case)
    if mode == "training":
        y = train(p, case).y
        made = expected.training(case)
        ref, spread = made.ref, made.spread
    else:
        state = (case.gamma, case.beta, case.running_mean, case.running_var)
        assert state[2] is not None and state[3] is not None
        y, _ = contract.evaluate(p.target, case.x, state[0], state[1], state[2], state[3], eps=eps)
        ref = reference_eval(x, None, case.gamma, case.beta, state[2], state[3], eps)
        ref = replace(ref, value={**ref.value, "var": state[3].astype(np.float64).reshape(1, -1)})
        spread = rounding.eval_spread(ref.var, eps, precision)
    return Seen(case, expected.rows(case, y), ref, spread)


def _claims(seen: Seen, rstd: Callable[[Array, Any], Array], eps: float) -> Iterator[Claim]:
    """Claim that y is that of this form at this eps, with the radius of rstd there."""
    p = expected.precision_of(seen.case)
    x, var = expected.rows(seen.case, seen.case.x), seen.ref.var
    with np.errstate(all="ignore"):
        value = rstd(var, eps)
        low = rstd(var + seen.spread.var, eps * (1 + 2 * p.u))
        high = rstd(np.maximum(var - seen.spread.var, 0), eps * (1 - 2 * p.u))
        rel = np.maximum(high / value - 1, 1 - low / value) + 6 * p.u
        y = seen.ref.xc * value
        made = {**seen.ref.value, "rstd": value, "xhat": y, "y": y}
        spread = replace(seen.spread, rstd=rel)
        one, zero = np.ones_like(value), np.zeros_like(value)
        radius = rounding.output_radius(x, replace(seen.ref, value=made), one, zero, spread, p)
        yield Claim("y", seen.y, y, radius + 2.0**-50 * np.abs(y))


def _measured(seen: Seen) -> Array:
    """Return rstd as it shows in y, (1, c)."""
    with np.errstate(all="ignore"):
        sd = np.sqrt(seen.ref.var)
        return np.asarray(np.abs(seen.y).mean(axis=0, keepdims=True) / sd)


def _free(seen: Seen, form: Form) -> float | None:
    """Return the eps that the form would have here, its shortest decimal within the radius."""
    p = expected.precision_of(seen.case)
    with np.errstate(all="ignore"):
        r, var = _measured(seen), seen.ref.var
        room = 8 * (p.u + p.out_u) + seen.spread.rstd * 0
        ends = np.stack([form.eps(r * (1 - room), var), form.eps(r * (1 + room), var)])
        low, high = ends.min(axis=0)[0], ends.max(axis=0)[0]
        wide = np.where((low > 0) & np.isfinite(high), (high - low) / low, np.inf)
    at = int(np.argmin(wide))
    return shortest(float(low[at]), float(high[at])) if np.isfinite(wide[at]) else None


def shortest(low: float, high: float) -> float:
    """Return the number of fewest decimal digits in [low, high]."""
    for digits in range(1, 18):
        for rounding_mode in (ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING):
            middle = Decimal((low + high) / 2)
            found = float(Context(prec=digits, rounding=rounding_mode).plus(middle))
            if low <= found <= high:
                return found
    return (low + high) / 2


def _told(found: Answer, value: float | None) -> str:
    if value is not None:
        return f"{found.value}, fixed at {value!r}"
    return found.value + ", as passed" * (found.value != IGNORED)


def _at(p: Probing, given: float, mode: str) -> tuple[Answer, float | None]:
    """Return the form at one eps that is passed, and the fixed value if it is not that."""
    seen = _see(p, given, mode)
    evidence = {name: misfit(_claims(seen, form.rstd, given)) for name, form in FORMS.items()}
    evidence[IGNORED] = misfit(_claims(seen, lambda v, e: 1 / np.sqrt(v), 0.0))
    rstd = _measured(seen)[0]
    numbers = {
        "eps": given,
        "variance": seen.ref.var[0].tolist(),
        "rstd": [float(v) for v in rstd],
    }
    found = chosen("eps", evidence, **numbers)
    if found.verdict != "fits none":
        return found, None
    values = {name: _free(seen, form) for name, form in FORMS.items()}
    fixed = {
        name: misfit(_claims(seen, FORMS[name].rstd, value))
        for name, value in values.items()
        if value is not None
    }
    second = _merge_squares(chosen("eps", fixed, **numbers))
    if second.verdict != FOUND:
        return replace(found, numbers={**numbers, "fixed": values}), None
    return second, values[second.value]


def _merge_squares(found: Answer) -> Answer:
    """See eps fixed inside and the square of its root as one; likewise the floor's square."""
    pairs = (
        ("inside the root", "squared, inside the root"),
        ("maximum of variance and eps", "floor of the standard deviation"),
    )
    kept: Mapping[str, float] = found.evidence
    for plain, square in pairs:
        if kept.get(plain, np.inf) <= 1:
            kept = {name: ratio for name, ratio in kept.items() if name != square}
    return chosen("eps", kept, **found.numbers)


def eps_answer(p: Probing, mode: str) -> Answer:
    """Return where eps stands in training or in inference, and its value if it is fixed."""
    question = f"eps in {mode}"

    def ask() -> Answer:
        if mode == "inference" and "forward_eval" not in p.target.offers:
            return p.lacks(question, "forward_eval")
        given = GIVEN.get(p.dtype, _USUAL)
        (first, one), (second, two) = (_at(p, eps, mode) for eps in given)
        if not first.known or not second.known:
            weak = second if first.known else first
            return replace(weak, question=question)
        numbers = {"first": first.numbers, "second": second.numbers, "form": first.value}
        found = replace(first, question=question, numbers=numbers)
        if first.value == second.value and one == two:
            return replace(found, value=_told(first, one), numbers={**numbers, "value": one})
        if first.value == second.value and one is None and two is not None and two > given[1]:
            told = f"{first.value}, as passed but at least {two!r}"
            return replace(found, value=told, numbers={**numbers, "least": two})
        told = f"{_told(first, one)} where {given[0]!r} is passed; "
        told += f"{_told(second, two)} where {given[1]!r} is"
        return replace(found, verdict=DIFFERS, value=told)

    return asked(question, ask)
