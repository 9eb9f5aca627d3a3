"""A grade: rounds until something fails or the budget is spent, and what is told of it."""

from __future__ import annotations

import shlex
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from ..corpus.failures import entry
from ..engine.exercise import Result, run_invariant
from ..invariants import INVARIANTS
from ..model.contract import Target, TargetError
from ..run.diagnosis import causes, explains
from ..run.text import failure_text
from ..targets.isolate.limits import Limits
from ..targets.open import open_target
from . import sizes
from .rounds import SIZES, Step, circumstances, rounds

SHOWN = 4096  # numbers in x up to which a failing case is told in full
SURE = 0.95  # with which a share of the examples that fails would have been seen


@dataclass(frozen=True)
class Asked:
    """What a grade is asked for.

    Args:
        spec: the submission, as `open_target` takes it.
        seed: 64 bits; everything that is drawn follows from them.
        budget: seconds after which no step begins.
        steps: how many steps, whatever time they take; 0 leaves it to the budget.
        require: names of functions that have to be offered.
        strict: whether a deviation at an edge fails.
        quick: whether a failure is told as it was found, not made small, without a cause.
        limits: what a call may take.
    """

    spec: str
    seed: int
    budget: float = 30.0
    steps: int = 0
    require: Sequence[str] = ()
    strict: bool = False
    quick: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Found:
    """What is wrong: a sentence, and where it came from an example the result of that."""

    cause: str
    message: str
    result: Result | None = None
    case: dict[str, Any] | None = None


@dataclass
class _Seen:
    """What the steps so far have shown."""

    asked: Asked
    began: float = field(default_factory=time.monotonic)
    steps: int = 0
    verdicts: dict[str, set[str]] = field(default_factory=dict)
    decisive: Counter[str] = field(default_factory=Counter)
    first: Target | None = None
    deaths: dict[str, str] = field(default_factory=dict)

    def over(self) -> bool:
        if self.asked.steps:
            return self.steps >= self.asked.steps
        return time.monotonic() - self.began > self.asked.budget

    def undecided(self) -> list[str]:
        """Return the invariants that are offered, and that no step so far decided."""
        settled = {"pass", "not offered", "remark"}
        return [n for n in INVARIANTS if not self.verdicts.get(n, set()) & settled]


def grade(asked: Asked) -> dict[str, Any]:
    """Return the verdict on a submission, as it is written in JSON."""
    seen = _Seen(asked)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _searched(seen)
    except TargetError as error:
        return _document(seen, "refused", Found(str(error), ""))
    if found is not None:
        return _document(seen, "fail", found)
    return _document(seen, "undecided" if seen.undecided() else "pass", None)


def _searched(seen: _Seen) -> Found | None:
    """Go through the rounds until something is found."""
    for steps in rounds(seen.asked.seed):
        with _opened(seen, steps[0].round) as target:
            if isinstance(target, Found):
                return target
            if (found := _compared(seen, target)) is not None:
                return found
            for step in steps:
                if seen.over():
                    return None
                if (result := _done(seen, target, step)) is not None:
                    return _told(seen, target, step, result)
    return None


@contextmanager
def _opened(seen: _Seen, number: int) -> Iterator[Target | Found]:
    """Hold the submission in a process of its own for a round, or what is wrong with it there."""
    with circumstances(number), ExitStack() as stack:
        opened = open_target(seen.asked.spec, seen.asked.limits, afresh=True)
        try:
            target: Target | Found = stack.enter_context(opened)
        except TargetError as error:
            if not number:
                raise
            target = Found("in another process it is no target any more", str(error))
        yield target


def _compared(seen: _Seen, target: Target) -> Found | None:
    """Return what is missing, or is not as it was in the first process."""
    if seen.first is None:
        seen.first = target
        missing = [name for name in seen.asked.require if name not in target.offers]
        why = "; ".join(f"{n}: {target.refused.get(n, 'absent')}" for n in missing)
        return Found(f"not offered: {', '.join(missing)}", why) if missing else None
    for what in ("conventions", "offers"):
        before, now = getattr(seen.first, what), getattr(target, what)
        if before != now:
            return Found(f"its {what} change from process to process", f"{before}, then {now}")
    return None


def _done(seen: _Seen, target: Target, step: Step, shrink: bool = False) -> Result | None:
    """Do a step; return the failure that it found."""
    if step.name == SIZES:
        result = sizes.failing(target, step.seed)
    else:
        result = run_invariant(
            target,
            INVARIANTS[step.name],
            examples=step.examples,
            seed_number=step.seed,
            shrink=shrink,
            strict=seen.asked.strict,
            deaths=seen.deaths,
        )
        if not shrink:
            seen.verdicts.setdefault(step.name, set()).add(result.verdict)
            seen.decisive[step.name] += result.decisive
    seen.steps += not shrink
    return result if result is not None and result.verdict == "fail" else None


def _told(seen: _Seen, target: Target, step: Step, result: Result) -> Found:
    """Make a failure small, look for its cause, and put it into words."""
    asked, cause = seen.asked, ""
    if not asked.quick:
        if step.name != SIZES:
            result = _done(seen, target, step, shrink=True) or result
        known = causes(target)
        if known and explains(known[0], target, result):
            cause = known[0].sentence
    message, case = result.message, None
    if result.case is not None:
        held = result.case
        told = failure_text(result, target, step.seed, step.examples, cause=cause).splitlines()
        message = "\n".join(line for line in told if "  again " not in line)
        if held.x.size <= SHOWN and not asked.quick:
            case = entry(target, result.invariant, held)
        else:
            case = {"recipe": asdict(held.recipe)}
            message = message.partition("\n  x = ")[0]
    return Found(
        cause or f"cause not known; broken: {result.invariant.sentence}", message, result, case
    )


def _document(seen: _Seen, verdict: str, found: Found | None) -> dict[str, Any]:
    """Return the JSON: nothing in it depends on the clock but the number of steps."""
    asked, n = seen.asked, sum(seen.decisive.values())
    command = (
        f"bncheck grade {shlex.quote(asked.spec)} --seed {asked.seed} --steps {max(seen.steps, 1)}"
    )
    command += f" --require {','.join(asked.require)}" if asked.require else ""
    return {
        "bncheck": version("bncheck"),
        "submission": asked.spec,
        "seed": asked.seed,
        "steps": seen.steps,
        "verdict": verdict,
        "cause": found.cause if found else "",
        "invariant": found.result.invariant.name if found and found.result else "",
        "message": found.message if found else "",
        "case": found.case if found else None,
        "offered": sorted(seen.first.functions.keys() & seen.first.offers) if seen.first else [],
        "undecided": seen.undecided() if verdict == "undecided" else [],
        # a bug that shows in a share p of the examples survives N of them with (1 - p)**N
        "N": n,
        "p": round(1 - (1 - SURE) ** (1 / n), 6) if n else 1.0,
        "again": command + asked.strict * " --strict" + asked.quick * " --quick",
    }
