"""The derivation's graph as a picture, made from the graph itself.

    python -m reference.drawing

writes graph.svg beside derivation.md: values flow along the full arrows, gradients come back along
the dashed ones; Repeat and Sum stand where a value goes from one row to n rows and back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from . import graph
from .graph import Forward, Node

FILE = Path(__file__).with_name("graph.svg")
EQUATIONS = {"mean": 1, "xc": 2, "var": 3, "std": 4, "xhat": 5, "y": 6}  # of the values
GRADIENTS = {"beta": 8, "gamma": 9, "xhat": 10, "std": 11, "var": 12, "xc": 13, "mean": 14, "x": 14}
SIGNS = {
    "repeat": "Repeat", "total": "Sum", "divide": "\u00f7", "multiply": "\u00d7", "add": "+",
    "subtract": "\u2212", "square": "square", "root": "root",
}  # fmt: skip
CONSTANTS = {"divide": "n", "add": "eps"}  # what an unnamed input of an operation is

_ROWS = {"many": 125, "between": 225, "one": 325}  # pixels from above
_STEP, _LEFT, _BOX = 100, 65, (80, 60)
_SIZE = (13 * _STEP + 2 * _LEFT, 420)
_STYLE = """
.paper { fill: #ffffff } .ink { fill: #1b1f24 } .back { fill: #a8201a }
.box { fill: #eef2f7; stroke: #1b1f24 } .turn { fill: #cdeed5; stroke: #1b1f24 }
.way { stroke: #1b1f24; fill: none; stroke-width: 1.6 }
.return { stroke: #a8201a; fill: none; stroke-width: 1.6; stroke-dasharray: 5 4 }
text { font-family: sans-serif; font-size: 13px; text-anchor: middle }
.sign { font-size: 15px; font-weight: bold } .note { font-size: 15px; text-anchor: start }
@media (prefers-color-scheme: dark) {
 .paper { fill: #0d1117 } .ink { fill: #e6edf3 } .back { fill: #ff9a91 }
 .box { fill: #22303f; stroke: #e6edf3 } .turn { fill: #1c5a33; stroke: #e6edf3 }
 .way { stroke: #e6edf3 } .return { stroke: #ff9a91 }
}"""


@dataclass(frozen=True)
class Placed:
    """A node in the picture: its sign, its name in derivation.md if it has one, and its place."""

    node: Node
    sign: str
    name: str
    column: int
    row: str

    @property
    def middle(self) -> tuple[float, float]:
        """The middle of its box."""
        return _LEFT + _STEP * self.column, _ROWS[self.row]


def operation(node: Node) -> str:
    """Return the function of `reference.graph` that made a node, empty for an input."""
    name = node.pullbacks[0].__qualname__ if node.pullbacks else ""
    return str(name).partition(".")[0].lstrip("_")


def example() -> Forward:
    """Return the training graph of two rows in one channel."""
    one = np.ones((1, 1))
    return graph.forward_train(np.array([[0.0], [2.0]]), one, one, 3.0)


def ordered(last: Node) -> list[Node]:
    """Return a node and all that it rests on, in the order in which they were made."""
    seen: set[Node] = set()
    stack = [last]
    while stack:
        if (node := stack.pop()) not in seen:
            seen.add(node)
            stack.extend(node.parents)
    return sorted(seen, key=lambda node: node.order)


def placed(forward: Forward) -> dict[Node, Placed]:
    """Return every node that y rests on, constants apart, with its place.

    A column is the longest way from x; gamma and beta stand right ahead of where they are used.
    Values of n rows are above, values of one row below, Repeat and Sum between them.
    """
    names = {getattr(forward, field.name): field.name for field in fields(Forward)}
    order = [node for node in ordered(forward.y) if node.parents or node in names]
    columns: dict[Node, int] = {}
    for node in order:
        columns[node] = 1 + max((columns[p] for p in node.parents if p in columns), default=-1)
    for node in reversed(order):
        used = [columns[other] - 1 for other in order if node in other.parents]
        columns[node] = min(used, default=columns[node]) if node is not forward.x else 0
    found = {}
    for node in order:
        made = operation(node)
        sign = SIGNS.get(made, "")
        if any(parent not in columns for parent in node.parents):
            sign = f"{sign} {CONSTANTS[made]}"
        row = "many" if len(np.asarray(node.value)) > 1 else "one"
        row = "between" if made in ("repeat", "total") else row
        found[node] = Placed(node, sign, names.get(node, ""), columns[node], row)
    return found


def svg(forward: Forward) -> str:
    """Return the picture as the text of an SVG file."""
    width, height = _SIZE
    places = placed(forward)
    body = [line for p in places.values() for q in p.node.parents if q in places
            for line in _arrows(places[q], p)]  # fmt: skip
    body += [line for p in places.values() for line in _box(p)]
    title = "Batch norm as a graph: forward, and the gradients on their way back"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{title}</title>",
            f"<style>{_STYLE}\n</style>",
            "<defs>",
            _head("way", "ink"),
            _head("return", "back"),
            "</defs>",
            f'<rect class="paper" width="{width}" height="{height}"/>',
            *_notes(),
            *body,
            "</svg>",
            "",
        ]
    )


def _head(name: str, color: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path class="{color}" d="M0 0L8 4L0 8z"/></marker>'
    )


def _notes() -> Iterator[str]:
    left = _LEFT - _BOX[0] / 2
    notes = (("many", "n rows"), ("one", "one row"))
    for row, text in notes:
        shift = -70 if row == "many" else 5
        yield f'<text class="note ink" x="{left:g}" y="{_ROWS[row] + shift}">{text}</text>'
    down = _SIZE[1] - 18
    told = (
        (left, "ink", "full arrows and black: values (equation)"),
        (left + 320, "back", "dashed arrows and red: gradients (equation)"),
        (left + 680, "ink", "green: Repeat copies a row n times, Sum adds n rows up; (7)"),
    )
    for x, color, text in told:
        yield f'<text class="note {color}" x="{x:g}" y="{down}">{text}</text>'


def _box(p: Placed) -> Iterator[str]:
    (x, y), (width, height) = p.middle, _BOX
    kind = "turn" if p.row == "between" else "box"
    yield (
        f'<rect class="{kind}" x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width}" '
        f'height="{height}" rx="6"/>'
    )
    lines = [("sign ink", p.sign)] if p.sign else []
    if p.name:
        number = f" ({EQUATIONS[p.name]})" if p.name in EQUATIONS else ""
        lines.append(("ink", p.name + number))
        number = f" ({GRADIENTS[p.name]})" if p.name in GRADIENTS else ""
        lines.append(("back", f"d{p.name}{number}"))
    top = y + 5 - 9 * (len(lines) - 1)
    for i, (color, text) in enumerate(lines):
        yield f'<text class="{color}" x="{x:g}" y="{top + 18 * i:g}">{text}</text>'


def _arrows(a: Placed, b: Placed) -> Iterator[str]:
    """Yield the way from a to b and the way back, beside it or, over others, in an arc."""
    if a.row == b.row and b.column - a.column > 1:
        for kind, rise, aside in (("way", 62, 14), ("return", 46, 24)):
            (x, y), (z, _) = a.middle, b.middle
            y -= _BOX[1] / 2
            ends = (x + aside, z - aside) if kind == "way" else (z - aside, x + aside)
            c = ends[0] + (ends[1] - ends[0]) / 4, ends[1] - (ends[1] - ends[0]) / 4
            d = f"M{ends[0]:g} {y:g}C{c[0]:g} {y - rise:g} {c[1]:g} {y - rise:g} {ends[1]:g} {y:g}"
            yield f'<path class="{kind}" marker-end="url(#{kind})" d="{d}"/>'
        return
    for kind, p, q in (("way", a, b), ("return", b, a)):
        (x, y), (z, w) = _edge(p, q), _edge(q, p)
        length = math.hypot(z - x, w - y)
        u, v = -5 * (w - y) / length, 5 * (z - x) / length  # to the right of the way
        d = f"M{x + u:.1f} {y + v:.1f}L{z + u:.1f} {w + v:.1f}"
        yield f'<path class="{kind}" marker-end="url(#{kind})" d="{d}"/>'


def _edge(p: Placed, q: Placed) -> tuple[float, float]:
    """Return where the straight way from p to q leaves p's box."""
    (x, y), (z, w) = p.middle, q.middle
    share = min(
        _BOX[0] / 2 / abs(z - x) if z != x else math.inf,
        _BOX[1] / 2 / abs(w - y) if w != y else math.inf,
    )
    return x + share * (z - x), y + share * (w - y)


if __name__ == "__main__":
    FILE.write_text(svg(example()), encoding="utf-8")
    print(FILE)
