"""The registry of expected failures: what it says, and what a wrong entry is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bn
from properties.engine.exercise import Result
from properties.model.contract import DTYPES, Target, TargetError
from properties.run.expectations import REGISTRY, Expectation, only_dtypes, read, results_of
from properties.targets.adapters.installed import named
from properties.targets.offers import probed
from properties.targets.open import loaded

REFERENCE = "output_agrees_with_reference"
LINK = "https://example.org/issue/1"


def wrong_in(*dtypes: str) -> Target:
    """Return bn with an output that is one too large in these dtypes."""

    def forward_train(x: Any, *args: Any, **options: Any) -> Any:
        y, *rest = bn.forward_train(x, *args, **options)
        return (y + 1 if x.dtype.name in dtypes else y), *rest

    return probed("theirs", {"forward_train": forward_train}, bn.CONVENTIONS)


def expected(*dtypes: str, target: str = "theirs", invariant: str = REFERENCE) -> Expectation:
    return Expectation(target, invariant, "it adds one", LINK, dtypes)


def results(target: Target, *entries: Expectation) -> list[tuple[str, str]]:
    """Return verdict and place of each result, and check what every message must hold."""
    found = list(results_of(target, REFERENCE, entries, examples=20, seed_number=1))
    for result in found:
        if result.verdict in ("expected failure", "unexpected pass"):
            assert "it adds one" in result.message
            assert LINK in result.message
    return [(result.verdict, result.where) for result in found]


def test_a_registered_failure_is_expected() -> None:
    """An entry without dtypes excuses the invariant wholly, with reason and link."""
    target = wrong_in(*DTYPES)
    assert results(target, expected()) == [("expected failure", "float32, float64, float16")]


def test_an_unregistered_failure_fails() -> None:
    """Without an entry, or with one for another target or invariant, a failure is a failure."""
    target = wrong_in(*DTYPES)
    others = [expected(target="bn"), expected(invariant="jacobian_is_symmetric")]
    assert results(target) == results(target, *others) == [("fail", "")]


def test_a_registered_failure_that_passes_is_unexpected() -> None:
    """A pass where a failure is registered says that the entry is to be taken out."""
    found = list(results_of(wrong_in(), REFERENCE, [expected()], examples=20, seed_number=1))
    assert [result.verdict for result in found] == ["unexpected pass"]
    assert found[0].message.endswith("take the entry out")


def test_a_rare_failure_may_pass() -> None:
    """An entry that is marked as rare excuses a failure, and lets a pass be a pass."""
    rare = replace(expected(), rare=True)
    assert [verdict for verdict, _ in results(wrong_in(), rare)] == ["pass"]
    assert [verdict for verdict, _ in results(wrong_in(*DTYPES), rare)] == ["expected failure"]


def test_dtypes_split_an_invariant() -> None:
    """An entry for some dtypes excuses these alone; the others are held to the fact."""
    assert results(wrong_in("float16"), expected("float16")) == [
        ("pass", ""), ("expected failure", "float16")]  # fmt: skip
    assert results(wrong_in("float16", "float64"), expected("float16")) == [
        ("fail", ""), ("expected failure", "float16")]  # fmt: skip
    assert results(wrong_in("float16"), expected("float16", "float64")) == [
        ("pass", ""), ("expected failure", "float64, float16")]  # fmt: skip


def test_the_parts_draw_their_own_dtypes_alone() -> None:
    """No example of an excused dtype is drawn where the others are held to the fact."""
    seen: list[set[str]] = []
    whole = wrong_in()

    def forward_train(x: Any, *args: Any, **options: Any) -> Any:
        seen[-1].add(x.dtype.name)
        return bn.forward_train(x, *args, **options)

    target = replace(whole, functions={"forward_train": forward_train})
    seen.append(set())
    parts = results_of(target, REFERENCE, [expected("float64")], examples=30, seed_number=1)
    next(parts)
    seen.append(set())
    list(parts)
    assert seen == [{"float32", "float16"}, {"float64"}]


def test_an_entry_for_what_the_target_lacks_is_passed_over() -> None:
    """An entry for a dtype that is not offered here (bfloat16, say) changes nothing."""
    assert results(wrong_in(), expected("bfloat16")) == [("pass", "")]


def test_a_lack_of_evidence_stays_one() -> None:
    """What is registered and not offered is neither an expected failure nor an unexpected pass."""
    target = replace(wrong_in(), offers=wrong_in().offers - {"forward_train"})
    assert [verdict for verdict, _ in results(target, expected())] == ["not offered"]


def test_an_entry_may_be_for_calls_without_gamma_and_beta() -> None:
    """Where a failure shows only without gamma and beta, calls with them are held to the fact."""

    def forward_train(x: Any, gamma: Any, *args: Any, **options: Any) -> Any:
        y, *rest = bn.forward_train(x, gamma, *args, **options)
        return (y + 1 if gamma is None else y), *rest

    target = probed("theirs", {"forward_train": forward_train}, bn.CONVENTIONS)
    entry = replace(expected(), without="gamma and beta")
    verdicts = [result[0] for result in results(target, entry)]
    assert verdicts == ["pass", "expected failure"]
    right = [result[0] for result in results(wrong_in(), entry)]
    assert right == ["pass", "unexpected pass"]
    both = [result[0] for result in results(wrong_in(*DTYPES), entry)]
    assert both == ["fail", "expected failure"]


def test_only_dtypes_takes_the_others_away() -> None:
    """The target then neither states nor offers them, and is otherwise the same."""
    target = loaded("bn")
    part = only_dtypes(target, ["float64", "bfloat16"])
    assert part.conventions.dtypes == ("float64",)
    assert target.offers - part.offers == {"float32", "float16"}
    assert part.functions is target.functions


# --- the file ------------------------------------------------------------------------------------

GOOD = {"target": "torch", "invariant": REFERENCE, "reason": "known", "link": LINK}


@pytest.fixture
def registry(tmp_path: Path) -> Callable[..., Path]:
    """Write a registry of one entry, or of a text."""

    def write(text: str = "", **changes: Any) -> Path:
        entry = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
        lines = "".join(f"{key} = {value!r}\n" for key, value in entry.items())
        path = tmp_path / "expected.toml"
        path.write_text(text or f"[[expected]]\n{lines}", encoding="utf-8")
        return path

    return write


def test_a_good_registry_is_read(registry: Callable[..., Path]) -> None:
    """An entry comes back with its fields, an empty file as no entry."""
    (entry,) = read(registry(dtypes=["float16"]))
    assert entry == Expectation(**GOOD, dtypes=("float16",))
    assert read(registry("# nothing")) == []


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no reason": ({"reason": None}, r"entry 1: missing \['reason'\], unknown \[\]"),
    "no link": ({"link": None}, r"entry 1: missing \['link'\]"),
    "an unknown field": ({"because": "so"}, r"unknown \['because'\]"),
    "an unknown invariant": (
        {"invariant": "all_is_well"},
        "invariant='all_is_well' does not exist",
    ),
    "an unknown dtype": ({"dtypes": ["int8"]}, r"dtypes=.*int8.*: expected a list out of"),
    "a dtype by itself": ({"dtypes": "float16"}, r"dtypes=.*: expected a list out of"),
    "a number for dtypes": ({"dtypes": 16}, r"dtypes=16: expected a list out of"),
    "a link that is none": ({"link": "see above"}, "link='see above': expected an https address"),
    "a reason that is no text": ({"reason": 3}, "reason=3: expected a text"),
    "an empty reason": ({"reason": " "}, "reason=' ': expected a text"),
    "a rarity that is no truth": ({"rare": "so so"}, "rare='so so': expected true or false"),
    "an unknown part": ({"without": "x"}, "without='x': expected one of"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_entry_is_one_line(registry: Callable[..., Path], case: str) -> None:
    """A field that is missing, unknown or names what does not exist: which entry, what, wanted."""
    changes, text = WRONG[case]
    with pytest.raises(TargetError, match=text) as caught:
        read(registry(**changes))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("registry=")


TEXTS = {
    "no TOML": ("[[expected", "it cannot be read: "),
    "a misspelt table": (
        "[[expect]]\ntarget = 'torch'",
        r"unknown \['expect'\]: expected \[\[expected\]\]",
    ),
    "a number": ("expected = 3", r"expected=3: expected \[\[expected\]\] tables"),
    "a list of numbers": ("expected = [3]", r"expected=\[3\]: expected \[\[expected\]\] tables"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_file_that_is_no_registry_is_one_line(registry: Callable[..., Path], case: str) -> None:
    """A file that does not parse, or has other tables than [[expected]], is told so."""
    text, wanted = TEXTS[case]
    with pytest.raises(TargetError, match=wanted):
        read(registry(text))


def test_a_missing_registry_is_one_line(tmp_path: Path) -> None:
    """A path at which there is nothing is an error, not an empty registry."""
    with pytest.raises(
        TargetError, match=r"registry=.*nowhere.toml: it cannot be read: .*No such file"
    ):
        read(tmp_path / "nowhere.toml")


def test_the_shipped_registry_is_whole() -> None:
    """Every shipped entry names a built-in target, a fact, a reason and a link, each pair once."""
    entries = read(REGISTRY)
    assert all(named(entry.target) for entry in entries)
    keys = [(entry.target, entry.invariant, entry.dtypes, entry.without) for entry in entries]
    assert len(keys) == len(set(keys))
    for entry in entries:
        assert len(entry.reason) > 20, f"{entry.reason!r} says too little"


def test_a_result_is_not_changed_by_an_entry_that_does_not_apply() -> None:
    """A failure keeps its counterexample beside an entry for another dtype."""
    found: list[Result] = list(
        results_of(
            wrong_in("float64"), REFERENCE, [expected("float16")], examples=20, seed_number=1
        )
    )
    assert found[0].verdict == "fail"
    assert found[0].case is not None
    assert found[0].case.x.dtype == np.float64
