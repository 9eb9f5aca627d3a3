"""Every file is written whole or not at all: killed at any byte, on a full disk, by two at once."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import properties
from properties.corpus.files import add_entries, format_entries, read_corpus, read_file, remember
from properties.hunt.state import kept
from properties.run.text import write_json
from properties.support.writing import hidden, write_whole

ROOT = Path(properties.__file__).resolve().parent
OLD, NEW = "old\n" * 300, "new, and longer\n" * 400

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no limits on files there")


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as on a disk that is full; what writes on gets an OSError."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- who writes ----------------------------------------------------------------------------------

WRITERS = {  # what writes otherwise, and why that loses nothing
    "cli.py": "the null device, where who read the output has gone",
    "support/writing.py": "the one that all others use",
    "hunt/state.py": "adds a line per shard, synced; a torn last line is searched again",
    "targets/isolate/trace.py": "its own new file, mapped, gone when the run ends",
    "targets/isolate/worker.py": "its standard input and output",
    "targets/isolate/remote.py": "a pipe, with the code that a worker begins with",
    "grade/many.py": "submissions in a folder for temporary files",
    "corpus/files.py": "opens a folder to lock it",
    "targets/templates/c.py": "in a folder for temporary files",
    "benchmarks/mechanical.py": "adds a line per mutant to a benchmark's own record",
    "benchmarks/mechanical_judge.py": "a copy of the sources in a folder for temporary files",
    "benchmarks/audit.py": "in a folder for temporary files",
    "exam/hook.py": "in a folder for temporary files",
    "exam/sitting.py": "in a folder for temporary files",
    "benchmarks/fuzz.py": "the inputs of faults, for whoever mends them",
    "benchmarks/fuzz_readers.py": "in a folder for temporary files",
}
_ATTRIBUTES = {"write_text", "write_bytes", "mkstemp", "NamedTemporaryFile", "fdopen"}


def writes(source: str) -> list[int]:
    """Return the lines on which a source opens, makes or replaces a file in some way of its own."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        owner = getattr(getattr(node.func, "value", None), "id", "")
        texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
        modes = any(isinstance(t, str) and set(t) <= set("wxab+t") and set(t) & set("wxa+")
                    for t in texts)  # fmt: skip
        opens = name == "open" and (modes or owner == "os")
        if opens or name in _ATTRIBUTES or (owner == "os" and name in ("replace", "rename")):
            found.append(node.lineno)
    return found


def test_every_file_goes_through_one_writer() -> None:
    """Nothing but the writer opens a file to write, but for those that are named with a reason."""
    paths = [p for p in ROOT.rglob("*.py") if "suite" not in p.parts]
    found = {str(p.relative_to(ROOT)): writes(p.read_text(encoding="utf-8")) for p in paths}
    assert {name: lines for name, lines in found.items() if lines and name not in WRITERS} == {}


WAYS = ("open(p, 'w')", "p.open('ab')", "p.write_text('')", "os.open(p, 1)", "os.replace(a, b)")


@pytest.mark.parametrize("line", WAYS)
def test_another_way_to_write_is_noticed(line: str) -> None:
    """The check finds each usual way to write a file."""
    assert writes(f"import os\n{line}\n") == [2]


# --- killed --------------------------------------------------------------------------------------

KILLED = """
import os, resource, signal, sys
from pathlib import Path
from properties.support.writing import write_whole
path, old, new = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
deaths = 0
for size in (*range(8), len(new) // 2, len(new) - 1, len(new), len(new) + 9):
    path.write_text(old)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # death at this very byte
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        write_whole(path, new)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    died = os.WIFSIGNALED(status)
    assert died == (size < len(new)), f"{size} bytes: status {status}"
    assert path.read_text() == (old if died else new), f"killed after {size} bytes: {path}"
    deaths += died
print(deaths)
"""


def test_a_writer_killed_at_any_byte_leaves_the_old_file(tmp_path: Path) -> None:
    """A process that dies while it writes, at the first, a middle or the last byte, spoils nothing.

    What it leaves beside the file is removed by a later writer.
    """
    path = tmp_path / "file.json"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), OLD, NEW],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    left = [p for p in tmp_path.iterdir() if p != path]
    assert len(left) == int(done.stdout) == 10
    write_whole(path, OLD)
    assert len(list(tmp_path.iterdir())) == 11, "what a living writer may need was removed"
    for p in left:
        os.utime(p, (time.time() - 7200,) * 2)
    write_whole(path, NEW)
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


# --- a full disk ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, len(OLD), len(NEW) - 1])
def test_a_full_disk_leaves_the_old_file_and_nothing_beside(tmp_path: Path, size: int) -> None:
    """The error comes through, the old file stands, and the half of the new one is gone."""
    path = tmp_path / "file"
    path.write_text(OLD, encoding="utf-8")
    with room_for(size), pytest.raises(OSError, match="File too large"):
        write_whole(path, NEW)
    assert path.read_text(encoding="utf-8") == OLD
    assert list(tmp_path.iterdir()) == [path]


