"""How a report spends its time: the quick first, fewer examples for the slow, nothing in vain."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from properties.invariants import INVARIANTS
from properties.report.children import Children, Ended
from properties.report.environments import Place
from properties.report.gather import Gathering, status_file
from properties.report.stages import LESS, STAGES, Plan, command, file_of
from properties.report.target_results import results_of

ALL = list(INVARIANTS)


class Recorded(Children):
    """Children that only note what they are asked; those of `late` never answer."""

    def __init__(self, late: Sequence[str] = (), taken: float = 0.0) -> None:
        super().__init__()
        self.late, self.taken = late, taken
        self.asked: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    def run(
        self, command: Sequence[str], seconds: float, more: Mapping[str, str] | None = None
    ) -> Ended:
        """Note the question, and answer it with invariants that pass, all but the last."""
        path = Path(command[-1])
        target, stage = path.name.split(".")[:2]
        with self.lock:
            self.asked.append((stage, target))
        if target in self.late:
            return Ended(-signal.SIGTERM, self.taken, True, "", "")
        rows = [{"name": name, "verdict": "pass"} for name in ALL[:-1]]
        path.write_text(json.dumps({"invariants": rows}), encoding="utf-8")
        return Ended(0, 1.0, False, "", "")


def gathered(plan: Plan, places: Sequence[Place], children: Recorded, seconds: float) -> None:
    """Ask all targets all there is, one at a time."""
    Gathering(plan, places, seconds, 1, False, children, lambda text: None).all()


def test_quick_targets_are_asked_first(tmp_path: Path) -> None:
    """What compiles for each shape is last at first; then those that took longest."""
    plan, children = Plan(tmp_path), Recorded()
    names = ("flax", "torch:compile", "quick", "slow")
    places = [Place(n, "python", {"jax": "1"} if n == "flax" else {}) for n in names]
    status_file(plan, "slow").parent.mkdir()
    kept = {"target": "slow", "stages": {"run": {"state": "done", "seconds": 9.0}}}
    status_file(plan, "slow").write_text(json.dumps(kept), encoding="utf-8")
    gathered(plan, places, children, 1000.0)
    first = [target for stage, target in children.asked if stage == "run"]
    assert first == ["quick", "flax", "torch-compile", "slow"]


@pytest.mark.parametrize(("taken", "asked"), [(900.0, ["run"]), (4.0, ["run", "rest"])])
def test_what_said_nothing_is_not_asked_again_in_less_time(
    taken: float, asked: list[str], tmp_path: Path
) -> None:
    """A target that was late is asked again only where it has more time than that."""
    children = Recorded(["late"], taken)
    gathered(Plan(tmp_path), [Place("late", "python")], children, 1000.0)
    assert [stage for stage, _ in children.asked] == asked
    kept = json.loads(status_file(Plan(tmp_path), "late").read_text(encoding="utf-8"))["stages"]
    assert kept["run"]["state"] == "late"
    assert kept["rest"]["state"] == ("late" if "rest" in asked else "skipped")


def test_what_a_slow_target_did_not_reach_has_fewer_examples_and_the_page_says_so(
    tmp_path: Path,
) -> None:
    """The rest of a run that was cut short is asked with one example each."""
    plan, place = Plan(tmp_path), Place("one", "python")
    (tmp_path / "data").mkdir()

    def write(stage: str, names: Sequence[str]) -> None:
        rows = [{"name": name, "verdict": "pass"} for name in names]
        path = file_of(plan, place, stage)
        path.write_text(json.dumps({"invariants": rows}), encoding="utf-8")

    write("run", ALL[:-1])
    words = command(next(stage for stage in STAGES if stage.name == "rest"), plan, place)
    assert words[words.index("--examples") + 1] == str(LESS)
    assert words[words.index("--only") + 1 :].count("--only") == 0
    assert words[words.index("--only") + 1] == ALL[-1]
    assert results_of(plan, place).notes == ()
    write("rest", ALL[-1:])
    assert results_of(plan, place).notes == (
        "1 of the invariants with 1 example, for lack of time",
    )
    write("more", ALL[-1:])
    assert results_of(plan, place).notes == ()


def test_a_call_that_starts_a_compiler_may_take_longer(tmp_path: Path) -> None:
    """Targets that compile have a longer time per call, others the usual one."""
    run = STAGES[0]
    for target, longer in (("torch:compile", True), ("torch", False), ("mine.py", False)):
        words = command(run, Plan(tmp_path), Place(target, "python"))
        assert ("--timeout" in words) == longer, target
