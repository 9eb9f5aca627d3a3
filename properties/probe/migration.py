"""What to change when weights move from one batch norm to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .answers import REFUSED, UNASKED, Answer
from .portrait import Portrait

# var + eps as each form has it, and the variance that a form needs to reach a given one
_REACHED: dict[str, Callable[[str, str], str]] = {
    "inside the root": lambda v, e: f"{v} + {e}",
    "outside the root": lambda v, e: f"(sqrt({v}) + {e})**2",
    "maximum of variance and eps": lambda v, e: f"max({v}, {e})",
    "floor of the standard deviation": lambda v, e: f"max({v}, {e}**2)",
    "squared, inside the root": lambda v, e: f"{v} + {e}**2",
    "ignored": lambda v, e: v,
}
_NEEDED: dict[str, Callable[[str, str], str]] = {
    "inside the root": lambda w, e: f"{w} - {e}",
    "outside the root": lambda w, e: f"(sqrt({w}) - {e})**2",
    "maximum of variance and eps": lambda w, e: w,
    "floor of the standard deviation": lambda w, e: w,
    "squared, inside the root": lambda w, e: f"{w} - {e}**2",
    "ignored": lambda w, e: w,
}


def lines(one: Portrait, other: Portrait) -> list[str]:
    """Return what to change when weights move from one target to the other, a line each."""
    if one.error or other.error:
        return [f"not known: {one.error or other.error}"]
    found = []
    for question, tell in _TELL.items():
        a, b = one.answer(question), other.answer(question)
        if question == "eps in inference" and not (a.known and b.known):
            question = "eps in training"  # better than none
            a, b = one.answer(question), other.answer(question)
        for which, answer in ((one.spec, a), (other.spec, b)):
            if not answer.known and answer.verdict not in (REFUSED, UNASKED):
                found.append(f"{question}: not known of {which}: {answer.text}")
        if a.known and b.known:
            found += list(tell(a, b, one.spec, other.spec))
    cut = [p.spec for p in (one, other) if not p.complete]
    if cut:
        found.append(f"there may be more: the probe of {' and '.join(cut)} was cut short")
    return found or ["nothing"]


def _momentum(a: Answer, b: Answer, one: str, other: str) -> Iterator[str]:
    if {a.value, b.value} == {"keep", "update"}:
        share = "of the old" if a.value == "keep" else "of the new"
        yield f"momentum: give {other} 1 - momentum ({one} takes momentum as the share {share})"
    elif a.value != b.value:
        yield f"momentum: {a.value} in {one}, {b.value} in {other}: training on will differ"


_FACTOR = {("biased", "unbiased"): "n / (n - 1)", ("unbiased", "biased"): "(n - 1) / n"}


def _running_var(a: Answer, b: Answer, one: str, other: str) -> Iterator[str]:
    if a.value == b.value:
        return
    if factor := _FACTOR.get((a.value, b.value)):
        yield (
            f"running_var: times {factor} is what {other} would hold, n values per channel in a "
            f"training batch ({a.value} to {b.value}); left as it is, inference is that of {one}"
        )
    elif "the standard deviation" in (a.value, b.value):
        yield f"running_var: {a.value} in {one}, {b.value} in {other}: square or root it"
    else:
        yield f"running_var: {a.value} in {one}, {b.value} in {other}"


def _eps_name(answer: Answer, spec: str) -> str:
    value = answer.numbers.get("value")
    return f"eps of {spec}" if value is None else repr(value)


def _eps(a: Answer, b: Answer, one: str, other: str) -> Iterator[str]:
    form_a, form_b = (str(answer.numbers.get("form", answer.value)) for answer in (a, b))
    fixed_a, fixed_b = (answer.numbers.get("value") for answer in (a, b))
    for spec, answer in ((one, a), (other, b)):
        if least := answer.numbers.get("least"):
            yield f"eps: {spec} raises it to {least!r} where it is less"
    if form_a == form_b and fixed_a == fixed_b:
        return
    if form_a == form_b and fixed_a is not None and fixed_b is None:
        yield f"eps: pass {fixed_a!r} to {other} (it is fixed in {one})"
    elif form_a in _REACHED and form_b in _NEEDED:
        reached = _REACHED[form_a]("running_var", _eps_name(a, one))
        needed = _NEEDED[form_b](reached, _eps_name(b, other))
        yield (
            f"eps: {a.value} in {one}, {b.value} in {other}; inference of {one} takes "
            f"running_var = {needed}"
        )


def _statistics(a: Answer, b: Answer, one: str, other: str) -> Iterator[str]:
    if a.value != b.value:
        yield (
            f"statistics: {a.value} in {one}, {b.value} in {other}: gamma, beta and the running "
            "statistics have other shapes, and cannot be moved unless x has rank 2"
        )


def _axis(a: Answer, b: Answer, one: str, other: str) -> Iterator[str]:
    if a.value != b.value and "none" not in f"{a.value} {b.value}":
        yield f"x: move the channels from axis {a.value} to axis {b.value}; weights stay (c,)"


def _kept(name: str, effect: str) -> Callable[[Answer, Answer, str, str], Iterator[str]]:
    def tell(a: Answer, b: Answer, one: str, other: str) -> Iterator[str]:
        if a.value != b.value:
            yield f"{name}: {a.value} in {one}, {b.value} in {other}: {effect}"

    return tell


_TELL: dict[str, Any] = {
    "momentum": _momentum,
    "running_var": _running_var,
    "eps in inference": _eps,
    "statistics": _statistics,
    "channel axis": _axis,
    "bias correction": _kept(
        "bias correction", "uncorrected = corrected times 1 - keep**calls, keep the share kept"
    ),
    "training normalizes by": _kept("training normalizes by", "training on will differ"),
    "running statistics in inference": _kept(
        "running statistics in inference", "divide them before they move, or multiply"
    ),
    "start in inference": _kept(
        "start in inference", "divide by 1 - keep**k, k training calls, what the other corrects"
    ),
    "initial statistics": _kept("initial statistics", "untrained layers differ"),
}
