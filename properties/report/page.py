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
from .tables import SIGNS, Cell, Table, number
from .target_results import Judged

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


def view(about: About, targets: Sequence[Judged], plots: bool) -> dict[str, Any]:
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
        "cases": {t.name: t.inside.get("cases", []) for t in known},
        "failing": {t.name: sections.failing(t) for t in known},
        "speed": sections.speed(known),
        "made": sections.made(targets),
        "versions": list(sections.versions(known)),
        "anchor": sections.anchor,
    }


def _curves(targets: Sequence[Judged]) -> list[tuple[Judged, list[str]]]:
    found = []
    for t in targets:
        panels = [curve(t.hunt, q, sections.anchor("plot", t.name, q)) for q in CURVES]
        if any(panels):
            found.append((t, [panel for panel in panels if panel]))
    return found


def html(content: dict[str, Any]) -> str:
    """Return the page."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    more = {
        "contents": CONTENTS,
        "signs": {verdict.replace(" ", "-"): sign for verdict, sign in SIGNS.items()},
        "style": Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        "wbr": Markup("_<wbr>"),
        "first_line": first_line,
        "again": again,
        "figure": lambda value: number(float(value)),
    }
    return environment.get_template("page.html.jinja").render({**content, **more}).lstrip()


def markdown(content: dict[str, Any]) -> str:
    """Return the same as Markdown, without the plots."""
    parts = [_head(content["about"]), "## Targets", _table(content["overview"])]
    signs = "; ".join(f"{cell.text} {told}" for cell, told in content["legend"])
    parts += ["## Conformance", signs + ".", _table(content["matrix"])]
    for title, name in (("Conventions", "conventions"), ("Accuracy", "accuracy")):
        parts += [f"## {title}", _table(content[name])]
    parts.append("## When weights move")
    for table in content["moving"]:
        parts += [f"### {table.caption}", _table(table)]
    parts += ["## Error against mean/sd", _table(content["decades"]), "## Worst cases"]
    for t in content["targets"]:
        parts += list(_cases(t.name, content))
    parts += ["## Speed", _table(content["speed"]), "## How it was made", _table(content["made"])]
    parts += [f"- {names}: {told}" for names, told in content["versions"]]
    return "\n\n".join(parts) + "\n"


def _head(about: About) -> str:
    whole = "" if about.complete else " It was interrupted: this is what had been found."
    return (
        f"# How batch norms conform\n\nMade by bncheck {about.bncheck} on {about.date} in "
        f"{about.minutes:.1f} minutes, seed {about.seed}, up to {about.examples} examples per "
        f"invariant.{whole}"
    )


def _cases(name: str, content: dict[str, Any]) -> list[str]:
    parts = []
    for case in content["cases"][name]:
        told = (
            f"**{case['invariant']}**: {case['quantity']} is {case['got']}, wanted {case['want']}, "
            f"{case['multiple']} times what is allowed."
        )
        parts.append(told)
        if case["lines"]:
            code = "\n".join(case["lines"])
            parts += [f"```python\n{code}\n```", f"It printed `{case['printed']}`."]
    rows = content["failing"][name]
    lines = [f"- `{row['name']}`: {row['verdict']}: {first_line(row)}" for row in rows]
    if lines:
        parts.append("\n".join(lines))
    return [f"### {name}", *parts] if parts else []


def first_line(row: dict[str, Any]) -> str:
    """Return what a row says, without its arrays, in one line."""
    lines = [" ".join(line.split()) for line in row["message"].splitlines()]
    told = ("at ", "got ", "wanted ", "error ", "because ", "likely ")
    found = [line for line in lines if line.startswith(told)]
    return "; ".join(found) or (lines[0] if lines else "")


def _table(table: Table) -> str:
    rows = ["| " + " | ".join(map(_text, table.heads)) + " |", "|" + "---|" * len(table.heads)]
    rows += ["| " + " | ".join(map(_text, row)) + " |" for row in table.rows]
    return "\n".join(rows)


def _text(cell: Cell) -> str:
    return cell.text.replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")
