"""Where Hypothesis keeps examples for other machines and later runs: a folder, Redis, or both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis.database import DirectoryBasedExampleDatabase, ExampleDatabase, MultiplexedDatabase

from ..contract import TargetError

_SCHEMES = ("redis://", "rediss://", "unix://")


def opened(text: str) -> ExampleDatabase:
    """Return the database that a text names: folders and redis:// addresses, with commas between.

    Raises:
        TargetError: a part that cannot be used, or that needs what is not installed.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise TargetError(
            f"--database={text}: expected FOLDER, redis://HOST:PORT or FOLDER,redis://…"
        )
    found = [_redis(part) if part.startswith(_SCHEMES) else _folder(part) for part in parts]
    return found[0] if len(found) == 1 else MultiplexedDatabase(*found)


def _folder(text: str) -> ExampleDatabase:
    path = Path(text)
    if "://" in text:
        raise TargetError(f"--database={text}: expected a folder or redis://HOST:PORT")
    if not (path if path.exists() else path.resolve().parent).is_dir():
        raise TargetError(f"--database={text}: expected a folder, or a name in one that exists")
    return DirectoryBasedExampleDatabase(path)


def _redis(address: str) -> ExampleDatabase:
    try:
        from hypothesis.extra.redis import RedisExampleDatabase
        from redis import Redis, RedisError
    except ImportError as error:
        raise TargetError(
            f"--database={address} needs redis; try: pip install 'bncheck[cluster]'"
        ) from error
    try:
        connection: Any = Redis.from_url(address, socket_connect_timeout=5)
        connection.ping()
    except (RedisError, ValueError, OSError) as error:
        why = " ".join(str(error).split()).rstrip(".")
        raise TargetError(
            f"--database={address}: no answer: {why}; expected a server at redis://HOST:PORT"
        ) from error
    return RedisExampleDatabase(connection)
