"""The stored kill matrix still holds: each kill by its fastest killer, no control accused."""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from properties.bugs.controls import controls
from properties.commands import kill_matrix as mutants_cli
from properties.engine.exercise import run_invariant
from properties.invariants import INVARIANTS
from properties.kills import causes as kill_causes
from properties.kills import matrix as kill_matrix
from properties.kills.causes import STORED as STORED_CAUSES
from properties.kills.causes import Told
from properties.kills.matrix import (
    Kill,
    Matrix,
    draw,
    fastest_killer,
    first_failure,
    right_ones,
    subjects,
    twins,
)
from properties.kills.tables import STORED, from_json, stored, summary, to_csv, to_json, to_markdown
from properties.run.diagnosis import causes
from properties.run.screen import heading, screen

MATRIX = stored()
CAUSES = STORED_CAUSES.read_text(encoding="utf-8")
FEW = 4  # examples of each invariant on each control


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What a mutant warns of is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_every_mutant_is_killed_and_no_control_accused() -> None:
    """The stored matrix has no survivor and accuses nothing that is right."""
    assert MATRIX.survivors() == []
    assert MATRIX.accused() == []


def test_the_matrix_is_of_the_present_mutants_and_invariants() -> None:
    """Who adds a mutant, a control or an invariant runs bncheck kill-matrix again."""
    assert set(MATRIX.mutants) == set(twins())
    assert set(MATRIX.controls) == set(controls())
    named = {name for cells in MATRIX.mutants.values() for name in cells}
    assert named <= set(INVARIANTS), named - set(INVARIANTS)


def test_the_median_kill_is_fast_and_small() -> None:
    """The median kill takes at most 20 examples, the median counterexample 8 numbers."""
    examples, numbers = MATRIX.medians()
    assert examples <= 20
    assert numbers <= 8


def test_every_invariant_kills_something() -> None:
    """No invariant is idle: each catches some known bug."""
    assert MATRIX.idle() == []


@pytest.mark.parametrize("name", sorted(subjects()))
def test_a_kill_is_not_lost(name: str) -> None:
    """The fastest killer still kills each mutant, and one screen says why."""
    kill = MATRIX.fastest[name]
    invariant, target = INVARIANTS[kill.invariant], subjects()[name]()
    options = {"examples": MATRIX.examples, "seed_number": MATRIX.seed}
    result = run_invariant(target, invariant, **options)
    assert result.verdict == "fail", f"{kill.invariant} no longer kills {name}"
    found = causes(target)
    text = screen(target, [result], found, MATRIX.seed, MATRIX.examples)
    flat = " ".join(text.split())
    assert found and all(cause.sentence in flat for cause in found), text
    assert len(f"{heading(target, 0)}\n{text}".splitlines()) <= 40, text
    (row,) = [row for row in CAUSES.splitlines() if row.startswith(f"| {name} |")]
    assert " **or** ".join(c.sentence for c in found).replace("|", "\\|") in row, row


def test_nearly_every_bug_is_called_by_its_name() -> None:
    """Of the 100 at least 90 are named, none wrongly; the table was read line by line."""
    verdicts = [row.split("|")[-2].strip() for row in CAUSES.splitlines() if row.startswith("| ")]
    assert verdicts[1:].count("own") + verdicts.count("one of several") >= 90
    assert "wrong" not in verdicts


def test_a_bug_that_is_misnamed_is_seen() -> None:
    """The verdict of the table tells a wrong name from the bug's own, and from silence."""
    names = (("momentum_swapped",),)
    assert Told("a", "", "momentum_swapped", names, ("",)).verdict == "own"
    assert Told("a", "", "eps_is_missing", names, ("",)).verdict == "wrong"
    assert Told("a", "", "eps_is_missing", (), ()).verdict == "silent"


@pytest.mark.parametrize("name", sorted(controls()))
def test_a_control_is_not_accused(name: str) -> None:
    """What is right passes every invariant that it offers."""
    target = right_ones()[name]()
    for invariant in INVARIANTS.values():
        if all(need in target.offers for need in invariant.needs):
            drawn = draw(invariant, target, FEW, MATRIX.seed)
            at = first_failure(target, drawn, invariant)
            assert at == 0, f"{invariant.name} accuses {name} at example {at}"


def _small() -> Matrix:
    return Matrix(
        3,
        10,
        {"a": {"output_agrees_with_reference": 2}, "b": {}},
        {"a": Kill("output_agrees_with_reference", 2, 4)},
        {"right": {}, "wronged": {"output_agrees_with_reference": 1}},
    )


def test_survivors_accused_and_lonely_kills_are_named() -> None:
    """The summary names who survives, who is accused, and who hangs on one invariant."""
    text = "\n".join(summary(_small()))
    assert "1 of 2 mutants killed, 1 of 2 controls accused (seed 3, 10 examples" in text
    assert "Surviving: b." in text
    assert "Accused: wronged." in text
    assert "a (output_agrees_with_reference)" in text
    assert "jacobian_is_symmetric" in text.split("kill nothing: ")[1]


def test_the_three_forms_say_the_same() -> None:
    """JSON reads back equal, CSV has a row per mutant and control, Markdown names each."""
    matrix = _small()
    assert from_json(json.loads(json.dumps(to_json(matrix)))) == matrix
    rows = list(csv.DictReader(to_csv(matrix).splitlines()))
    assert [row["name"] for row in rows] == ["a", "b", "right", "wronged"]
    assert rows[0]["output_agrees_with_reference"] == "2"
    text = to_markdown(matrix)
    assert "| b | none | - | - | 0 |" in text
    assert "| wronged | output_agrees_with_reference |" in text


def test_the_fastest_killer_is_no_bulky_one_where_another_kills() -> None:
    """Sequences and large batches count as fastest only where nothing else kills."""
    slow, bulky = "output_agrees_with_reference", "large_batches_lose_no_row"
    assert fastest_killer({bulky: 1, slow: 9}) == slow
    assert fastest_killer({bulky: 1}) == bulky


def test_the_stored_file_is_laid_out_as_written() -> None:
    """The stored matrix is sorted JSON, so that a change reads well in version control."""
    text = STORED.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bncheck kill-matrix")
    mutants_cli.add_arguments(parser)
    return parser.parse_args(words)


def test_mutants_lists_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """bncheck mutants names each mutant with its source, each control, and what cannot run."""
    assert mutants_cli.run_list(argparse.Namespace()) == 0
    out = capsys.readouterr().out
    assert "mutant        flux-n1-nan: " in out
    assert "not runnable  vbn-reset: needs reference batches" in out
    counts = f"{len(twins())} mutants, {len(controls())} controls, 14 not runnable"
    assert counts in out.splitlines()[-1]


def test_kill_matrix_writes_its_three_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints the summary, writes three files, and is 1 while something survives."""
    monkeypatch.setattr(kill_matrix, "run_matrix", lambda *given: _small())
    monkeypatch.setattr(kill_causes, "told", lambda: [Told("a", "", "a", (("a",),), ("b",))])
    assert mutants_cli.run(_arguments("--out", str(tmp_path))) == 1
    assert "Surviving: b." in capsys.readouterr().out
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["causes.md", "kill_matrix.csv", "kill_matrix.json", "kill_matrix.md"]
    assert stored(tmp_path / "kill_matrix.json") == _small()
