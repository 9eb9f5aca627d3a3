"""The numbers as CSV, and the text beside the figures: page.txt, filled in."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import fmean as mean
from string import Template

from .claims import CONFIDENCE, AtScale, Curves, Design, Interval, Race, by_scale, races
from .training import Plan, Setting, start

PAGE = Path(__file__).with_name("page.txt")


def files(design: Design, curves: Curves, planned: int) -> dict[str, bytes]:
    """Return the page and the files of numbers, by name, from the runs that are done."""
    scales, found = by_scale(design, curves), races(design, curves)
    every, epoch = design.plan.every, design.plan.epoch  # of which epoch is a multiple
    runs = (
        (*s, k, held, curve.training[k // epoch - 1] if k % epoch == 0 else "")
        for s, curve in sorted(curves.items())
        for k, held in zip(count(every, every), curve.held_out, strict=False)
    )
    per_seed = (
        (a.scale, seed, p, n, n - p, a.difference.low, a.difference.high, a.verdict)
        for a in scales
        for seed, p, n in zip(design.done(curves), a.plain, a.normalized, strict=True)
    )
    steps = (
        (*race.rates, race.shared, number, *row)
        for race in found
        for number, row in enumerate(zip(race.goal, race.plain, race.normalized, strict=True))
    )
    point = "rate seed scale batch_norm step held_out_accuracy training_accuracy"
    return {
        "experiment.md": page(design, curves, planned).encode(),
        "runs.csv": _csv(point, runs),
        "scales.csv": _csv("scale seed without with difference low high verdict", per_seed),
        "steps.csv": _csv(
            "rate_without rate_with same_scale race accuracy steps_without steps_with", steps
        ),
    }


def _csv(head: str, rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head.split(), *rows])
    return text.getvalue().encode()


def percent(value: float) -> str:
    """Return an accuracy as text."""
    return f"{100 * value:.1f} %"


def bounds(i: Interval, factor: float = 1.0) -> str:
    """Return an interval as text, no bounds where one seed alone gives none."""
    if math.isinf(i.low) or math.isinf(i.high):
        return f"{i.mean * factor:.1f} (no interval from one seed)"
    return f"{i.mean * factor:.1f} [{i.low * factor:.1f}, {i.high * factor:.1f}]"


def count_claim(scales: Sequence[AtScale]) -> str:
    """Return at how many of the scales batch norm is better, with what the intervals leave open."""
    n = len(scales)
    better, worse = (sum(a.verdict == v for a in scales) for v in ("better", "worse"))
    return (
        f"Batch norm is better at {better} of the {n} weight scales, worse at {worse}, undecided "
        f"at {n - better - worse}; with {100 * CONFIDENCE:.0f} % confidence for all {n} together "
        f"the number of scales at which it is truly better lies from {better} to {n - worse}."
    )


def race_claim(race: Race, plan: Plan) -> str:
    """Return how many times fewer steps batch norm needs, as a sentence."""
    where = "at the scale that is best without" if race.shared else "each at its own best scale"
    rates = f"learning rate {race.rates[0]:g} without and {race.rates[1]:g} with, {where}"
    start = f"To {percent(mean(race.goal))} ({rates}): "
    if race.times is None:
        of = f"{len(race.reached)} of {len(race.goal)} runs of {plan.steps} steps"
        return f"{start}batch norm got there in {of}."
    return (
        f"{start}{mean(race.plain):.0f} steps without, {mean(race.reached):.0f} with, "
        f"{bounds(race.times)} times fewer."
    )


def claims(design: Design, curves: Curves) -> list[str]:
    """Return the claims as sentences: over the scales, and of each race."""
    scales = by_scale(design, curves)
    said = [count_claim(scales)] if scales else []
    return said + [race_claim(race, design.plan) for race in races(design, curves)]


_LATE = (
    " The net without batch norm was still improving when the runs ended: with more steps the "
    "accuracy to reach, and the quotient, change."
)


def page(design: Design, curves: Curves, planned: int) -> str:
    """Return the report as Markdown; it says of how many planned runs, if not of all."""
    plan, images, scales = design.plan, design.images, by_scale(design, curves)
    found, done = races(design, curves), f"{len(curves)} of {planned} runs"
    cut = f"**Interrupted: {done} were made. What follows rests on these.**\n\n"
    split = f"{len(images.x)} to train on and {len(images.held_x)} held out"
    starts = {
        s: start(images, plan, Setting(design.rate, 0, s, True)) for s in design.scales if scales
    }
    rows = [
        f"| {a.scale:.2g} | {percent(mean(a.plain))} | {percent(mean(a.normalized))} | "
        f"{bounds(a.difference, 100)} | {a.verdict} | "
        f"{starts[a.scale].signal:.2g} | {starts[a.scale].change:.1g} |"
        for a in scales
    ]
    verdicts = {v: [a.scale for a in scales if a.verdict == v] for v in ("worse", "undecided")}
    late = any(max(race.plain) > 0.9 * plan.steps for race in found)
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        vars(plan) | {"eps": f"{plan.eps:g}"},
        cut="" if len(curves) == planned else cut,
        rate=f"{design.rate:g}",
        images=f"{design.source}, {split}",
        seeds=len(design.done(curves)),
        claim=count_claim(scales) if scales else "No seed has all its runs.",
        where=" ".join(f"{v.capitalize()} at {_names(at)}." for v, at in verdicts.items() if at),
        scales="\n".join(rows),
        races="\n".join(f"- {race_claim(race, plan)}" for race in found)
        or "No seed has the runs that this needs.",
        late=_LATE if late else "",
        beside="\n".join(_beside(design, curves, scales)),
    )


def _names(scales: Sequence[float]) -> str:
    return ", ".join(f"{scale:.2g}" for scale in scales)


def _beside(design: Design, curves: Curves, scales: Sequence[AtScale]) -> Iterator[str]:
    """Yield a line for each kind of scale at which the nets behave unlike the book's figure."""
    well, ahead, swallowed, slow = list[float](), list[float](), list[float](), list[float]()
    for at in scales:
        trained = [
            mean(c.training[-1] for s, c in curves.items() if s[::2] == (design.rate, at.scale)
                 and s.normalized == kind)
            for kind in (False, True)
        ]  # fmt: skip
        signal, change = start(
            design.images, design.plan, Setting(design.rate, 0, at.scale, normalized=True)
        )
        if at.verdict != "better" and min(at.plain) > 0.5:
            well.append(at.scale)
        if trained[0] > trained[1]:
            ahead.append(at.scale)
        if signal < 0.5:
            swallowed.append(at.scale)
        elif change < 1e-3 and mean(at.normalized) < 0.95:
            slow.append(at.scale)
    remarks = (
        (well, "the net without batch norm trains as well: these scales are near "
         "sqrt(2 / width), which keeps the size of the activations from layer to layer."),
        (ahead, "the training accuracy, which the figure shows, is higher without batch norm at "
         "the last step."),
        (swallowed, "batch norm helps less or not at all: the variance of the activations lies "
         "below eps, so the normalized values start near zero (`--eps` changes that)."),
        (slow, "training with batch norm is slow although its values start normalized: the output "
         "does not depend on the size of a weight ahead of batch norm, and the gradient by it "
         "falls as the size grows, equation (33), so a step of the same rate moves large "
         "weights too little."),
    )  # fmt: skip
    for places, says in remarks:
        if places:
            yield f"- At {_names(places)} {says}"
