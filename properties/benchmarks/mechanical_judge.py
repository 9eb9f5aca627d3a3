"""Judging a mutant of bn in a forked worker: corpus, argument tests, bn's tests, invariants.

The mutant is a copy of the package in a temporary folder that comes first in the worker's path. The
parent has imported all but bn, so that a worker starts at once. Of entries and tests, those that
killed most mutants before are tried first.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from ..corpus.files import Entry, read_corpus
from ..corpus.replay import replay
from ..engine.exercise import run_invariant
from ..invariants import INVARIANTS
from ..targets.open import loaded

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "properties" / "suite" / "bn"
ARGUMENTS = "test_bn_arguments.py"
MEMORY = 2 << 30  # bytes that a mutant may take more than its parent has
WORK = {"corpus": 5, "arguments": 5, "tests": 30, "millions": 30, "invariants": 300}  # seconds of
# processor time that a mutant may take at most: ten times what bn takes
WAIT = 1200.0  # seconds in all: other processes may need the processor, or a lock may hang
CORPUS: list[Entry] = []
KILLS: Counter[str] = Counter()  # of each test, of mutants before: the likeliest comes first


@dataclass(frozen=True)
class Judged:
    """killed, timed out or survived; at which stage, by what, and after how many seconds."""

    verdict: str
    stage: str = ""
    by: str = ""
    seconds: float = 0.0


def judge(folder: Path, stages: Sequence[str], module: str = "", source: str = "") -> Judged:
    """Judge a copy of bn, one of its modules replaced, in a new folder that is gone after."""
    worker = Worker(folder, stages, module, source)
    try:
        while (judged := worker.poll()) is None:
            worker.wait()
    except BaseException:
        worker.stop()
        raise
    return judged


def by_corpus() -> str:
    """Return the core entry that fails, empty where none does."""
    with _quiet():
        target = loaded("bn")
        core = sorted((e for e in CORPUS if e.core), key=lambda entry: -KILLS[entry.key])
        failing = (e.key for e in core if replay(target, e).verdict != "pass")
        return next(failing, "")


def by_arguments() -> str:
    """Return the test of arguments that fails."""
    return first_failing_test(ARGUMENTS)


def by_tests() -> str:
    """Return the test of bn that fails, those of a million values left out."""
    others = (path.name for path in sorted(SUITE.glob("test_bn*.py"), reverse=True))
    return first_failing_test(*(n for n in others if n != ARGUMENTS), "-k", "not million")


def by_millions() -> str:
    """Return the test of bn with a million values that fails."""
    return first_failing_test("test_bn.py", "-k", "million")


def by_invariants(examples: int = 100, seed: int = 1) -> str:
    """Return the invariant that fails, and for which of the two targets."""
    for spec in ("bn", "bn:per_activation"):
        with _quiet():
            target = loaded(spec)
        for name, invariant in INVARIANTS.items():
            options = {"examples": examples, "seed_number": seed, "shrink": False}
            if run_invariant(target, invariant, **options).verdict == "fail":  # type: ignore[arg-type]
                return f"{spec} {name}"
    return ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


STAGES: dict[str, Callable[[], str]] = {  # in growing cost
    "corpus": by_corpus,
    "arguments": by_arguments,
    "tests": by_tests,
    "millions": by_millions,
    "invariants": by_invariants,
}


class _FirstFailure:
    """A pytest plugin that runs likely tests first, and keeps the name of the first that fails."""

    name = ""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: -KILLS[name_of(item)])

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.name:
            self.name = name_of(report)


def name_of(item: Any) -> str:
    """Return file::test of a pytest item or report."""
    return str(item.nodeid.rpartition("/")[2])


def first_failing_test(*arguments: str) -> str:
    """Run tests of the suite in this process, and return the first that fails."""
    seen = _FirstFailure()
    options = ["-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider"]
    alone = [f"--rootdir={ROOT}", "-o", "addopts=", "-p", "no:xdist"]  # another process would
    # import another bn
    os.environ.pop("PYTEST_ADDOPTS", None)
    files = [str(SUITE / word) if word.endswith(".py") else word for word in arguments]
    status = pytest.main([*files, *options, *alone], plugins=[seen])
    return seen.name or ("" if status == 0 else f"pytest ends with {int(status)}")


def prepare() -> None:
    """Import and read what every worker needs, but for bn."""
    if not SUITE.is_dir():
        raise FileNotFoundError(f"no folder {SUITE}; expected a checkout with bn's tests")
    assert "bn" not in sys.modules, "bn is imported, and would shadow its mutants"
    CORPUS[:] = read_corpus()[0]
    sys.dont_write_bytecode = True
    gc.freeze()


def copy_of_bn(folder: Path, module: str = "", source: str = "") -> None:
    """Copy bn into a folder, one of its modules replaced."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "bn", folder / "bn", ignore=ignore)
    if module:
        place = folder.joinpath(*module.split("."))
        path = place.with_suffix(".py")
        (path if path.exists() else place / "__init__.py").write_text(source, encoding="utf-8")


class Worker:
    """One forked process that judges one mutant; it reports each stage, and what came of it."""

    def __init__(self, folder: Path, stages: Sequence[str], module: str, source: str) -> None:
        copy_of_bn(folder, module, source)
        self.folder, self.stage, self.start = folder, "import", time.monotonic()
        fork = multiprocessing.get_context("fork")
        self.messages, theirs = fork.Pipe(duplex=False)
        self.process = fork.Process(target=_work, args=(folder, stages, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def wait(self) -> None:
        """Wait a moment for the next message."""
        self.messages.poll(0.1)

    def poll(self) -> Judged | None:
        """Return what came of it, or None while it still works."""
        while self.messages.poll():
            try:
                kind, text = self.messages.recv()
            except EOFError:
                self.process.join()
                worked = self.process.exitcode == -signal.SIGXCPU
                return self._end("timed out" if worked else "killed", "the process died")
            if kind == "stage":
                self.stage = text
            elif kind == "broken":
                raise RuntimeError(text)
            else:
                return self._end("killed" if text else "survived", text)
        return self._end("timed out") if time.monotonic() - self.start > WAIT else None

    def _end(self, verdict: str, by: str = "") -> Judged:
        self.stop()
        stage = "" if verdict == "survived" else self.stage
        return Judged(verdict, stage, by, round(time.monotonic() - self.start, 2))

    def stop(self) -> None:
        """Kill the process, if it still runs, and remove its folder."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.messages.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _work(folder: Path, stages: Sequence[str], parent: Connection) -> None:
    """Judge one mutant, in the forked process."""
    os.setpgid(0, 0)  # an interrupt of the command is for the parent
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    _limit_memory()
    sys.path.insert(0, str(folder))
    try:
        import bn

        if bn.__file__ is None or folder not in Path(bn.__file__).parents:
            parent.send(("broken", f"bn was imported from {bn.__file__}, not from {folder}"))
        by = ""
        for stage in stages:
            parent.send(("stage", stage))
            used = int(sum(os.times()[:2]))
            resource.setrlimit(resource.RLIMIT_CPU, (used + WORK[stage], resource.RLIM_INFINITY))
            if by := STAGES[stage]():
                break
            if sys.modules.get("bn") is not bn:
                parent.send(("broken", f"{stage} imported another bn than {bn.__file__}"))
    except BaseException as error:  # SystemExit too: whatever a mutant does is its own end
        by = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    parent.send(("end", by))
    os._exit(0)  # no clean-up of what is the parent's


def _limit_memory() -> None:
    with contextlib.suppress(OSError, ValueError):  # memory has no limit elsewhere than on Linux
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
