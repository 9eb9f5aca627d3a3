"""Exercising a target: Hypothesis draws, each example is judged, and the evidence is counted."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.database import ExampleDatabase
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from ..invariants import Invariant
from ..invariants.levels import edge
from ..model.cases import NARROW, Case
from ..model.contract import Target
from ..model.verdict import Failure, Outcome
from ..plants.planted import PLANTED
from ..plants.textbook import implementation
from .database import Part
from .local_constants import without_local_constants
from .machine import STEPS, machine
from .shrinking import smallest
from .strategies import cases
from .tally import Enough, Step, Tally, Violated, is_plain, without_numbers


@dataclass(frozen=True)
class Result:
    """What came of one invariant.

    verdict is pass, fail, remark, undecided, not offered, expected failure or unexpected pass;
    strengths holds per dtype the least relative error that a decisive example would have shown, 0
    where bits are compared;
    worst the largest error as a multiple of its radius; unflagged counts the undecided examples
    of regimes that are not ill-conditioned on purpose; where names the part of the cases, if not
    all; channels counts the decisive ones, over all examples.
    """

    invariant: Invariant
    verdict: str
    examples: int = 0
    decisive: int = 0
    undecided: int = 0
    unflagged: int = 0
    strengths: dict[str, float] = field(default_factory=dict)
    worst: float = 0.0
    failure: Failure | None = None
    message: str = ""
    case: Case | None = None
    where: str = ""
    channels: int = 0

    @property
    def strength(self) -> float:
        """The relative error that was visible in every dtype; infinite without evidence."""
        return max(self.strengths.values(), default=float(np.inf))


def planted_error(invariant: Invariant, target: Target, *, exact: bool = True) -> Target:
    """Return the planted error of an invariant in the target's conventions."""
    pieces = PLANTED[invariant.plant]
    return implementation(pieces, target.conventions, invariant.plant, exact=exact)


def example_count(invariant: Invariant, examples: int) -> int:
    """Return how many of the usual number of examples this invariant gets."""
    floor = {"sequence": 25, "large": 1}.get(invariant.inputs, 20)  # few sequences say little
    least = min(examples, floor)
    return max(least, round(examples * invariant.weight))


def run_invariant(
    target: Target,
    invariant: Invariant,
    *,
    examples: int = 100,
    seed_number: int = 0,
    shrink: bool = True,
    tick: Callable[[], None] = lambda: None,
    allowed: Callable[[Case], float] = lambda case: 1.0,
    excused: tuple[str, ...] = (),
    database: ExampleDatabase | None = None,
    strict: bool = True,
    deaths: dict[str, str] | None = None,
) -> Result:
    """Exercise one invariant on a target and return its verdict.

    Args:
        target: as `probe.find` gives it.
        invariant: out of `INVARIANTS`.
        examples: how many to draw, before the invariant's own weight.
        seed_number: the same number draws the same examples.
        shrink: whether a failing example is made small.
        tick: called after each example.
        allowed: the multiple of the radius up to which an error is let pass, and counted as worst.
        excused: the quantities for which allowed holds; all where there are none.
        database: where failing examples are kept; those that it holds are tried first.
        strict: whether a deviation at an edge fails; else it is a remark.
        deaths: how the target's process has died before, by the message without its numbers; such
            a death is not made small again.
    """
    broken = [need for need in invariant.needs if need in target.broken]
    if broken:
        return Result(invariant, "fail", worst=np.inf, message=target.broken[broken[0]])
    missing = [need for need in invariant.needs if need not in target.offers]
    if missing:
        reasons = [f"{need}: {target.refused.get(need, 'absent')}" for need in missing]
        return Result(invariant, "not offered", message="; ".join(reasons))
    again = next(  # how a function died that dies whatever it is given; one example is enough
        (text for text in (deaths or {}).values() for need in invariant.needs
         if need in target.crashed and text.startswith(f"{need} ")), "",
    )  # fmt: skip
    if again:
        return Result(invariant, "fail", worst=np.inf, message=again)
    at_edge = (lambda case: "") if strict else partial(edge, invariant.name)

    def begun(plain_only: bool) -> Tally:
        return Tally(
            target,
            planted_error(invariant, target),
            tick,
            allowed=allowed,
            excused=excused,
            edge=at_edge,
            known={} if deaths is None else deaths,
            plain_only=plain_only,
        )

    tally = begun(False)
    phases = (Phase.reuse, Phase.generate, Phase.shrink)
    options = settings(
        max_examples=example_count(invariant, examples),
        stateful_step_count=STEPS,
        database=database and _part(database, target, invariant),
        deadline=None,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,  # what failed is told by the run
        suppress_health_check=list(HealthCheck),
        phases=phases if shrink else phases[:2],
        print_blob=False,
    )
    number = (seed_number ^ zlib.crc32(invariant.name.encode())) % 2**32
    exercise = _sequences if invariant.inputs == "sequence" else _batches
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a target warns of is its own affair
        try:
            with without_local_constants():
                exercise(tally, invariant, options, number)
        except (Violated, Enough, Flaky) as error:
            how: BaseException = error
            if tally.deaths and deaths is not None and tally.failing is not None:
                deaths.setdefault(without_numbers(tally.failing[2]), tally.failing[2])
            if shrink and not tally.deaths and _is_faint(tally):
                plainer = begun(True)
                aside = settings(options, database=None)
                try:
                    with without_local_constants():
                        exercise(plainer, invariant, aside, number)
                except (Violated, Flaky) as larger:
                    tally, how = plainer, larger
                except Enough:
                    pass
            result = _failed(tally, invariant, how)
            return _narrowed(tally, result) if shrink else result
    if tally.remark is not None:
        return _remarked(tally, invariant, *tally.remark)
    if not tally.decisive and tally.refused:
        return Result(invariant, "not offered", message=tally.refused)
    return Result(
        invariant,
        "pass" if tally.decisive else "undecided",
        tally.examples,
        tally.decisive,
        tally.undecided,
        tally.unflagged,
        tally.strengths,
        tally.worst,
        message="" if tally.decisive else f"none of {tally.examples} examples was decisive",
        channels=tally.channels,
    )


