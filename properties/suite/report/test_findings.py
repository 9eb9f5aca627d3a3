"""The findings: their data are whole, the page is what they give, the corpus holds what it can."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from properties.corpus.files import read_corpus
from properties.report import findings
from properties.report.findings import CLASSES, DATA, LONGEST, PAGE, PRINTED, Wrong, page, read
from properties.targets.adapters.installed import named

FOUND = read()
ENTRY = """
[[finding]]
id = "a"
title = "It is * wrong"
class = "wrong result"
targets = ["torch"]
needs = ["nothing-of-this-name"]
what = "x"
issue = ""
reproducer = "print(1)"
"""


def test_the_page_is_what_the_data_give() -> None:
    """`python -m properties.report.findings` would write the page that is there."""
    assert PAGE.read_text(encoding="utf-8") == page(FOUND)


@pytest.mark.parametrize("finding", FOUND, ids=[finding.id for finding in FOUND])
def test_each_finding_was_run(finding: findings.Finding) -> None:
    """A reproducer is short, does without bncheck, and has a recorded output and versions."""
    lines = finding.reproducer.splitlines()
    assert len(lines) <= LONGEST
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(finding.reproducer))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert imported
    assert not imported & {"bn", "properties", "reference", "bncheck"}
    assert finding.printed, "it was not run since it was changed"
    assert not finding.printed.startswith("(failed)")
    assert set(finding.versions) == set(finding.needs)
    assert finding.kind in CLASSES


def test_targets_are_named_ones() -> None:
    """Each finding is of targets that `bncheck run` knows."""
    specs = {spec for finding in FOUND for spec in finding.targets}
    assert {spec for spec in specs if named(spec) is None} == set()


def test_every_corpus_key_exists() -> None:
    """The entry that a finding names is in the corpus, and says where it comes from."""
    entries = {entry.key: entry for entry in read_corpus()[0]}
    for finding in FOUND:
        if finding.corpus:
            assert "properties/report/FINDINGS.md#" in entries[finding.corpus].source


def test_recorded_outputs_are_of_findings() -> None:
    """Nothing is recorded for what is gone."""
    kept = json.loads(PRINTED.read_text(encoding="utf-8"))
    assert set(kept) == {finding.id for finding in FOUND}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('class = "wrong result"', 'class = "bad"', "expected one of"),
        ('what = "x"\n', "", "missing ['what']"),
        ('issue = ""', 'issue = "http://x"', "expected an https address"),
        ('"print(1)"', '"print(1)\\n' + "x=1\\n" * LONGEST + '"', f"expected 1 to {LONGEST} lines"),
        ('id = "a"', 'id = "a"\nmore = 1', "unknown ['more']"),
    ],
)
def test_wrong_data_are_told(tmp_path: Path, old: str, new: str, says: str) -> None:
    """An entry that cannot be used is named with the reason."""
    path = tmp_path / "findings.toml"
    path.write_text(ENTRY.replace(old, new), encoding="utf-8")
    with pytest.raises(Wrong) as caught:
        read(path, tmp_path / "none.json")
    assert says in str(caught.value)
    path.write_text(ENTRY * 2, encoding="utf-8")
    with pytest.raises(Wrong, match="it stands twice"):
        read(path, tmp_path / "none.json")


def test_a_changed_reproducer_loses_its_output(tmp_path: Path) -> None:
    """What another reproducer printed is no evidence for this one."""
    data, printed = tmp_path / "findings.toml", tmp_path / "printed.json"
    data.write_text(ENTRY, encoding="utf-8")
    kept = {"a": {"reproducer": "print(1)", "printed": "1", "versions": {"x": "1"}}}
    printed.write_text(json.dumps(kept), encoding="utf-8")
    assert read(data, printed)[0].printed == "1"
    data.write_text(ENTRY.replace("print(1)", "print(2)"), encoding="utf-8")
    found = read(data, printed)
    assert found[0].printed == ""
    assert "(not run)" in page(found)
    assert "It is \\* wrong" in page(found)


def test_the_command_runs_records_and_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What prints otherwise than recorded is status 1, what cannot be run 3, a stale page 1."""
    monkeypatch.setattr(findings, "PRINTED", tmp_path / "printed.json")
    monkeypatch.setattr(findings, "PAGE", tmp_path / "FINDINGS.md")
    data = tmp_path / "findings.toml"
    data.write_text(ENTRY.replace("nothing-of-this-name", "numpy"), encoding="utf-8")
    monkeypatch.setattr(findings, "read", lambda: read(data, tmp_path / "printed.json"))
    assert findings.main(["--run"]) == 1
    assert findings.main(["--check"]) == 1
    assert findings.main(["--record"]) == 0
    assert [findings.main(["--run"]), findings.main(["--check"])] == [0, 0]
    data.write_text(ENTRY, encoding="utf-8")
    assert findings.main(["--run"]) == 3
    assert "no interpreter has nothing-of-this-name" in capsys.readouterr().out
    assert DATA.exists()
