"""Judging many targets in a given time: stages in child processes, kept as they end."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..report import write_json
from .children import Children
from .environments import Place
from .stages import MORE, STAGES, Plan, Stage, command, content, file_of, held, slug

LEAST = 5.0  # seconds that a stage gets in any case
_WIDE = 0.8  # part of the time in which every target is asked everything once
Tick = Callable[[str], None]


def status_file(plan: Plan, target: str) -> Path:
    """Return where it is kept what came of the stages of a target."""
    return plan.folder / "data" / f"{slug(target)}.status.json"


class Gathering:
    """One report's judging: who is next, what time is left, what came of it."""

    def __init__(
        self, plan: Plan, places: Sequence[Place], seconds: float, jobs: int, resume: bool,
        children: Children, tick: Tick,
    ) -> None:  # fmt: skip
        self.plan, self.places, self.jobs, self.resume = plan, list(places), jobs, resume
        self.children, self.tick = children, tick
        self.begun = time.monotonic()
        self.seconds = seconds
        self.threads: list[threading.Thread] = []

    def all(self) -> None:
        """Ask every target everything once, then those that hold with more examples."""
        (self.plan.folder / "data").mkdir(parents=True, exist_ok=True)
        self._each(STAGES, self.begun + _WIDE * self.seconds)
        self._each((MORE,), self.begun + self.seconds)

    def _each(self, stages: Sequence[Stage], deadline: float) -> None:
        waiting: queue.SimpleQueue[Place] = queue.SimpleQueue()
        for place in self.places:
            waiting.put(place)
        left = [len(self.places)]
        lock = threading.Lock()

        def work() -> None:
            while not self.children.stopped.is_set():
                try:
                    place = waiting.get_nowait()
                except queue.Empty:
                    return
                with lock:
                    share = max(0.0, deadline - time.monotonic()) * self.jobs / left[0]
                    left[0] -= 1
                self._target(place, stages, share)

        self.threads = [threading.Thread(target=work, daemon=True) for _ in range(self.jobs)]
        for thread in self.threads:
            thread.start()
        self.wait()

    def wait(self) -> None:
        """Wait until nothing is asked any more."""
        for thread in self.threads:
            while thread.is_alive():
                thread.join(0.2)  # so that an interrupt comes through

    def _target(self, place: Place, stages: Sequence[Stage], share: float) -> None:
        begun = time.monotonic()
        status = self.status(place)
        for stage in stages:
            if self.children.stopped.is_set():
                break
            self.tick(f"{place.target}: {stage.name}")
            seconds = max(LEAST, begun + share * stage.share - time.monotonic())
            try:
                found = self._stage(stage, place, status["stages"].get(stage.name, {}), seconds)
            except OSError as error:
                found = {"state": "failed", "line": str(error), "seconds": 0.0, "key": ""}
            status["stages"][stage.name] = found
            write_json(status_file(self.plan, place.target), status)
            if stage.name == "run" and found["state"] == "failed":
                break  # what does not run has nothing more to say

    def status(self, place: Place) -> dict[str, Any]:
        """Return what is known of a target's stages, if it is of this environment."""
        now = {"target": place.target, "python": place.python, "versions": place.versions,
               "says": place.says}  # fmt: skip
        kept = content(status_file(self.plan, place.target))
        stages = kept.get("stages", {}) if kept.get("target") == place.target else {}
        return {**now, "stages": stages}

    def _stage(self, stage: Stage, place: Place, kept: Any, seconds: float) -> dict[str, Any]:
        words = command(stage, self.plan, place)
        key = _key(words, place)
        path = file_of(self.plan, place, stage.name)
        fresh = kept.get("state") == "done" and kept.get("key") == key
        resumed = self.resume and kept.get("state") in ("done", "cut")
        if (fresh or resumed) and path.exists():
            return dict(kept)
        if stage is MORE and not held(self.plan, place):
            return {"state": "done", "line": "", "seconds": 0.0, "key": key}
        if not (fresh or resumed):
            path.unlink(missing_ok=True)
        ended = self.children.run(words, seconds, self._environment())
        if self.children.stopped.is_set():
            state, line = "interrupted", "interrupted"
        elif ended.cut:
            state, line = "cut", f"cut short after {ended.seconds:.0f} s"
        elif ended.status in stage.statuses and path.exists():
            state, line = "done", ""
        else:
            state, line = "failed", ended.line
        if state == "cut" and not path.exists():
            state, line = "failed", f"took too long: nothing after {ended.seconds:.0f} s"
        return {"state": state, "line": line, "seconds": round(ended.seconds, 1), "key": key}

    def _environment(self) -> dict[str, str]:
        """Return what lets JAX compile a shape once for all stages; nobody else reads it."""
        compiled = (self.plan.folder / "data" / "compiled").resolve()
        return {
            "JAX_COMPILATION_CACHE_DIR": str(compiled),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }


def _key(words: Sequence[str], place: Place) -> str:
    """Return what shows whether a kept answer is of this very question."""
    asked = [version("bncheck"), list(words[1:]), dict(sorted(place.versions.items()))]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
