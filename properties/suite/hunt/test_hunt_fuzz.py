"""The quantities of bn as Hypothesis tests, one each, which a fuzzer can run without end."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from properties.engine.strategies import Inputs, recipes
from properties.hunt.measure import measure
from properties.hunt.quantities import QUANTITIES
from properties.model.cases import WELL, Recipe, build
from properties.model.contract import Target
from properties.targets.open import loaded


@cache
def bn() -> Target:
    """Return the built-in batch norm, probed once."""
    return loaded("bn")


def drawn() -> st.SearchStrategy[Recipe]:
    """Return recipes that every quantity is certified on."""
    kind = Inputs(regimes=WELL, n=(2, 20), affine=True, tracked=True)
    return recipes(kind, bn().conventions, bn().offers)


@pytest.mark.parametrize("name", QUANTITIES)
@settings(max_examples=20, deadline=None)
@given(recipe=drawn())
@pytest.mark.slow(but_one_in=3)
def test_bn_stays_within_its_radius(name: str, recipe: Recipe) -> None:
    """No batch that is drawn, or that a fuzzer comes upon, takes bn beyond its radius."""
    case = build(recipe, bn().conventions)
    points, message = measure(bn(), QUANTITIES[name], case)
    worst = max(point.multiple for point in points)
    target(min(worst, 2.0), label="multiple of the radius")
    if worst > 1.0:
        raise AssertionError(f"{name} lies {worst} times its radius off: {message or recipe}")
