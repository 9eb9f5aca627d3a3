"""Everything that reads what others wrote: how it is called, and how it must refuse."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .fuzz_seeds import (  # fmt: skip
    command_lines,
    corpora,
    formulas,
    hunts,
    images,
    programs,
    registries,
    reports,
    results,
    traces,
    values,
)

Read = Callable[[bytes, Path], bool]


class Fault(Exception):
    """A reader that refused, but not in one line with status 2."""


@dataclass(frozen=True)
class Reader:
    """A reader under test; read returns whether the input was taken, and raises nothing."""

    name: str
    read: Read
    seeds: Callable[[], list[bytes]]
    parts: int  # of all the inputs, relative to the others
    words: tuple[bytes, ...] = ()
    may: frozenset[str] = frozenset()


def command(words: list[str], statuses: tuple[int, ...]) -> bool:
    """Run a command here; return whether its status was not 2.

    Raises:
        Fault: its status is another one, or it refused in no line or in several.
    """
    from ..cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as left:
            status = int(str(left.code))
    for stream in (out, err):
        stream.flush()
    told = err.buffer.getvalue().decode("utf-8", "replace")
    if status not in (*statuses, 2):
        raise Fault(f"status {status}: {told[:200]}")
    if status == 2 and (told.count("\n") != 1 or "\r" in told):
        raise Fault(f"not one line: {told[:200]!r}")
    return status != 2


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _corpus(data: bytes, folder: Path) -> bool:
    from ..corpus.files import format_entries, read_file
    from ..corpus.numbers import Malformed
    from ..corpus.replay import replay
    from ..corpus.show import as_c, as_python, as_table
    from ..targets.open import loaded

    entries, problems = read_file(_file(folder, "fuzzed.json", _signed(data)))
    if any("\n" in problem for problem in problems):
        raise Fault(f"not one line: {problems!r}"[:200])
    for entry in entries[:3]:
        replay(find_once("bn", loaded), entry)
        with contextlib.suppress(Malformed):  # bfloat16, where ml_dtypes is not installed
            for form in (as_c, as_python, as_table):
                form(entry)
    format_entries(entries)
    return not problems


_FOUND: dict[str, Any] = {}


def find_once(spec: str, find: Callable[[str], Any]) -> Any:
    """Return a target, probed once."""
    if spec not in _FOUND:
        _FOUND[spec] = find(spec)
    return _FOUND[spec]


def _signed(data: bytes) -> bytes:
    """Return the file with the digests that its entries should have, so that more of it is read."""
    from ..corpus.files import digest

    try:
        content = json.loads(data)
        for key, entry in content.items():
            if isinstance(entry, dict) and "digest" in entry:
                entry["digest"] = digest(key, entry)
        return json.dumps(content).encode()
    except (ValueError, AttributeError, TypeError, RecursionError):
        return data


def _added(data: bytes, folder: Path) -> bool:
    target = folder / "added"
    target.mkdir(exist_ok=True)
    (target / "findings.json").unlink(missing_ok=True)
    path = _file(folder, "fuzzed.json", _signed(data))
    return command(["corpus", "add", str(path), "--corpus", str(target)], (0,))


def _registry(data: bytes, folder: Path) -> bool:
    from ..model.contract import TargetError
    from ..run.expectations import read

    try:
        read(_file(folder, "fuzzed.toml", data))
    except TargetError as error:
        return _refused(error)
    return True


def _refused(error: Exception) -> bool:
    """Refuse, with a text that the command makes one line of."""
    if not str(error).strip():
        raise Fault("refused without a word")
    return False


def _formula(data: bytes, folder: Path) -> bool:
    from reference.audit import NotAFormula, from_text

    try:
        from_text("dx", data.decode("utf-8", "replace"))
    except NotAFormula as error:
        return _refused(error)
    return True


def _audit(data: bytes, folder: Path) -> bool:
    return command(
        ["audit", f"--dx={data.decode('utf-8', 'surrogateescape')}", "--seed=1"], (0, 1, 3)
    )


def _value(data: bytes, folder: Path) -> bool:
    from ..targets.isolate.protocol import Reader as Messages
    from ..targets.isolate.protocol import Undecodable

    try:
        messages = Messages(data)
        messages.value()
        messages.end()
    except Undecodable as error:
        return _refused(error)
    return True


def _trace(data: bytes, folder: Path) -> bool:
    from ..targets.isolate.protocol import Undecodable
    from ..targets.isolate.trace import read

    try:
        read(_file(folder, "call-1-0.bin", data))
    except Undecodable as error:
        return _refused(error)
    return True


def _program(data: bytes, folder: Path) -> bool:
    from ..model.contract import TargetError
    from ..targets.isolate.limits import Limits
    from ..targets.open import open_target

    path = _file(folder, "answers.bin", data)
    with _inside(folder), contextlib.redirect_stderr(io.StringIO()):
        try:
            with open_target(f"exec:cat '{path}'", Limits(2.0, 512)):
                pass
        except TargetError as error:
            return _refused(error)
    return True


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _diff(data: bytes, folder: Path) -> bool:
    old = folder / f"old-{'probe' if b'targets' in data else 'run'}.json"
    if not old.exists():
        run, probe = results()
        _file(folder, "old-run.json", run), _file(folder, "old-probe.json", probe)
    new = _file(folder, "new.json", data)
    taken = command(["diff", str(old), str(new), "--json", str(folder / "d.json")], (0, 1))
    command(["diff", str(new), str(old)], (0, 1))
    return taken


def _hunt(data: bytes, folder: Path) -> bool:
    from ..hunt.result import verdict
    from ..hunt.shards import Shard
    from ..hunt.state import kept
    from ..hunt.table import table
    from ..model.contract import TargetError
    from .fuzz_seeds import HEAD

    path = _file(folder, "hunt.jsonl", data)
    try:
        with kept(path, HEAD) as state:
            shards = [Shard(*name.split(" | ")) for name in state.done if name.count(" | ") == 2]
            verdict(table(shards, state))
    except TargetError as error:
        return _refused(error)
    return True


def _images(data: bytes, folder: Path) -> bool:
    from ..experiment.images import BadImages, from_file

    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from_file(_file(folder, "images.npz", data))
    except BadImages as error:
        return _refused(error)
    return True


def _command_line(data: bytes, folder: Path) -> bool:
    from ..cli import parser

    words = [os.fsdecode(word) for word in data.replace(b"\0\0", b"\0").split(b"\0")]
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            top = parser(next((word for word in words if not word.startswith("-")), ""))
            top.parse_args(words)
        except SystemExit as left:
            if left.code == 0:
                return True
            err.flush()
            told = err.buffer.getvalue()
            if left.code != 2 or told.count(b"\n") != 1:
                raise Fault(f"status {left.code}: {told[:300]!r}") from None
            return False
    return True


_JSON = tuple(b'"core": "calls": "digest": "0x1.8p+1" "shape": "repeat": "data":'.split())
_TOML = (b"[[expected]]\n", b" = ", b"\n", *b"target invariant link reason dtypes".split(),
         *b"up_to per without rare [] [[]] {} inf nan 1979-05-27".split())  # fmt: skip
_MATH = tuple(
    b"gamma dy mean( sum( sqrt( square( ) ( ** / - xhat std ; n eps x var .real 0".split()
)
_MATH += (b"**0.5", b"**-3", b"1/0")
_TAGS = (b"N", b"B\1", b"L\2\0\0\0", b"L\xff\xff\xff\xff", b"T\3\0\0\0abc", b"F" + bytes(8), b"G",
         b"A\3\0\0\0<f4\2", b"A\3\0\0\0<f8\0", b"M\3\0\0\0<f4\1", b"O", b"I", b"R", b"E", b"W",
         b"D\x08\0\0\0bfloat16", b"\3\0\0\0<c8", b"\3\0\0\0|S4", b"\3\0\0\0>f2",
         b"H\1\0\1")  # fmt: skip
_NAMES = b"run hunt probe audit report --seed --examples --json --out --timeout --only -x --help"
_OPTIONS = (b"\0", b"\0--", b"--dx=", b"--eps=", b"@file", b"--=", b"-", b"corpus\0add\0",
            *(word + b"\0" for word in _NAMES.split()))  # fmt: skip

READERS = {
    reader.name: reader
    for reader in (
        Reader("corpus", _corpus, corpora, 120, _JSON),
        Reader("corpus add", _added, reports, 60, _JSON),
        Reader("registry", _registry, registries, 120, _TOML),
        Reader("formula", _formula, formulas, 150, _MATH),
        Reader("audit", _audit, formulas, 20, _MATH),
        Reader("protocol", _value, values, 190, _TAGS),
        Reader("last call", _trace, traces, 60, _TAGS),
        Reader("program", _program, programs, 5, _TAGS, frozenset({"subprocess.Popen", "os.kill"})),
        Reader("diff", _diff, lambda: list(results()), 80, _JSON),
        Reader("hunt", _hunt, hunts, 60),
        Reader("images", _images, images, 40),
        Reader("command line", _command_line, command_lines, 80, _OPTIONS),
    )
}
