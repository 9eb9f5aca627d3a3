"""One sitting: the user's command with a subject in place, in a process group of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .hook import ORDER

ROOT = Path(__file__).resolve().parents[2]
_SITE = """\
import sys
sys.path.insert(0, {root!r})
import reference
from properties.exam import hook
sys.path.remove({root!r})
sys.path.append({root!r})
hook.install({folder!r})
"""


@dataclass(frozen=True)
class Sat:
    """How a command ended: its status, None where time ran out; facts are what was shown."""

    status: int | None
    seconds: float
    facts: frozenset[str]
    error: str
    tail: str


def sit(
    command: Sequence[str], order: Mapping[str, Any] | None, timeout: float, cwd: Path | None = None
) -> Sat:
    """Run a command with the order's subject in place, or as it is; leave nothing behind.

    Raises:
        OSError: there is no such command.
    """
    with tempfile.TemporaryDirectory(prefix="bncheck-exam-") as folder:
        site, log, output = (Path(folder, name) for name in ("site", "log", "output"))
        site.mkdir()
        log.mkdir()
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        options = environment.get("PYTEST_ADDOPTS", "")
        environment["PYTEST_ADDOPTS"] = f"{options} -p no:cacheprovider".strip()
        if order is not None:
            text = _SITE.format(root=str(ROOT), folder=str(site))
            (site / "sitecustomize.py").write_text(text, encoding="utf-8")
            paths = [str(site), *filter(None, [environment.get("PYTHONPATH")])]
            environment["PYTHONPATH"] = os.pathsep.join(paths)
            environment[ORDER] = json.dumps({**order, "log": str(log)})
        start = time.monotonic()
        with open(output, "wb") as stream:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                env=environment, start_new_session=True, cwd=cwd,
            )  # fmt: skip
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        seconds = time.monotonic() - start
        facts = {path.name for path in log.iterdir()}
        error = (log / "error").read_text(encoding="utf-8") if "error" in facts else ""
        tail = output.read_bytes()[-2000:].decode(errors="replace")
    return Sat(status, seconds, frozenset(facts - {"error"}), error, tail)
