"""Sequences of calls as a Hypothesis state machine: `invariants.session` driven by rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ..invariants.session import Session
from ..model.cases import Case
from ..model.contract import Target
from ..model.verdict import Claim
from .strategies import cases

STEPS = 30  # of a sequence, at most: enough for two trainings and their backwards to mix
Judge = Callable[[Case, Callable[[Target], Iterable[Claim]]], None]


def machine(
    target: Target, begin: Callable[[Case], Any], judge: Judge, end: Callable[[], None]
) -> type[RuleBasedStateMachine]:
    """Return a machine that trains, infers, goes back, saves and loads, as the rules come.

    Args:
        target: what is under test.
        begin: told the case when a sequence starts.
        judge: given the case and a step as a function of a target; it calls the step for the
            target and for the planted error, whose sessions run side by side.
        end: told when a sequence is over.
    """
    index = st.integers(0, 2)

    class Sequence(RuleBasedStateMachine):
        case: Case | None = None

        @initialize(case=cases("sequence", target.conventions, target.offers))
        def start(self, case: Case) -> None:
            self.case = case
            self.sessions: dict[int, Session] = {}
            begin(case)

        def _step(self, name: str, k: int) -> None:
            case = self.case
            assert case is not None

            def step(tried: Target) -> Iterable[Claim]:
                session = self.sessions.setdefault(id(tried), Session(tried, case))
                claims: Iterable[Claim] = session.step(name, k)
                return claims

            judge(case, step)

        @rule(k=index)
        def train(self, k: int) -> None:
            self._step("train", k)

        @rule(k=index)
        def evaluate(self, k: int) -> None:
            self._step("evaluate", k)

        @rule(k=index)
        def backward(self, k: int) -> None:
            self._step("backward", k)

        @rule(k=index)
        def save(self, k: int) -> None:
            self._step("save", k)

        @rule(k=index)
        def load(self, k: int) -> None:
            self._step("load", k)

        def teardown(self) -> None:
            end()

    return Sequence
