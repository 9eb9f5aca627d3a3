"""Every option of every command, and every file that one reads, given wrongly once."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from properties.benchmarks.fuzz_seeds import images
from properties.cli import parser
from properties.commands.audit import QUANTITIES
from properties.corpus.files import CORPUS, format_entries, read_corpus

WHOLE = "expected a whole number of at least 1"
SEED = "expected a whole number from 0 to 2\\*\\*32 - 1"
FOLDER = "expected a file in a folder that exists"
FLAG = "expected no value, not '1'"
CORPUS_FOLDER = "--corpus=nowhere: expected a folder of corpus files"
TARGET = "target=nowhere.py: no file nowhere.py; expected a Python file"

# (command, option or positional): the words behind the command, and a pattern of what is said
CASES: dict[tuple[str, str], tuple[str, str]] = {
    ("", "--version"): ("--version=1", FLAG),
    ("invariants", "nothing"): ("it", "unrecognized arguments: it"),
    ("mutants", "nothing"): ("it", "unrecognized arguments: it"),
    ("run", "target"): ("nowhere.py", TARGET),
    ("run", "--style"): ("--style no", "--style=no: expected one of contract, keras, pytorch, "),
    ("run", "--device"): ("bn --device cuda", "target=bn@cuda: --device"),
    ("new", "style"): ("no", "STYLE: invalid choice: 'no' .choose from"),
    ("new", "file"): ("c no.c:f", "file=no.c:f: no file no.c; expected FILE or FILE:NAME"),
    ("run", "--exitfirst"): ("--exitfirst=1", FLAG),
    ("run", "--examples"): ("--examples 0", f"--examples: '0': {WHOLE}"),
    ("run", "--seed"): ("--seed -1", f"--seed: '-1': {SEED}"),
    ("run", "--json"): ("--json no/such.json", f"--json=no/such.json: {FOLDER}"),
    ("replay", "--strict"): ("--strict=1", FLAG),
    ("run", "--skip"): ("--skip all", "--skip=all: no such invariant; "),
    ("run", "--strict"): ("--strict=1", FLAG),
    ("run", "--verbose"): ("--verbose=1", FLAG),
    ("run", "--only"): ("--only all", "--only=all: no such invariant; "),
    ("run", "--jobs"): ("--jobs 0", f"--jobs: '0': {WHOLE}"),
    ("run", "--database"): ("--database ftp://h", "--database=ftp://h: expected a folder or"),
    ("run", "--in-process"): ("--in-process=1", FLAG),
    ("run", "--timeout"): ("--timeout nan", "'nan': expected a number of seconds above 0"),
    ("run", "--memory"): ("--memory 1.5", f"--memory: '1.5': {WHOLE}"),
    ("audit", "file"): ("nowhere.py:f", "file='nowhere.py': no such file; expected FILE.py:FUNC"),
    **{
        ("audit", f"--{q.replace('_', '-')}"): (
            f"--{q.replace('_', '-')} open(x)",
            r"formula='open\(x\)': a call of open; the functions are",
        )
        for q in QUANTITIES
    },
    ("audit", "--catalogue"): ("--catalogue=1", FLAG),
    ("audit", "--mode"): ("--mode test", "--mode: invalid choice: 'test' .choose from '?train"),
    ("audit", "--momentum"): ("--momentum 0.9", "--momentum: invalid choice: '0.9' .choose from"),
    ("audit", "--running-var"): ("--running-var n", "--running-var: invalid choice: 'n' .choose"),
    ("audit", "--returns"): ("x.py:f --returns dq --dx x", "--returns=dq: expected names among dx"),
    ("audit", "--eps"): ("--eps tiny", "--eps: 'tiny': expected a number"),
    ("audit", "--seed"): ("--seed 1e3", "--seed: '1e3': expected a whole number from 0"),
    ("audit", "--json"): ("--dx x --json no/x.json", f"--json=no/x.json: {FOLDER}"),
    ("audit", "--markdown"): ("--markdown=1", FLAG),
    ("audit", "--verbose"): ("--verbose=1", FLAG),
    ("grade", "--budget"): ("bn --budget 0", "'0': expected a number of seconds above 0"),
    ("grade", "--seed"): ("bn --seed 1e3", "--seed: '1e3': expected a whole number from 0 to"),
    ("grade", "--steps"): ("bn --steps 0", f"--steps: '0': {WHOLE}"),
    ("grade", "--require"): ("bn --require fly", "--require=fly: expected functions of the"),
    ("grade", "--device"): ("bn --device tpu", "--device: invalid choice: 'tpu' .choose from"),
    ("grade", "--strict"): ("bn --strict=1", FLAG),
    ("grade", "--quick"): ("bn --quick=1", FLAG),
    ("grade", "--timeout"): ("bn --timeout 0", "'0': expected a number of seconds above 0"),
    ("grade", "--memory"): ("bn --memory -1", f"--memory: '-1': {WHOLE}"),
    ("replay", "target"): ("nowhere.py", TARGET),
    ("replay", "--core"): ("--core=1", FLAG),
    ("replay", "--corpus"): ("--corpus nowhere", CORPUS_FOLDER),
    ("corpus add", "file"): ("nowhere.json", "file=nowhere.json: no such file"),
    ("corpus add", "--from-last-run"): ("--from-last-run", "last_run.json: no failing run left"),
    ("corpus add", "--corpus"): ("FILE --corpus nowhere", CORPUS_FOLDER),
    ("corpus show", "key"): ("nothing", "key='nothing': 0 entries have it: expected one that"),
    ("corpus show", "--python"): ("key --python --c", "--c: not allowed with argument --python"),
    ("corpus show", "--c"): ("key --c=1", FLAG),
    ("corpus show", "--corpus"): ("key --corpus nowhere", CORPUS_FOLDER),
    ("corpus list", "--corpus"): ("--corpus nowhere", CORPUS_FOLDER),
    ("corpus check", "--corpus"): ("--corpus nowhere", CORPUS_FOLDER),
    ("corpus distill", "--corpus"): ("--corpus nowhere", CORPUS_FOLDER),
    ("targets", "--json"): ("--json no/x.json", f"--json=no/x.json: {FOLDER}"),
    ("probe", "--style"): ("x.py --style no", "--style=no: expected one of contract, keras, "),
    ("compare", "one"): ("nowhere.py bn", TARGET),
    ("compare", "other"): ("bn nowhere.py", TARGET),
    ("compare", "--as-is"): ("bn bn --as-is=1", FLAG),
    ("compare", "--dtype"): ("bn bn --dtype int8", "--dtype: invalid choice: 'int8' .choose"),
    ("compare", "--json"): ("bn bn --json no/x.json", f"--json=no/x.json: {FOLDER}"),
    ("compare", "--in-process"): ("bn bn --in-process=1", FLAG),
    ("compare", "--timeout"): ("bn bn --timeout 0", "'0': expected a number of seconds above 0"),
    ("compare", "--memory"): ("bn bn --memory 0", f"--memory: '0': {WHOLE}"),
    ("hunt", "target"): ("nowhere.py", TARGET),
    ("hunt", "--examples"): ("bn --examples 0", f"--examples: '0': {WHOLE}"),
    ("hunt", "--seed"): ("bn --seed x", f"--seed: 'x': {SEED}"),
    ("hunt", "--jobs"): ("bn --jobs 0", f"--jobs: '0': {WHOLE}"),
    ("hunt", "--scheduler"): ("bn --scheduler tcp://127.0.0.1:1", "--scheduler=tcp://127.0.0.1:1"),
    ("hunt", "--only"): ("bn --only z", "--only=z: expected one of y, running_mean"),
    ("hunt", "--dtype"): ("bn --dtype int8", "--dtype=int8: expected one that bn takes: float32"),
    ("hunt", "--out"): ("bn --out no/x.json", "--out=no/x.json: expected a file or folder in"),
    ("hunt", "--database"): ("bn --database ftp://h", "--database=ftp://h: expected a folder or"),
    ("probe", "target"): ("nowhere.py", TARGET),
    ("probe", "--verbose"): ("bn --verbose=1", FLAG),
    ("probe", "--json"): ("bn --json no/x.json", f"--json=no/x.json: {FOLDER}"),
    ("probe", "--seed"): ("bn --seed x", f"--seed: 'x': {SEED}"),
    ("probe", "--up-to"): ("bn --up-to 8", "--up-to=8: expected at least 16, the least that is"),
    ("probe", "--in-process"): ("bn --in-process=1", FLAG),
    ("probe", "--timeout"): ("bn --timeout 0", "'0': expected a number of seconds above 0"),
    ("probe", "--memory"): ("bn --memory -1", f"--memory: '-1': {WHOLE}"),
    ("report", "--out"): ("--out no/such", "--out=no/such: expected a folder, or a name in one"),
    ("report", "--examples"): ("--out . --examples 0", f"--examples: '0': {WHOLE}"),
    ("report", "--seed"): ("--out . --seed x", f"--seed: 'x': {SEED}"),
    ("report", "--jobs"): ("--out . --jobs none", f"--jobs: 'none': {WHOLE}"),
    ("report", "--python"): ("bn --out . --python no/py", "--python=no/py: expected an inter"),
    ("report", "--minutes"): ("--out . --minutes 0", "'0': expected a number of minutes above 0"),
    ("report", "--resume"): ("--out . --resume=1", FLAG),
    ("diff", "old"): ("nowhere.json FILE", "OLD=nowhere.json: No such file or directory; expected"),
    ("diff", "new"): ("RUN nowhere.json", "NEW=nowhere.json: No such file or directory; expected"),
    ("diff", "--json"): ("RUN RUN --json no/x.json", f"--json=no/x.json: {FOLDER}"),
    ("kill-matrix", "--examples"): ("--examples 0", f"--examples: '0': {WHOLE}"),
    ("kill-matrix", "--seed"): ("--seed x", f"--seed: 'x': {SEED}"),
    ("kill-matrix", "--out"): ("--out nowhere", "--out=nowhere: expected a folder that exists"),
    ("kill-matrix", "--jobs"): ("--jobs 0", f"--jobs: '0': {WHOLE}"),
    ("exam", "--replace"): ("--replace mine -- true", "--replace=mine: expected package.module:"),
    ("exam", "--style"): ("--style no", "--style: invalid choice: 'no' .choose from"),
    ("exam", "--momentum"): ("--momentum 0.9", "--momentum: invalid choice: '0.9' .choose from"),
    ("exam", "--running-var"): ("--running-var n", "--running-var: invalid choice: 'n' .choose"),
    ("exam", "--out"): ("--replace m:forward --out FILE -- true", "--out=.*: expected a folder"),
    ("exam", "--json"): (
        "--replace m:forward --json no/x.json -- true",
        f"--json=no/x.json: {FOLDER}",
    ),
    ("exam", "--html"): (
        "--replace m:forward --html no/x.html -- true",
        f"--html=no/x.html: {FOLDER}",
    ),
    ("exam", "--jobs"): ("--jobs 0", f"--jobs: '0': {WHOLE}"),
    ("exam", "--timeout"): ("--timeout 0", "'0': expected a number of seconds above 0"),
    ("exam", "--flaky-runs"): ("--flaky-runs 0", f"--flaky-runs: '0': {WHOLE}"),
    ("exam", "--tests"): ("--tests 0", f"--tests: '0': {WHOLE}"),
    ("exam", "--only"): ("--replace m:forward --only no -- true", "--only=no: no such bug; "),
    ("exam", "tested"): ("--replace m:forward", "COMMAND is missing: expected -- and what runs"),
    ("strength", "--loss"): ("--loss y", "--loss='y': expected one finite number, such as"),
    ("strength", "--shape"): ("--loss sum(y) --shape 8", "--shape: '8': expected "),
    ("strength", "--rtol"): ("--loss sum(y) --rtol x", "--rtol: 'x': expected a number"),
    ("strength", "--atol"): ("--loss sum(y) --atol x", "--atol: 'x': expected a number"),
    ("strength", "--seed"): ("--loss sum(y) --seed x", f"--seed: 'x': {SEED}"),
    ("strength", "--plain"): ("--loss sum(y) --plain=1", FLAG),
    ("experiment", "--out"): (
        "--data IMAGES --out no/such",
        "--out=no/such: No such file or direc",
    ),
    ("experiment", "--seeds"): ("--seeds 1", "--seeds: '1': expected at least 2"),
    ("experiment", "--steps"): ("--steps 3", "--steps=3: expected at least 10"),
    ("experiment", "--rate"): ("--rate nan", "--rate: 'nan': expected a number above 0"),
    ("experiment", "--eps"): ("--eps 0", "--eps: '0': expected a number above 0"),
    ("experiment", "--jobs"): ("--jobs 0", f"--jobs: '0': {WHOLE}"),
    ("experiment", "--seed"): ("--seed x", f"--seed: 'x': {SEED}"),
    ("experiment", "--data"): ("--data no.npz", "--data=no.npz: no such file: expected an .npz"),
}


ALSO = {  # further words, and what is said of them
    "": "COMMAND is missing: expected one of run, invariants, audit",
    "walk": "invalid choice: 'walk'",
    "run --examples -3": "argument --examples: '-3': expected a whole number of at least 1",
    "run --examples many": "'many': expected a whole number of at least 1",
    "run --examples 2.5": "'2.5': expected a whole number of at least 1",
    "run --examples": "argument --examples: expected one argument",
    "run --seed x": f"'x': {SEED}",
    f"run --seed {2**32}": SEED,
    "run --timeout soon": "'soon': expected a number of seconds above 0",
    "run --only jacobian_is_symetric": "did you mean jacobian_is_symmetric\\?",
    "run --json .": f"--json=.: {FOLDER}",
    "run --speed 9": "unrecognized arguments: --speed",
    "run --exam 9": "unrecognized arguments: --exam",
    "run bn torch": "unrecognized arguments: torch",
    "replay no_such_thing": "target=no_such_thing: no such module",
    "corpus add": "expected FILE or --from-last-run",
    "probe": "the following arguments are required: TARGET",
    "probe bn --up-to x": "argument --up-to: ",
    "hunt no_such_thing": "target=no_such_thing: no such module",
    "hunt bn --out FILE": "--out=FILE: expected a name ending in .json",
    "hunt bn --jobs 2 --scheduler tcp://h:1": "either --jobs or --scheduler",
    "hunt bn --database a,,b": "expected FOLDER, redis://HOST:PORT",
    "hunt bn --database no/such": "expected a folder, or a name in one that exists",
}
# the report goes on past it, and tells it in the target's line; a grade tells it in its JSON
TOLD = {("report", "target"), ("grade", "submission")}


def options(top: argparse.ArgumentParser, command: str = "") -> Iterator[tuple[str, str]]:
    """Yield each option and each positional of every command; "nothing" where there is none."""
    own = 0
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from options(below, f"{command} {name}".strip())
        elif not isinstance(action, argparse._HelpAction):
            own += 1
            yield command, max(action.option_strings, key=len, default=action.dest)
    if not own and not top._subparsers:
        yield command, "nothing"


def test_every_option_has_a_case() -> None:
    """The table has each option and positional of every command, and no other."""
    assert {*CASES, *TOLD} == set(options(parser()))


def test_a_new_option_is_noticed() -> None:
    """The walk over the parsers finds an option that is planted in a command."""
    top = parser()
    assert top._subparsers is not None
    (commands,) = (a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    commands.choices["diff"].add_argument("--planted", "-p")
    assert set(options(top)) - {*CASES, *TOLD} == {("diff", "--planted")}


def files(folder: Path) -> dict[str, str]:
    """Return the files below a folder and what they hold."""
    return {str(p): p.read_text(errors="replace") for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def refused(
    bncheck: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run a command that must refuse with one line, and write nothing; return the line."""
    from properties.experiment import figures
    from properties.report import plots

    monkeypatch.setattr(plots, "available", lambda: None)
    monkeypatch.setattr(figures, "pyplot", lambda: None)
    monkeypatch.chdir(tmp_path)

    def run(*words: str, printed: bool = False, status: int = 2) -> str:
        before = files(tmp_path)
        ran = bncheck(*words)
        assert ran.status == status, ran.out + ran.err
        assert ran.err.count("\n") == 1, ran.err
        assert printed or ran.out == "", ran.out
        assert files(tmp_path) == before, "something was written"
        assert "Traceback" not in ran.err, ran.err
        return str(ran.err)

    return run


