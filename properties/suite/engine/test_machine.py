"""The state machine: it reaches every rule, sees planted errors and shrinks to short sequences."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from properties.engine import machine as rooms
from properties.engine.exercise import run_invariant
from properties.invariants import INVARIANTS
from properties.invariants.session import Session
from properties.model.cases import Case, Recipe, build
from properties.model.contract import Conventions, Target
from properties.model.verdict import Claim, judge
from properties.plants.planted import PLANTED
from properties.plants.textbook import Pieces, implementation

NAME = "calls_in_any_order_follow_the_model"


class Wrong(Exception):
    """A step failed."""


def made(pieces: Pieces) -> Target:
    return implementation(pieces, Conventions(dtypes=("float32", "float64")), "textbook")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The steps of the present sequence, as they are taken."""
    taken: list[str] = []

    class Watched(Session):
        def step(self, name: str, k: int) -> Iterable[Claim]:
            taken.append(name)
            return super().step(name, k)

    monkeypatch.setitem(rooms.SESSIONS, NAME, Watched)
    return taken


def exercise(
    make: Callable[[], Target], steps: list[str], examples: int = 60
) -> list[tuple[str, ...]]:
    """Run the machine and return the sequences; raise Wrong where a step fails.

    The functions are made anew for each sequence: what one leaves behind is not there for the next.
    """
    sequences: list[tuple[str, ...]] = []
    functions: dict[str, Any] = {}
    target = replace(make(), functions=functions)

    def begin(case: Case) -> None:
        steps.clear()
        functions.update(make().functions)

    def judged(case: Case, step: Callable[[Target], Iterable[Claim]]) -> None:
        if judge(step(target)).failure is not None:
            raise Wrong

    options = settings(
        max_examples=examples,
        stateful_step_count=rooms.STEPS,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    whole = rooms.machine(target, NAME, begin, judged, lambda: sequences.append(tuple(steps)))
    run_state_machine_as_test(seed(1)(whole), settings=options)
    return sequences


def shrunk(make: Callable[[], Target], steps: list[str]) -> tuple[str, ...]:
    """Return what a failing sequence of the target shrinks to."""
    with pytest.raises(Wrong):
        exercise(make, steps, 300)
    return tuple(steps)


@pytest.mark.slow
def test_every_rule_is_reached(steps: list[str]) -> None:
    """Each step occurs, each pair of steps follows one another, and sequences get long."""
    sequences = exercise(lambda: made(Pieces()), steps, 150)
    assert set(Counter(name for s in sequences for name in s)) == set(Session.STEPS)
    pairs = {pair for s in sequences for pair in itertools.pairwise(s)}
    missing = {(a, b) for a in Session.STEPS for b in Session.STEPS} - pairs
    assert not missing, f"never one after the other: {missing}"
    assert max(map(len, sequences)) >= 10


def test_a_right_implementation_passes(steps: list[str]) -> None:
    """No sequence of a right implementation fails, whatever the order of its calls."""
    assert exercise(lambda: made(Pieces()), steps), "no sequence at all"
    result = run_invariant(made(Pieces()), INVARIANTS[NAME], examples=60, seed_number=1)
    assert result.verdict == "pass", result.failure
    assert result.decisive > 0


SHORTEST: dict[str, tuple[str, ...]] = {
    "next_forward_overwrites_saved": ("train", "train", "backward"),
    "momentum_swapped": ("train",),
    "eval_eps_outside_root": ("evaluate",),
    "eval_backward_as_in_training": ("evaluate", "backward"),
    "dx_is_0.1_percent_too_large": ("train", "backward"),
}


@pytest.mark.parametrize("plant", SHORTEST)
@pytest.mark.slow(but_one_in=5)
def test_a_planted_error_shrinks_to_its_shortest_sequence(plant: str, steps: list[str]) -> None:
    """What is left of a failing sequence is the calls that the error needs, and no other."""
    left = shrunk(lambda: made(PLANTED[plant]), steps)
    assert left == SHORTEST[plant], f"{plant} came down to {left}"


def test_a_forgotten_load_is_seen_in_the_fewest_steps(steps: list[str]) -> None:
    """An implementation that goes on from its own state fails in the training after a load."""
    left = shrunk(lambda: made(PLANTED["keeps_its_own_state"]), steps)
    assert left == ("save", "train", "load", "train"), left


@pytest.mark.slow
def test_the_invariant_fails_with_a_small_case() -> None:
    """Through the command's way in: the planted error fails, on two numbers in one channel."""
    plant = made(PLANTED["next_forward_overwrites_saved"])
    result = run_invariant(plant, INVARIANTS[NAME], examples=100, seed_number=1)
    assert result.verdict == "fail"
    assert result.case is not None
    assert result.case.x.size <= 3, result.case.x


def test_what_is_not_offered_is_left_out_of_the_sequence(steps: list[str]) -> None:
    """A target of forward_train alone is trained, and none of its other functions called."""
    whole, called = made(Pieces()), Counter[str]()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            called[name] += 1
            return function(*args, **options)

        return call

    functions = {name: counted(name, function) for name, function in whole.functions.items()}
    offers = frozenset({"forward_train", "float32", "rank 2"})
    exercise(lambda: Target("part", functions, whole.conventions, offers), steps, 20)
    assert set(called) == {"forward_train"}


def test_loading_goes_back_to_what_was_saved() -> None:
    """save, train, load: the state is the one put aside, to the bit, and no alias of it."""
    case = build(Recipe(n=4, channels=2, bits=3, seed=3), Conventions())
    session = Session(made(Pieces()), case)
    session.step("save", 0)
    kept = session.mean.copy()
    session.step("train", 0)
    assert (session.mean != kept).any()
    session.step("load", 0)
    assert (session.mean == kept).all()
    session.mean += 1
    session.step("load", 0)
    assert (session.mean == kept).all(), "loading twice gives an array that is shared"
