"""Which invariant catches which known bug: every invariant on every mutant and control.

The cases of an invariant are drawn once and shown to all implementations with the same
conventions, so that the reference is worked out once; they are those that `bncheck run` draws.
"""

from __future__ import annotations

import statistics
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from ..bugs.controls import controls
from ..bugs.elsewhere import all_mutants
from ..engine.exercise import count_numbers, example_count, run_invariant
from ..engine.machine import STEPS, machine
from ..engine.strategies import cases
from ..engine.tally import Step
from ..invariants import INVARIANTS, Invariant
from ..model.cases import Case, build
from ..model.contract import Misbehaved, Target
from ..model.verdict import judge
from ..targets.open import loaded

Drawn = list[tuple[Case, list[Step]]]


@dataclass(frozen=True)
class Kill:
    """The fastest kill of a mutant: by which invariant, after how many examples, how small."""

    invariant: str
    examples: int
    numbers: int


@dataclass(frozen=True)
class Matrix:
    """Who is caught by what: cells[name][invariant] is the number of examples it took."""

    seed: int
    examples: int
    mutants: dict[str, dict[str, int]]
    fastest: dict[str, Kill]
    controls: dict[str, dict[str, int]]

    def survivors(self) -> list[str]:
        """Return the mutants that nothing kills."""
        return [name for name, cells in self.mutants.items() if not cells]

    def accused(self) -> list[str]:
        """Return the controls that an invariant fails."""
        return [name for name, cells in self.controls.items() if cells]

    def idle(self) -> list[str]:
        """Return the invariants that kill nothing."""
        used = {name for cells in self.mutants.values() for name in cells}
        return [name for name in INVARIANTS if name not in used]

    def killed_by_one(self) -> dict[str, str]:
        """Return the mutants that one invariant alone kills, with it."""
        return {name: next(iter(c)) for name, c in self.mutants.items() if len(c) == 1}

    def medians(self) -> tuple[float, float]:
        """Return the median of the examples of the fastest kills, and of their numbers."""
        kills = list(self.fastest.values())
        if not kills:
            return float("inf"), float("inf")
        return (
            statistics.median(k.examples for k in kills),
            statistics.median(k.numbers for k in kills),
        )


def subjects() -> dict[str, Callable[[], Target]]:
    """Return how to make each mutant, afresh; those of one body and conventions are one subject."""
    found: dict[Any, Callable[[], Target]] = {}
    for mutant in all_mutants().values():
        found.setdefault((mutant.body, mutant.conventions), mutant.target)
    return {str(make().spec.removeprefix("mutants:")): make for make in found.values()}


def twins() -> dict[str, str]:
    """Return for each mutant the subject that stands for it."""
    first: dict[Any, str] = {}
    everything = all_mutants()
    return {
        name: first.setdefault((mutant.body, mutant.conventions), name)
        for name, mutant in everything.items()
    }


