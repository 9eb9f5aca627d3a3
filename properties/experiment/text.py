"""The numbers as CSV, and the text beside the figures: what was run, what they show, the claims."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from itertools import count
from statistics import fmean as mean

from .claims import CONFIDENCE, AtScale, Interval, Race
from .schedule import Findings
from .training import Plan

_PAPER = """\
Ioffe and Szegedy (2015) report 14 times fewer steps to the accuracy of Inception on ImageNet
(31.0 against 2.1 million steps, at five times the learning rate) and 2.3 times fewer at the same
rate (31.0 against 13.3)."""

_SEED = """\
The seed's figure says that training with batch norm is steady and without it is not."""


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
            (a.scale, seed, p, n, n - p, a.difference.low, a.difference.high, a.verdict)
            for a in found.scales
            for seed, (p, n) in enumerate(zip(a.plain, a.normalized, strict=True))
        ),
    )
    names = "rate_without rate_with same_scale race accuracy steps_without steps_with"
    steps = _csv(
        names.split(),
        (
            (*race.rates, race.shared, number, *row)
            for race in found.races
            for number, row in enumerate(zip(race.goal, race.plain, race.normalized, strict=True))
        ),
    )
    return {"runs.csv": runs, "scales.csv": scales, "steps.csv": steps}


def _points(found: Findings) -> Iterable[Sequence[object]]:
    plan = found.plan
    for s, curve in sorted(found.runs.by.items()):
        training = dict(zip(count(plan.epoch, plan.epoch), curve.training))
        held_out = dict(zip(count(plan.every, plan.every), curve.held_out))
        for at in sorted(training.keys() | held_out.keys()):
            yield *astuple(s), at, held_out.get(at, ""), training.get(at, "")


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
    start = f"To {percent(mean(race.goal))} ({rates}): "
    reached = [n for n in race.normalized if n is not None]
    if race.times is None:
        of = f"{len(reached)} of {len(race.goal)} runs of {plan.steps} steps"
        return f"{start}batch norm got there in {of}."
    return (
        f"{start}{mean(race.plain):.0f} steps without, {mean(reached):.0f} with, "
        f"{bounds(race.times, 1)} times fewer."
    )


def markdown(found: Findings) -> str:
    """Return the report as Markdown."""
    done = f"{len(found.runs.by)} of {found.planned} runs"
    cut = f"**Interrupted: {done} were made. What follows rests on these.**"
    parts = [
        "# Training with batch norm and without",
        "" if found.complete else cut,
        _what_was_run(found),
        "![sixteen training curves](curves.svg)",
        "Each panel is one weight scale: the training accuracy against the step, as in the seed's "
        "figure. Blue is with batch norm, orange dashes are without.",
        "![accuracy reached against weight scale](summary.svg)",
        "The held-out accuracy at the last step against the weight scale.",
        "## At how many scales batch norm is better",
        count_claim(found.scales) if found.scales else "No seed has all its runs.",
        _where(found.scales),
        _scales_table(found),
        "## How many times fewer steps",
        _races(found),
        "## Beside the seed's figure",
        _SEED,
        _beside(found),
        "All numbers: `runs.csv` (each curve), `scales.csv`, `steps.csv`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what_was_run(found: Findings) -> str:
    plan = found.plan
    return (
        f"{plan.layers} hidden layers of {plan.width}, ReLU, softmax, in float32 with "
        f"`bn.BatchNormalization` (eps = {plan.eps:g}) before each ReLU or without; "
        f"{plan.steps} steps of gradient descent on batches of {plan.batch}, learning rate "
        f"{found.rate:g}; {found.images}. Initial weights are normal with the weight scale as "
        f"standard deviation. {found.seeds} seeds with all their runs; with and without batch norm "
        "a seed has the same draws of weights and the same batches."
    )


def _names(scales: Sequence[float]) -> str:
    return ", ".join(f"{scale:.2g}" for scale in scales)


def _where(scales: Sequence[AtScale]) -> str:
    lines = []
    for verdict in ("worse", "undecided"):
        at = [a.scale for a in scales if a.verdict == verdict]
        if at:
            lines.append(f"{verdict.capitalize()} at {_names(at)}.")
    return " ".join(lines)


def _scales_table(found: Findings) -> str:
    if not found.scales:
        return ""
    rows = [
        f"| {a.scale:.2g} | {percent(mean(a.plain))} | {percent(mean(a.normalized))} | "
        f"{bounds(a.difference, 1, 100)} | "
        f"{a.verdict} | {found.starts[a.scale].signal:.2g} | {found.starts[a.scale].change:.1g} |"
        for a in found.scales
    ]
    return "\n".join(
        [
            "| weight scale | without | with | difference in percentage points | batch norm is | "
            "xhat at the start | first step / weights |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "Held-out accuracy, mean of the seeds; the differences are paired by seed. "
            "`xhat at the start` is the root mean square of the normalized values in the last "
            "hidden layer before training: sqrt(var / (var + eps)), equation (29), which is 1 "
            "while the variance of the activations exceeds eps and 0 where eps swallows it. "
            "`first step / weights` is how far the first step moves that layer's weights.",
        ]
    )


def _races(found: Findings) -> str:
    if not found.races:
        return "No seed has the runs that this needs."
    lines = [f"- {race_claim(race, found.plan)}" for race in found.races]
    explained = (
        "The accuracy to reach is the highest held-out accuracy of the net without batch norm in "
        f"its {found.plan.steps} steps, seed by seed; the quotient is the geometric mean over the "
        "seeds. Each seed's scale is the one that is best for the other seeds, so that none is "
        "judged on the runs it was chosen by; at the second learning rate the scales of the first "
        "are kept."
    )
    late = [race for race in found.races if max(race.plain) > 0.9 * found.plan.steps]
    if late:
        explained += (
            " The net without batch norm was still improving when the runs ended: with more steps "
            "the accuracy to reach, and the quotient, change."
        )
    return "\n\n".join(["\n".join(lines), explained, _PAPER])


def _beside(found: Findings) -> str:
    """Return a line for each kind of scale at which the nets behave unlike the book's figure."""

    def trained(at: AtScale, normalized: bool) -> float:
        return mean(c.training[-1] for c in found.runs.at(found.rate, at.scale, normalized))

    def slow(at: AtScale) -> bool:
        start = found.starts[at.scale]
        return start.signal > 0.5 and start.change < 1e-3 and mean(at.normalized) < 0.95

    remarks = (
        (
            lambda at: at.verdict != "better" and min(at.plain) > 0.5,
            "the net without batch norm trains as well: these scales are near "
            "sqrt(2 / width), which keeps the size of the activations from layer to layer.",
        ),
        (
            lambda at: trained(at, False) > trained(at, True),
            "the training accuracy, which the figure shows, is higher without batch norm at the "
            "last step.",
        ),
        (
            lambda at: found.starts[at.scale].signal < 0.5,
            "batch norm helps less or not at all: the variance of the activations lies below eps, "
            "so the normalized values start near zero (`--eps` changes that).",
        ),
        (
            slow,
            "training with batch norm is slow although its values start normalized: the output "
            "does not depend on the size of a weight ahead of batch norm, and the gradient by it "
            "falls as the size grows, equation (33), so a step of the same rate moves large "
            "weights too little.",
        ),
    )
    chosen = [([a.scale for a in found.scales if holds(a)], says) for holds, says in remarks]
    return "\n".join(f"- At {_names(scales)} {says}" for scales, says in chosen if scales)
