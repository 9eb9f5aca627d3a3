"""The pytest plugin in a project of a user: `pytest --bn TARGET`."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from properties import plugin
from properties.invariants import INVARIANTS
from properties.run import expectations
from properties.suite.conftest import BN

REFERENCE = "output_agrees_with_reference"
GRADIENT = "input_gradient_agrees_with_reference"
SHIFTED = (
    BN
    + """
def forward_train(x, *args, **kwargs):
    y, mean, var, saved = bn.forward_train(x, *args, **kwargs)
    return y + 1, mean, var, saved
"""
)

Project = Callable[..., pytest.RunResult]


@pytest.fixture
def project(pytester: pytest.Pytester, clean_imports: None) -> Project:
    """Run pytest in a project with one target, one test of its own and few examples."""
    pytester.makepyfile(
        users_right=BN, users_wrong=SHIFTED, test_own="def test_of_the_user(): assert True"
    )

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(
            "-p", "properties.plugin", "--bn-profile", "quick", *arguments
        )

    return run


def test_without_the_option_nothing_is_added(project: Project) -> None:
    """A session without --bn runs the user's own tests alone and shows no section."""
    result = project()
    result.assert_outcomes(passed=1)
    assert "bncheck: --bn" not in result.stdout.str()
    assert "= bncheck" not in result.stdout.str()


def test_every_invariant_is_a_test(project: Project) -> None:
    """--bn adds one test per invariant, named after it, beside the user's own."""
    result = project("--bn", "users_right.py", "--collect-only", "-q")
    lines = result.outlines
    assert "test_own.py::test_of_the_user" in lines
    assert [line.rpartition("::")[2] for line in lines if line.startswith("bn[")] == list(
        INVARIANTS
    )


def test_a_style_can_be_named(project: Project) -> None:
    """--bn-style says how the file is written; one that it is not of, or that is none, is told."""
    result = project("--bn", "users_right.py", "--bn-style", "contract", "-k", REFERENCE)
    result.assert_outcomes(passed=1, deselected=len(INVARIANTS))
    for style, said in (("cs231n", "is not of --style cs231n"), ("no", "--bn-style=no: expected")):
        result = project("--bn", "users_right.py", "--bn-style", style)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert said in result.stderr.str()


def test_a_right_target_passes_and_shows_its_verdicts(project: Project) -> None:
    """The summary section has the line of each invariant, with examples and strength."""
    result = project("--bn", "users_right.py", "--bn-seed", "1", "-k", REFERENCE)
    assert result.ret == 0
    result.assert_outcomes(passed=1, deselected=len(INVARIANTS))
    result.stdout.fnmatch_lines([
        "bncheck: --bn users_right.py --bn-seed 1 (20 examples)",
        f"collected {len(INVARIANTS) + 1} items / {len(INVARIANTS)} deselected / 1 selected",
        "*= bncheck users_right.py =*",
        "verdict *examples *decisive *(float32 / float64 / float16)",
        f"pass * 20 * {REFERENCE}: *e-* / *e-*",
    ])  # fmt: skip


def test_k_selects_invariants_by_name(project: Project) -> None:
    """-k takes its expression over invariants and the user's own tests alike."""
    result = project(
        "--bn", "users_right.py", "-k", "(empty or hull) and not folding or of_the_user"
    )
    result.assert_outcomes(passed=3, deselected=len(INVARIANTS) - 2)


def test_a_wrong_target_shows_the_text_and_no_traceback(project: Project) -> None:
    """A failure shows the report's text with the command to see it again, and status 1."""
    arguments = (
        "--bn",
        "users_wrong.py",
        "--bn-seed",
        "4",
        "-k",
        "output_agrees_with or of_the_user",
    )
    result = project(*arguments)
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1, deselected=len(INVARIANTS) - 1)
    result.stdout.fnmatch_lines([
        f"{REFERENCE}: The output agrees with the float64 reference.",
        "  at      y[[]*",
        f"  again   bncheck run users_wrong.py --only {REFERENCE} --seed 4 --examples 20",
        "*= bncheck users_wrong.py =*",
        f"fail * {REFERENCE}",
        f"FAILED bn[[]users_wrong.py[]]::{REFERENCE}*",
    ])  # fmt: skip
    assert "Traceback" not in result.stdout.str()
    assert "plugin.py" not in result.stdout.str(), "the suite's own code is shown"


