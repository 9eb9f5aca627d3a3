"""The exam: what it scores, what it refuses to score, and that its tests tell bugs from right."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from properties.exam import pasted
from properties.exam.questions import PROGRAMS, STYLES, witness
from properties.exam.strength import NotALoss, loss_of, strength
from properties.exam.subjects import RIGHT, bugs, functions_of, variants

CODE = """
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    mean, var = x.mean(axis=0), x.var(axis=0)
    xhat = (x - mean) / np.sqrt(var + bn_param.get("eps", 1e-5))
    return gamma * xhat + beta, xhat

def batchnorm_backward(dout, cache):
    raise NotImplementedError
"""
HEAD = """
import sys, os, random
import numpy as np
from users_bn import batchnorm_forward
x = np.random.default_rng(0).normal(3.0, 2.0, (50, 4))
y, _ = batchnorm_forward(x, np.ones(4), np.zeros(4), {"mode": "train"})
"""
NORMAL = HEAD + "assert np.allclose(y.mean(0), 0) and np.allclose(y.var(0), 1, atol=1e-4)\n"


@pytest.fixture
def exam(
    bncheck: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Hold an exam of a test file on the NumPy code above, for the named subjects."""
    monkeypatch.chdir(tmp_path)
    Path("users_bn.py").write_text(CODE, encoding="utf-8")

    def held(test: str, only: list[str], *options: str) -> Any:
        Path("check.py").write_text(textwrap.dedent(test), encoding="utf-8")
        named = [word for name in only for word in ("--only", name)]
        what = ("--replace", "users_bn:batchnorm_forward")
        return bncheck("exam", *what, *named, *options, "--", sys.executable, "check.py")

    return held


ONLY = ["welford", "darknet-cpu-no-bias", "student-ddof1", "trt-fold-half"]


def test_a_suite_of_one_test(exam: Callable[..., Any], tmp_path: Path) -> None:
    """Mean 0 and variance 1 sees n - 1, misses beta, and the test for beta is verified."""
    before = sorted(os.listdir(tmp_path))
    ran = exam(NORMAL, ONLY, "--json", "result.json")
    found = json.loads(Path("result.json").read_text(encoding="utf-8"))
    marks = {mark["name"]: mark for mark in found["bugs"]}
    assert ran.status == 1, ran.err
    assert "your tests see 1 of 2 known bugs; too strict: 0 of 1" in ran.out
    assert marks["student-ddof1"]["outcome"] == "killed"
    assert marks["darknet-cpu-no-bias"]["outcome"] == "survived"
    assert marks["darknet-cpu-no-bias"]["verified"]
    assert marks["trt-fold-half"]["outcome"] == "not expressible"
    assert "a gamma other than 1" in found["never_shown"]
    left = set(os.listdir(tmp_path)) - {"check.py", "result.json"}
    assert left == set(before), "the exam left something behind"


def test_a_suite_that_asks_for_bits_is_too_strict(exam: Callable[..., Any]) -> None:
    """A test of the last bit accuses another right order of summation, and is told so."""
    strict = "assert y.tobytes() == (((x - x.sum(0) / 50) * (1 / np.sqrt("
    strict += "((x - x.sum(0) / 50) ** 2).sum(0) / 50 + 1e-5)))).tobytes()\n"
    ran = exam(HEAD + strict, ["welford", "student-ddof1"])
    assert ran.status == 1, ran.err
    assert "too strict: 1 of 1" in ran.out
    assert "welford" in ran.out


