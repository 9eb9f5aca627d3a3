"""The result of an exam as a page of its own, with a picture."""

from __future__ import annotations

import html
import io
from typing import Any

from ..model.contract import TargetError
from ..support.extras import hint
from .exam import Result

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>bncheck exam</title>
<style>body{font:15px/1.5 sans-serif;max-width:52em;margin:2em auto;padding:0 1em}
pre{background:#f4f4f4;padding:.7em;overflow-x:auto}svg{max-width:100%}</style>
"""


def available() -> None:
    """Raise a TargetError of one line where what draws is missing."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise TargetError(f"--html needs matplotlib; {hint('report')}")


def picture(result: Result) -> str:
    """Return the bugs of each kind, seen and missed, as an SVG element."""
    from matplotlib.figure import Figure

    kinds: dict[str, tuple[int, int]] = result.by_kind()
    names, seen = list(kinds), [a for a, _ in kinds.values()]
    missed = [b - a for a, b in kinds.values()]
    figure: Any = Figure(figsize=(7, 0.6 + 0.4 * max(1, len(names))), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, seen, color="#2a7f4f", label="seen")
    axes.barh(names, missed, left=seen, color="#c8503c", label="missed")
    axes.invert_yaxis()
    axes.set_xlabel("known bugs")
    axes.legend(frameon=False)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def page(result: Result) -> str:
    """Return the whole page; every text of the user's is escaped."""
    e = html.escape
    parts = [
        _HEAD,
        f"<h1>Your tests see {len(result.killed)} of {len(result.scored)} known bugs</h1>",
        f"<p><code>{e(' '.join(result.exam.command))}</code>, with "
        f"<code>{e(result.exam.module)}:{e(result.exam.name)}</code> replaced. "
        f"{len(result.too_strict)} of {len(result.variants)} right variants fail.</p>",
        picture(result),
    ]
    for m in result.too_strict:
        parts.append(f"<p>too strict: <b>{e(m.name)}</b>: {e(m.why)}</p>")
    if result.survivors:
        lacks = "".join(
            f"<li>{e(what)} ({n} of the tests below do)</li>"
            for what, n in result.lacking().items() if n
        )  # fmt: skip
        parts += [f"<h2>No test has</h2><ul>{lacks}</ul>" if lacks else "", "<h2>Missed</h2>"]
    for m in result.survivors:
        parts.append(f"<p><b>{e(m.name)}</b> ({e(m.kind)}, {e(m.outcome)}): {e(m.why)}</p>")
        if m.test:
            said = "" if m.verified else "<p>not verified: it could not be run</p>"
            parts.append(f"{said}<pre>{e(m.test)}</pre>")
    return "\n".join(part for part in parts if part)
