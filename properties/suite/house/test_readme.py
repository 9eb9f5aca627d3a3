"""The pages say what is so: commands run, tables are the program's, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from properties.cli import parser
from properties.invariants import INVARIANTS
from properties.run.text import invariants_table
from properties.targets.open import loaded

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *(ROOT / ".github").glob("*.md")]
    + [p for room in ("bn", "reference", "properties") for p in (ROOT / room).rglob("*.md")]
}


(MINE,) = re.findall(r"```python\n# mine.py\n(.*?)```", README, re.DOTALL)


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language on all pages."""
    return [
        b for page in PAGES.values() for b in re.findall(rf"```{language}\n(.*?)```", page, re.S)
    ]


COMMANDS = sorted(
    {part.strip() for block in blocks("sh") for part in re.split(r"&&|\n", block) if part.strip()}
)
NAMED = re.compile(r"`(bncheck (?!COMMAND)[a-z][a-z-]*[^`]*)`")


def test_the_readme_counts_the_invariants() -> None:
    """A run of bn holds as many as the page says."""
    offers = loaded("bn").offers
    count = sum(set(i.needs) <= offers for i in INVARIANTS.values())
    assert f"`PASS: {count} of {count} invariants hold`" in README


def test_the_readme_is_short() -> None:
    """The README has at most 200 lines; the rest stands in the room it belongs to."""
    assert len(README.splitlines()) <= 200


def test_the_table_of_invariants_is_the_programs() -> None:
    """The table of the invariants' page is what `bncheck invariants` prints."""
    assert invariants_table() in PAGES["properties/invariants/README.md"]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("bncheck")])
def test_command_parses(command: str) -> None:
    """Every bncheck command of the pages is one that the program knows."""
    assert parser().parse_args(shlex.split(command)[1:]).command


@pytest.mark.parametrize("page", PAGES)
def test_a_command_in_a_sentence_exists(page: str) -> None:
    """Every command that a page names in a sentence is one of the program's."""
    known = parser().format_help()
    for command in NAMED.findall(PAGES[page]):
        assert re.search(rf"^ +{command.split()[1]}\b", known, re.MULTILINE), command


SHORTENED = {  # what takes long as it stands, and what is then added to it
    "bncheck run": "--examples 2",
    "bncheck probe bn --up-to 4096": "--up-to 16",
    "bncheck grade mine.py --require backward_train": "--budget 2",
}
BY_ITSELF = ("bncheck audit", "bncheck run mine", "bncheck kill-matrix")  # in tests of their own


@pytest.mark.parametrize(
    "command",
    [c for c in COMMANDS if c.startswith("bncheck") and not c.startswith(BY_ITSELF)],
)
@pytest.mark.slow(but_one_in=4)
def test_command_runs(
    bncheck: Callable[..., Any], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every bncheck command of the pages does what it does without a complaint."""
    if " report " in command:
        pytest.importorskip("matplotlib")
        pytest.importorskip("jinja2")
    if " compare torch keras:torch" in command:
        pytest.importorskip("torch")
        pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE, encoding="utf-8")
    words = shlex.split(f"{command} {SHORTENED.get(command, '')}")
    ran = bncheck(*words[1:])
    assert ran.status in (0, 3), ran.err or ran.out


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("bncheck audit")])
def test_audit_prints_what_the_page_shows(bncheck: Callable[..., Any], command: str) -> None:
    """The audits of the pages give the lines that stand below them."""
    ran = bncheck(*shlex.split(command)[1:])
    said = [re.sub(r"2\^-\d+|at most \d+", "", line).strip() for line in ran.out.splitlines()]
    for page in PAGES.values():
        for given, shown in re.findall(r"```sh\n(.*?)\n```\n\n```text\n(.*?)```", page, re.S):
            if given == command:
                for line in re.sub(r"2\^-\d+|at most \d+", "", shown).splitlines():
                    assert any(s.startswith(line.strip()) for s in said), line


def test_a_failure_reads_as_shown(
    bncheck: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The README's function with n - 1 in its backward fails with the lines shown."""
    monkeypatch.chdir(tmp_path)
    assert "/ len(dy)" in MINE
    Path("slip.py").write_text(MINE.replace("/ len(dy)", "/ (len(dy) - 1)"), encoding="utf-8")
    (shown,) = re.findall(r"```text\n(FAIL.*?)```", README, re.DOTALL)
    ran = bncheck("run", "slip.py", "--seed", "1", "--only", "input_gradient_agrees_with_reference")
    assert ran.status == 1
    words = [re.match(r" *\w+", line) for line in shown.splitlines()]
    heads = [match.group() for match in words if match]
    assert [h for h in heads if not re.search(rf"^{h}\b", ran.out, re.MULTILINE)] == []
    assert shown.splitlines()[2] in ran.out, "the cause"


def test_the_test_of_one_line_passes() -> None:
    """The test that the README shows is one that runs, on fewer examples here."""
    (source,) = (block for block in blocks("python") if "assert_batch_norm" in block)
    namespace: dict[str, Any] = {}
    exec(source.replace("examples=20", "examples=2"), namespace)
    namespace["test_batch_norm"]()


@pytest.mark.parametrize("page", PAGES)
def test_files_and_links_exist(page: str) -> None:
    """Every path and every link of a page is there."""
    named = re.findall(r"`((?:bn|properties|reference)/[\w/.]*)`", PAGES[page])
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+\.\w+)", PAGES[page])
    folder = (ROOT / page).parent
    assert [n for n in named if not (ROOT / n).exists()] == []
    assert [link for link in links if not (folder / link).exists()] == []
