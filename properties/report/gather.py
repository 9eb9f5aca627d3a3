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

from ..run.text import write_json
from ..targets.adapters.installed import named
from .children import Children
from .environments import Place
from .stages import STAGES, Plan, Stage, command, content, file_of, rows, slug

LEAST = 3.0  # seconds below which a stage is not begun
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
        self.working: set[int] = set()
        self.late: dict[str, float] = {}  # seconds in which a target said nothing at all

    def all(self) -> None:
        """Ask all targets for their verdicts, then for all else, stage by stage."""
        (self.plan.folder / "data").mkdir(parents=True, exist_ok=True)
        for stage in STAGES:
            self._each(stage, self.begun + stage.until * self.seconds)

    def _each(self, stage: Stage, deadline: float) -> None:
        """Ask all targets one thing, the quick ones first: the others have what time they leave."""
        waiting: queue.SimpleQueue[Place] = queue.SimpleQueue()
        for place in sorted(self.places, key=self._slow):
            waiting.put(place)
        left = [len(self.places)]
        lock = threading.Lock()

        def work(number: int) -> None:
            try:
                while not self.children.stopped.is_set():
                    place = waiting.get_nowait()
                    with lock:
                        share = max(0.0, deadline - time.monotonic()) * self.jobs / left[0]
                        left[0] -= 1
                    self._target(place, stage, share)
            except queue.Empty:
                pass
            finally:
                self.working.discard(number)

        for number in range(self.jobs):
            self.working.add(number)
            threading.Thread(target=work, args=(number,), daemon=True).start()
        self.wait()

    def wait(self) -> None:
        """Wait until nothing is asked any more, however often that is interrupted.

        Thread.join, when it is interrupted, may take a running thread for one that has ended.
        """
        while self.working:
            time.sleep(0.05)

    def _target(self, place: Place, stage: Stage, seconds: float) -> None:
        status = self.status(place)
        known = status["stages"]
        if not self._may_answer(stage, place, known):
            return
        self.tick(f"{stage.name} {place.target}")
        try:
            found = self._stage(stage, place, known.get(stage.name, {}), seconds)
        except OSError as error:
            found = {"state": "failed", "line": str(error), "seconds": 0.0, "key": ""}
        if found is not None:
            status["stages"][stage.name] = found
            write_json(status_file(self.plan, place.target), status)

    def _slow(self, place: Place) -> tuple[float, bool]:
        """Return what sorts targets: the seconds they took so far, then whether they compile."""
        taken = (stage["seconds"] for stage in self.status(place)["stages"].values())
        known = named(place.target)
        return sum(taken), "jax" in place.versions or (known is not None and known[0].compiles)

    def _may_answer(self, stage: Stage, place: Place, known: dict[str, Any]) -> bool:
        """Return whether it is worth asking: what does not run has nothing more to say.

        Where the first run was only late, the second has all that is left of the time for it.
        """
        first = known.get(STAGES[0].name, {}).get("state")
        if stage is STAGES[0] or (stage is STAGES[1] and first != "failed"):
            return True
        return bool(rows(self.plan, place))

    def status(self, place: Place) -> dict[str, Any]:
        """Return what is known of a target's stages, if it is of this environment."""
        now = {"target": place.target, "python": place.python, "versions": place.versions,
               "says": place.says}  # fmt: skip
        kept = content(status_file(self.plan, place.target))
        stages = kept.get("stages", {}) if kept.get("target") == place.target else {}
        return {**now, "stages": stages}

    def _stage(
        self, stage: Stage, place: Place, kept: dict[str, Any], seconds: float
    ) -> dict[str, Any] | None:
        """Return what came of a stage, None where there is nothing to ask."""
        words = command(stage, self.plan, place)
        path = file_of(self.plan, place, stage.name)
        if not words:
            path.unlink(missing_ok=True)
            return None
        key = _key(words, place)
        fresh = kept.get("state") == "done" and kept.get("key") == key
        resumed = self.resume and kept.get("state") in ("done", "cut")
        if (fresh or resumed) and path.exists():
            return kept
        path.unlink(missing_ok=True)
        if kept.get("key") != key or kept.get("state") not in ("cut", "interrupted"):
            path.with_suffix(".jsonl").unlink(missing_ok=True)  # a hunt that is not to go on
        least = max(LEAST, self.late.get(place.target, 0.0))
        if seconds < least and stage is not STAGES[0]:
            return {"state": "skipped", "line": "no time was left", "seconds": 0.0, "key": key}
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
            state, line = "late", f"took too long: nothing after {ended.seconds:.0f} s"
            self.late[place.target] = max(ended.seconds, self.late.get(place.target, 0.0))
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
