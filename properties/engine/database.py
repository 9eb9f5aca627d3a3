"""Where Hypothesis keeps examples for other machines and later runs: a folder, Redis, or both."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis.database import DirectoryBasedExampleDatabase, ExampleDatabase, MultiplexedDatabase

from ..model.contract import TargetError
from ..support.extras import hint

_SCHEMES = ("redis://", "rediss://", "unix://")
PATIENCE = 10.0  # seconds that a server has to answer


def opened(text: str, option: str = "--database") -> ExampleDatabase | None:
    """Return the database that a text names: folders and redis:// addresses, with commas between.

    Args:
        text: what was given; empty is none.
        option: where it was given, for complaints.

    Raises:
        TargetError: a part that cannot be used, or that needs what is not installed.
    """
    if not text:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise TargetError(
            f"{option}={text}: expected FOLDER, redis://HOST:PORT or FOLDER,redis://…"
        )
    found = [
        _redis(part, option) if part.startswith(_SCHEMES) else _folder(part, option)
        for part in parts
    ]
    return found[0] if len(found) == 1 else MultiplexedDatabase(*found)


@cache
def once(text: str) -> ExampleDatabase | None:
    """Return the database that a text names, opened at the first call in this process."""
    return opened(text)


def absolute(text: str) -> str:
    """Return the text with the folders' whole paths, for workers that start elsewhere."""
    parts = [part.strip() for part in text.split(",")] if text else []
    return ",".join(part if "://" in part else str(Path(part).resolve()) for part in parts)


def public(text: str) -> str:
    """Return the text without the passwords in its addresses."""
    return re.sub(r"://[^/,@]*@", "://***@", text)


def _folder(text: str, option: str) -> ExampleDatabase:
    path = Path(text).resolve()
    if "://" in text:
        raise TargetError(f"{option}={public(text)}: expected a folder or redis://HOST:PORT")
    if not (path if path.exists() else path.parent).is_dir():
        raise TargetError(f"{option}={text}: expected a folder, or a name in one that exists")
    return DirectoryBasedExampleDatabase(path)


def _redis(address: str, option: str) -> ExampleDatabase:
    try:
        from hypothesis.extra.redis import RedisExampleDatabase
        from redis import Redis, RedisError
    except ImportError as error:
        raise TargetError(f"{option}={public(address)} needs redis; {hint('cluster')}") from error
    limits = {"socket_connect_timeout": PATIENCE, "socket_timeout": PATIENCE}
    try:
        connection: Any = Redis.from_url(address, **limits)
        connection.ping()
    except (RedisError, ValueError, OSError) as error:
        raise TargetError(
            f"{option}={public(address)}: no answer: {_why(error)}; "
            "expected a server at redis://HOST:PORT"
        ) from error
    return RedisExampleDatabase(connection)


def _why(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


class Part(ExampleDatabase):
    """The part of an example database that belongs to one search: of a target, for one thing."""

    def __init__(self, whole: ExampleDatabase, *names: str) -> None:
        super().__init__()
        self.whole, self.name = whole, " | ".join([*names, ""]).encode()

    def fetch(self, key: bytes) -> list[bytes]:
        """Return the values under a key, in an order that is no accident."""
        with _answering():
            return sorted(self.whole.fetch(self.name + key))

    def save(self, key: bytes, value: bytes) -> None:
        """Keep a value under a key."""
        with _answering():
            self.whole.save(self.name + key, value)

    def delete(self, key: bytes, value: bytes) -> None:
        """Forget a value under a key."""
        with _answering():
            self.whole.delete(self.name + key, value)


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Turn what a database raises into one line: its server has gone, is full, or forbids it."""
    try:
        yield
    except Exception as error:
        raise TargetError(
            f"--database: it no longer answers: {_why(error)}; expected a server that lasts"
        ) from error
