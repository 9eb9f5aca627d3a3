"""The numbers of the experiment as CSV, and the text that stands beside its figures."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .claims import CONFIDENCE, AtScale, Interval, Race, Runs
from .training import Plan, Start


@dataclass(frozen=True)
class Findings:
    """All that is reported: done of planned runs, what came out, and what was run."""

    runs: Runs
    planned: int
    plan: Plan
    images: str
    rate: float
    seeds: int
    scales: list[AtScale]
    starts: dict[float, Start]
    races: list[Race]

    @property
    def complete(self) -> bool:
        """Whether every planned run was made."""
        return len(self.runs.by) == self.planned


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue().encode()


def csv_files(found: Findings) -> dict[str, bytes]:
    """Return the files of numbers: every curve, each weight scale, each race to an accuracy."""
    runs = _csv(
        ("rate", "seed", "scale", "batch_norm", "step", "held_out_accuracy", "training_accuracy"),
        _points(found),
    )
    scales = _csv(
        ("scale", "seed", "without", "with", "difference", "low", "high", "verdict"),
        (
            (a.scale, seed, plain, normalized, normalized - plain,
             a.difference.low, a.difference.high, a.verdict)
            for a in found.scales
            for seed, (plain, normalized) in enumerate(zip(a.plain, a.normalized, strict=True))
        ),
    )  # fmt: skip
    steps = _csv(
        ("rate_without", "rate_with", "same_scale", "race", "accuracy", "steps_without",
         "steps_with"),
        (
            (*race.rates, race.shared, number, *row)
            for race in found.races
            for number, row in enumerate(
                zip(race.goal, race.plain, race.normalized, strict=True)
            )
        ),
    )  # fmt: skip
    return {"runs.csv": runs, "scales.csv": scales, "steps.csv": steps}


def _points(found: Findings) -> Iterable[Sequence[object]]:
    plan = found.plan
    for s, curve in sorted(found.runs.by.items()):
        training = {(i + 1) * plan.epoch: value for i, value in enumerate(curve.training)}
        held_out = {(i + 1) * plan.every: value for i, value in enumerate(curve.held_out)}
        for at in sorted(training.keys() | held_out.keys()):
            yield (s.rate, s.seed, s.scale, s.normalized, at,
                   held_out.get(at, ""), training.get(at, ""))  # fmt: skip


def percent(value: float) -> str:
    """Return an accuracy as text."""
    return f"{100 * value:.1f} %"


def bounds(i: Interval, digits: int, factor: float = 1.0) -> str:
    """Return an interval as text, a dash where one seed alone gives none."""
    if math.isinf(i.low) or math.isinf(i.high):
        return f"{i.mean * factor:.{digits}f} (no interval from one seed)"
    low, high = i.low * factor, i.high * factor
    return f"{i.mean * factor:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def count_claim(scales: Sequence[AtScale]) -> str:
    """Return at how many of the scales batch norm is better, with what the intervals leave open."""
    n = len(scales)
    better, worse = (sum(a.verdict == v for a in scales) for v in ("better", "worse"))
    level = f"{CONFIDENCE:.0%}".replace("%", " %")
    return (
        f"Batch norm is better at {better} of the {n} weight scales, worse at {worse}, undecided "
        f"at {n - better - worse}; with {level} confidence for all {n} together the number of "
        f"scales at which it is truly better lies from {better} to {n - worse}."
    )


def race_claim(race: Race, plan: Plan) -> str:
    """Return how many times fewer steps batch norm needs, as a sentence."""
    where = "at the scale that is best without" if race.shared else "each at its own best scale"
    rates = f"learning rate {race.rates[0]:g} without and {race.rates[1]:g} with, {where}"
    goal = sum(race.goal) / len(race.goal)
    told = f"To {percent(goal)} ({rates}): "
    if race.times is None:
        got = sum(n is not None for n in race.normalized)
        return (
            f"{told}batch norm got there in {got} of {len(race.goal)} runs of {plan.steps} steps."
        )
    reached = [n for n in race.normalized if n is not None]
    return (
        f"{told}{sum(race.plain) / len(race.plain):.0f} steps without, "
        f"{sum(reached) / len(reached):.0f} with, {bounds(race.times, 1)} times fewer."
    )
