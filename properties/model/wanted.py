"""The table of what is wanted: each quantity by name, with the radius of sums in either order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from . import expected, further
from .cases import Case
from .expected import Wanted


def _gradient(name: str, case: Case, pairwise: bool) -> Wanted:
    return expected.gradients(case, pairwise)[name]


def _running(which: int, case: Case, pairwise: bool) -> Wanted:
    return expected.running(case, *expected.initial(case), pairwise)[which]


def _eval_y(case: Case, _: bool) -> Wanted:
    assert case.running_mean is not None and case.running_var is not None
    return expected.eval_output(case, case.running_mean, case.running_var)


def _eval_gradient(name: str, case: Case, _: bool) -> Wanted:
    assert case.running_mean is not None and case.running_var is not None
    state = case.running_mean, case.running_var
    return case.memo("eval gradients", lambda: expected.eval_gradients(case, *state))[name]


def _ty(case: Case, pairwise: bool) -> Wanted:
    return further.tangent(case, further.tangent_rows(case), pairwise)


def _second(name: str, case: Case, pairwise: bool) -> Wanted:
    def make() -> dict[str, Wanted]:
        return further.seconds(case, further.tangent_rows(case), pairwise)

    return case.memo(("seconds", pairwise), make)[name]


WANTED: dict[str, Callable[[Case, bool], Wanted]] = {
    "y": expected.output,
    "running_mean": partial(_running, 0),
    "running_var": partial(_running, 1),
    **{name: partial(_gradient, name) for name in ("dx", "dgamma", "dbeta")},
    "eval_y": _eval_y,
    **{f"eval_{name}": partial(_eval_gradient, name) for name in ("dx", "dgamma", "dbeta")},
    "ty": _ty,
    **{name: partial(_second, name) for name in ("by_x", "by_gamma", "by_dy")},
}


def wanted(case: Case, name: str, *, pairwise: bool = False) -> Wanted:
    """Return what a quantity of the table must be, as rows; made once per case.

    Args:
        pairwise: with the radius of sums in pairs; nothing is summed in inference, where it is
            that of sums in any order.
    """
    return case.memo(("wanted", name, pairwise), lambda: WANTED[name](case, pairwise))