ENTRIES = sorted(read_corpus()[0], key=lambda entry: len(format_entries([entry])))[:3]
ROW = {"name": "a", "verdict": "pass", "message": "", "worst": 0.5, "strength": 1e-3}
QUICK = "--only output_agrees_with_reference --examples 5 --seed 1"
COMMANDS = {
    f"run bn {QUICK} --json x.json": "--json=x.json: File too large",
    "audit --dbeta sum(dy) --seed 1 --json x.json": "--json=x.json: File too large",
    "targets --json x.json": "--json=x.json: File too large",
    "diff RUN RUN --json x.json": "--json=x.json: File too large",
    "probe SMALL --up-to 16 --in-process --json x.json": "--json=x.json: File too large",
    "corpus add FILE --corpus c": "--corpus=c: File too large",
    "kill-matrix --out c": "--out=c: File too large",
    "hunt bn --only running_mean --dtype float32 --examples 1 --jobs 1 --out x.json": "--out=",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_on_a_full_disk_is_one_line(
    bncheck: Callable[..., Any], tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be written is told in one line, status 2, with nothing half-written."""
    from properties.commands import probe as commands
    from properties.kills import matrix as kill_matrix

    matrix = kill_matrix.Matrix(1, 0, {}, {}, {}) if "kill" in command else None
    monkeypatch.setattr(kill_matrix, "run_matrix", lambda *_: matrix)
    monkeypatch.setattr(commands, "probe", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "FILE").write_text(format_entries(ENTRIES), encoding="utf-8")
    run = {"target": "bn", "invariants": [ROW]}
    (tmp_path / "RUN").write_text(json.dumps(run), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    with room_for(10):
        ran = bncheck(*command.replace("SMALL", "bn").split())
    assert (ran.status, ran.err.count("\n")) == (2, 1), ran.err
    assert COMMANDS[command] in ran.err, ran.err
    made = {p.name for p in tmp_path.rglob("*")} - {p.name for p in before}
    assert made <= {"x.jsonl"}, f"left behind: {made}"


def test_an_unfinished_hunt_goes_on_from_a_full_disk(tmp_path: Path) -> None:
    """A line that did not fit is dropped when the hunt is taken up; those before it stand."""
    path, found = tmp_path / "x.jsonl", {"cells": [], "smallest": None}

    class Shard:
        def __init__(self, name: str) -> None:
            self.name = name

    with kept(path, {"target": "t"}) as state:
        state.add(Shard("one"), found)
    whole = path.read_bytes()
    with (
        room_for(len(whole) + 20),
        pytest.raises(OSError, match="File too large"),
        kept(path, {"target": "t"}) as state,
    ):
        state.add(Shard("two"), found)
    assert len(path.read_bytes()) == len(whole) + 20, "nothing was torn: this shows nothing"
    with kept(path, {"target": "t"}) as state:
        assert list(state.done) == ["one"]


# --- two at once ---------------------------------------------------------------------------------

BUSY = """
import json, sys
from pathlib import Path
from properties.corpus.files import remember
from properties.run.text import write_json
path, mark = Path(sys.argv[1]), sys.argv[2]
entries = json.loads(Path(sys.argv[3]).read_text())
for k in range(60):
    write_json(path, {"mark": mark, "numbers": [k] * 2000})
    failing = [e | {"sentence": mark + e["sentence"]} for e in entries]
    remember(failing, path.parent / "b" / "last.json")
"""


def test_two_writers_at_once_spoil_nothing(tmp_path: Path) -> None:
    """Whoever reads while two processes write sees one of theirs, whole; nothing is left behind."""
    path, given = tmp_path / "x.json", tmp_path / "given"
    rows = [{"sentence": e.key, "source": e.source, "calls": e.calls} for e in ENTRIES]
    given.write_text(json.dumps(rows), encoding="utf-8")
    busy = [
        subprocess.Popen([sys.executable, "-c", BUSY, path, mark, given],
                         env={"PYTHONPATH": str(ROOT.parent)}) for mark in "ab"
    ]  # fmt: skip
    last, seen = tmp_path / "b" / "last.json", set()
    while any(process.poll() is None for process in busy):
        with contextlib.suppress(FileNotFoundError):
            content = json.loads(path.read_text(encoding="utf-8"))
            seen.add(content["mark"])
            assert len(set(content["numbers"])) == 1 and len(content["numbers"]) == 2000
            if last.exists():
                found, problems = read_file(last)
                assert (len(found), problems) == (len(ENTRIES), [])
    assert [process.returncode for process in busy] == [0, 0]
    assert seen, "nothing was read while they wrote"
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted(
        ["x.json", "given", "b", "last.json", ".gitignore"]
    )


# --- what is no file -----------------------------------------------------------------------------


def test_a_device_is_written_to_and_not_replaced() -> None:
    """`--json /dev/null` leaves the device a device, and /dev/full says that it is full."""
    write_json(Path(os.devnull), {"a": 1})
    assert not Path(os.devnull).is_file()
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left"):
            write_json(Path("/dev/full"), {"a": 1})


def test_a_link_is_followed(tmp_path: Path) -> None:
    """A link to a file stays one, and the file behind it is written."""
    (tmp_path / "below").mkdir()
    link, real = tmp_path / "link", tmp_path / "below" / "real"
    link.symlink_to(real)
    write_whole(link, NEW)
    assert link.is_symlink() and real.read_text(encoding="utf-8") == NEW


def test_a_file_has_the_usual_rights(tmp_path: Path) -> None:
    """Whoever may read files made here may read this one."""
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "file", NEW)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_is_remembered_and_added_goes_through_the_writer(tmp_path: Path) -> None:
    """A full disk stops `remember` and `corpus add` with what was there before kept."""
    (tmp_path / "findings.json").write_text(format_entries(ENTRIES[:1]), encoding="utf-8")
    before = (tmp_path / "findings.json").read_bytes()
    with room_for(100), pytest.raises(OSError, match="File too large"):
        add_entries(tmp_path / "findings.json", ENTRIES)
    assert (tmp_path / "findings.json").read_bytes() == before
    rows = [{"sentence": e.key, "source": e.source, "calls": e.calls} for e in ENTRIES]
    hidden(tmp_path / "b")
    with room_for(100), pytest.raises(OSError, match="File too large"):
        remember(rows, tmp_path / "b" / "last.json")
    assert [p.name for p in (tmp_path / "b").iterdir()] == [".gitignore"]
