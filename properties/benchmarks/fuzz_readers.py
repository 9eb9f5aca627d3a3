"""Everything that reads what others wrote: how it is called, and how it must refuse."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from reference.audit import NotAFormula, from_text

from ..cli import main, parser
from ..corpus.files import digest, format_entries, read_file
from ..corpus.numbers import Malformed
from ..corpus.replay import replay
from ..corpus.show import as_c, as_python, as_table
from ..experiment.images import BadImages, from_file
from ..hunt.result import verdict
from ..hunt.shards import Shard
from ..hunt.state import kept
from ..hunt.table import table
from ..model.contract import TargetError
from ..run import expectations
from ..targets.isolate import trace
from ..targets.isolate.limits import Limits
from ..targets.isolate.protocol import Reader as Messages
from ..targets.isolate.protocol import Undecodable
from ..targets.open import loaded, open_target
from . import fuzz_seeds as seeds

probed_once = cache(loaded)


class Fault(Exception):
    """A reader that refused, but not in one line with status 2."""


class Refused(Exception):
    """A command or a reader refused its input as it should."""


@dataclass(frozen=True)
class Reader:
    """A reader under test: how it reads, and the exceptions by which it may refuse."""

    name: str
    reading: Callable[[bytes, Path], object]
    seeds: Callable[[], list[bytes]]
    parts: int  # of all the inputs, relative to the others
    words: tuple[bytes, ...] = ()
    refusal: type[Exception] = Refused
    may: frozenset[str] = frozenset()

    def read(self, data: bytes, folder: Path) -> bool:
        """Return whether the input was taken.

        Raises:
            Fault: it was refused without a word; any other exception is a fault as well.
        """
        try:
            self.reading(data, folder)
        except self.refusal as error:
            if not str(error).strip():
                raise Fault("refused without a word") from error
            return False
        return True


def command(words: list[str], statuses: tuple[int, ...]) -> None:
    """Run a command here.

    Raises:
        Refused: its status is 2, with one line.
        Fault: its status is another one, or it refused in no line or in several.
    """
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            status = main(words)
        except SystemExit as left:
            status = int(str(left.code))
    out.flush()
    _judge_status(status, statuses, said)


def _judge_status(status: object, statuses: tuple[int, ...], said: io.TextIOWrapper) -> None:
    said.flush()
    assert isinstance(said.buffer, io.BytesIO)
    text = said.buffer.getvalue().decode("utf-8", "replace")
    if status not in (*statuses, 2):
        raise Fault(f"status {status}: {text[:300]}")
    if status == 2:
        if text.count("\n") != 1 or "\r" in text:
            raise Fault(f"not one line: {text[:300]!r}")
        raise Refused(text)


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _corpus(data: bytes, folder: Path) -> None:
    entries, problems = read_file(_file(folder, "fuzzed.json", _signed(data)))
    if any("\n" in problem for problem in problems):
        raise Fault(f"not one line: {problems!r}"[:200])
    for entry in entries[:3]:
        replay(probed_once("bn"), entry)
        with contextlib.suppress(Malformed):  # bfloat16, where ml_dtypes is not installed
            for form in (as_c, as_python, as_table):
                form(entry)
    format_entries(entries)
    if problems:
        raise Refused(str(problems))


def _signed(data: bytes) -> bytes:
    """Return the file with the digests that its entries should have, so that more of it is read."""
    try:
        content = json.loads(data)
        for key, entry in content.items():
            if isinstance(entry, dict) and "digest" in entry:
                entry["digest"] = digest(key, entry)
        return json.dumps(content).encode()
    except (ValueError, AttributeError, TypeError, RecursionError):
        return data


def _added(data: bytes, folder: Path) -> None:
    target = folder / "added"
    target.mkdir(exist_ok=True)
    (target / "findings.json").unlink(missing_ok=True)
    path = _file(folder, "fuzzed.json", _signed(data))
    command(["corpus", "add", str(path), "--corpus", str(target)], (0,))


def _registry(data: bytes, folder: Path) -> None:
    expectations.read(_file(folder, "fuzzed.toml", data))


def _formula(data: bytes, folder: Path) -> None:
    from_text("dx", data.decode("utf-8", "replace"))


def _audit(data: bytes, folder: Path) -> None:
    command(["audit", f"--dx={data.decode('utf-8', 'surrogateescape')}", "--seed=1"], (0, 1, 3))


def _value(data: bytes, folder: Path) -> None:
    messages = Messages(data)
    messages.value()
    messages.end()


def _last_call(data: bytes, folder: Path) -> None:
    trace.read(_file(folder, "call-1-0.bin", data))


def _program(data: bytes, folder: Path) -> None:
    path = _file(folder, "answers.bin", data)
    with (
        contextlib.chdir(folder),
        warnings.catch_warnings(action="ignore"),
        contextlib.redirect_stderr(io.StringIO()),
        open_target(f"exec:cat '{path}'", Limits(2.0, 512)),
    ):
        pass


def _diff(data: bytes, folder: Path) -> None:
    old = folder / f"old-{'probe' if b'targets' in data else 'run'}.json"
    if not old.exists():
        for name, content in zip(("run", "probe"), seeds.results(), strict=True):
            _file(folder, f"old-{name}.json", content)
    new = _file(folder, "new.json", data)
    with contextlib.suppress(Refused):
        command(["diff", str(new), str(old)], (0, 1))
    command(["diff", str(old), str(new), "--json", str(folder / "d.json")], (0, 1))


def _hunt(data: bytes, folder: Path) -> None:
    with kept(_file(folder, "hunt.jsonl", data), seeds.HEAD) as state:
        shards = [Shard(*name.split(" | ")) for name in state.done if name.count(" | ") == 2]
        verdict(table(shards, state))


def _images(data: bytes, folder: Path) -> None:
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        from_file(_file(folder, "images.npz", data))


def _command_line(data: bytes, folder: Path) -> None:
    words = [os.fsdecode(word) for word in data.replace(b"\0\0", b"\0").split(b"\0")]
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            top = parser(next((word for word in words if not word.startswith("-")), ""))
            top.parse_args(words)
            return
        except SystemExit as left:
            status: Any = left.code or 0
    _judge_status(status, (0,), said)


_JSON = tuple(b'"core": "calls": "digest": "0x1.8p+1" "shape": "repeat": "data":'.split())
_TOML = (b"[[expected]]\n", b" = ", b"\n", *b"target invariant link reason dtypes".split(),
         *b"up_to per without rare quantities [] [[]] {} inf nan 1979-05-27".split())  # fmt: skip
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

_PROGRAMS = frozenset({"subprocess.Popen", "os.kill"})

READERS = {
    reader.name: reader
    for reader in (
        Reader("corpus", _corpus, seeds.corpora, 120, _JSON),
        Reader("corpus add", _added, seeds.reports, 60, _JSON),
        Reader("registry", _registry, seeds.registries, 120, _TOML, TargetError),
        Reader("formula", _formula, seeds.formulas, 150, _MATH, NotAFormula),
        Reader("audit", _audit, seeds.formulas, 20, _MATH),
        Reader("protocol", _value, seeds.values, 190, _TAGS, Undecodable),
        Reader("last call", _last_call, seeds.traces, 60, _TAGS, Undecodable),
        Reader("program", _program, seeds.programs, 5, _TAGS, TargetError, _PROGRAMS),
        Reader("diff", _diff, lambda: list(seeds.results()), 80, _JSON),
        Reader("hunt", _hunt, seeds.hunts, 60, (), TargetError),
        Reader("images", _images, seeds.images, 40, (), BadImages),
        Reader("command line", _command_line, seeds.command_lines, 80, _OPTIONS),
    )
}
