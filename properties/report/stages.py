"""What is asked of each target, one command of bncheck each, and the files the answers go to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..invariants import INVARIANTS
from ..targets.adapters.installed import named
from .environments import Place

PILOT = 2  # examples per invariant that every target gets before any gets more
LESS = 1  # of those invariants that a slow target was cut short before
UP_TO = 2**12  # values per statistic that a probe grades
CURVES = ("y", "running_var", "dx")  # quantities whose error is drawn against mean/sd


@dataclass(frozen=True)
class Plan:
    """What a report was asked for."""

    folder: Path
    examples: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Stage:
    """A command about a target; statuses are those with which it has answered.

    until is the part of the report's time by which all targets must have been asked; what is left
    of it goes to the later stages. says is what is missing without it.
    """

    name: str
    until: float
    statuses: tuple[int, ...]
    says: str
    arguments: Callable[[Plan, Place, Path], list[str]]


def slug(target: str) -> str:
    """Return a target as the start of a file name."""
    return re.sub(r"[^\w.-]+", "-", target).strip("-")


def file_of(plan: Plan, place: Place, stage: str) -> Path:
    """Return where a stage's answer about a target lies."""
    return plan.folder / "data" / f"{slug(place.target)}.{stage}.json"


def _patience(place: Place) -> list[str]:
    """Return more time per call for what starts a compiler in it, beside other targets."""
    known = named(place.target)
    return ["--timeout", "60"] if known is not None and known[0].compiles else []


def _run(plan: Plan, place: Place, path: Path) -> list[str]:
    examples = ["--examples", str(min(PILOT, plan.examples)), "--seed", str(plan.seed)]
    return ["run", place.target, *examples, *_patience(place), "--json", str(path)]


def _probe(plan: Plan, place: Place, path: Path) -> list[str]:
    return ["probe", place.target, "--up-to", str(UP_TO), "--seed", str(plan.seed),
            "--json", str(path)]  # fmt: skip


def _hunt(plan: Plan, place: Place, path: Path) -> list[str]:
    only = [word for name in hunted(plan, place) for word in ("--only", name)]
    dtype = ["--dtype", name] if (name := hunted_dtype(plan, place)) else []
    return ["hunt", place.target, "--examples", str(PILOT), "--seed", str(plan.seed), "--jobs", "1",
            *only, *dtype, "--out", str(path)]  # fmt: skip


def _in_environment(plan: Plan, place: Place, path: Path) -> list[str]:
    runs = [file_of(plan, place, stage) for stage in ("run", "rest")]
    given = [word for run in runs if run.exists() for word in ("--run", str(run))]
    module = ["-m", "properties.report.in_environment"]
    return [*module, place.target, *given, "--out", str(path)] if given else []


def _again(plan: Plan, place: Place, path: Path, examples: int, names: list[str]) -> list[str]:
    only = [word for name in names for word in ("--only", name)]
    words = ["run", place.target, "--examples", str(examples), "--seed", str(plan.seed)]
    return [*words, *only, *_patience(place), "--json", str(path)] if only else []


def _rest(plan: Plan, place: Place, path: Path) -> list[str]:
    return _again(plan, place, path, min(LESS, plan.examples), not_reached(plan, place))


def _more(plan: Plan, place: Place, path: Path) -> list[str]:
    return _again(plan, place, path, plan.examples, open_invariants(plan, place))


def content(path: Path) -> dict[str, Any]:
    """Return what a stage wrote, nothing where it wrote nothing."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def rows(plan: Plan, place: Place) -> list[dict[str, Any]]:
    """Return the rows of the runs with few examples."""
    runs = (content(file_of(plan, place, stage)) for stage in ("run", "rest"))
    return [row for run in runs for row in run.get("invariants", [])]


def not_reached(plan: Plan, place: Place) -> list[str]:
    """Return the invariants that the first run was cut short before."""
    found = content(file_of(plan, place, "run")).get("invariants", [])
    known = {row["name"] for row in found}
    return [name for name in INVARIANTS if name not in known]


def open_invariants(plan: Plan, place: Place) -> list[str]:
    """Return the invariants that more examples may still tell something about."""
    known = rows(plan, place)
    failed = {row["name"] for row in known if row["verdict"] in ("fail", "not offered")}
    return [name for name in INVARIANTS if name not in failed] if known else []


def hunted(plan: Plan, place: Place) -> list[str]:
    """Return the quantities of the curves that the target offers, as its first run tells."""
    missing = {row["name"] for row in rows(plan, place) if row["verdict"] == "not offered"}
    backward = "input_gradient_agrees_with_reference" not in missing
    return [name for name in CURVES if name != "dx" or backward]


def hunted_dtype(plan: Plan, place: Place) -> str:
    """Return the dtype of the curves: float32 if the target takes it, else its first."""
    run = content(file_of(plan, place, "run")) or content(file_of(plan, place, "rest"))
    dtypes = run.get("conventions", {}).get("dtypes", ["float32"])
    return "float32" if "float32" in dtypes else str(dtypes[0]) if dtypes else ""


STAGES = (
    Stage("run", 0.38, (0, 1, 3), "no verdicts", _run),
    Stage("rest", 0.48, (0, 1, 3), "not all verdicts", _rest),
    Stage("probe", 0.66, (0,), "no conventions found out", _probe),
    Stage("hunt", 0.78, (0, 1, 3), "no curves", _hunt),
    Stage("inside", 0.92, (0,), "no reproducers and call times", _in_environment),
    Stage("more", 1.0, (0, 1, 3), "no further examples", _more),
)


def command(stage: Stage, plan: Plan, place: Place) -> list[str]:
    """Return the whole command of a stage; empty where there is nothing to ask."""
    arguments = stage.arguments(plan, place, file_of(plan, place, stage.name))
    if not arguments:
        return []
    module = [] if arguments[0] == "-m" else ["-m", "properties.cli"]
    return [place.python, *module, *arguments]
