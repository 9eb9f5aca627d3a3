"""What a hunt finds and the registry of expected failures knows is marked as known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_hunt import hunted, one_pass

from properties.hunt import registered as module
from properties.hunt.quantities import QUANTITIES
from properties.hunt.registered import INVARIANTS, known
from properties.hunt.result import document
from properties.hunt.show import failures
from properties.hunt.table import Table
from properties.invariants import INVARIANTS as ALL
from properties.model.contract import Conventions, Target
from properties.plants.textbook import Pieces, implementation
from properties.run.expectations import Expectation, read

ENTRY = Expectation(
    "one.py", "running_statistics_follow_the_closed_form", "one pass", "https://example.org/1",
    dtypes=("float32",),
)  # fmt: skip


@pytest.fixture(scope="module")
def wrong() -> Target:
    return implementation(Pieces(variance=one_pass), Conventions(dtypes=("float32",)), "one.py")


@pytest.fixture(scope="module")
def table(wrong: Target) -> Table:
    return hunted(wrong, "running_var", "float32", 20, "mean/sd 1e1", "mean/sd 1e3")


def test_every_quantity_has_its_invariant() -> None:
    """Each quantity that is hunted is said by at least one invariant that exists."""
    assert set(INVARIANTS) == set(QUANTITIES)
    assert all(names and set(names) <= set(ALL) for names in INVARIANTS.values())


def test_a_deviation_in_the_registry_is_known(wrong: Target, table: Table) -> None:
    """An entry without a bound, and one whose bound holds, know what was found."""
    entry = replace(ENTRY, up_to=100.0, per="condition")
    for e in (ENTRY, entry):
        assert known(table, wrong, "running_var", "float32", [e]) is e


@pytest.mark.parametrize(
    "other",
    [
        {"up_to": 2.0},
        {"dtypes": ("float64",)},
        {"without": "gamma and beta"},
        {"target": "other.py"},
        {"invariant": "output_agrees_with_reference"},
    ],
)
def test_what_an_entry_does_not_expect_is_not_known(
    other: dict[str, object], wrong: Target, table: Table
) -> None:
    """A worse error, another dtype, other calls, another target or quantity are news."""
    entry = replace(ENTRY, **other)  # type: ignore[arg-type]
    assert known(table, wrong, "running_var", "float32", [entry]) is None


def test_nothing_that_holds_is_known(wrong: Target) -> None:
    """An entry is not named where nothing exceeds its radius."""
    found = hunted(wrong, "running_mean", "float32", 5, "mean/sd 1e1")
    assert known(found, wrong, "running_mean", "float32", [ENTRY]) is None


def test_the_output_and_the_file_say_so(
    wrong: Target, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason and link stand below the case and in the JSON, and not where it is news."""
    told = "one pass (https://example.org/1)"
    monkeypatch.setattr(module, "_registry", lambda: [ENTRY])
    assert f"  known     {told}" in failures(table, wrong, "again").splitlines()
    assert document(wrong, {}, table, 1, 1, "again")["smallest"][0]["known"] == told
    monkeypatch.setattr(module, "_registry", read)
    assert "known" not in failures(table, wrong, "again")
    assert document(wrong, {}, table, 1, 1, "again")["smallest"][0]["known"] == ""
