"""Readers under input that nobody meant: one line or a result, nothing run, nothing without bound.

A few hundred inputs here; `python -m properties.benchmarks.fuzz` reads 100,000.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, seed, settings

from properties.benchmarks import fuzz, fuzz_guard
from properties.benchmarks.fuzz import Tally, fuzzed, main, read, search, shares, warm
from properties.benchmarks.fuzz_guard import CANARY, MODULE
from properties.benchmarks.fuzz_inputs import HARM, mutants
from properties.benchmarks.fuzz_readers import READERS, Reader
from properties.benchmarks.fuzz_seeds import corpora, hunts, images, registries, results

COUNTS = {"audit": 8, "program": 4}  # the others 30
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no processor timer there")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a reader that has read its valid inputs."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name.replace(" ", "_"))
            warm(READERS[name], made[name])
        return made[name]

    return of


def read_well(name: str, data: bytes, folder: Path) -> Tally:
    """Read one input; what goes wrong is an AssertionError with the input's place and text."""
    tally = Tally()
    read(READERS[name], data, folder, tally)
    if tally.faults:
        raise AssertionError(tally.faults)
    return tally


@pytest.mark.parametrize("name", READERS)
@pytest.mark.slow(but_one_in=7)
def test_no_input_gets_through_to_a_traceback(folders: Callable[[str], Path], name: str) -> None:
    """Valid inputs with bits flipped, cut, spliced, odd values, and free ones: no fault."""
    tally, count = Tally(), COUNTS.get(name, 30)
    search(READERS[name], count, 0, folders(name), tally)
    assert tally.faults == {}
    assert tally.count == count


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"program", "command line"}))
def test_what_harms_when_it_is_run_is_not_run(folders: Callable[[str], Path], name: str) -> None:
    """Texts that would make a file, import a module or start a program do none of it."""
    for text in HARM:
        read_well(name, text.encode(), folders(name))
        read_well(
            name, json.dumps({text: text, "invariants": [{"name": text}]}).encode(), folders(name)
        )
    assert not CANARY.exists()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.slow(but_one_in=2)
def test_valid_inputs_are_taken(folders: Callable[[str], Path], name: str) -> None:
    """Among the inputs that all others are made from, some are read to their end."""
    if name == "program":
        pytest.skip("a program whose results are zeros is refused by its probe")
    taken = [read_well(name, data, folders(name)).taken for data in READERS[name].seeds()]
    assert sum(taken) >= 1, f"{name}: {taken}"


# --- inputs that were faults ---------------------------------------------------------------------


def registry(old: str, new: str) -> bytes:
    """Return a registry with one field changed."""
    text = registries()[2].decode()
    assert old in text
    return text.replace(old, new).encode()


def run(change: Callable[[Any], Any]) -> bytes:
    """Return the JSON of a run with something changed."""
    return result(0, change)


def probe(change: Callable[[Any], Any]) -> bytes:
    """Return the JSON of a probe with something of its target changed."""
    return result(1, lambda content: change(content["targets"][0]))


def result(which: int, change: Callable[[Any], Any]) -> bytes:
    """Return the JSON of a run (0) or a probe (1) with something changed."""
    content = json.loads(results()[which])
    change(content)
    return json.dumps(content).encode()


def flagged(bit: int) -> bytes:
    """Return an .npz file whose members bear a flag of zip."""
    out = io.BytesIO(images()[0])
    with zipfile.ZipFile(out) as archive:
        places = [info.header_offset for info in archive.infolist()]
        start = archive.start_dir
    data = bytearray(out.getvalue())
    for at in places:
        data[at + 6] |= bit
    for at in (start, data.index(b"PK\1\2", start + 1)):
        data[at + 8] |= bit
    return bytes(data)


def shards(**changes: Any) -> bytes:
    """Return a corpus with the counts of a merge changed."""
    content = json.loads(next(d for d in corpora() if b"merge_" in d))
    for entry in content.values():
        for call in entry["calls"]:
            if "counts" in call:
                call["counts"] |= changes
    return json.dumps(content).encode()


def empty() -> bytes:
    """Return a corpus whose empty batch has other channels than what is expected of it."""
    call = {
        "call": "forward_train", "eps": "0x1p-10", "momentum": "0x1p-1", "beta": None,
        "gamma": None, "running_mean": None, "running_var": None,
        "x": {"data": [], "dtype": "float32", "shape": [0, 2]},
        "expected": {"y": {"radius": [], "shape": [0, 0], "value": []}},
    }  # fmt: skip
    entry = {"source": "fuzzed", "core": False, "calls": [call], "digest": ""}
    return json.dumps({"An empty batch": entry}).encode()


