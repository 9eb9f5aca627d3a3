"""The regime of real activations: what it draws is what was recorded, gradients with their rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from properties.model.cases import FINITE, WELL, Case, Recipe, build, recordings
from properties.model.contract import Conventions

RECIPE = Recipe("recorded", n=30, channels=3, bits=6, seed=4, dtype="float32")


def drawn(**changes: Any) -> Case:
    return build(replace(RECIPE, **changes), Conventions())


def test_the_regime_is_drawn_and_is_not_ill_conditioned() -> None:
    """The property run draws it for every invariant that takes well-conditioned inputs."""
    assert "recorded" in FINITE and "recorded" in WELL


@pytest.mark.parametrize("level", range(len(recordings())))
def test_rows_and_gradients_are_those_of_one_recording(level: int) -> None:
    """Every pair of x and dy stands in the recording, dy times one power of two."""
    case, (x, dy) = drawn(level=level), recordings()[level]
    pairs = {(float(a), float(b)) for a, b in zip(x.ravel(), dy.ravel(), strict=True)}
    largest = max(np.abs(dy[dy != 0]).max(), 1e-300)
    nonzero = np.abs(case.dy[case.dy != 0])
    scales = [2.0**k for k in range(-40, 41) if nonzero.size and nonzero.max() / 2.0**k <= largest]
    got = list(zip(case.x.ravel().tolist(), case.dy.ravel().tolist(), strict=True))
    assert any(all((a, b / s) in pairs for a, b in got) for s in scales)
    assert 0 < np.abs(case.dy).max() <= 2**6


def test_other_gradients_are_as_in_every_regime() -> None:
    """Only the generic gradient is the recorded one."""
    assert np.array_equal(drawn(dy="constant").dy, np.broadcast_to(drawn(dy="constant").dy[:1],
                                                                   (30, 3)))  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, 2])
def test_small_batches_are_drawn_too(n: int) -> None:
    """An empty batch, one row and two have their shape."""
    assert drawn(n=n).x.shape == drawn(n=n).dy.shape == (n, 3)
