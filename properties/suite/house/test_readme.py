"""The README says what is so: its commands run, its table is the program's, its example works."""

import re
import shlex
from pathlib import Path

import pytest

from properties.cli import parser
from properties.run.text import invariants_table

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [
    part.strip() for block in blocks("sh") for part in re.split(r"&&|\n", block) if part.strip()
]


def test_readme_holds_the_table_of_invariants():
    """The README's table is what `bncheck invariants` prints."""
    assert invariants_table() in README


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("bncheck")])
def test_command_parses(command):
    """Every bncheck command of the README is one that the program knows."""
    assert parser().parse_args(shlex.split(command)[1:]).command


SHORTENED = {  # what takes long as it stands, and what is then added to it
    "bncheck run": "--examples 2",
    "bncheck probe bn --up-to 4096": "--up-to 16",
}
BY_ITSELF = ("bncheck audit", "bncheck run mine", "bncheck kill-matrix")  # in tests of their own


@pytest.mark.parametrize(
    "command",
    [c for c in COMMANDS if c.startswith("bncheck") and not c.startswith(BY_ITSELF)],
)
def test_command_runs(bncheck, command, tmp_path, monkeypatch):
    """Every bncheck command of the README does what it does without a complaint."""
    if " report " in command:
        pytest.importorskip("matplotlib")
        pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    words = shlex.split(f"{command} {SHORTENED.get(command, '')}")
    ran = bncheck(*words[1:])
    assert ran.status in (0, 3), ran.err or ran.out


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c.startswith("bncheck audit")], ids=["right", "wrong"]
)
def test_audit_prints_what_the_readme_shows(bncheck, command):
    """The audits of the README give the lines that stand below them."""
    ran = bncheck(*shlex.split(command)[1:])
    verdict = next(line for line in ran.out.splitlines() if line.startswith("dx: "))
    stem = re.sub(r"2\^-\d+|at most \d+", "", verdict)
    shown = [re.sub(r"2\^-\d+|at most \d+", "", line) for line in README.splitlines()]
    assert stem in shown, verdict


def test_files_that_are_named_exist():
    """Every path in the README is there."""
    root = Path(__file__).parents[3]
    named = re.findall(r"`((?:bn|properties|reference)/[\w/.]*)`", README)
    assert len(named) > 10
    assert [name for name in named if not (root / name).exists()] == []