def draw(invariant: Invariant, target: Target, examples: int, seed_number: int) -> Drawn:
    """Return the examples that this invariant gets on a target of such conventions and offers."""
    drawn: Drawn = []
    options = settings(
        max_examples=example_count(invariant, examples),
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    number = (seed_number ^ zlib.crc32(invariant.name.encode())) % 2**32
    if invariant.inputs == "sequence":
        sequence = machine(
            target,
            invariant.name,
            lambda case: drawn.append((case, [])),
            lambda case, step: drawn[-1][1].append(step),
            lambda: None,
        )
        run_state_machine_as_test(seed(number)(sequence), settings=options)
        return drawn

    @seed(number)
    @options
    @given(cases(invariant.inputs, target.conventions, target.offers))
    def collect(case: Case) -> None:
        drawn.append((case, [partial(_check, invariant, case)]))

    collect()
    return drawn


def _check(invariant: Invariant, case: Case, target: Target) -> Iterable[Any]:
    return invariant.check(target, case)


def fails(target: Target, steps: Iterable[Step]) -> bool:
    """Return whether the target misbehaves or fails a claim in one of the steps."""
    try:
        return any(judge(step(target)).failure is not None for step in steps)
    except Misbehaved:
        return True


def first_failure(target: Target, drawn: Drawn, invariant: Invariant) -> int:
    """Return how many examples it takes until the target fails; 0 if it never does."""
    for k, (case, steps) in enumerate(drawn):
        if fails(target, steps):
            if invariant.inputs != "sequence":  # the target may have written into what is kept
                fresh = build(case.recipe, case.conventions)
                drawn[k] = (fresh, [partial(_check, invariant, fresh)])
            return k + 1
    return 0


def right_ones() -> dict[str, Callable[[], Target]]:
    """Return what makes each control; one that states no conventions is probed for them."""
    return {
        name: control.target if control.stated else partial(loaded, f"mutants:{name}")
        for name, control in controls().items()
    }


def column(
    name: str, examples: int, seed_number: int
) -> tuple[str, dict[str, int], dict[str, int]]:
    """Return an invariant's kills among the mutants, and whom it accuses among the controls."""
    invariant, drawn = INVARIANTS[name], {}
    found: tuple[dict[str, int], dict[str, int]] = ({}, {})
    makers = [subjects(), right_ones()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, group in enumerate(makers):
            for subject, make in group.items():
                target = make()
                if any(need not in target.offers for need in invariant.needs):
                    continue
                key = (target.conventions, target.offers)
                if key not in drawn:
                    drawn[key] = draw(invariant, target, examples, seed_number)
                if k := first_failure(target, drawn[key], invariant):
                    found[kind][subject] = k
    return name, *found


def shrunk(subject: str, name: str, examples: int, seed_number: int) -> tuple[str, Kill]:
    """Return the kill of a subject by an invariant, with a counterexample made small."""
    target = subjects()[subject]()
    result = run_invariant(target, INVARIANTS[name], examples=examples, seed_number=seed_number)
    if result.case is None:
        raise AssertionError(f"mutant={subject}: {name} kills it unshrunk only; report this")
    return subject, Kill(name, result.examples, count_numbers(result))


def fastest_killer(cells: dict[str, int]) -> str:
    """Return the invariant that needs the fewest examples; bulky ones only where no other kills."""
    order, bulky = list(INVARIANTS), ("sequence", "large")
    return min(cells, key=lambda n: (INVARIANTS[n].inputs in bulky, cells[n], order.index(n)))


def _mapped(work: Callable[..., Any], tasks: list[tuple[Any, ...]], jobs: int) -> Iterator[Any]:
    if jobs == 1:
        yield from (work(*task) for task in tasks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, *zip(*tasks, strict=True)) if tasks else ()


def run_matrix(
    examples: int = 100,
    seed_number: int = 0,
    jobs: int = 2,
    tick: Callable[[str], None] = lambda text: None,
) -> Matrix:
    """Run every invariant on every mutant and control; shrink the fastest kill of each mutant."""
    everyone = twins()
    by_subject: dict[str, dict[str, int]] = {name: {} for name in subjects()}
    accused: dict[str, dict[str, int]] = {name: {} for name in controls()}
    tasks = [(name, examples, seed_number) for name in INVARIANTS]
    for name, killed, accusing in _mapped(column, tasks, jobs):
        tick(name)
        for subject, k in killed.items():
            by_subject[subject][name] = k
        for control, k in accusing.items():
            accused[control][name] = k
    to_shrink = [
        (subject, fastest_killer(cells), examples, seed_number)
        for subject, cells in by_subject.items()
        if cells
    ]
    kills = {}
    for subject, kill in _mapped(shrunk, to_shrink, jobs):
        tick(subject)
        kills[subject] = kill
    return Matrix(
        seed_number,
        examples,
        {name: by_subject[twin] for name, twin in everyone.items()},
        {name: kills[twin] for name, twin in everyone.items() if twin in kills},
        accused,
    )
