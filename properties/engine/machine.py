"""Sequences of calls as a Hypothesis state machine: `invariants.session` driven by rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ..invariants import SESSIONS
from ..model.cases import Case
from ..model.contract import Target
from ..model.verdict import Claim
from .strategies import cases

STEPS = 30  # of a sequence, at most: enough for two trainings and their backwards to mix
Judge = Callable[[Case, Callable[[Target], Iterable[Claim]]], None]


def machine(
    target: Target,
    invariant: str,
    begin: Callable[[Case], Any],
    judge: Judge,
    end: Callable[[], None],
) -> type[RuleBasedStateMachine]:
    """Return a machine that takes the steps of an invariant's session, as the rules come.

    Args:
        target: what is under test.
        invariant: whose session of `SESSIONS` it is.
        begin: told the case when a sequence starts.
        judge: given the case and a step as a function of a target; it calls the step for the
            target and for the planted error, whose sessions run side by side.
        end: told when a sequence is over.
    """
    make = SESSIONS[invariant]

    class Sequence(RuleBasedStateMachine):
        case: Case | None = None

        @initialize(case=cases("sequence", target.conventions, target.offers))
        def start(self, case: Case) -> None:
            self.case = case
            self.sessions: dict[int, Any] = {}
            begin(case)

        def teardown(self) -> None:
            end()

    def rule_of(name: str) -> Any:
        def take(self: Any, k: int) -> None:
            case = self.case
            assert case is not None

            def step(tried: Target) -> Iterable[Claim]:
                session = self.sessions.setdefault(id(tried), make(tried, case))
                claims: Iterable[Claim] = session.step(name, k)
                return claims

            step.__name__ = f"{name}({k})"
            judge(case, step)

        take.__name__ = name
        return rule(k=st.integers(0, 2))(take)

    return type("Sequence", (Sequence,), {name: rule_of(name) for name in make.STEPS})
