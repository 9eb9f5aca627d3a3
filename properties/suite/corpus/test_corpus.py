"""The corpus: valid, exact, read strictly, never executed, written whole."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from properties.bugs.catalogue import SEED, built
from properties.commands import corpus as corpus_cli
from properties.corpus import files as corpus_io
from properties.corpus.entries import encode_array, layout_of
from properties.corpus.expected import differing, encode_wanted, with_expected
from properties.corpus.failures import calls_of
from properties.corpus.files import CORPUS, Entry, add_entries, read_corpus, read_file
from properties.corpus.numbers import Malformed, encode_float
from properties.corpus.schema import check_entry
from properties.corpus.show import as_c, as_python, as_table
from properties.invariants import INVARIANTS
from properties.model.cases import Recipe, build
from properties.model.contract import Conventions
from properties.model.layouts import LAYOUTS, arrange
from properties.plants.textbook import Pieces

ENTRIES, PROBLEMS = read_corpus()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus of its own: the first five entries of the real one."""
    corpus_io.write_whole(tmp_path / "some.json", corpus_io.format_entries(ENTRIES[:5]))
    return tmp_path


def _run(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="bncheck corpus")
    corpus_cli.add_arguments(parser)
    return corpus_cli.run(parser.parse_args(words))


def test_every_entry_is_read() -> None:
    """No file of the corpus has a problem, and some entries are core."""
    assert PROBLEMS == []
    assert sum(entry.core for entry in ENTRIES) >= 10


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
@pytest.mark.slow(but_one_in=3)
def test_expected_values_are_those_of_the_exact_oracle(entry: Entry) -> None:
    """What an entry expects is what the rationals give, rounded, with the derived radius."""
    assert differing(entry) == []


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*s.json")), ids=lambda path: path.name)
def test_files_are_sorted_and_valid_by_the_schema(path: Path) -> None:
    """Each file is laid out as written, and the JSON Schema accepts it."""
    text = path.read_text(encoding="utf-8")
    assert corpus_io.format_entries(read_file(path)[0]) == text
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((CORPUS / "schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))


def _entry(**changes: Any) -> dict[str, Any]:
    """Return a valid stored entry with something of its first call changed."""
    found = json.loads(json.dumps(corpus_io.as_json(_plain())))
    call = found["calls"][0]
    for path, value in changes.items():
        *way, last = path.split("__")
        at = call
        for step in way:
            at = at[step]
        if value is None:
            del at[last]
        else:
            at[last] = value
    return found


def _plain() -> Entry:
    calls = calls_of(
        built("right", Pieces(), SEED),
        INVARIANTS["output_agrees_with_reference"],
        build(Recipe(), Conventions()),
    )
    return Entry("plain", "a test", False, with_expected(calls))


MALFORMED = {
    "wrong shape": ({"x__shape": [3, 1]}, r"calls\[0\].x: 2 numbers for shape=\[3, 1\]"),
    "negative size": ({"x__shape": [-2, -1]}, "expected a list of sizes"),
    "decimal float": ({"x__data": ["1.5", "0x1p+0"]}, r"x.data\[0\]: '1.5': expected a hexa"),
    "number for text": ({"x__data": [1.5, 2.0]}, r"x.data\[0\]: 1.5: expected a hexadecimal"),
    "NaN in gamma": ({"gamma__data": ["nan"]}, r"gamma.data\[0\]: nan: expected a finite"),
    "infinite eps": ({"eps": "inf"}, "eps: inf: expected a finite number"),
    "NaN radius": ({"expected__y__radius": ["nan", "0x0p+0"]}, "radius nan: expected at least 0"),
    "unknown key": ({"file": "../../etc/passwd"}, "unknown key 'file'"),
    "missing key": ({"momentum": None}, "'momentum' is missing"),
    "unknown call": ({"call": "os.system"}, "call='os.system': no such function"),
    "unknown dtype": ({"x__dtype": "object"}, "dtype='object': expected"),
    "unknown layout": ({"x__layout": "upside down"}, "layout='upside down': expected one of"),
    "too many numbers": ({"x__shape": [2**21], "x__repeat": 2**20}, "expected at most 1048576"),
    "a mask of x's shape": (
        {"mask": {"data": [1, 1], "dtype": "int64", "shape": [2, 1]}},
        r"mask: shape=\[2, 1\]: expected \[2\], x's places",
    ),
    "a mask of twos": (
        {"mask": {"data": [2, 1], "dtype": "int64", "shape": [2]}},
        "mask: expected 0 where hidden, 1 where kept",
    ),
    "a mask of nothing": (
        {"mask": {"data": [0, 0], "dtype": "int64", "shape": [2]}},
        "mask: expected 0 where hidden, 1 where kept, and some 1",
    ),
    "overflowing float": ({"x__data": ["0x1p+9999", "0x1p+0"]}, "that a float64 holds"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_entry_gets_one_line_and_nothing_else_is_lost(name: str, folder: Path) -> None:
    """One line names file and key and what was expected; the other entries are read."""
    changes, text = MALFORMED[name]
    with pytest.raises(Malformed, match=text):
        check_entry(_entry(**changes))
    content = json.loads((folder / "some.json").read_text())
    content["a bad one"] = _entry(**changes)
    (folder / "some.json").write_text(json.dumps(content, indent=1))
    entries, problems = read_corpus(folder)
    assert [entry.key for entry in entries] == [entry.key for entry in ENTRIES[:5]]
    assert len(problems) == 1
    assert "\n" not in problems[0]
    assert problems[0].startswith(f"file={folder / 'some.json'}: key='a bad one': ")


def _whole(problems: list[str], path: Path) -> None:
    for problem in problems:
        assert "\n" not in problem, problem
        assert problem.startswith(f"file={path}: key="), problem


def test_a_truncated_file_keeps_the_entries_before_the_cut(folder: Path) -> None:
    """Cut anywhere, a file gives its whole entries and one line for the rest."""
    path = folder / "some.json"
    content, rng = path.read_bytes(), random.Random(1)
    for cut in [0, 1, 5, *(rng.randrange(len(content) - 2) for _ in range(100))]:
        path.write_bytes(content[:cut])
        entries, problems = read_file(path)
        _whole(problems, path)
        assert len(problems) == 1, f"cut={cut}: {problems}"
        ends = content[:cut].count(b'\n },\n "')
        assert len(entries) >= ends, f"cut={cut}: {len(entries)} of {ends}"


def test_a_flipped_bit_is_seen_and_costs_one_entry(folder: Path) -> None:
    """Whatever bit flips, a line says where, and all entries but the one it hit are read."""
    path = folder / "some.json"
    content, rng = path.read_bytes(), random.Random(2)
    good = {entry.key: entry for entry in read_file(path)[0]}
    for bit in (rng.randrange(8 * (len(content) - 1)) for _ in range(400)):
        wrong = bytearray(content)
        wrong[bit // 8] ^= 1 << bit % 8
        path.write_bytes(wrong)
        entries, problems = read_file(path)
        _whole(problems, path)
        assert problems, f"bit={bit}: nothing was said"
        kept = [entry for entry in entries if good.get(entry.key) == entry]
        assert len(kept) == len(entries) >= 4, f"bit={bit}: {len(kept)} kept, {problems}"


def test_a_key_that_stands_twice_is_said(folder: Path) -> None:
    """The first entry of a key counts, the second gets a line; twice in an entry likewise."""
    path = folder / "some.json"
    text = path.read_text()
    start, end = text.index('\n "') + 1, text.index('\n },\n "') + 4
    path.write_text(text[:start] + text[start:end] + text[start:])
    entries, problems = read_file(path)
    assert len(entries) == 5
    assert len(problems) == 1
    assert "the key stands twice" in problems[0]
    path.write_text(text.replace('"core": false', '"core": false, "core": true', 1))
    entries, problems = read_file(path)
    assert len(entries) == 4
    assert "'core' stands twice" in problems[0]


def test_a_key_in_two_files_is_said(folder: Path) -> None:
    """The same sentence in a second file gets a line that names the first."""
    shutil.copy(folder / "some.json", folder / "two.json")
    entries, problems = read_corpus(folder)
    assert len(entries) == 5
    assert len(problems) == 5
    assert "it stands in some.json already" in problems[0]


def test_two_million_entries_are_refused_unread(folder: Path) -> None:
    """A file beyond the limit gets one line with its size, and the other files are read."""
    with open(folder / "huge.json", "w") as stream:
        stream.write("{" + ",".join(f'"{k}":{{}}' for k in range(2_000_000)) + "}")
    entries, problems = read_corpus(folder)
    assert len(entries) == 5
    assert len(problems) == 1
    assert "huge.json: key='(the whole file)': " in problems[0]
    assert "expected at most 8388608" in problems[0]


def test_deeply_nested_json_is_refused(folder: Path) -> None:
    """Brackets nested beyond what can be read get one line."""
    (folder / "deep.json").write_text('{"deep": ' + "[" * 200_000 + "]" * 200_000 + "}")
    entries, problems = read_corpus(folder)
    assert len(entries) == 5
    assert len(problems) == 1
    assert "deep.json: key='deep': " in problems[0]


def test_a_path_outside_the_corpus_is_refused(folder: Path, tmp_path_factory: Any) -> None:
    """A link that leads out of the folder gets one line, and what it points to is not read."""
    outside = tmp_path_factory.mktemp("outside") / "secret.json"
    outside.write_text("{}")
    (folder / "link.json").symlink_to(outside)
    entries, problems = read_corpus(folder)
    assert len(entries) == 5
    assert len(problems) == 1
    assert "link.json: key='(the whole file)': the path leads outside the corpus" in problems[0]


def test_adding_refuses_a_damaged_file(folder: Path) -> None:
    """Nothing is written over a file of which something could not be read."""
    path = folder / "some.json"
    path.write_bytes(path.read_bytes()[:-300])
    before = path.read_bytes()
    with pytest.raises(Malformed, match="mend it first, adding would lose it"):
        add_entries(path, [_plain()])
    assert path.read_bytes() == before


def test_adding_twice_adds_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Entries are told apart by their calls; equal sentences get a number."""
    other = replace(_plain(), calls=with_expected(_plain().calls * 2))
    corpus_io.write_whole(folder / "given.txt", corpus_io.format_entries([_plain()]))
    for status in ("added: plain\n", "nothing new\n"):
        assert _run("add", str(folder / "given.txt"), "--corpus", str(folder)) == 0
        assert capsys.readouterr().out == status
    assert add_entries(folder / "findings.json", [other]) == ["plain (2)"]


def test_a_failing_run_is_found_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a run remembers is what add --from-last-run takes."""
    monkeypatch.chdir(folder)
    assert _run("add", "--from-last-run", "--corpus", str(folder)) == 2
    assert "no failing run left one here" in capsys.readouterr().err
    plain = _plain()
    corpus_io.remember([{"sentence": "kept", "source": "a run", "calls": plain.calls}])
    assert _run("add", "--from-last-run", "--corpus", str(folder)) == 0
    assert capsys.readouterr().out == "added: kept\n"
    assert (folder / ".bncheck" / ".gitignore").read_text() == "*\n"


def test_a_user_adds_to_a_corpus_of_their_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --corpus an entry goes into the folder at hand, which replay reads as well."""
    monkeypatch.chdir(folder)
    held = {path: path.read_bytes() for path in CORPUS.glob("*.json")}
    plain = _plain()
    given = {"sentence": "mine", "source": "found by bncheck run mine.py", "calls": plain.calls}
    corpus_io.remember([given])
    assert _run("add", "--from-last-run") == 0
    own = folder / "bncheck-corpus" / "findings.json"
    assert [e.key for e in read_file(own)[0]] == ["mine"]
    assert {path: path.read_bytes() for path in CORPUS.glob("*.json")} == held
    capsys.readouterr()
    assert _run("list") == 0
    assert "  mine  [" in capsys.readouterr().out


_KILLED = """
import argparse, os, pathlib, signal, sys
from properties.commands import corpus as corpus_cli
from properties.corpus.files import read_file
folder = pathlib.Path(sys.argv[1])
target, given = folder / "findings.json", folder / "given.txt"
old = target.read_text()
args = argparse.Namespace(action="add", file=given, from_last_run=False, corpus=folder)
sys.stdout = open(os.devnull, "w")

def lines_until(last):
    # Run the command, kill this process at its line of that number, and tell which lines write.
    count, writing = 0, []
    def line(frame, event, arg):
        nonlocal count
        if event == "line":
            count += 1
            if frame.f_code.co_filename.endswith("writing.py"):
                writing.append(count)
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return line
    sys.settrace(line)
    status = corpus_cli.run(args)
    sys.settrace(None)
    assert status == 0
    return count, writing

lines_until(0)
target.write_text(old)
(total, writing), new = lines_until(0), target.read_text()
assert new != old
seen = []
moments = sorted({*(1 + k * (total - 1) // 80 for k in range(81)), *writing})
for moment in moments:
    target.write_text(old)
    child = os.fork()
    if child == 0:
        lines_until(moment)
        os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "not killed"
    found = target.read_text()
    assert found in (old, new), "neither the old nor the new file"
    assert read_file(target)[1] == []
    seen.append(found == new)
sys.stderr.write(f"{sum(seen)} of {len(seen)} were written")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork and no SIGKILL there")
def test_adding_killed_at_any_moment_leaves_a_whole_file(folder: Path) -> None:
    """After a SIGKILL at each line that writes and 80 others the file is the old or the new one."""
    corpus_io.write_whole(folder / "findings.json", corpus_io.format_entries(ENTRIES[:5]))
    corpus_io.write_whole(folder / "given.txt", corpus_io.format_entries([_plain()]))
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    written, killed = int(done.stderr.split()[0]), int(done.stderr.split()[2])
    assert 0 < written < killed > 80, done.stderr


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_known_by_its_name(layout: str) -> None:
    """Encoding names the memory layout, and decoding gives the same strides and flags."""
    a = arrange(np.arange(24, dtype=np.float32).reshape(2, 3, 4), layout)
    back = corpus_io.decode_array(encode_array(a))
    np.testing.assert_array_equal(back, a)
    assert layout_of(back) == layout_of(a)
    assert (back.strides, back.dtype, back.flags.writeable) == (
        a.strides,
        a.dtype,
        a.flags.writeable,
    )


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -1.5, 0.1, 5e-324, 1.7976931348623157e308])
def test_a_float_survives_its_text(value: float) -> None:
    """Hexadecimal floats are exact, signs of zero included."""
    back = corpus_io.decode_float(encode_float(value))
    assert np.float64(back).tobytes() == np.float64(value).tobytes()


def test_a_wanted_value_is_rounded_and_its_radius_grows() -> None:
    """The radius covers what rounding the value to the dtype took away."""
    found = encode_wanted(np.array([0.1]), np.array([1e-9]), np.dtype(np.float32))
    value, radius = (float.fromhex(found[key][0]) for key in ("value", "radius"))
    assert value == np.float32(0.1)
    assert radius >= 1e-9 + abs(value - 0.1)


@pytest.mark.parametrize("form", [as_table, as_python, as_c])
@pytest.mark.parametrize("entry", ENTRIES[::6], ids=lambda entry: entry.key)
def test_an_entry_is_shown(form: Any, entry: Entry) -> None:
    """Each form names every call of the entry; the Python one compiles."""
    text = form(entry)
    assert all(call["call"] in text for call in entry.calls)
    if form is as_python:
        compile(text, "shown", "exec")


def test_check_names_a_value_that_is_not_exact(folder: Path, capsys: Any) -> None:
    """A value one ulp off, with a right digest, is found by recomputing it."""
    entry = next(
        e for e in ENTRIES if "y" in e.calls[0]["expected"] and e.calls[0]["expected"]["y"]["value"]
    )
    moved = json.loads(json.dumps(entry.calls))
    moved[0]["expected"]["y"]["value"][0] = "0x1.23456p+3"
    wrong = replace(entry, key="wrong", calls=moved)
    corpus_io.write_whole(folder / "wrong.json", corpus_io.format_entries([wrong]))
    assert _run("check", "--corpus", str(folder)) == 1
    out = capsys.readouterr().out
    assert "key='wrong': calls[0].expected.y: value: it is not the exact one" in out
