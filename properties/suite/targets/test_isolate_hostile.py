"""Targets that crash, hang, corrupt and eat: each is a finding with its input, and nothing is lost.

One test per target of `hostile/`; what the suite's own process is like is compared around each.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from properties.engine import tally as running
from properties.targets.isolate.process import descendants
from properties.targets.isolate.watch import arithmetic

HOSTILE = Path(__file__).with_name("hostile")
REFERENCE = "output_agrees_with_reference"
Run = Callable[..., Any]


def words() -> dict[str, str]:
    """Return what a report must say of each hostile target."""
    description = importlib.util.spec_from_file_location("hostile", HOSTILE / "targets.py")
    assert description is not None and description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    found: dict[str, str] = {**module.WORDS}
    native.update(module.NATIVE)
    return found


native: set[str] = set()
WORDS = words()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The native misdeeds, compiled; None without a compiler."""
    if shutil.which("gcc") is None:
        return None
    built = tmp_path_factory.mktemp("hostile") / "native.so"
    command = ["gcc", "-O1", "-w", "-shared", "-fPIC", "-o", str(built)]
    subprocess.run([*command, str(HOSTILE / "native.c"), "-lm"], check=True)
    return built


def own_state() -> dict[str, Any]:
    """Return what a target may not change in the suite's process."""
    return {
        "folder": os.getcwd(),
        "environment": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "random": random.getstate(),
        "numpy.random": str(np.random.get_state()),
        "errors": np.geterr(),
        "arithmetic": arithmetic(),
    }


@pytest.fixture
def unharmed(
    tmp_path: Path, library: Path | None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Hold that the process is as it was, no worker runs and no mapped file is left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BNCHECK_HOSTILE", str(library))
    monkeypatch.setenv("BNCHECK_HOSTILE_TEST", str(tmp_path))
    monkeypatch.setattr(running, "DEATHS", 2)
    before, running_before = own_state(), descendants(os.getpid())  # what other tests started
    yield
    assert own_state() == before
    assert set(descendants(os.getpid())) <= set(running_before), "a process was left behind"
    assert started(str(tmp_path)) == [], "a process was left behind, away from its father"
    assert [p.name for p in tmp_path.rglob("*.bin")] == [], "a mapped file was left behind"


def started(text: str) -> list[int]:
    """Return the processes that were started with this text in their environment (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def kept_inputs(folder: Path) -> list[Any]:
    """Return the calls of the saved counterexamples."""
    path = folder / ".bncheck" / "last_run.json"
    return [entry["calls"] for entry in json.loads(path.read_text(encoding="utf-8")).values()]


HANGING = {name for name, words in WORDS.items() if words.startswith("hung")}


@pytest.mark.parametrize("name", WORDS)
def test_a_hostile_target_is_a_finding_with_its_input(
    bncheck: Run,
    unharmed: None,
    library: Path | None,
    tmp_path: Path,
    name: str,
) -> None:
    """Whatever it does past five samples, the invariant fails in its words and keeps the batch."""
    if name in native and library is None:
        pytest.skip("no gcc")
    target = f"{HOSTILE / 'targets.py'}:{name}"
    limits = ("--timeout", 0.5 if name in HANGING else 20, "--memory", 200)
    # the first few examples are enough; one of more than five samples is among them
    aside = WORDS[name].startswith("changed ")  # the numbers are judged all the same
    only = "training_leaves_its_inputs_unchanged" if aside else REFERENCE
    ran = bncheck("run", target, *limits, "--only", only, "--examples", 8, "--seed", 1)
    assert ran.status == 1, ran.out + ran.err
    assert "Traceback" not in ran.out + ran.err.replace("all work and no play", "")
    because = [line for line in ran.out.splitlines() if line.startswith("     because")]
    assert len(because) == 1, ran.out
    assert because[0].startswith(f"     because forward_train {WORDS[name]}"), because[0]
    (calls,) = kept_inputs(tmp_path)
    assert calls[-1]["call"] == "forward_train"
    assert calls[-1]["x"]["shape"][0] > 5, "this input is harmless"


def test_there_are_enough_hostile_targets() -> None:
    """At least twenty, native ones among them, every word of the protocol's document covered."""
    assert len(WORDS) >= 20
    assert {
        "null_pointer", "write_past_the_end", "infinite_loop", "call_abort", "divide_by_zero",
        "stack_overflow", "allocate_100_gb",
    } <= native  # fmt: skip
    said = " ".join(WORDS.values())
    for word in (
        "SIGSEGV", "SIGABRT", "SIGFPE", "SIGKILL", "SIGILL", "exited", "hung", "--memory",
        "wrote past", "flooded", "working directory", "floating-point state", "error state",
        "random state", "environment variable", "forked", "cannot be decoded",
    ):  # fmt: skip
        assert word in said, f"no target for {word!r}"


def test_the_check_of_what_is_left_behind_sees_a_process() -> None:
    """A child of this process is found by the check that none is left."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in descendants(os.getpid())
    finally:
        child.communicate(b"\n")
