"""The report as one HTML page and as Markdown, both from the same sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import sections
from .changes import again
from .plots import curve
from .stages import CURVES
from .tables import SIGNS, number
from .target_results import TargetResults

_TEMPLATES = Path(__file__).parent
CONTENTS = (
    ("targets", "Targets"),
    ("conformance", "Conformance"),
    ("conventions", "Conventions"),
    ("accuracy", "Accuracy"),
    ("weights", "When weights move"),
    ("curves", "Error against mean/sd"),
    ("cases", "Worst cases"),
    ("speed", "Speed"),
    ("made", "How it was made"),
)


@dataclass(frozen=True)
class About:
    """What stands at the head: when, with what, for how long, and what was asked for."""

    bncheck: str
    date: str
    seed: int
    examples: int
    minutes: float
    python: str
    complete: bool


def view(about: About, targets: Sequence[TargetResults], plots: bool) -> dict[str, Any]:
    """Return all that the templates need."""
    known = [t for t in targets if t.rows]
    return {
        "about": about,
        "targets": known,
        "absent": [t for t in targets if not t.rows],
        "overview": sections.overview(targets),
        "matrix": sections.matrix(known),
        "legend": sections.legend(),
        "conventions": sections.conventions(known),
        "accuracy": sections.accuracy(known),
        "moving": sections.moving(known),
        "decades": sections.decades(known),
        "curves": _curves(known) if plots else [],
        "cases": {t.name: t.environment.get("cases", []) for t in known},
        "failing": {t.name: sections.failing(t) for t in known},
        "speed": sections.speed(known),
        "made": sections.made(targets),
        "versions": list(sections.versions(known)),
        "anchor": sections.anchor,
        "found": found(targets),
    }


def found(targets: Sequence[TargetResults]) -> str:
    """Return in a sentence what was judged and what failed."""
    known = [t for t in targets if t.rows]
    wrong = {t.name: sum(row["verdict"] == "fail" for row in sections.failing(t)) for t in known}
    failed = [f"{name} fails {count}" for name, count in wrong.items() if count]
    right = [name for name, count in wrong.items() if not count]
    parts = [f"{', '.join(failed)} of its invariants"] if failed else []
    parts += [f"{', '.join(right)}: nothing failed"] if right else []
    absent = [t.name for t in targets if not t.rows]
    parts += [f"not judged: {', '.join(absent)}"] if absent else []
    return "; ".join(parts) + "."


def _curves(targets: Sequence[TargetResults]) -> list[tuple[TargetResults, list[str]]]:
    found = []
    for t in targets:
        panels = [curve(t.hunt, q, sections.anchor("plot", t.name, q)) for q in CURVES]
        if any(panels):
            found.append((t, [panel for panel in panels if panel]))
    return found


def html(content: dict[str, Any]) -> str:
    """Return the page."""
    return _rendered("page.html.jinja", content)


def markdown(content: dict[str, Any]) -> str:
    """Return the same as Markdown, without the plots."""
    return _rendered("page.md.jinja", content) + "\n"


def _rendered(name: str, content: dict[str, Any]) -> str:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=lambda template: template == "page.html.jinja",
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(
        contents=[c for c in CONTENTS if c[0] != "weights" or content["moving"]],
        signs={verdict.replace(" ", "-"): sign for verdict, sign in SIGNS.items()},
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        wbr=Markup("_<wbr>"),
        first_line=first_line,
        again=again,
        figure=lambda value: number(float(value)),
    )
    return environment.get_template(name).render(content).strip()


def first_line(row: dict[str, Any]) -> str:
    """Return what a row says, without its arrays, in one line."""
    lines = [" ".join(line.split()) for line in row["message"].splitlines()]
    told = ("at ", "got ", "wanted ", "error ", "because ", "cause ")
    found = [line for line in lines if line.startswith(told)]
    return "; ".join(found) or (lines[0] if lines else "")