def _narrowed(tally: Tally, result: Result) -> Result:
    """Return a failure of many channels with its channel alone, or as few as must be."""
    case, invariant, failure = result.case, result.invariant, result.failure
    if case is None or case.recipe.channels <= NARROW or case.recipe.pick or tally.deaths:
        return result
    if invariant.inputs == "sequence":
        return result
    last: tuple[Failure | None, str] = failure, result.message  # of what is the smallest so far

    def fails(tried: Case) -> bool:
        nonlocal last
        tally.failing = None
        try:
            tally.part(tried, lambda target: invariant.check(target, tried))
        except (Violated, Enough):
            assert tally.failing is not None
            if tally.deaths:  # another fault than the one that is made small
                return False
            last = tally.failing[1:]
            return True
        return False

    channel = failure.index[-1] if failure is not None and len(failure.index) == 2 else None
    found, sizes = smallest(case, channel, fails, 1 if invariant.inputs == "one_value" else 2)
    failure, message = last
    worst = failure.error / failure.radius if failure and failure.radius else np.inf
    told = "; ".join(filter(None, (message, sizes)))
    return replace(result, case=found, failure=failure, message=told, worst=worst)


def _is_faint(tally: Tally) -> bool:
    """Return whether an example that fails could be taken for rounding."""
    if tally.failing is None:
        return False
    case, failure, _ = tally.failing
    return failure is not None and not is_plain(case, failure)


def _part(database: ExampleDatabase, target: Target, invariant: Invariant) -> Part:
    """Return where the failing examples of an invariant are kept, one place per way to draw."""
    offers = target.offers & {*target.conventions.dtypes, "no affine", "only no affine"}
    return Part(database, target.spec, invariant.name, *sorted(offers))


def _batches(tally: Tally, invariant: Invariant, options: settings, number: int) -> None:
    strategy = cases(invariant.inputs, tally.target.conventions, tally.target.offers)

    @options  # above the seed, which would take the database away
    @seed(number)
    @given(strategy)
    def exercise(case: Case) -> None:
        tally.example(case, lambda target: invariant.check(target, case))

    exercise()


def _sequences(tally: Tally, invariant: Invariant, options: settings, number: int) -> None:
    judged: list[tuple[Outcome, int]] = []
    held: list[Case] = []
    taken: list[str] = []

    def begin(case: Case) -> None:
        judged.clear()
        taken.clear()
        held[:] = [case]

    def take(case: Case, step: Step) -> None:
        taken.append(getattr(step, "__name__", ""))
        try:
            judged.append(tally.part(case, step))
        except (Violated, Enough):
            if tally.failing is not None:
                case, failure, message = tally.failing
                steps = f"the steps were {', '.join(taken)}"
                tally.failing = case, failure, "; ".join(filter(None, (message, steps)))
            raise

    def end() -> None:
        if not held:
            return
        outcome = Outcome(
            max((o.worst for o, _ in judged), default=0.0),
            any(o.undecided for o, _ in judged),
            claims=tuple(claim for o, seen in judged if seen for claim in o.claims),
        )
        tally.end((outcome, max((seen for _, seen in judged), default=0)), held[0])

    sequence = machine(tally.target, invariant.name, begin, take, end)
    run_state_machine_as_test(seed(number)(sequence), settings=options)


def _remarked(
    tally: Tally, invariant: Invariant, case: Case, outcome: Outcome, message: str
) -> Result:
    return Result(
        invariant,
        "remark",
        tally.examples,
        tally.decisive,
        tally.undecided,
        tally.unflagged,
        tally.strengths,
        outcome.worst,
        outcome.failure,
        message or edge(invariant.name, case),
        case,
        channels=tally.channels,
    )


def _failed(tally: Tally, invariant: Invariant, error: BaseException) -> Result:
    assert tally.failing is not None
    case, failure, message = tally.failing
    if isinstance(error, Flaky):
        message = (message + "; " if message else "") + "the same input does not always fail"
    return Result(
        invariant,
        "fail",
        tally.examples + 1,
        tally.decisive,
        tally.undecided,
        tally.unflagged,
        tally.strengths,
        failure.error / failure.radius if failure and failure.radius else np.inf,
        failure,
        message,
        case,
        channels=tally.channels,
    )


def count_numbers(result: Result) -> int:
    """Return how many numbers the counterexample has: x, and dy where a backward needs it."""
    if result.case is None:
        return 0
    needs_dy = any("backward" in need for need in result.invariant.needs)
    return int(result.case.x.size) + (int(result.case.dy.size) if needs_dy else 0)
