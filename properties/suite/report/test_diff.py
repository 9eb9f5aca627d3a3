"""`bncheck diff`: what changed, what of it is for the worse, and what is no result at all."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

ROW = {
    "name": "jacobian_is_symmetric",
    "verdict": "pass",
    "examples": 10,
    "decisive": 9,
    "strength": 1e-6,
    "worst": 0.25,
    "counterexample": None,
    "message": "",
}
RUN = {
    "bncheck": "0.1.0",
    "target": "mine.py",
    "conventions": {"momentum": "keep", "dtypes": ["float32"]},
    "versions": {"numpy": "2.0"},
    "seed": 1,
    "complete": True,
    "verdict": "pass",
    "invariants": [ROW, {**ROW, "name": "output_follows_scale"}],
}
FAILED = """jacobian_is_symmetric: it is.
  at      <Ju, v>[0]  (value, channel)
  got     2.0
  wanted  1.0
  again   bncheck run mine.py --only jacobian_is_symmetric --seed 1 --examples 10"""
ANSWER = {"question": "momentum", "verdict": "found", "value": "keep"}
GRADE = {"quantity": "y", "dtype": "float32", "layout": "(n, c)", "n": 16, "grade": "A"}
EXACT = {"quantity": "y", "dtype": "float32", "layout": "(n, c)", "n": 16, "exact": True}
PROBE = {
    "bncheck": "0.1.0",
    "versions": {"numpy": "2.0"},
    "targets": [{"target": "mine", "answers": [ANSWER], "accuracy": [GRADE], "exact": [EXACT]}],
}


@pytest.fixture
def diff(bncheck: Run, tmp_path: Path) -> Run:
    """Run `bncheck diff` on two documents."""

    def run(old: Any, new: Any, *more: object) -> Any:
        for name, content in (("old.json", old), ("new.json", new)):
            (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
        return bncheck("diff", tmp_path / "old.json", tmp_path / "new.json", *more)

    return run


def changed(content: Any, *path: Any, to: Any) -> Any:
    """Return a copy of a document with another value at the end of the path."""
    found = copy.deepcopy(content)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return found


def test_equal_results_have_no_changes(diff: Run) -> None:
    """Nothing changed is said so, with status 0, for both kinds of results."""
    for content in (RUN, PROBE):
        ran = diff(content, content)
        assert (ran.status, ran.out) == (0, "nothing changed\n")


def test_a_new_failure_is_worse_and_says_how_to_see_it(diff: Run) -> None:
    """The place, the numbers and the command stand below it, and the status is 1."""
    failed = {**ROW, "verdict": "fail", "message": FAILED, "worst": "inf"}
    ran = diff(RUN, changed(RUN, "invariants", 0, to=failed))
    assert ran.status == 1
    assert "worse    jacobian_is_symmetric: pass -> fail" in ran.out
    assert "got 2.0; wanted 1.0" in ran.out
    assert "again   bncheck run mine.py --only jacobian_is_symmetric --seed 1" in ran.out
    back = diff(changed(RUN, "invariants", 0, to=failed), RUN)
    assert back.status == 0
    assert "better   jacobian_is_symmetric: fail -> pass" in back.out


@pytest.mark.parametrize(
    ("old", "new", "direction"),
    [
        ("pass", "undecided", "worse"),
        ("pass", "not offered", "worse"),
        ("pass", "expected failure", "worse"),
        ("expected failure", "fail", "worse"),
        ("expected failure", "unexpected pass", "better"),
        ("undecided", "pass", "better"),
        ("undecided", "not offered", "changed"),
    ],
)
def test_each_verdict_has_its_direction(diff: Run, old: str, new: str, direction: str) -> None:
    """What held and no longer does is worse; a deviation that has gone is better."""
    pair = [changed(RUN, "invariants", 0, "verdict", to=verdict) for verdict in (old, new)]
    ran = diff(*pair)
    assert ran.out.startswith(f"{direction:<8} jacobian_is_symmetric: {old} -> {new}")
    assert ran.status == (direction == "worse")


def test_a_part_is_held_against_the_whole(diff: Run) -> None:
    """Where a new entry of the registry splits an invariant, its parts follow what it was."""
    parts = [
        {**ROW, "where": "float32"},
        {**ROW, "verdict": "expected failure", "where": "float16"},
        RUN["invariants"][1],  # type: ignore[index]
    ]
    ran = diff(RUN, {**RUN, "invariants": parts})
    assert ran.status == 1
    assert "worse    jacobian_is_symmetric [float16]: pass -> expected failure" in ran.out
    assert "removed" not in ran.out


def test_what_came_and_went_is_told(diff: Run) -> None:
    """A removed invariant is no worse; one that an interrupted run lacks is not reached."""
    fewer = {**RUN, "invariants": [ROW]}
    ran = diff(RUN, fewer)
    assert (ran.status, "output_follows_scale: pass -> removed" in ran.out) == (0, True)
    assert "pass -> not reached" in diff(RUN, {**fewer, "complete": False}).out
    assert "output_follows_scale: new -> pass" in diff(fewer, RUN).out
    failing = changed(RUN, "invariants", 1, "verdict", to="fail")
    assert diff(fewer, failing).status == 1


def test_conventions_versions_and_figures_are_told(diff: Run) -> None:
    """More dtypes are better, fewer worse; other conventions, versions, evidence only changed."""
    ran = diff(RUN, changed(RUN, "conventions", "momentum", to="update"))
    assert (ran.status, "changed  convention momentum: keep -> update" in ran.out) == (0, True)
    more = diff(RUN, changed(RUN, "conventions", "dtypes", to=["float32", "float64"]))
    assert (more.status, more.out[:6]) == (0, "better")
    assert diff(changed(RUN, "conventions", "dtypes", to=["float32", "float64"]), RUN).status == 1
    new = changed(changed(RUN, "versions", "numpy", to="3.0"), "invariants", 0, "worst", to=0.75)
    ran = diff(RUN, new)
    assert ran.status == 0
    assert "version of numpy: 2.0 -> 3.0" in ran.out
    assert "jacobian_is_symmetric: worst error / allowed 2.5e-01 -> 7.5e-01" in ran.out


def test_probes_are_compared_by_answer_class_and_exactness(diff: Run) -> None:
    """An answer that weights rely on, a lower class and a lost exactness are worse."""
    at = ("targets", 0)
    answer = diff(PROBE, changed(PROBE, *at, "answers", 0, "value", to="update"))
    assert (answer.status, "mine: momentum: keep -> update" in answer.out) == (1, True)
    grade = changed(PROBE, *at, "accuracy", 0, "grade", to="C")
    assert "accuracy class of y, float32, (n, c): A -> C" in diff(PROBE, grade).out
    assert [diff(PROBE, grade).status, diff(grade, PROBE).status] == [1, 0]
    assert diff(PROBE, changed(PROBE, *at, "exact", 0, "exact", to=False)).status == 1
    other = {**ANSWER, "question": "deterministic"}
    kept = [changed(PROBE, *at, "answers", 0, to={**other, "value": v}) for v in ("yes", "no")]
    assert diff(*kept).status == 0
    broken = changed(PROBE, *at, to={"target": "mine", "error": "it does not import"})
    assert diff(PROBE, broken).status == 1


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}",
     '{"invariants": [{}], "target": "x"}', '{"invariants": []}', '{"targets": [1]}',
     '{"targets": [{"target": "x"}]}', '{"targets": 3}', '{"invariants": 3}', "\x00", "[" * 9999],
)  # fmt: skip
def test_a_wrong_file_is_one_line(bncheck: Run, tmp_path: Path, content: str) -> None:
    """A file that is no result is status 2, named with what was expected."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(RUN), encoding="utf-8")
    bad.write_text(content, encoding="utf-8")
    ran = bncheck("diff", good, bad)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(f"bncheck: NEW={bad}: ")
    assert ran.err.endswith("expected a file of bncheck run --json or bncheck probe --json\n")


