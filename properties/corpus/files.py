"""The corpus on disk: read strictly, never executed; written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..model.cases import dtype_of
from ..model.contract import Array
from ..model.layouts import arrange
from ..support.writing import hidden
from ..support.writing import write_whole as write_whole
from .numbers import Malformed, decode_float
from .schema import check_entry

CORPUS = Path(__file__).parent
LAST_RUN = Path(".bncheck") / "last_run.json"
LARGEST_FILE = 8 * 2**20  # bytes
_SCHEMA = "schema.json"


@dataclass(frozen=True)
class Entry:
    """A test vector: its sentence, where it comes from, its calls, and the file it lies in."""

    key: str
    source: str
    core: bool
    calls: list[dict[str, Any]]
    file: str = ""


def decode_array(value: dict[str, Any]) -> Array:
    """Return an array in its memory layout.

    Raises:
        Malformed: NumPy has the dtype only with a package that is not installed.
    """
    integers = value["dtype"] == "int64"
    numbers = value["data"] if integers else [decode_float(v) for v in value["data"]]
    flat = np.tile(np.array(numbers, np.int64 if integers else np.float64), value.get("repeat", 1))
    try:
        dtype = flat.dtype if integers else dtype_of(value["dtype"])
    except ImportError as error:
        raise Malformed("dtype=bfloat16 needs ml_dtypes; try: pip install ml_dtypes") from error
    a = flat.astype(dtype).reshape(value["shape"])
    return arrange(a, value["layout"]) if "layout" in value else a


def decode_wanted(value: dict[str, Any]) -> tuple[Array, Array]:
    """Return a wanted value and its radius."""
    pair = (np.array([decode_float(v) for v in value[k]]) for k in ("value", "radius"))
    one, two = (np.tile(a, value.get("repeat", 1)).reshape(value["shape"]) for a in pair)
    return one, two


def digest(key: str, entry: dict[str, Any]) -> str:
    """Return what shows a changed bit: the start of the SHA-256 of key and entry without it."""
    bare = {k: v for k, v in entry.items() if k != "digest"}
    text = json.dumps([key, bare], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(k for i, (k, _) in enumerate(pairs) if k in dict(pairs[:i]))
        raise Malformed(f"{twice!r} stands twice: expected each key once")
    return found


def _constant(name: str) -> Any:
    raise Malformed(f"{name}: expected a number, or a float as a string")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)
_BLANK = re.compile(r"[ \t\r\n]*")
_NEXT = re.compile(r'\n (?=")')  # where the next entry starts in a file that we wrote


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None
    return found.end()


def scan(text: str) -> Iterator[tuple[str, Any, str]]:
    """Yield (key, value, problem) of a JSON object's members, going on behind a broken one."""
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        yield "(the whole file)", None, "expected a JSON object of entries"
        resumed = _NEXT.search(text, at)
        if resumed is None:
            return
        at = resumed.end() - 1
    at = _skip(text, at + 1)
    seen: set[str] = set()
    while text[at : at + 1] != "}":
        key = "(unreadable)"
        try:
            key, at = _key(text, at)
            value, at = _DECODER.raw_decode(text, at)
            twice = "the key stands twice: expected each key once" if key in seen else ""
            yield key, value, twice
            seen.add(key)
            key = "(unreadable)"
            at = _comma(text, at)
        except (ValueError, Malformed, RecursionError) as error:
            yield key, None, _one_line(error)
            resumed = _NEXT.search(text, at)
            if resumed is None:
                return
            at = resumed.end()
    if _skip(text, at + 1) != len(text):
        yield "(behind the last entry)", None, "expected the end of the file"