def half() -> bytes:
    """Return a corpus that expects a mean and no variance."""
    content = json.loads(next(d for d in corpora() if b'"mean"' in d and b"forward_train" in d))
    for entry in content.values():
        for call in entry["calls"]:
            call["expected"].pop("var", None)
    return json.dumps(content).encode()


def half_precision() -> bytes:
    """Return a corpus whose shards are of a dtype that NumPy alone has not."""
    return next(d for d in corpora() if b"merge_" in d).replace(b'"float32"', b'"bfloat16"')


def searched(old: str, new: str) -> bytes:
    """Return the state of a hunt with a number changed."""
    text = hunts()[0].decode()
    assert old in text
    return text.replace(old, new).encode()


def header(text: str) -> bytes:
    """Return a file of one NumPy array with this header."""
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


FAULTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "lists without a bottom": ("registry", lambda: registry("rare = true", "rare = " + "[" * 3000)),
    "a list that stands for a name": ("registry", lambda: registry('"gamma and beta"', "[[1]]")),
    "a number beyond float64": ("registry", lambda: registry("3.5", "1" * 400)),
    "a table for a target": ("registry", lambda: registry('["torch", "bn"]', "[{}]")),
    "bfloat16 without ml_dtypes": ("corpus", half_precision),
    "a count beyond int64": ("corpus", lambda: shards(data=[2**63, 1, 1])),
    "a size beyond all, times none": ("corpus", lambda: shards(shape=[0, 10**30], data=[])),
    "nothing, often repeated": ("corpus", lambda: shards(shape=[0], data=[], repeat=10**30)),
    "a mean without a variance": ("corpus", half),
    "an expected shape of no result": ("corpus", empty),
    "a sentence that is a list": (
        "corpus add",
        lambda: run(
            lambda c: [r["counterexample"].update(sentence=[]) for r in c["invariants"] if
                       r["counterexample"]])),
    "a lone surrogate": (
        "diff", lambda: run(lambda c: c["conventions"].update(momentum="\ud800"))),
    "versions that are none": ("diff", lambda: run(lambda c: c.update(versions=True))),
    "a word for a number": ("diff", lambda: run(lambda c: c["invariants"][0].update(worst="x"))),
    "a list for a part": ("diff", lambda: run(lambda c: c["invariants"][0].update(where=[]))),
    "a number for a list": ("diff", lambda: run(lambda c: c["conventions"].update(ndim=1.0))),
    "a row without its n": ("diff", lambda: probe(lambda t: t["exact"][0].pop("n"))),
    "a row that is none": ("diff", lambda: probe(lambda t: t["exact"].append(True))),
    "a question that is a list": (
        "diff", lambda: probe(lambda t: t["answers"][0].update(question=[]))),
    "a class that is an object": (
        "diff", lambda: probe(lambda t: t["accuracy"][0].update(grade={}))),
    "a header cut in a string": ("images", lambda: header("{'descr': '|u1', 'shape   \n")),
    "an encrypted archive": ("images", lambda: flagged(1)),
    "patched data": ("images", lambda: flagged(1 << 5)),
    "an array of 2**60 numbers": (
        "images",
        lambda: header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**60},)}}\n")),
    "a head that is a list": ("hunt", lambda: b'{"digest": "", "hunt": []}\n'),
    "a changed digit": ("hunt", lambda: searched('"examples": ', '"examples": 9')),
    "a list for a line": ("hunt", lambda: b"[1]\n[2]\n"),
    "a line without a bottom": ("hunt", lambda: b"[" * 100_000 + b"\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_was_a_fault_once_is_refused(folders: Callable[[str], Path], name: str) -> None:
    """Each input that a reader stumbled over when it was first fuzzed."""
    reader, make = FAULTS[name]
    read_well(reader, make(), folders(reader))


# --- what watches over them ----------------------------------------------------------------------


def elsewhere(data: bytes, folder: Path) -> None:
    """Write beside the folder, and hide it."""
    with contextlib.suppress(Exception):
        (folder.parent / "beside").write_bytes(data)


def swallowed(data: bytes, folder: Path) -> None:
    """Run the input, and hide it as best one can."""
    with contextlib.suppress(BaseException):
        eval(data)


def endless(data: bytes, folder: Path) -> None:
    """Never end."""
    while data is not None:
        pass


EVIL = {
    "it runs the input": (lambda data, folder: eval(data), b"1 + 1", "Escaped"),
    "it runs the input and hides it": (swallowed, b"1 + 1", "Escaped"),
    "it starts a program": (lambda data, folder: os.system("true"), b"", "Escaped"),
    "it writes elsewhere": (elsewhere, b"x", "Escaped"),
    "it imports the input": (lambda data, folder: __import__(MODULE), b"", "Escaped"),
    "it does not end": (endless, b"", "TooLong"),
    "it raises something else": (lambda data, folder: int(data), b"x", "ValueError"),
}


@pytest.mark.parametrize("what", EVIL)
def test_an_evil_reader_is_noticed(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a reader may not do is a fault, also where the reader catches what stops it."""
    reading, data, named = EVIL[what]
    monkeypatch.setattr(fuzz_guard, "SECONDS", 0.05)
    tally, place = Tally(), tmp_path / "its"
    place.mkdir()
    read(Reader("evil", reading, list, 1), data, place, tally)
    assert [key.split()[0] for key in tally.faults] == [named], tally
    assert list(tmp_path.iterdir()) == [place]


def test_a_good_reader_may_write_in_its_folder(tmp_path: Path) -> None:
    """Reading, writing in its folder and parsing Python are no faults."""

    def fine(data: bytes, folder: Path) -> None:
        (folder / "x").write_bytes(data)
        ast.parse((folder / "x").read_text(encoding="utf-8"))

    tally = Tally()
    read(Reader("fine", fine, list, 1), b"1 + 1", tmp_path, tally)
    assert (tally.taken, tally.faults) == (1, {})


def planted(data: bytes, folder: Path) -> None:
    """Fail in two places: at one byte of all, and at a longer run of others."""
    if b"#" in data:
        raise ValueError("number sign")
    if data.startswith(b"gamma") and len(data) > 20:
        raise IndexError("too long")


def test_planted_faults_are_found_and_shrunk(tmp_path: Path) -> None:
    """A reader with two faults is read to the end, and each fault has a short input."""
    reader = Reader("planted", planted, lambda: [b"gamma * dy"], 1, (b"#",))
    tally = fuzzed(reader, 600, 1, tmp_path)
    assert tally.count >= 600
    shortest = {key.split()[0]: len(data) for key, (data, _) in tally.faults.items()}
    assert shortest["ValueError"] <= 16 and shortest["IndexError"] <= 24, tally.faults


def test_changes_reach_what_they_are_for() -> None:
    """Among few inputs are cut ones, long ones, odd values in valid JSON, and harmful texts."""
    valid_input, found = corpora()[0], list[bytes]()

    @seed(0)
    @settings(max_examples=400, database=None, phases=[Phase.generate], deadline=None)
    @given(mutants([valid_input]))
    def collect(data: bytes) -> None:
        found.append(data)

    collect()
    assert all(isinstance(data, bytes) for data in found)
    assert any(valid_input.startswith(data) and data != valid_input for data in found), "none cut"
    assert any(len(data) > 2 * len(valid_input) for data in found), "none is long"
    assert any(MODULE.encode() in data for data in found), "none is harmful"
    valid = 0
    for data in found:
        with contextlib.suppress(ValueError, RecursionError):
            valid += json.loads(data) != json.loads(valid_input)
    assert valid > 50, "hardly any is valid JSON with another value"


@given(mutants([b"", b"x", b'{"a": [1, {"b": "0x1p+0"}]}', bytes(range(256))]))
def test_every_change_gives_bytes(data: bytes) -> None:
    """Each kind of change is defined for every input, the empty one included."""
    assert isinstance(data, bytes)


def test_the_inputs_are_shared_out_whole() -> None:
    """Every reader gets its part, and together they get all."""
    assert sum(shares(100_000, []).values()) == 100_000
    assert min(shares(100_000, []).values()) >= 500
    assert shares(10, ["diff"]) == {"diff": 10}


@pytest.mark.parametrize("faulty", [False, True])
def test_the_benchmark_prints_its_table(
    faulty: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command reads what it is asked to; its exit status tells whether there was a fault."""
    monkeypatch.setattr(fuzz, "_limit_memory", lambda: None)  # it would stay for all later tests
    if faulty:
        bad = replace(READERS["registry"], reading=lambda data, folder: dict[bytes, int]()[data])
        monkeypatch.setitem(READERS, "registry", bad)
        monkeypatch.setattr(fuzz, "warm", lambda reader, folder: None)
    words = ["--count", "40", "--only", "registry", "--keep", str(tmp_path / "kept")]
    assert main(words) == int(faulty)
    out = capsys.readouterr().out
    assert ("| registry | 40 |" in out and "40 inputs in " in out) or faulty
    assert ("KeyError at test_fuzz.py" in out) == faulty
    assert (tmp_path / "kept" / "0.bin").exists() == faulty
