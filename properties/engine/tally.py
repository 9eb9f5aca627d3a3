"""The evidence of one invariant while Hypothesis runs it: what failed, and what was seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ..model.cases import Case
from ..model.contract import Died, Misbehaved, Raised, Target
from ..model.verdict import Claim, Failure, Outcome, channels_beyond, judge

Step = Callable[[Target], Iterable[Claim]]

DEATHS = 20  # of a target's process, until a counterexample is as small as it gets
WAITED = 60.0  # seconds of waiting for calls that hang, likewise


def without_numbers(message: str) -> str:
    """Return a message without its numbers: one fault is one message, whatever the sizes."""
    return re.sub(r"\d+", "#", message)


class Violated(Exception):
    """An example failed; Hypothesis shrinks it."""


class Enough(BaseException):
    """The target's process died too often for more shrinking; Hypothesis lets this through."""


@dataclass
class Tally:
    """The evidence of one invariant while Hypothesis runs it.

    allowed is the multiple of the radius up to which an error is let pass, in the quantities of
    excused, or in all where it is empty.
    """

    target: Target
    plant: Target
    tick: Callable[[], None]
    examples: int = 0
    decisive: int = 0
    channels: int = 0
    undecided: int = 0
    unflagged: int = 0
    strengths: dict[str, float] = field(default_factory=dict)
    worst: float = 0.0
    failing: tuple[Case, Failure | None, str] | None = None
    allowed: Callable[[Case], float] = lambda case: 1.0
    excused: tuple[str, ...] = ()
    edge: Callable[[Case], str] = lambda case: ""
    remark: tuple[Case, Outcome, str] | None = None
    refused: str = ""
    known: dict[str, str] = field(default_factory=dict)
    plain_only: bool = False
    deaths: int = 0
    waited: float = 0.0

    def example(self, case: Case, step: Step) -> None:
        """Judge one example, and count it as long as nothing has failed."""
        self.end(self.part(case, step), case)

    def part(self, case: Case, step: Step) -> tuple[Outcome, int]:
        """Judge one step on the target, and in how many channels the planted error shows in it."""
        try:
            claims = tuple(step(self.target))
        except Misbehaved as error:
            if self.edge(case) and not isinstance(error, Died):
                if isinstance(error, Raised):  # a clear error is a refusal there
                    self.refused = self.refused or str(error)
                else:
                    self._remark(case, Outcome(np.inf), str(error))
                return Outcome(), 0
            self.failing = (case, None, str(error))
            if isinstance(error, Died):
                self.deaths, self.waited = self.deaths + 1, self.waited + error.waited
                if without_numbers(str(error)) in self.known:
                    raise Enough from error
                if self.deaths >= DEATHS or self.waited >= WAITED:
                    raise Enough from error
            raise Violated from error
        outcome = judge(claims)
        held = judge(
            claim for claim in claims if self.excused and claim.quantity not in self.excused
        )
        if held.failure is not None:
            outcome = held
        if outcome.failure is not None and (held.failure or outcome.worst > self.allowed(case)):
            if self.edge(case):
                self._remark(case, outcome, "")
                return Outcome(), 0
            if self.plain_only and not is_plain(case, outcome.failure):
                return Outcome(), 0
            self.failing = (case, outcome.failure, "")
            raise Violated
        return outcome, 0 if self.failing is not None else _seen(self.plant, step, case)

    def _remark(self, case: Case, outcome: Outcome, message: str) -> None:
        """Keep the smallest deviation at an edge."""
        if self.remark is None or case.x.size < self.remark[0].x.size:
            self.remark = case, outcome, message

    def end(self, judged: tuple[Outcome, int], case: Case) -> None:
        """Count an example that passed."""
        if self.failing is not None:
            return
        outcome, channels = judged
        self.examples += 1
        self.undecided += outcome.undecided
        self.unflagged += outcome.undecided and not case.ill_conditioned
        self.worst = max(self.worst, outcome.worst)
        if channels:
            self.decisive += 1
            self.channels += channels
            dtype = case.recipe.dtype
            self.strengths[dtype] = min(self.strengths.get(dtype, np.inf), outcome.strength())
        self.tick()


LARGE = 1e-3  # of the scale: an error that nobody takes for rounding


def is_plain(case: Case, failure: Failure) -> bool:
    """Return whether a failure convinces: its error is large, and no gamma is zero."""
    return failure.share > LARGE and (case.gamma is None or bool(np.all(case.gamma != 0)))


def _seen(plant: Target, step: Step, case: Case) -> int:
    """Return in how many channels the planted error exceeds twice what is allowed.

    Raising shows nothing.
    """
    columns = case.conventions.columns(case.x.shape)
    try:
        return channels_beyond(step(plant), 2.0, columns)
    except Raised:
        return 0
    except Misbehaved:
        return 1