def _one_line(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    return " ".join(str(error).split())[:300] or type(error).__name__


def _key(text: str, at: int) -> tuple[str, int]:
    key, at = _DECODER.raw_decode(text, at)
    if not isinstance(key, str):
        raise Malformed(f"{key!r}: expected a sentence as key")
    at = _skip(text, at)
    if text[at : at + 1] != ":":
        raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
    return key, _skip(text, at + 1)


def _comma(text: str, at: int) -> int:
    at = _skip(text, at)
    if text[at : at + 1] == ",":
        after = _skip(text, at + 1)
        if text[after : after + 1] == '"':
            return after
        raise json.JSONDecodeError("Expecting property name", text, after)
    if text[at : at + 1] != "}":
        raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    return at


def read_file(path: Path, folder: Path | None = None) -> tuple[list[Entry], list[str]]:
    """Return the good entries of a file, and a line naming file and key for each bad one."""

    def told(key: str, what: str) -> str:
        return f"file={path}: key={key!r}: {what}"

    try:
        if folder is not None and not path.resolve().is_relative_to(folder.resolve()):
            raise Malformed("the path leads outside the corpus: expected a file in its folder")
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise Malformed(f"{size} bytes: expected at most {LARGEST_FILE}; split the file")
        text = path.read_bytes().decode(
            "utf-8", errors="replace"
        )  # a wrong byte is one wrong entry
    except (OSError, Malformed) as error:
        return [], [told("(the whole file)", _one_line(error))]
    entries, problems = [], []
    for key, value, problem in scan(text):
        try:
            if problem:
                raise Malformed(problem)
            check_entry(value)
            if value["digest"] != (right := digest(key, value)):
                raise Malformed(f"digest={value['digest']}: expected {right}; a number was changed")
            entries.append(Entry(key, value["source"], value["core"], value["calls"], path.name))
        except Malformed as error:
            problems.append(told(key, _one_line(error)))
    return entries, problems


def read_corpus(folder: Path = CORPUS) -> tuple[list[Entry], list[str]]:
    """Return all good entries of a corpus, sorted, and the problems; these stop nothing else."""
    entries: dict[str, Entry] = {}
    problems: list[str] = []
    paths = [p for p in sorted(folder.glob("*.json")) if p.name != _SCHEMA and p.name[0] != "."]
    for path in paths:
        found, bad = read_file(path, folder)
        problems += bad
        for entry in found:
            if entry.key in entries:
                other = entries[entry.key].file
                problems.append(f"file={path}: key={entry.key!r}: it stands in {other} already")
            else:
                entries[entry.key] = entry
    return [entries[key] for key in sorted(entries)], problems


def as_json(entry: Entry) -> dict[str, Any]:
    """Return an entry as it is stored."""
    found = {"source": entry.source, "core": entry.core, "calls": entry.calls}
    return {**found, "digest": digest(entry.key, found)}


_FLAT = re.compile(r"\[[^\[\]{}]*\]")


def format_entries(entries: Iterable[Entry]) -> str:
    """Return the text of a corpus file: sorted, numbers of one array on one line."""
    content = {entry.key: as_json(entry) for entry in entries}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True)
    return _FLAT.sub(lambda found: " ".join(found[0].split()), text) + "\n"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one writer at a time, where the system can."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def add_entries(path: Path, new: Iterable[Entry]) -> list[str]:
    """Add entries to a corpus file and return the keys that were not there before.

    Raises:
        Malformed: the file holds something that would be lost.
    """
    with locked(path.parent):
        old, problems = read_file(path, path.parent) if path.exists() else ([], [])
        if problems:
            raise Malformed(f"{problems[0]}; mend it first, adding would lose it")
        held = {entry.key: entry for entry in old}
        calls = {json.dumps(entry.calls, sort_keys=True) for entry in old}
        added = []
        for entry in new:
            if json.dumps(entry.calls, sort_keys=True) in calls:
                continue
            key = unused(entry.key, held)
            held[key] = Entry(key, entry.source, entry.core, entry.calls, path.name)
            added.append(key)
        if added:
            write_whole(path, format_entries(held.values()))
    return added


def unused(key: str, held: dict[str, Any]) -> str:
    """Return the key, numbered where it is taken."""
    number, found = 2, key
    while found in held:
        found, number = f"{key} ({number})", number + 1
    return found


def remember(counterexamples: Iterable[dict[str, Any]], path: Path = LAST_RUN) -> None:
    """Leave the failing cases of a run where `corpus add --from-last-run` finds them."""
    found: dict[str, Entry] = {}
    for given in counterexamples:
        if given and given["calls"]:
            key = unused(given["sentence"], found)
            found[key] = Entry(key, given["source"], False, given["calls"])
    if not found:
        return
    hidden(path.parent)
    write_whole(path, format_entries(found.values()))
