"""A case that fails an invariant as a corpus entry: the calls that it makes, and what is right."""

from __future__ import annotations

from typing import Any

from ..invariants import Invariant
from ..model.cases import Case
from ..model.contract import Target
from ..model.verdict import judge
from .entries import Calls, recorded
from .expected import with_expected

UNHELD = {"mask", "empty mask", "sync_forward_train", "sync_backward_train"}


def calls_of(target: Target, invariant: Invariant, case: Case) -> Calls:
    """Return the calls that an invariant makes on a case.

    None where only a machine drives it, or where they have what is not recorded: a mask, which
    targets are told in forms of their own, or ranks.
    """
    if invariant.inputs == "sequence" or UNHELD & set(invariant.needs):
        return []
    return recorded(target, lambda logged: judge(invariant.check(logged, case)))


def sentence_of(invariant: Invariant, case: Case) -> str:
    """Return what an entry is called."""
    what = case.recipe.regime.replace("_", " ")
    return f"{invariant.sentence}: {what}, {case.recipe.dtype} {list(case.x.shape)}"


def entry(target: Target, invariant: Invariant, case: Case) -> dict[str, Any]:
    """Return the corpus entry of a case that fails an invariant: calls, and what is right."""

    def make() -> dict[str, Any]:
        return {
            "sentence": sentence_of(invariant, case),
            "source": f"found by bncheck run {target.spec} --only {invariant.name}",
            "calls": with_expected(calls_of(target, invariant, case)),
        }

    # made once: the target is called for it, and may hang again
    found: dict[str, Any] = case.memo(("entry", target.spec, invariant.name), make)
    return found
