"""Targets and processes that the tests of the hunt's command share."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ONE_PASS = """
import time
import numpy as np

CONVENTIONS = {"momentum": "keep", "running_var": "biased", "ndim": [2], "dtypes": ["float32"]}
PAUSE = 0.0

def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    time.sleep(PAUSE)
    n = x.dtype.type(len(x))
    mean = x.sum(axis=0) / n
    var = np.maximum((x * x).sum(axis=0) / n - mean * mean, 0)
    y = gamma * ((x - mean) / np.sqrt(var + x.dtype.type(eps))) + beta
    keep, rest = x.dtype.type(momentum), x.dtype.type(1 - momentum)
    return y, keep * running_mean + rest * mean, keep * running_var + rest * var, None
"""  # it fails running_var, and passes running_mean
SLOW = ONE_PASS.replace("PAUSE = 0.0", "PAUSE = 0.02")
QUICK = ("--only", "running_var", "--examples", "5")


def command(*arguments: object) -> list[str]:
    """Return `bncheck hunt` with these arguments, as a process of its own."""
    return [sys.executable, "-m", "properties.cli", "hunt", *(str(a) for a in arguments)]


def hunted(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `bncheck hunt` to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, cwd=cwd, env=here()
    )


def begun(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """Start `bncheck hunt`, its output in pipes."""
    return subprocess.Popen(
        command(*arguments), stdout=-1, stderr=-1, text=True, cwd=cwd, env=here()
    )


def here() -> dict[str, str]:
    """Return the environment with this copy of the project on the path."""
    root = str(Path(__file__).resolve().parents[3])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


def until(holds: Callable[[], bool], what: str, patience: float = 300.0) -> None:
    """Wait until something holds."""
    last = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < last, f"waited in vain: {what}"
        time.sleep(0.05)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a state file, without its head."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]][1:]


def table(path: Path) -> Any:
    """Return what a result file says of the target, whoever searched."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [content[key] for key in ("cells", "smallest", "cases", "verdict", "complete")]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether somebody listens."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