ENTRY = min(read_corpus()[0], key=lambda entry: len(format_entries([entry])))
ROW = {"name": "a", "verdict": "pass", "message": "", "worst": 0.5, "strength": 1e-3}
RUN = {"target": "bn", "invariants": [ROW]}


@pytest.mark.parametrize("case", CASES, ids=" ".join)
@pytest.mark.slow(but_one_in=2)
def test_a_bad_argument_is_one_line(
    refused: Callable[..., str], tmp_path: Path, case: tuple[str, str]
) -> None:
    """One line with the option, the value and what was expected; status 2; nothing written."""
    (tmp_path / "FILE").write_text(format_entries([ENTRY]), encoding="utf-8")
    (tmp_path / "RUN").write_text(json.dumps(RUN), encoding="utf-8")
    (tmp_path / "x.py").write_text("def f(dy): return dy\n", encoding="utf-8")
    (tmp_path / "IMAGES").write_bytes(images()[0])
    words, said = CASES[case]
    line = refused(*case[0].split(), *words.split())
    assert line.startswith("bncheck"), line
    assert re.search(said, line), line


@pytest.mark.parametrize("words", ALSO)
def test_other_bad_words_are_one_line(
    refused: Callable[..., str], tmp_path: Path, words: str
) -> None:
    """What cannot be meant in another way is one line, status 2, nothing written."""
    (tmp_path / "FILE").write_text("{}", encoding="utf-8")
    line = refused(*words.split())
    assert re.search(ALSO[words], line), line


