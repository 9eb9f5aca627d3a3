"""Curves of the error against mean/sd as SVG that takes the page's colours."""

from __future__ import annotations

import io
import math
import re
from typing import Any

from ..model.contract import TargetError
from ..support.extras import hint
from .tables import number

_INK, _ERROR, _RADIUS = "#000001", "#000002", "#000003"  # stand for colours of the page
_COLOURS = {_INK: "currentColor", _ERROR: "var(--error)", _RADIUS: "var(--radius)"}
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: it is searched, read aloud, and small
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def available() -> None:
    """Raise a TargetError of one line where what draws and lays out is missing."""
    import importlib.util

    for name in ("matplotlib", "jinja2"):
        if importlib.util.find_spec(name) is None:
            raise TargetError(f"bncheck report needs {name}; {hint('report')}")


def points(hunt: dict[str, Any], quantity: str) -> list[tuple[float, float, float, bool]]:
    """Return (mean/sd, error in ulp, radius in ulp, beyond it) of each decade's largest error.

    What is infinite has no place in a plot of logarithms, and is left out.
    """
    found = []
    for cell in hunt.get("cells", []):
        if cell["quantity"] != quantity or not isinstance(cell["decade"], int):
            continue
        for name in ("largest", "closest", "beyond"):
            point = cell[name]
            if point is None:
                continue
            at, ulp, radius = (float(point[k]) for k in ("mean_over_sd", "ulp", "radius_ulp"))
            if math.isfinite(at) and at > 0 and math.isfinite(ulp):
                beyond = math.isfinite(radius) and ulp > radius
                found.append((max(at, 0.1), max(ulp, 0.01), radius, beyond))
                break
    return sorted(found)


def curve(hunt: dict[str, Any], quantity: str, name: str) -> str:
    """Return one panel as an SVG element whose ids begin with name; empty without a point."""
    found = points(hunt, quantity)
    if not found:
        return ""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure, axes = pyplot.subplots(figsize=(3.4, 2.3))
        figure.subplots_adjust(left=0.17, right=0.97, bottom=0.2, top=0.9)
        at, error = [p[0] for p in found], [p[1] for p in found]
        known = [(p[0], max(p[2], 0.01)) for p in found if math.isfinite(p[2])]
        axes.loglog(*zip(*known, strict=True), "--", color=_RADIUS, marker="_", label="radius")
        axes.loglog(at, error, "-", color=_ERROR, marker="o", markersize=4, label="error")
        wrong = [(p[0], p[1]) for p in found if p[3]]
        if wrong:
            axes.loglog(
                *zip(*wrong, strict=True), "x", color=_ERROR, markersize=9, label="beyond it"
            )
        axes.set_title(quantity)
        axes.set_xlabel("mean / sd")
        axes.set_ylabel("ulp")
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.minorticks_off()
        for axis in (axes.xaxis, axes.yaxis):  # plain text: mathematics would take long to set
            axis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        pyplot.close(figure)
    return inlined(buffer.getvalue(), name, _told(found, quantity))


def _power(value: float) -> str:
    return f"1e{round(math.log10(value))}" if value > 0 else ""


def _told(found: list[tuple[float, float, float, bool]], quantity: str) -> str:
    parts = [
        f"mean/sd {number(at)}: {number(ulp)} ulp"
        + (f", radius {number(radius)}" if math.isfinite(radius) else ", no radius")
        for at, ulp, radius, _ in found
    ]
    return f"{quantity}, largest error. " + "; ".join(parts)


def inlined(text: str, name: str, says: str) -> str:
    """Return a file's SVG element for a page: own ids, the page's colours, a text in its place."""
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}.', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}.", svg)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    for stand_in, colour in _COLOURS.items():
        svg = svg.replace(stand_in, colour)
    size = re.search(r'<svg[^>]*viewBox="([^"]+)"', svg)
    assert size is not None
    label = says.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    head = f'<svg viewBox="{size[1]}" role="img" aria-label="{label}">'
    return re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