def test_junit_xml_names_target_invariant_and_text(
    project: Project, pytester: pytest.Pytester
) -> None:
    """The JUnit file holds a test case per invariant, the failure's text and the verdict line."""
    names = f"{REFERENCE} or beta_gradient or fold"
    project("--bn", "users_wrong.py", "--bn-seed", "4", "-k", names, "--junit-xml", "out.xml")
    cases = {
        case.get("name"): case for case in ET.parse(pytester.path / "out.xml").iter("testcase")
    }
    assert {REFERENCE, "beta_gradient_is_sum_of_dy", "folding_preserves_inference"} <= cases.keys()
    failed = cases[REFERENCE]
    assert "bn[users_wrong" in str(failed.get("classname"))
    failure = failed.find("failure")
    assert failure is not None
    assert failure.text is not None
    assert failure.text.startswith(f"{REFERENCE}: The output agrees"), failure.text
    assert cases["beta_gradient_is_sum_of_dy"].find("failure") is None
    assert cases["folding_preserves_inference"].find("skipped") is not None
    properties = [p.get("value") for p in failed.iter("property") if p.get("name") == "bncheck"]
    assert properties
    assert str(properties[0]).startswith("fail"), properties


def test_what_is_not_offered_is_skipped_with_its_reason(project: Project) -> None:
    """An invariant that needs what the target has not is skipped, and says what is missing."""
    result = project("--bn", "users_right.py", "-k", "folding", "-rs")
    result.assert_outcomes(skipped=1, deselected=len(INVARIANTS))
    result.stdout.fnmatch_lines(["SKIPPED * fold: absent"])
    assert result.ret == 0


def test_undecided_is_a_failure_that_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test without a decisive example does not pass: it fails with the reason."""
    monkeypatch.setitem(plugin.PROFILES, "quick", 1)  # gamma is one: it may be lost
    result = project("--bn", "users_right.py", "-k", "finite_differences")
    result.assert_outcomes(failed=1, deselected=len(INVARIANTS))
    text = (
        "input_gradient_agrees_with_finite_differences: undecided: none of 1 examples was decisive"
    )
    result.stdout.fnmatch_lines([text])


def _expect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: str) -> None:
    path = tmp_path / "expected.toml"
    path.write_text(
        f'[[expected]]\ntarget = "{target}"\ninvariant = "{REFERENCE}"\n'
        'reason = "it adds one"\nlink = "https://example.org/1"\n'
    )
    read = expectations.read
    monkeypatch.setattr(expectations, "read", lambda: read(path))


def test_an_expected_failure_is_an_xfail(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A registered failure is an xfail with reason and link, and leaves the status at 0."""
    _expect(monkeypatch, tmp_path, "users_wrong.py")
    result = project("--bn", "users_wrong.py", "-k", "output_agrees_with_reference", "-rx")
    result.assert_outcomes(xfailed=1, deselected=len(INVARIANTS))
    result.stdout.fnmatch_lines(["*it adds one (https://example.org/1)*"])
    assert result.ret == 0


