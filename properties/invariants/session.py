"""Calls in any order, held step by step against a model of the state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Target
from ..model.verdict import Claim
from .calls import agrees, evaluated, parameter_agrees, trained
from .registry import invariant


@dataclass
class Session:
    """A target's state through a sequence of calls; each step yields what it must have done."""

    target: Target
    case: Case
    pending: list[tuple[Case, Any, Any]] = field(default_factory=list)
    stored: list[tuple[Any, Any]] = field(default_factory=list)
    mean: Any = None
    var: Any = None

    STEPS = ("train", "evaluate", "backward", "save", "load")

    def __post_init__(self) -> None:
        self.mean, self.var = self.case.running_mean, self.case.running_var

    def _now(self, k: int) -> Case:
        """Return batch k at the present state."""
        batch = self.case if k == 0 else self.case.another(k)
        return replace(batch, running_mean=self.mean, running_var=self.var)

    def step(self, name: str, k: int) -> Iterable[Claim]:
        """Do a step of `STEPS`, with batch or pending call number k."""
        return list(getattr(self, name)(k))

    def train(self, k: int) -> Iterable[Claim]:
        """Train on batch k: its output, and the state averaged once."""
        case = self._now(k % 3)
        result = trained(self.target, case)
        yield agrees("y in training", case, result.y, expected.output(case))
        mean, var = expected.running(case, *expected.initial(case))
        if "running statistics" in self.target.offers:
            yield from parameter_agrees("running_mean", result.running_mean, mean)
            yield from parameter_agrees("running_var", result.running_var, var)
        self.mean, self.var = result.running_mean, result.running_var
        self.pending.append((case, result.saved, None))

    def evaluate(self, k: int) -> Iterable[Claim]:
        """Infer on batch k at the present state."""
        if "forward_eval" not in self.target.offers:
            return
        case = self._now(k % 3)
        y, saved = evaluated(self.target, case)
        yield agrees("y in inference", case, y, expected.eval_output(case, self.mean, self.var))
        if "backward_eval" in self.target.offers:
            self.pending.append((case, saved, (self.mean, self.var)))

    def backward(self, k: int) -> Iterable[Claim]:
        """Go back through a forward that is still pending, not always the last."""
        if "backward_train" not in self.target.offers or not self.pending:
            return
        case, saved, state = self.pending.pop(k % len(self.pending))
        mode = "train" if state is None else "eval"
        got = contract.backward(self.target, case.dy, saved, case.gamma, mode=mode)
        wanted = (
            expected.gradients(case) if state is None else expected.eval_gradients(case, *state)
        )
        yield agrees(f"dx of backward_{mode}", case, got.dx, wanted["dx"])
        yield from parameter_agrees(f"dgamma of backward_{mode}", got.dgamma, wanted["dgamma"])

    def save(self, k: int) -> Iterable[Claim]:
        """Put the state aside."""
        self.stored.append((self.mean.copy(), self.var.copy()))
        return ()

    def load(self, k: int) -> Iterable[Claim]:
        """Go back to a state that was put aside; what follows must obey it."""
        if self.stored:
            mean, var = self.stored[k % len(self.stored)]
            self.mean, self.var = mean.copy(), var.copy()
        return ()


@invariant("keeps_its_own_state", "passed state", inputs="sequence", weight=0.5)
def calls_in_any_order_follow_the_model(target: Target, case: Case) -> Iterable[Claim]:
    """Training, inference, backward, saving and loading in any order follow the model.

    A result depends on what is passed in, and on nothing that a call left behind.
    """
    session, random = Session(target, case), case.random(12)
    for _ in range(8):
        yield from session.step(
            Session.STEPS[random.integers(len(Session.STEPS))], int(random.integers(3))
        )
