"""Which failing cases of a hunt are deviations that the registry of expected failures knows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from ..model.contract import Target
from ..run.expectations import Expectation, entries_for, read
from .measure import Point, case_of
from .table import Table

INVARIANTS = {  # what each quantity says in `bncheck run`
    "y": ("output_agrees_with_reference", "output_is_invariant_to_shift"),
    "running_mean": ("running_statistics_follow_the_closed_form",),
    "running_var": ("running_statistics_follow_the_closed_form",),
    "dx": ("input_gradient_agrees_with_reference",),
    "dgamma": ("gamma_gradient_is_sum_of_dy_xhat",),
    "dbeta": ("beta_gradient_is_sum_of_dy",),
    "eval_y": ("inference_is_one_affine_map_per_channel",),
    "eval_dx": ("inference_gradients_agree_with_reference",),
    "ty": ("forward_mode_agrees_with_reference",),
    "by_x": ("double_backward_agrees_with_reference",),
    "by_gamma": ("double_backward_agrees_with_reference",),
    "by_dy": ("double_backward_agrees_with_reference",),
}
_registry = cache(read)


def known(
    found: Table,
    target: Target,
    quantity: str,
    dtype: str,
    registry: Iterable[Expectation] | None = None,
) -> Expectation | None:
    """Return the entry that expects what was found of a quantity in a dtype, None if none does.

    The worst case of every decade and the smallest of all must lie within what the entry expects.
    """
    smallest = found.smallest.get((quantity, dtype))
    points = [cell.closest for cell in found.of(quantity, dtype).values()]
    points += [smallest.point] if smallest else []
    failing = [point for point in points if point is not None and point.multiple > 1.0]
    entries = list(_registry() if registry is None else registry)
    for name in INVARIANTS[quantity]:
        for e in entries_for(entries, target.spec, name):
            if failing and all(_expects(e, target, point) for point in failing):
                return e
    return None


def _expects(e: Expectation, target: Target, point: Point) -> bool:
    case = case_of(target, point)
    meant = case.recipe.dtype in (e.dtypes or target.conventions.dtypes)
    lacks = not e.without or (case.gamma is None and case.beta is None)
    return meant and lacks and point.multiple <= e.allowed(case)
