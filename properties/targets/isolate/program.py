"""exec:COMMAND: the program that a spec names."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from ...model.contract import TargetError


def command_of(spec: str) -> list[str]:
    """Return how to start the program of exec:COMMAND, nothing for another spec.

    Raises:
        TargetError: there is no such program.
    """
    if not spec.startswith("exec:"):
        return []
    text = spec.removeprefix("exec:")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise TargetError(f"target={spec}: {error}; expected exec:COMMAND as a shell") from error
    if not words:
        raise TargetError(f"target={spec}: expected a command, as in exec:./program")
    if shutil.which(words[0]) is None:
        raise TargetError(
            f"target={spec}: no program {words[0]}; expected one on PATH, or a path to a file "
            "that may be executed"
        )
    launcher = str(Path(__file__).with_name("launch.py"))
    return [sys.executable, "-S", "-E", launcher, str(os.getpid()), *words]
