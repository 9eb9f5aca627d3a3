"""A counterexample of many channels comes down to its channel, or to where it begins to fail."""

from __future__ import annotations

import numpy as np
import pytest

from properties.bugs.catalogue import SEED, built
from properties.bugs.elsewhere import BODIES
from properties.engine.exercise import run_invariant
from properties.engine.shrinking import smallest
from properties.invariants import INVARIANTS
from properties.model.cases import Case, Recipe, build
from properties.plants.textbook import Pieces

WIDE = Recipe(n=9, channels=257, spatial=(3, 2), dtype="float64", bits=5, seed=4, regime="offset",
              mixed=("offset", "unit_scale", "outlier"), gamma="ordinary")  # fmt: skip


def test_a_channel_that_fails_alone_is_left_alone() -> None:
    """Of 257 channels the one that was seen to fail is kept, with few rows and places."""
    case = build(WIDE, SEED)
    tall = int(np.argmax(np.abs(case.x).max(axis=(0, 2, 3))))
    limit = np.abs(case.x).max() * 0.99
    found, told = smallest(case, tall, lambda c: bool(np.abs(c.x).max() >= limit))
    assert found.x.shape[1] == 1 and told == ""
    assert found.x.size <= 4


def test_from_how_many_channels_on_is_said() -> None:
    """A failure that needs seventeen channels keeps seventeen, and says so."""
    found, told = smallest(build(WIDE, SEED), 200, lambda c: c.x.shape[1] >= 17)
    assert found.x.shape == (2, 17, 1, 1)
    assert told == "it fails from 17 channels on, and not with fewer"


@pytest.mark.parametrize(("name", "least"), [
    ("channel_tail_is_its_first_channel", 18), ("view_read_from_the_start_of_its_buffer", 0),
])  # fmt: skip
def test_bugs_of_sizes_and_places_are_seen(name: str, least: int) -> None:
    """A default run meets 18 channels, and views that begin inside a larger buffer."""
    target = built("wrong", BODIES[name], SEED)
    invariant = "output_agrees_with_reference" if least else "memory_layout_does_not_matter"
    result = run_invariant(target, INVARIANTS[invariant], seed_number=1, strict=False)
    assert result.verdict == "fail" and result.case is not None
    if least:
        c = result.case.x.shape[1]
        assert least <= c < 24, "two channels may happen to agree"
        assert f"it fails from {c} channels on" in result.message


def test_many_channels_have_many_regimes() -> None:
    """Of 64 channels each has one of the regimes, levels and gammas, and pick keeps its columns."""
    case = build(WIDE, SEED)
    means = np.abs(case.x.mean(axis=(0, 2, 3)))
    assert means.max() > 8 * means.min()
    assert case.gamma is not None and {-1.0, 0.0, 1.0} == set(np.sign(case.gamma))
    kept: Case = build(Recipe(**{**vars(WIDE), "pick": (3, 250)}), SEED)
    np.testing.assert_array_equal(kept.x, case.x[:, [3, 250]])
    np.testing.assert_array_equal(kept.dy, case.dy[:, [3, 250]])
    assert kept.gamma is not None
    np.testing.assert_array_equal(kept.gamma, case.gamma[[3, 250]])


def test_evidence_counts_channels() -> None:
    """A pass counts the channels in which the planted error would have shown."""
    result = run_invariant(
        built("right", Pieces(), SEED), INVARIANTS["output_agrees_with_reference"], examples=60
    )
    assert result.verdict == "pass"
    assert result.channels > 10 * result.decisive > 0
