"""Layers that live: made once, trained, asked, taken back, copied, held against a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import COPIES, LayerState, Raised, Target
from ..model.expected import initial
from ..model.verdict import Claim, same_bits
from .calls import agrees, parameter_agrees
from .registry import invariant


@dataclass
class Life:
    """A layer through a sequence of calls; each step yields what it must have done.

    last is the mode and the case of the forward that a backward would go through, None where
    there is none that it could.
    """

    target: Target
    case: Case
    layer: Any = None
    state: LayerState = field(default_factory=lambda: LayerState(None, None, None))
    last: tuple[str, Case] | None = None
    gone: bool = False
    backwards: int = 0

    STEPS = ("train", "train_elsewhere", "infer", "go_back", "go_back_again", "copy")

    def step(self, name: str, k: int) -> Iterable[Claim]:
        """Do a step of `STEPS`, with batch or kind of copy number k."""
        if self.layer is None:
            self._begin()
        return list(getattr(self, name)(k))

    def _begin(self) -> None:
        c = self.case
        arrays = c.gamma, c.beta, c.running_mean, c.running_var
        self.layer = contract.new_layer(self.target, *arrays, eps=c.eps, momentum=c.momentum)
        self.state = self._read(self.layer)

    def _read(self, layer: Any) -> LayerState:
        tracked = "running statistics" in self.target.offers
        like = self.case.running_mean if tracked else None
        return contract.layer_state(self.target, layer, like)

    def _batch(self, k: int, state: LayerState) -> Case:
        """Return batch k at a state: the case, another one, and the first rows of that."""
        c = self.case
        if k % 3:
            other = c.another(1)
            c = replace(c, x=other.x, dy=other.dy)
        if k % 3 == 2:
            rows = max(2, len(c.x) // 2)
            c = replace(c, x=c.x[:rows], dy=c.dy[:rows])
        if state.mean is None:
            return c
        return replace(c, running_mean=state.mean, running_var=state.var)

    def _trained(self, layer: Any, k: int, state: LayerState, elsewhere: bool) -> Any:
        """Train a layer that is in this state; return the batch, its new state and the claims."""
        case = self._batch(k, state)
        y = contract.run_layer(self.target, case.x, layer, True, elsewhere)
        now = self._read(layer)
        claims = [agrees("y in training", case, y, expected.output(case))]
        if now.mean is not None and now.var is not None and state.mean is not None:
            mean, var = expected.running(self._weighted(case, now), *initial(case))
            claims += parameter_agrees("running_mean", now.mean, mean)
            claims += parameter_agrees("running_var", now.var, var)
        if now.count is not None and state.count is not None:
            claims.append(_count("count of batches", now.count, state.count + 1))
        return case, now, claims

    def _weighted(self, case: Case, now: LayerState) -> Case:
        """Return the case with the momentum that weighs its batch as the layer's count says."""
        if "cumulative average" not in self.target.offers or not now.count:
            return case
        update = case.conventions.momentum == "update"
        momentum = 1 / now.count if update else (now.count - 1) / now.count
        return replace(case, momentum=momentum)

    def _unmoved(self, after: str) -> Iterable[Claim]:
        """Claim that the layer's state is what it was, to the bit."""
        yield from _same(self._read(self.layer), self.state, after)

    def train(self, k: int) -> Iterable[Claim]:
        """Train on batch k: its output, and the state averaged once."""
        case, self.state, claims = self._trained(self.layer, k, self.state, False)
        self.last, self.gone = ("train", case), False
        return claims

    def train_elsewhere(self, k: int) -> Iterable[Claim]:
        """Train on batch k in another thread; what goes back through it is that thread's own."""
        _, self.state, claims = self._trained(self.layer, k, self.state, True)
        self.last = None
        return claims

    def infer(self, k: int) -> Iterable[Claim]:
        """Infer on batch k at the present state, which stays."""
        mean, var = self.state.mean, self.state.var
        if "forward_eval" not in self.target.offers or mean is None or var is None:
            return
        case = self._batch(k, self.state)
        y = contract.run_layer(self.target, case.x, self.layer, False, False)
        yield agrees("y in inference", case, y, expected.eval_output(case, mean, var))
        yield from self._unmoved("after inference")
        self.last = ("eval", case) if "backward_eval" in self.target.offers else None
        self.gone = False

    def go_back(self, k: int) -> Iterable[Claim]:
        """Go back through the last forward, of training or inference; the state stays."""
        if self.last is None or "backward_train" not in self.target.offers:
            return
        mode, case = self.last
        got = contract.go_back(self.target, case.dy, self.layer, case.gamma)
        wanted = self._gradients()
        yield agrees(f"dx of a backward in {mode}", case, got.dx, wanted["dx"])
        if not self.backwards:  # a later one may add to what the first has left
            yield from parameter_agrees("dgamma", got.dgamma, wanted["dgamma"])
            yield from parameter_agrees("dbeta", got.dbeta, wanted["dbeta"])
        yield from self._unmoved("after backward")
        self.gone, self.backwards = True, self.backwards + 1

    def _gradients(self) -> Any:
        assert self.last is not None
        mode, case = self.last
        if mode == "train":
            return expected.gradients(case)
        assert case.running_mean is not None and case.running_var is not None
        return expected.eval_gradients(case, case.running_mean, case.running_var)

    def go_back_again(self, k: int) -> Iterable[Claim]:
        """Go back a second time, where the layer still can."""
        if not self.gone:
            return ()
        try:
            return list(self.go_back(k))
        except Raised:  # it gave up what it had saved, as it may
            self.last, self.gone = None, False
            return ()

    def copy(self, k: int) -> Iterable[Claim]:
        """Copy the layer, train the copy, and go on with it; the first one stays as it was."""
        how = COPIES[k % 3]
        try:
            other = contract.copy_layer(self.target, self.layer, how)
        except Raised:  # not everything can be copied in every way
            return
        yield from _same(self._read(other), self.state, f"of a copy by {how}")
        case, state, claims = self._trained(other, k + 1, self.state, False)
        yield from claims
        yield from self._unmoved(f"after its copy by {how} trained")
        self.layer, self.state, self.last, self.gone = other, state, ("train", case), False


