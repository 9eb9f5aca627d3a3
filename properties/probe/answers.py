"""What was found out, and how sure: hypotheses compared by their error over the derived radius."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..model.contract import Misbehaved
from ..model.verdict import Claim, judge

FOUND, DIFFERS, NONE, OPEN = "found", "differs", "fits none", "cannot tell"
REFUSED, SEEN, UNASKED = "not offered", "seen", "not asked"


@dataclass(frozen=True)
class Answer:
    """One question about a target with what came of it.

    verdict is found, differs (by place), fits none, cannot tell, not offered, or seen (an
    observation, no hypothesis); evidence holds each hypothesis with its error as a multiple of its
    radius; numbers what was measured.
    """

    question: str
    verdict: str
    value: str = ""
    sure: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    margin: float = np.inf  # by how much the nearest other answer is outside of its radius

    @property
    def certainty(self) -> str:
        """How sure it is, in a word."""
        if self.verdict != FOUND:
            return self.sure if self.verdict in (SEEN, OPEN, NONE) else ""
        if self.margin >= 100:
            return "certain"
        return "clear" if self.margin >= 4 else "barely"

    @property
    def known(self) -> bool:
        """Whether there is one value that holds."""
        return self.verdict in (FOUND, SEEN)

    @property
    def text(self) -> str:
        """The value, or why there is none, in a few words."""
        if self.known or self.verdict == DIFFERS:
            return self.value
        return f"{self.verdict}: {self.value}" if self.value else self.verdict


def misfit(claims: Iterable[Claim]) -> float:
    """Return the largest error as a multiple of its radius; NaN where no radius is finite."""
    outcome = judge(claims)
    if outcome.worst == 0.0 and outcome.undecided:
        return float("nan")
    return outcome.worst


def _times(ratio: float) -> str:
    return f"{ratio:.2g}" if np.isfinite(ratio) else "any multiple"


def chosen(question: str, evidence: Mapping[str, float], **numbers: Any) -> Answer:
    """Return the one hypothesis within its radius, if exactly one is and all others are outside.

    Args:
        question: a few words.
        evidence: per hypothesis its error as a multiple of its radius, NaN where that is unknown.
        numbers: what was measured, kept with the answer.
    """
    inside = [name for name, ratio in evidence.items() if ratio <= 1]
    unknown = [name for name, ratio in evidence.items() if np.isnan(ratio)]
    others = {name: ratio for name, ratio in evidence.items() if ratio > 1}
    nearest = min(others, key=lambda name: others[name], default="")
    away = f"{nearest}, at {_times(others[nearest])} of its" if nearest else ""
    if len(inside) == 1 and not unknown:
        sure = f"at {_times(evidence[inside[0]])} of its radius"
        sure += f"; the next is {away}" if away else ""
        margin = others[nearest] if nearest else np.inf
        return Answer(question, FOUND, inside[0], sure, evidence, numbers, margin)
    if inside or unknown:
        value = " or ".join([*inside, *unknown])
        return Answer(question, OPEN, value, "more than one fits", evidence, numbers)
    return Answer(question, NONE, "", f"the nearest is {away}", evidence, numbers)


def narrowest(
    question: str, evidence: Mapping[str, float], plants: Mapping[str, float], **numbers: Any
) -> Answer:
    """Return the narrowest of nested hypotheses that holds, if the wider ones would have shown.

    Args:
        question: a few words.
        evidence: per hypothesis, the narrowest first, its error as a multiple of its radius.
        plants: per wider hypothesis, what a planted one shows on this input as a multiple of the
            radius of the narrowest that holds; it would have shown where that exceeds 2.
        numbers: what was measured.
    """
    names = list(evidence)
    at = next((i for i, name in enumerate(names) if evidence[name] <= 1), None)
    if at is None:
        widest = names[-1]
        away = f"the widest is {widest}, at {_times(evidence[widest])} of its radius"
        return Answer(question, NONE, "", away, evidence, numbers)
    hidden = [name for name in names[at + 1 :] if name in plants and not plants[name] > 2]
    if hidden:
        value = " or ".join([names[at], *hidden])
        return Answer(question, OPEN, value, "these would look alike here", evidence, numbers)
    sure = f"at {_times(evidence[names[at]])} of its radius"
    if at:
        sure += f" and at {_times(evidence[names[at - 1]])} of that of {names[at - 1]}"
    shown = {name: plants[name] for name in names[at + 1 :] if name in plants}
    if shown:
        least = min(shown, key=lambda name: shown[name])
        sure += f"; {least} would show {_times(shown[least])} of it"
    margin = min([*shown.values(), *(evidence[name] for name in names[:at])], default=np.inf)
    return Answer(question, FOUND, names[at], sure, evidence, numbers, margin)


def asked(question: str, ask: Callable[[], Answer]) -> Answer:
    """Return the answer, or that the target does not offer what the question needs."""
    try:
        return ask()
    except Misbehaved as error:
        return Answer(question, REFUSED, str(error))


def merged(question: str, places: Mapping[str, Answer]) -> Answer:
    """Return one answer for several places; where they differ, which holds where."""
    offered = {place: answer for place, answer in places.items() if answer.verdict != REFUSED}
    if not offered:
        first = next(iter(places.values()), Answer(question, REFUSED))
        return replace(first, question=question)
    groups: dict[tuple[str, str], list[str]] = {}
    for place, answer in offered.items():
        groups.setdefault((answer.verdict, answer.value), []).append(place)
    if len(groups) == 1:
        first = next(iter(offered.values()))
        return replace(first, question=question, numbers={**first.numbers, "where": list(offered)})
    at, weak = next(
        ((p, a) for p, a in offered.items() if a.verdict in (NONE, OPEN)), ("", Answer("", ""))
    )
    found = {value for verdict, value in groups if verdict in (FOUND, SEEN)}
    if weak.verdict == OPEN and len(found) == 1:  # what is open elsewhere is decided here
        value = next(iter(found))
        if all(value in a.value.split(" or ") for a in offered.values() if a.verdict == OPEN):
            sure = next(a for a in offered.values() if a.known)
            return replace(sure, question=question)
    told = "; ".join(
        f"{value or verdict} ({', '.join(where)})" for (verdict, value), where in groups.items()
    )
    if weak.verdict == NONE:
        return replace(weak, question=question, value=told, sure=f"{at}: {weak.sure}")
    return Answer(question, DIFFERS, told, "", {}, {p: a.value for p, a in offered.items()})
