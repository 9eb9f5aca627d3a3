"""The quantities a hunt measures: the calls that give each, and what it must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..invariants.calls import evaluated, trained, trained_back
from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Array, Target
from ..model.further import tangents
from ..model.wanted import wanted


class Certified(NamedTuple):
    """A wanted value in rows, its radii (any order, pairs), the largest term per channel (1, c)."""

    value: Array
    radius: Array
    pairwise: Array
    term: Array


def certified(case: Case, name: str) -> Certified:
    """Return what the table of what is wanted says of a quantity."""
    found, pairs = wanted(case, name), wanted(case, name, pairwise=True)
    assert found.term is not None
    term = np.abs(found.term).max(axis=0, keepdims=True)
    return Certified(found.value, found.radius, pairs.radius, term)


@dataclass(frozen=True)
class Quantity:
    """A result of the contract.

    Attributes:
        name: as it stands in the table of what is wanted, and after --only.
        sentence: the fact that a failing case contradicts.
        needs: what a target has to offer.
        got: from a target and a case to the result, in rows.
        state: whether it has the dtype of the running statistics, not that of x.
        well: whether it is hunted only where the batch is not ill-conditioned on purpose.
    """

    name: str
    sentence: str
    needs: tuple[str, ...]
    got: Callable[[Target, Case], Array]
    state: bool = False
    well: bool = False


def _line(a: Array | None) -> Array:
    assert a is not None
    return a.astype(np.float64).reshape(1, -1)


def _trained(target: Target, case: Case, name: str) -> Array:
    found: Any = getattr(trained(target, case), name)
    return expected.rows(case, found) if name == "y" else _line(found)


def _gradient(target: Target, case: Case, name: str) -> Array:
    found: Any = getattr(trained_back(target, case), name)
    return expected.rows(case, found) if name == "dx" else _line(found)


def _eval_y(target: Target, case: Case) -> Array:
    return expected.rows(case, evaluated(target, case)[0])


def _eval_dx(target: Target, case: Case) -> Array:
    saved = evaluated(target, case)[1]
    return expected.rows(
        case, contract.backward(target, case.dy, saved, case.gamma, mode="eval").dx
    )


def _ty(target: Target, case: Case) -> Array:
    saved = trained(target, case).saved
    return expected.rows(case, contract.forward_mode(target, *tangents(case), saved))


def _second(target: Target, case: Case, which: int) -> Array:
    saved = trained(target, case).saved
    if "backward_train" in target.functions:
        contract.backward(target, case.dy, saved, case.gamma)
    found = contract.double_backward(target, *tangents(case), case.dy, saved)[which]
    return _line(found) if which == 1 else expected.rows(case, found)


def _all() -> list[Quantity]:
    back, second = ("backward_train",), ("double_backward_train",)
    found = [
        Quantity("y", "The output agrees with the reference", (),
                 partial(_trained, name="y")),
        *(Quantity(f"running_{of}", f"The running {what} agrees with the reference", (),
                   partial(_trained, name=f"running_{of}"), state=True)
          for of, what in (("mean", "mean"), ("var", "variance"))),
        Quantity("dx", "The input gradient agrees with the reference", back,
                 partial(_gradient, name="dx")),
        *(Quantity(f"d{of}", f"The gradient of {of} agrees with the reference", back,
                   partial(_gradient, name=f"d{of}"),
                   state=True)
          for of in ("gamma", "beta")),
        Quantity("eval_y", "The output in inference agrees with the reference",
                 ("forward_eval",), _eval_y),
        Quantity("eval_dx", "The input gradient in inference agrees with the reference",
                 ("forward_eval", "backward_eval"), _eval_dx),
        Quantity("ty", "The tangent of the output agrees with the reference", ("jvp_train",),
                 _ty, well=True),
        *(Quantity(f"by_{of}", f"The gradient of the backward by {of} agrees with the reference",
                   second, partial(_second, which=k),
                   state=of == "gamma", well=True)
          for k, of in enumerate(("x", "gamma", "dy"))),
    ]  # fmt: skip
    return found


QUANTITIES: dict[str, Quantity] = {quantity.name: quantity for quantity in _all()}
