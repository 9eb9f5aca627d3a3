"""The state of a hunt on disk: one line per finished shard, kept for one hunt at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..model.contract import TargetError
from .shards import Shard

Found = dict[str, Any]  # what `work.search_shard` gives


@dataclass
class State:
    """The finished shards by name, and the open file that more of them go to."""

    path: Path
    done: dict[str, Found] = field(default_factory=dict)
    resumed: int = 0
    stream: IO[bytes] | None = None

    def add(self, shard: Shard, found: Found) -> None:
        """Keep what a shard came to, once: on disk before it counts."""
        if shard.name in self.done:
            return
        assert self.stream is not None
        _append(self.stream, {"shard": shard.name, **found})
        self.done[shard.name] = found


def _append(stream: IO[bytes], content: dict[str, Any]) -> None:
    text = json.dumps(content, allow_nan=False)
    line = json.dumps({"digest": _digest(text)})[:-1] + f", {text[1:]}\n"
    stream.write(line.encode())
    stream.flush()
    os.fsync(stream.fileno())


def _digest(text: str) -> str:
    """Return what shows a changed bit: the start of the SHA-256 of a line without it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _parsed(line: bytes) -> dict[str, Any]:
    """Return what a line holds.

    Raises:
        ValueError: it is not as it was written.
    """
    content: dict[str, Any] = json.loads(line)
    digest = content.pop("digest")
    if digest != _digest(json.dumps(content)):
        raise ValueError("a changed line")
    return content


@contextlib.contextmanager
def kept(path: Path, head: dict[str, Any]) -> Iterator[State]:
    """Hold the state file of a hunt; what it holds of the same hunt is taken up.

    Args:
        path: of the file, made where it is missing.
        head: what makes two hunts the same: target, its fingerprint, seed, examples, choices.

    Raises:
        TargetError: another hunt is writing there, or it holds a different one.
    """
    with _opened(path) as stream:
        _lock(stream, path)
        stream.seek(0)
        lines = stream.read().split(b"\n")
        torn = len(lines.pop())  # an interrupted write: its shard is searched again
        if torn:
            stream.truncate(stream.tell() - torn)
        done = _read(path, [line for line in lines if line], head)
        if not lines:
            _append(stream, {"hunt": head})
        yield State(path, done, len(done), stream)


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("a+b")
    except OSError as error:
        raise TargetError(f"--out={path}: {error.strerror}; expected a place to write") from error


def _lock(stream: IO[bytes], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # a system without it: the user's to see to
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise TargetError(
            f"--out={path}: another hunt is writing there; wait for it, or give another --out"
        ) from error


def _read(path: Path, lines: list[bytes], head: dict[str, Any]) -> dict[str, Found]:
    done: dict[str, Found] = {}
    try:
        parsed = [_parsed(line) for line in lines]
        if parsed:
            _same(path, parsed[0]["hunt"], head)
        for line in parsed[1:]:
            done.setdefault(line["shard"], {k: line[k] for k in ("cells", "smallest")})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TargetError(
            f"--out={path}: it is no hunt's file; give another --out, or delete it"
        ) from error
    return done


def _same(path: Path, old: dict[str, Any], head: dict[str, Any]) -> None:
    differing = [key for key in head if old.get(key) != head[key]]
    if differing:
        key = differing[0]
        what = f"{key}={old.get(key)!r}, not {head[key]!r}"
        if key == "fingerprint":
            what = "made with another source or version of the target, bncheck or a library"
        raise TargetError(
            f"--out={path}: it holds another hunt ({what}); give another --out, or delete it"
        )