REFUSED = {
    "flaky": (NORMAL + "p = 'ran'\nif os.path.exists(p): sys.exit(1)\nopen(p, 'w').close()\n",
              3, "the command is flaky: with one right implementation it passed 1 of 2 times"),
    "failing": (HEAD + "assert False", 2, "the command fails as it is, exit 1: AssertionError"),
    "strange": (HEAD + "assert batchnorm_forward.__module__ == 'users_bn'", 2,
                "the command fails with a right implementation in place"),
    "unused": ("import json", 2, "the command never used users_bn:batchnorm_forward"),
    "uncalled": ("import users_bn", 2, "the command never used users_bn:batchnorm_forward"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_scored(exam: Callable[..., Any], name: str) -> None:
    """A flaky suite, one that fails anyway, and one that never uses the function: a line each."""
    test, status, text = REFUSED[name]
    ran = exam(test, ["student-ddof1"])
    assert (ran.status, ran.out) == (status, "")
    assert text in ran.err


def test_a_hang_is_a_kill(exam: Callable[..., Any]) -> None:
    """A command that does not end with a bug in place is ended, and the bug counts as seen."""
    test = HEAD + "while not np.allclose(y.var(0), 1, atol=1e-4): pass\n"
    ran = exam(test, ["student-ddof1"], "--timeout", "5")
    assert ran.status == 0, ran.err
    assert "your tests see 1 of 1" in ran.out


def test_an_exam_goes_on_where_it_was_cut(exam: Callable[..., Any]) -> None:
    """Marks in the folder are kept, and another exam does not take them for its own."""
    assert exam(NORMAL, ["student-ddof1"], "--out", "marks").status == 0
    path = Path("marks", "student-ddof1.json")
    mark = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**mark, "outcome": "survived"}), encoding="utf-8")
    assert exam(NORMAL, ["student-ddof1"], "--out", "marks").status == 1
    other = exam(NORMAL, ["student-ddof1"], "--out", "marks", "--timeout", "9")
    assert other.status == 2
    assert "--out=marks: it holds another exam: expected an empty folder" in other.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--replace", "bn", "--", "true"], "--replace=bn: expected package.module:name"),
        (["--replace", "bn:thing", "--", "true"], "its style is not clear; state --style"),
        (["--replace", "bn:forward_train"], "COMMAND is missing"),
        (["--replace", "bn:forward_train", "--only", "x", "--", "true"], "--only=x: no such bug"),
    ],
)
def test_bad_arguments(bncheck: Callable[..., Any], arguments: list[str], text: str) -> None:
    """What is wrong with the command is one line, with status 2."""
    ran = bncheck("exam", *arguments)
    assert (ran.status, text in ran.err) == (2, True), ran.err


def test_no_right_way_is_accused_by_a_question() -> None:
    """No question shows a difference in the right one or a right variant; others ask fewer."""
    for style in (STYLES["contract"], STYLES["torch"]):
        for name in (RIGHT, *variants()):
            assert witness(name, style.conventions(), style) is None, name


def test_every_test_is_short_and_tells_a_bug_from_right() -> None:
    """Each test in the contract's style has at most 12 lines, fails its bug and passes right."""
    import types

    style = STYLES["contract"]
    seen = 0
    for bug in bugs():
        shows = witness(bug, style.conventions(), style)
        if shows is None:
            continue
        seen += 1
        for name, passes in ((RIGHT, True), (bug, False)):
            module = types.ModuleType("users_contract")
            vars(module).update(functions_of(name, style.conventions()))
            test = pasted.test_of(shows, "contract", "users_contract", "forward_train", bug)
            assert len(test.splitlines()) <= pasted.LONGEST
            assert _passes(test, module) is passes, f"{bug} with {name} in place"
    assert seen > 80


def _passes(test: str, module: Any) -> bool:
    sys.modules["users_contract"] = module
    names: dict[str, Any] = {}
    try:
        exec(test, names)
        (found,) = (value for key, value in names.items() if key.startswith("test_"))
        with np.errstate(all="ignore"):
            found()
    except Exception:
        return False
    finally:
        del sys.modules["users_contract"]
    return True


def test_programs_are_read_by_what_they_give() -> None:
    """Each program's quantities are results of its last call."""
    from properties.exam.questions import QUESTIONS, run

    for program, quantities in PROGRAMS.items():
        conventions = STYLES["contract"].conventions()
        found = run(QUESTIONS[0], program, functions_of(RIGHT, conventions))
        assert set(quantities) == set(found)


def test_a_sum_shows_less_than_a_weighted_sum() -> None:
    """sum(y) cannot see the variance path; weights can; nothing shows what is within rtol."""
    weak, strong = (strength(text, (8, 3), 1e-3) for text in ("sum(y)", "sum(w*y)"))
    assert "variance path dropped" in weak.missed
    assert set(weak.seen) < set(strong.seen)
    assert "1 % too large" in strength("sum(w*y)", (8, 3), 0.02).missed
    assert "1 % too large" in strong.seen


@pytest.mark.parametrize(
    "text", ["y", "sum(z)", "sum(y", "__import__('os')", "sum(y).real", "1/0*y"]
)
def test_what_is_no_loss(text: str) -> None:
    """A text that is no formula of y, w and t, or no number, is refused and never run."""
    with pytest.raises(NotALoss, match="--loss="):
        loss_of(text)(np.ones((2, 1)), np.ones((2, 1)), np.ones((2, 1)))
