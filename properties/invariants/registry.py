"""What an invariant is: a plain function named as the fact it states, and how to exercise it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..model.cases import Case
from ..model.contract import Target
from ..model.verdict import Claim

Check = Callable[[Target, Case], Iterable[Claim]]


@dataclass(frozen=True)
class Invariant:
    """A fact about batch norm.

    Attributes:
        name: the fact, as an identifier.
        check: from a target and a case to claims.
        needs: what a target has to offer.
        plant: the name of the planted error that this invariant catches (`mutants.planted`).
        inputs: the kind of cases it is exercised on (`strategies.INPUTS`).
        weight: its share of the examples that are asked for.
    """

    name: str
    check: Check
    needs: tuple[str, ...]
    plant: str
    inputs: str
    weight: float

    @property
    def sentence(self) -> str:
        """The fact as a sentence: the first line of the docstring."""
        return (self.check.__doc__ or "").strip().splitlines()[0].rstrip(".")


INVARIANTS: dict[str, Invariant] = {}
USUAL = 0.75  # of the examples that are asked for: one carries many channels


def invariant(
    plant: str, *needs: str, inputs: str = "batch", weight: float = USUAL, alone: bool = False
) -> Callable[[Check], Check]:
    """Register a check under its name; forward_train is needed unless it stands alone."""

    def register(check: Check) -> Check:
        name = check.__name__
        all_needs = needs if alone else ("forward_train", *needs)
        INVARIANTS[name] = Invariant(name, check, all_needs, plant, inputs, weight)
        return check

    return register
