"""What the exact audit says of a target that is a file, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..model.contract import Target
from ..targets.styles import by_framework

SECONDS = 20.0
_RIGHT = "audit: its 2-D formulas are right in exact arithmetic: look at ranks, dtypes and state"
_ZERO = "is zero in exact arithmetic, and rounding on a computer: does it lack a factor?"


def asked(target: Target, seed: int, seconds: float = SECONDS) -> list[str]:
    """Return the wrong terms and lines, in a line each; none where the target is no NumPy file.

    Args:
        target: the audit is told its conventions, as they were found out.
        seed: of the points that are tried.
        seconds: after which the audit is given up.
    """
    spec, c = target.spec, target.conventions
    path = Path(spec)
    if path.suffix != ".py" or not path.is_file() or by_framework(target.style):
        return []
    if "forward_train" not in target.functions:
        return []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "audit.json")
        command = [sys.executable, "-m", "properties.cli", "audit", spec, "--json", str(out)]
        command += ["--momentum", c.momentum, "--running-var", c.running_var, "--seed", str(seed)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return [f"audit: gave up after {seconds:g} s; bncheck audit {spec}"]
        with contextlib.suppress(OSError, ValueError):
            return _said(json.loads(out.read_text(encoding="utf-8")), spec)
    why = done.stderr.strip().rpartition("bncheck audit: ")[2].splitlines()
    return [f"audit: cannot read it: {why[0][:100]}"] if why else []


def _said(report: dict[str, Any], spec: str) -> list[str]:
    lines: dict[str, None] = {}
    for each in report["audits"]:
        for quantity in each["quantities"]:
            if quantity["verdict"] == "not equal":
                words = [d["words"] for d in quantity["diagnosis"]] or [quantity["message"]]
                mode = " in inference" if each["mode"] == "eval" else ""
                lines |= {f"audit: {quantity['quantity']}{mode}: {word}": None for word in words}
                lines |= {f"audit: {line}": None for line in [quantity["wrong_line"]] if line}
    if lines:
        return list(lines)[:4]
    if report["verdict"] == "equal":
        zero = dict.fromkeys(text for each in report["audits"] for text in each["zero_terms"])
        return [_RIGHT, *(f"audit: {text.split(' is exactly zero')[0]} {_ZERO}" for text in zero)][
            :3
        ]
    return [f"audit: cannot tell; bncheck audit {spec}"]
