"""The two figures, as SVG and PNG: sixteen training curves, and what is reached at each scale."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ..support.extras import hint
from .claims import Curves, Design

STYLES = {  # without batch norm and with it: as in the book's figure, orange dashes, blue line
    False: {"color": "#d9660b", "linestyle": "--", "label": "without"},
    True: {"color": "#0b62a4", "linestyle": "-", "label": "with batch norm"},
}
_SETTINGS = {"svg.hashsalt": "bncheck", "svg.fonttype": "none", "font.size": 9}


class NoMatplotlib(Exception):
    """The figures need matplotlib."""


def pyplot() -> Any:
    """Return matplotlib's pyplot, or raise NoMatplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        fix = hint("experiment")
        raise NoMatplotlib(f"the figures need matplotlib; {fix}") from error
    matplotlib.use("agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def draw(design: Design, curves: Curves) -> dict[str, bytes]:
    """Return the figures by file name; the same runs give the same bytes."""
    plt, found = pyplot(), {}
    with plt.rc_context(_SETTINGS):
        for name, drawn in (("curves", _curves), ("summary", _summary)):
            figure = drawn(plt, design, curves)
            for kind, extra in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 150})):
                stream = io.BytesIO()
                figure.savefig(stream, format=kind, facecolor="white", **extra)
                found[f"{name}.{kind}"] = stream.getvalue()
            plt.close(figure)
    return found


def _at(design: Design, curves: Curves, scale: float, normalized: bool) -> list[Any]:
    wanted = (design.rate, scale, normalized)
    return [c for s, c in sorted(curves.items()) if (s.rate, s.scale, s.normalized) == wanted]


def _curves(plt: Any, design: Design, curves: Curves) -> Any:
    rows, plan = -(-len(design.scales) // 4), design.plan
    figure, axes = plt.subplots(
        rows, 4, sharex=True, sharey=True, figsize=(9, 2 * rows + 0.8), layout="constrained"
    )
    steps = np.arange(1, plan.steps // plan.epoch + 1) * plan.epoch
    for axis, scale in zip(axes.flat, design.scales, strict=False):
        for normalized, style in STYLES.items():
            of = np.array([curve.training for curve in _at(design, curves, scale, normalized)])
            if of.size:
                shade = {"color": style["color"], "alpha": 0.2, "linewidth": 0}
                axis.fill_between(steps, of.min(axis=0), of.max(axis=0), **shade)
                axis.plot(steps, of.mean(axis=0), linewidth=1.6, **style)
        axis.set_title(f"weight scale {scale:.2g}", fontsize=9)
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.25)
    figure.supxlabel("training steps")
    figure.supylabel("training accuracy")
    _legend(figure, axes.flat[0], "mean of the seeds; the band goes from the least to the largest")
    return figure


def _legend(figure: Any, axis: Any, title: str) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles[::-1], labels[::-1], loc="outside upper center", ncols=2, title=title, frameon=False
    )


def _summary(plt: Any, design: Design, curves: Curves) -> Any:
    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for normalized, style in STYLES.items():
        ends = {s: [c.held_out[-1] for c in _at(design, curves, s, normalized)]
                for s in design.scales}  # fmt: skip
        ends = {scale: reached for scale, reached in ends.items() if reached}
        if ends:
            axis.plot([*ends], [np.mean(reached) for reached in ends.values()], lw=1.6, **style)
        for scale, reached in ends.items():
            axis.plot(
                [scale] * len(reached), reached, linestyle="", marker="o", markersize=3.5,
                color=style["color"], alpha=0.55, markeredgewidth=0,
            )  # fmt: skip
    t = design.images.held_t
    chance = float((t[:, None] == t).mean(axis=1).max())
    axis.axhline(chance, color="0.45", linewidth=0.8, linestyle=":")
    axis.annotate(
        "always the largest class", (design.scales[len(design.scales) // 2], chance),
        xytext=(0, 4), textcoords="offset points", ha="center", fontsize=8, color="0.35",
    )  # fmt: skip
    axis.set(
        xscale="log",
        ylim=(0, 1.02),
        xlabel="weight scale: standard deviation of the initial weights",
        ylabel="held-out accuracy at the end of training",
    )
    axis.invert_xaxis()
    axis.grid(alpha=0.25)
    _legend(figure, axis, "line: mean of the seeds; dots: each seed")
    return figure