def test_a_report_tells_a_bad_target_in_its_line(
    bncheck: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bncheck report` goes on past a target that does not exist; alone it is status 1."""
    from properties.commands import report as commands
    from properties.report import plots

    monkeypatch.setattr(plots, "available", lambda: None)
    monkeypatch.setattr(commands._Report, "_write", lambda self, targets, whole: print(targets))
    ran = bncheck("report", "nowhere", "--out", tmp_path / "out")
    assert (ran.status, ran.err) == (1, ""), ran.err
    assert "target=nowhere: no such module; expected one of bn" in ran.out


# --- files ---------------------------------------------------------------------------------------

BROKEN = "{"
SIGNED = format_entries([ENTRY]).replace('"core"', '"score"')
NO_ROW = json.dumps({"target": "bn", "invariants": [{**ROW, "worst": "much"}]})
HEAD = '{"digest": "0123456789abcdef", "hunt": {}}\n'

# name: the file, what it holds, the command that reads it, what is said
FILES: dict[str, tuple[str, str, str, str]] = {
    "a target that is no Python": ("t.py", "def", "run t.py", "target=t.py: it does not import"),
    "a target to probe": ("t.py", "def", "probe t.py", "target=t.py: it does not import"),
    "a target to hunt": ("t.py", "x = 1", "hunt t.py", "target=t.py: it has no forward_train"),
    "a target to replay on": ("t.py", "x = 1", "replay t.py", "it has no forward_train"),
    "a formula's file": ("f.py", "def f(:", "audit f.py:f", "file='f.py': not Python source"),
    "a corpus to replay": ("c/a.json", SIGNED, "replay --corpus c", "unknown key 'score'"),
    "a corpus to list": ("c/a.json", BROKEN, "corpus list --corpus c", "file=c/a.json: key="),
    "a corpus to show": ("c/a.json", BROKEN, "corpus show x --corpus c", "key='x': 0 entries"),
    "a corpus to add to": (
        "c/findings.json", BROKEN, "corpus add FILE --corpus c",
        "file=c/findings.json: key=.*mend it first, adding would lose it"),
    "a file to add": ("bad.json", BROKEN, "corpus add bad.json --corpus .", "file=bad.json: key="),
    "a run to add from": (
        "run.json", json.dumps({"invariants": [{"counterexample": {"sentence": "x"}}]}),
        "corpus add run.json --corpus c", "file=run.json: a counterexample without 'source'"),
    "a last run": (
        ".bncheck/last_run.json", "[]", "corpus add --from-last-run --corpus c",
        "file=.bncheck/last_run.json: key='.the whole file.': expected a JSON object of entries"),
    "an old result": ("old.json", BROKEN, "diff old.json RUN", "OLD=old.json: it is no JSON"),
    "a new result": ("new.json", NO_ROW, "diff RUN new.json", "NEW=new.json: invariants.0. has no"),
    "another hunt's file": (
        "h.jsonl", HEAD, "hunt bn --only y --dtype float32 --out h.json",
        "--out=h.jsonl: it is no hunt's file"),
    "a hunt's example database": (
        "folder", "", "hunt bn --database folder", "--database=folder: expected a folder"),
    "a run's example database": (
        "folder", "", "run --database folder", "--database=folder: expected a folder"),
    "images": ("x.npz", "PK", "experiment --data x.npz", "--data=x.npz: .*expected an .npz file"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_one_line(refused: Callable[..., str], tmp_path: Path, name: str) -> None:
    """One line that names the file, the place in it and what was expected; status 2."""
    path, text, words, said = FILES[name]
    (tmp_path / "c").mkdir()
    (tmp_path / "FILE").write_text(format_entries([ENTRY]), encoding="utf-8")
    (tmp_path / "RUN").write_text(json.dumps(RUN), encoding="utf-8")
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(text, encoding="utf-8")
    line = refused(*words.split(), printed=words.startswith(("replay", "corpus list")))
    assert re.search(said, line), line


def test_a_changed_entry_is_found_by_check(refused: Callable[..., str], bncheck: Any) -> None:
    """`corpus check` tells on standard output, status 1, since finding faults is its work."""
    Path("c").mkdir()
    Path("c/a.json").write_text(SIGNED, encoding="utf-8")
    ran = bncheck("corpus", "check", "--corpus", "c")
    assert (ran.status, ran.err) == (1, ""), ran.err
    assert "file=c/a.json: key=" in ran.out and ran.out.endswith("0 entries, 1 problems\n")


def test_as_a_process_it_is_the_same(tmp_path: Path) -> None:
    """Started from a shell the command says the same, with the same status and no traceback."""
    root = str(CORPUS.parents[1])
    for words, said in (("run --seed -1", SEED), ("diff a b", "OLD=a: No such file or directory")):
        done = subprocess.run(
            [sys.executable, "-m", "properties.cli", *words.split()],
            capture_output=True, text=True, check=False, cwd=tmp_path, env={"PYTHONPATH": root},
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert re.search(said, done.stderr), done.stderr
    assert list(tmp_path.iterdir()) == []
