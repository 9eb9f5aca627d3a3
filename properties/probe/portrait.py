"""All that is found out about one target, question by question."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..model.contract import Target
from . import (
    accuracy,
    arithmetic,
    averages,
    behaviour,
    determinism,
    eps,
    exactness,
    fresh,
    inference,
    structure,
    variance_method,
)
from .accuracy import Grade
from .answers import UNASKED, Answer
from .exactness import Exact
from .subject import WIDE, Probing


@dataclass
class Portrait:
    """What has been found out about one target so far."""

    spec: str
    answers: list[Answer] = field(default_factory=list)
    grades: list[Grade] = field(default_factory=list)
    exact: list[Exact] = field(default_factory=list)
    calls: int = 0
    complete: bool = False
    error: str = ""

    def answer(self, question: str) -> Answer:
        """Return the answer to a question, or that it was not asked."""
        found = (answer for answer in self.answers if answer.question == question)
        return next(found, Answer(question, UNASKED))


def probe(
    target: Target,
    portrait: Portrait,
    *,
    seed: int = 0,
    up_to: int = accuracy.SIZES[-1],
    children: bool = True,
    tick: Callable[[str], None] = lambda text: None,
) -> Portrait:
    """Find out how a target behaves, into a portrait that holds what was found if this is cut.

    Args:
        target: as `find` gives it.
        portrait: filled as answers come.
        seed: of all data.
        up_to: the largest number of values per statistic that is graded.
        children: whether processes with other numbers of threads are started.
        tick: called with what is being asked.
    """
    p = Probing(target, seed, tick)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what a target warns of is its own affair
        try:
            for answer in _answers(p, portrait.spec, children):
                portrait.answers.append(answer)
            for grade in accuracy.grades(p, up_to):
                portrait.grades.append(grade)
            portrait.exact.extend(exactness.exact(p))
            portrait.complete = True
        finally:
            portrait.calls = p.calls
    return portrait


def _answers(p: Probing, spec: str, children: bool) -> Iterator[Answer]:
    for dtype in p.conventions.dtypes:  # the radii of all that follows depend on it
        p.tick(f"computed in ({dtype})")
        first = arithmetic.computed_in(p, dtype)
        if first.known and first.value in WIDE:
            p.inner[dtype] = first.value
    p.tick("running statistics")
    found = averages.averages(p)
    momentum = found[0].value if found[0].known and found[2].value == "no" else ""
    yield from found
    yield averages.initial(p)
    p.tick("eps")
    training = eps.eps_answer(p, "training")
    if training.known:
        p.eps_form = (str(training.numbers["form"]), training.numbers.get("value"))
    yield training
    yield eps.eps_answer(p, "inference")
    yield inference.normalized_by(p)
    yield inference.running_in_inference(p)
    yield from fresh.fresh(p, momentum)
    p.tick("statistics")
    yield from structure.statistics(p)
    for dtype in p.conventions.dtypes:
        yield arithmetic.computed_in(p, dtype, p.divisor)
    yield arithmetic.statistics_dtype(p)
    for dtype in p.conventions.dtypes:
        p.tick(f"variance ({dtype})")
        yield variance_method.method(p, dtype, p.divisor)
    p.tick("odd input")
    yield from behaviour.behaviour(p)
    yield determinism.same_again(p)
    if children:
        yield determinism.by_threads(p, spec)


def summary_of(grades: list[Grade], dtype: str) -> str:
    """Return the classes of one dtype in a line: A, or what is B or C from which n in which layout.

    A quantity that is C somewhere is not named among B.
    """
    rows = [grade for grade in grades if grade.dtype == dtype]
    layouts = list(dict.fromkeys(grade.layout for grade in rows))
    found: dict[tuple[str, int, str], list[str]] = {}
    for layout in layouts:
        for quantity in accuracy.QUANTITIES:
            own = [g for g in rows if (g.quantity, g.layout) == (quantity, layout)]
            worst = max((g.grade for g in own), default="A")
            if worst != "A":
                least = min(g.n for g in own if g.grade == worst)
                found.setdefault((worst, least, layout), []).append(quantity)
    groups: dict[tuple[str, int, tuple[str, ...]], list[str]] = {}
    for (worst, least, layout), names in found.items():
        groups.setdefault((worst, least, tuple(names)), []).append(layout)
    told = [
        f"{worst} from n = {least}: {', '.join(names)}" + _in(where, layouts)
        for (worst, least, names), where in sorted(groups.items(), key=lambda g: (-ord(g[0][0]), g))
    ]
    largest = max(grade.n for grade in rows)
    sizes = ", ".join(str(n) for n in accuracy.SIZES)
    top = f"A up to n = {largest}" + (
        "" if largest == accuracy.SIZES[-1] else f", the largest that was tried of {sizes}"
    )
    return "; ".join([*told, f"else {top}"]) if told else top


def _in(some: list[str], every: list[str]) -> str:
    """Return which layouts, by those that are not meant if these are fewer."""
    others = [name for name in every if name not in some]
    if not others:
        return ""
    return (
        f" but in {others[0]}"
        if len(others) == 1 and len(every) > 2
        else (f" in {' and '.join(some)}")
    )


def exact_summary(rows: list[Exact], dtype: str) -> str:
    """Return yes, or which quantities are not exact on exactly representable data, and where."""
    rows = [row for row in rows if row.dtype == dtype]
    missed: dict[str, list[str]] = {}
    for row in rows:
        if not row.exact and row.layout not in missed.setdefault(row.quantity, []):
            missed[row.quantity].append(row.layout)
    if not missed:
        return f"yes ({', '.join(sorted({row.quantity for row in rows}))})"
    layouts = len({row.layout for row in rows})
    told = (
        quantity + ("" if len(where) == layouts else f" in {', '.join(where)}")
        for quantity, where in missed.items()
        if where
    )
    return "no: " + "; ".join(told)


def as_json(portrait: Portrait) -> dict[str, Any]:
    """Return a portrait as JSON data, numbers that are not finite as strings."""
    if portrait.error:
        return {"target": portrait.spec, "complete": False, "error": portrait.error}
    return {
        "target": portrait.spec,
        "complete": portrait.complete,
        "calls": portrait.calls,
        "answers": [_finite(_named(asdict(answer))) for answer in portrait.answers],
        "accuracy": [_finite(asdict(grade)) for grade in portrait.grades],
        "exact": [asdict(row) for row in portrait.exact],
    }


def _named(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "evidence": dict(answer["evidence"]), "numbers": dict(answer["numbers"])}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