def test_kinds_and_paths_must_fit(bncheck: Run, diff: Run, tmp_path: Path) -> None:
    """A run against a probe, a file that is not there, and a folder to write to are status 2."""
    assert "expected one of bncheck run" in diff(RUN, PROBE).err
    assert diff(RUN, PROBE).status == 2
    absent = bncheck("diff", tmp_path / "absent.json", tmp_path / "old.json")
    assert (absent.status, "OLD=" in absent.err) == (2, True)
    assert diff(RUN, RUN, "--json", tmp_path).status == 2


def test_the_json_holds_the_changes_and_the_counterexample(diff: Run, tmp_path: Path) -> None:
    """What a script needs of each change: direction, command, and the new counterexample."""
    entry = {"sentence": "s", "source": "x", "calls": []}
    failed = {**ROW, "verdict": "fail", "message": FAILED, "counterexample": entry}
    out = tmp_path / "changes.json"
    diff(RUN, changed(RUN, "invariants", 0, to=failed), "--json", out)
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["worse"] == 1
    (change,) = (c for c in written["changes"] if c["direction"] == "worse")
    assert change["counterexample"] == entry
    assert change["again"].startswith("bncheck run mine.py --only jacobian_is_symmetric")


@pytest.mark.slow
def test_a_real_run_against_a_planted_error_is_worse(
    bncheck: Run, on_bn: Callable[..., Path], tmp_path: Path
) -> None:
    """Two runs of the command, one of an implementation that lost a factor, differ so."""
    wrong = """
    def backward_train(dy, saved):
        dx, dgamma, dbeta = bn.backward_train(dy, saved)
        return dx, dgamma, dbeta / dy.shape[0]
    """
    only = ("--only", "beta_gradient_is_sum_of_dy", "--examples", "20", "--seed", "1", "--json")
    bncheck("run", on_bn(""), *only, tmp_path / "old.json")
    bncheck("run", on_bn(wrong), *only, tmp_path / "new.json")
    ran = bncheck("diff", tmp_path / "old.json", tmp_path / "new.json")
    assert (ran.status, "worse    beta_gradient_is_sum_of_dy: pass -> fail" in ran.out) == (1, True)
    assert "again   bncheck run" in ran.out
