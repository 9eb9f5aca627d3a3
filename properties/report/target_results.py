"""All that is known of one target in a report, read from what its stages wrote."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .environments import Place
from .gather import status_file
from .stages import LESS, STAGES, Plan, content, file_of

ORDER = (
    "fail",
    "unexpected pass",
    "expected failure",
    "undecided",
    "remark",
    "pass",
    "not offered",
)
NOT_REACHED = "not reached"


@dataclass(frozen=True)
class TargetResults:
    """One target: its place, its rows of invariants, and what each stage found, empty if nothing.

    rows holds per invariant the parts it was checked in; problem is one line where there are none;
    notes are lines about stages that are missing or were cut short.
    """

    place: Place
    run: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    portrait: dict[str, Any] = field(default_factory=dict)
    hunt: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the target is called."""
        return self.place.target

    def verdict(self, invariant: str) -> str:
        """Return the verdict that counts among the parts of an invariant."""
        found = {row["verdict"] for row in self.rows.get(invariant, [])}
        return next((verdict for verdict in ORDER if verdict in found), NOT_REACHED)

    def counts(self, invariants: list[str]) -> Counter[str]:
        """Return how many invariants have each verdict."""
        return Counter(self.verdict(name) for name in invariants)

    @property
    def whole(self) -> str:
        """The verdict of the target: fail, pass, undecided, or not judged."""
        verdicts = {self.verdict(name) for name in self.rows}
        if not verdicts:
            return "not judged"
        if verdicts & {"fail", "unexpected pass"}:
            return "fail"
        return "undecided" if "undecided" in verdicts or "pass" not in verdicts else "pass"

    def answer(self, question: str) -> str:
        """Return what the probe found out, as its own table says it."""
        for a in self.portrait.get("answers", []):
            if a["question"] == question:
                known = a["verdict"] in ("found", "seen", "differs")
                return str(a["value"]) if known else f"{a['verdict']}: {a['value']}".rstrip(": ")
        return ""


def results_of(plan: Plan, place: Place) -> TargetResults:
    """Return what is known of a target."""
    if place.problem:
        install = f"; try: {place.install}" if place.install else ""
        return TargetResults(place, problem=f"{place.problem}{install}")
    stages = content(status_file(plan, place.target)).get("stages", {})
    files = {s.name: content(file_of(plan, place, s.name)) for s in STAGES}
    run = files["run"] or files["rest"]
    rows = _rows(files["run"]) | _rows(files["rest"]) | _rows(files["more"])
    problem = "" if rows else stages.get("run", {}).get("line") or NOT_REACHED
    portraits = files["probe"].get("targets", [{}])
    return TargetResults(
        place, run, rows, portraits[0] if portraits else {}, files["hunt"], files["inside"],
        stages, problem, () if problem else (*_fewer(files), *_notes(stages)),
    )  # fmt: skip


def _fewer(files: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line where some invariants had fewer examples than all others, for lack of time."""
    count = len(_rows(files["rest"]).keys() - _rows(files["more"]).keys())
    return [f"{count} of the invariants with {LESS} example, for lack of time"] if count else []


def _rows(run: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in run.get("invariants", []):
        found.setdefault(row["name"], []).append(row)
    return found


def _notes(stages: dict[str, Any]) -> list[str]:
    """Return a line for each stage that was cut short, broke down or had no time.

    Where the first run was cut short and the rest was done there is nothing to say.
    """
    notes = []
    for stage in STAGES:
        kept = stages.get(stage.name, {"state": "done"})
        whole = stages.get("rest", {}).get("state") == "done"
        if stage.name == "run" and whole:
            continue
        if kept["state"] == "cut":
            notes.append(f"{stage.name} {kept['line']}")
        elif kept["state"] != "done":
            notes.append(f"{stage.says}: {kept['line']}")
    return notes
