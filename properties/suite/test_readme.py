"""The README says what is so: its commands run, its table is the program's, its example works."""

import re
import shlex
from pathlib import Path

import pytest

from properties.cli import parser
from properties.report import invariants_table

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


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


def test_five_lines_are_a_target(bncheck, saved):
    """The target typed in the README passes all that it offers, but for the empty batch."""
    (source,) = blocks("python")
    ran = bncheck("run", saved(source, "mine.py"), "--examples", "20", "--seed", "1")
    failed = re.findall(r"^fail .* (\w+)$", ran.out, re.MULTILINE)
    assert (ran.status, failed) == (1, ["empty_batch_leaves_the_state"]), ran.out
    assert len(re.findall(r"^pass ", ran.out, re.MULTILINE)) >= 15


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
    root = Path(__file__).parents[2]
    named = re.findall(r"`((?:bn|properties|reference)/[\w/.]*)`", README)
    assert len(named) > 10
    assert [name for name in named if not (root / name).exists()] == []