def _same(now: LayerState, before: LayerState, when: str) -> Iterable[Claim]:
    for name, got, want in (("mean", now.mean, before.mean), ("var", now.var, before.var)):
        if got is not None and want is not None:
            yield same_bits(f"running_{name} {when}", got, want)
    if now.count is not None and before.count is not None:
        yield _count(f"count of batches {when}", now.count, before.count)


def _count(quantity: str, got: int, want: int) -> Claim:
    return Claim(quantity, np.array([[float(got)]]), np.array([[float(want)]]), np.zeros((1, 1)))


_NEEDS = ("new_layer",)


@invariant("layer_recomputes_in_backward", *_NEEDS, "backward_train", inputs="tracked", weight=0.5)
def only_training_moves_a_layer(target: Target, case: Case) -> Iterable[Claim]:
    """A layer's running statistics and count move in training, and at nothing else.

    Read again after a backward, a second one, inference and a backward through that; what the
    layer computes is for others to judge.
    """
    life = Life(target, case)
    for name in ("train", "go_back", "go_back_again", "infer", "go_back"):
        for claim in life.step(name, 0):
            if claim.quantity.startswith(("running_", "count")):
                yield claim


@invariant("layer_shares_its_state", *_NEEDS, inputs="sequence", weight=0.5)
def a_layer_lives_by_the_model(target: Target, case: Case) -> Iterable[Claim]:
    """A layer that is trained, asked, taken back and copied in any order follows the model.

    Its running statistics are the stated averages of the batches it has seen, and nothing else.
    """
    life, random = Life(target, case), case.random(13)
    for _ in range(8):
        yield from life.step(Life.STEPS[random.integers(len(Life.STEPS))], int(random.integers(3)))