def test_an_unexpected_pass_fails(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A registered failure that passes fails and asks for its entry to be taken out."""
    _expect(monkeypatch, tmp_path, "users_right.py")
    result = project("--bn", "users_right.py", "-k", "output_agrees_with_reference")
    result.assert_outcomes(failed=1, deselected=len(INVARIANTS))
    result.stdout.fnmatch_lines([f"{REFERENCE}: unexpected pass: *; take the entry out"])
    assert result.ret == 1


WRONG = {
    ("--bn", "nowhere_at_all"): "ERROR: --bn: target=nowhere_at_all: no such module; expected*",
    ("--bn", "test_own.py"): "ERROR: --bn: target=test_own.py: it has no forward_train; expected*",
    ("--bn", "bn", "--bn-seed", "-1"): "ERROR: --bn-seed=-1: expected a number from 0 to*",
    ("--bn", "bn", "--bn-seed", "x"): "*argument --bn-seed: invalid int value: 'x'",
    ("--bn", "bn", "--bn-database", "ftp://h"): "ERROR: --bn-database=ftp://h: expected a folder*",
    ("--bn", "bn", "--bn-profile", "slow"): "*argument --bn-profile: invalid choice: 'slow'*",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_options_stop_the_session(project: Project, arguments: tuple[str, ...]) -> None:
    """A target or option that cannot be meant is pytest's usage error, in one line."""
    result = project(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([WRONG[arguments]])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
    lines = [line for line in result.errlines if line.strip() and "usage:" not in line]
    assert len(lines) <= 4, f"more than a line and pytest's own: {lines}"


@pytest.mark.parametrize(("profile", "count"), plugin.PROFILES.items())
def test_the_profile_sets_the_number_of_examples(
    project: Project, profile: str, count: int
) -> None:
    """quick, default and thorough are named with their numbers in the header."""
    result = project("--bn", "bn", "--bn-profile", profile, "--collect-only", "-q", "-v", "-v")
    result.stdout.fnmatch_lines([f"bncheck: --bn bn --bn-seed * ({count} examples)"])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_failure(project: Project) -> None:
    """--bn-seed draws the same examples again, the same as the command's --seed."""
    arguments = ("--bn", "users_wrong.py", "--bn-seed", "9", "-k", "output_agrees_with_reference")
    one, two = (
        [
            line
            for line in project(*arguments).outlines
            if " seconds" not in line and " in " not in line
        ]
        for _ in range(2)
    )
    assert any("  x = " in line for line in one), "no counterexample is shown"
    assert one == two


@pytest.mark.slow
def test_what_failed_is_tried_first(project: Project, pytester: pytest.Pytester) -> None:
    """With --bn-database the first example of the next session is the one that failed."""
    pytester.makepyfile(users_rare=SHIFTED.replace("y + 1", "y + (len(x) == 17)"))
    common = ("--bn", "users_rare.py", "-k", REFERENCE, "--bn-database", "examples")
    project(*common, "--bn-seed", "3", "--bn-profile", "default").assert_outcomes(
        failed=1, deselected=len(INVARIANTS)
    )
    second = project(*common, "--bn-seed", "2")
    second.stdout.fnmatch_lines([f"  again * --database {pytester.path / 'examples'}"])
    second.stdout.re_match_lines([rf"fail +1 +[01]  {REFERENCE}"])
    project(*common[:-2], "--bn-seed", "2").assert_outcomes(passed=1, deselected=len(INVARIANTS))


@pytest.mark.slow
def test_xdist_splits_the_invariants(pytester: pytest.Pytester, project: Project) -> None:
    """With -n 2 the summary has the workers' lines, and the header the seed that they drew with."""
    pytest.importorskip("xdist")
    names = "output_agrees_with or beta_gradient or empty_batch"
    result = project("--bn", "users_wrong.py", "-k", names, "-n", "2", "-p", "xdist")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*= bncheck users_wrong.py =*", f"fail * {REFERENCE}"])
    result.stdout.fnmatch_lines(["pass * beta_gradient_is_sum_of_dy: *"])
    lines = result.outlines
    again = next(line for line in lines if line.startswith("  again")).split()
    seed = again[again.index("--seed") + 1]
    header = next(line for line in lines if line.startswith("bncheck: --bn "))
    assert f"--bn-seed {seed} " in header, f"the failure was drawn with seed {seed}, but: {header}"


def test_it_works_uninstalled(pytester: pytest.Pytester) -> None:
    """`-p properties.plugin` works where the package lies on the path and is not installed."""
    repository = str(Path(plugin.__file__).resolve().parent.parent)
    command = [sys.executable, "-m", "pytest", "-p", "properties.plugin", "--bn", "bn"]
    done = subprocess.run(
        [*command, "--bn-profile", "quick", "-k", "empty_batch", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        check=False,
        cwd=pytester.path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": repository},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_crash_of_the_suite_keeps_its_traceback(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that is the suite's own is not dressed up as the target's failure."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of the suite")

    monkeypatch.setattr(expectations, "results_of", broken)
    result = project("--bn", "users_right.py", "-k", "output_agrees_with_reference")
    result.assert_outcomes(failed=1, deselected=len(INVARIANTS))
    result.stdout.fnmatch_lines(["*ZeroDivisionError: of the suite*"])
