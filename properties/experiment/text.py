"""The text beside the figures: what was run, what they show, the claims with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from .claims import AtScale
from .tables import Findings, bounds, count_claim, percent, race_claim

_PAPER = """\
Ioffe and Szegedy (2015) report 14 times fewer steps to the accuracy of Inception on ImageNet
(31.0 against 2.1 million steps, at five times the learning rate) and 2.3 times fewer at the same
rate (31.0 against 13.3)."""

_SEED = """\
The seed's figure says that training with batch norm is steady and without it is not."""


def markdown(found: Findings) -> str:
    """Return the report as Markdown."""
    parts = [
        "# Training with batch norm and without",
        _unfinished(found),
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


def _unfinished(found: Findings) -> str:
    if found.complete:
        return ""
    done = f"{len(found.runs.by)} of {found.planned} runs"
    return f"**Interrupted: {done} were made. What follows rests on these.**"


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
        f"| {a.scale:.2g} | {percent(sum(a.plain) / len(a.plain))} | "
        f"{percent(sum(a.normalized) / len(a.normalized))} | {bounds(a.difference, 1, 100)} | "
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
    lines = []
    alike = [a for a in found.scales if a.verdict != "better"]
    both = [a.scale for a in alike if min(a.plain) > 0.5]
    if both:
        lines.append(
            f"- At {_names(both)} the net without batch norm trains as well: these scales are near "
            "sqrt(2 / width), which keeps the size of the activations from layer to layer."
        )
    behind = [a.scale for a in found.scales if _trained(found, a, False) > _trained(found, a, True)]
    if behind:
        lines.append(
            f"- At {_names(behind)} the training accuracy, which the figure shows, is higher "
            "without batch norm at the last step."
        )
    faded = [a.scale for a in found.scales if found.starts[a.scale].signal < 0.5]
    if faded:
        lines.append(
            f"- At {_names(faded)} batch norm helps less or not at all: the variance of the "
            "activations lies below eps, so the normalized values start near zero "
            "(`--eps` changes that)."
        )
    slow = [
        a.scale
        for a in found.scales
        if found.starts[a.scale].signal > 0.5
        and found.starts[a.scale].change < 1e-3
        and sum(a.normalized) / len(a.normalized) < 0.95
    ]
    if slow:
        lines.append(
            f"- At {_names(slow)} training with batch norm is slow although its values start "
            "normalized: the output does not depend on the size of a weight ahead of batch norm, "
            "and the gradient by it falls as the size grows, equation (33), so a step of the same "
            "rate moves large weights too little."
        )
    return "\n".join(lines)


def _trained(found: Findings, at: AtScale, normalized: bool) -> float:
    """Return the mean training accuracy at the end."""
    curves = found.runs.at(found.rate, at.scale, normalized)
    return sum(curve.training[-1] for curve in curves) / len(curves)
