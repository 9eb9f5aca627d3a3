"""What the report says, section by section, as tables and lists of cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..invariants import INVARIANTS
from ..model.contract import DTYPES
from ..probe.answers import Answer
from ..probe.migration import lines
from ..probe.portrait import Portrait
from .stages import CURVES, STAGES, slug
from .tables import MEANS, Cell, Table, number, plain, seconds, verdict_cell
from .target_results import TargetResults


def anchor(*parts: str) -> str:
    """Return an id for a place on the page."""
    return "-".join(slug(part) for part in parts)


def _heads(first: str, targets: Sequence[TargetResults]) -> list[Cell]:
    return [Cell(first), *(Cell(t.name, link=f"#{anchor('target', t.name)}") for t in targets)]


def overview(targets: Sequence[TargetResults]) -> Table:
    """Return a line per target: what it is, its version, its verdict and how many of each."""
    counted = (
        "pass",
        "fail",
        "remark",
        "expected failure",
        "undecided",
        "not offered",
        "not reached",
    )
    heads = plain("target", "verdict", *counted, "version", "what it is", "remarks")
    rows = []
    for t in targets:
        versions = ", ".join(f"{name} {found}" for name, found in t.place.versions.items())
        link = f"#{anchor('target', t.name)}" if t.rows else ""
        verdict = Cell(t.whole, kind=t.whole.replace(" ", "-"))
        counts = t.counts(list(INVARIANTS)) if t.rows else {}
        cells = [Cell(str(counts.get(v, 0)) if t.rows else "", kind="number") for v in counted]
        notes = t.problem or "; ".join(t.notes)
        about = plain(versions, t.place.says, notes)
        rows.append([Cell(t.name, link=link), verdict, *cells, *about])
    return Table("overview", "Targets, their versions and verdicts", heads, rows, "overview")


def matrix(targets: Sequence[TargetResults]) -> Table:
    """Return the verdicts, a row per invariant and a column per target."""
    rows = []
    for name, invariant in INVARIANTS.items():
        cells = []
        for t in targets:
            verdict = t.verdict(name)
            told = verdict in ("fail", "expected failure", "unexpected pass")
            cells.append(verdict_cell(verdict, f"#{anchor('case', t.name, name)}" if told else ""))
        rows.append([Cell(name, invariant.sentence), *cells])
    return Table(
        "matrix", "Conformance: invariants by target", _heads("invariant", targets), rows, "turned"
    )


def legend() -> list[tuple[Cell, str]]:
    """Return the signs of the matrix with what they mean."""
    return [(verdict_cell(verdict), f"{verdict}: {means}") for verdict, means in MEANS.items()]


def questions(targets: Sequence[TargetResults]) -> list[str]:
    """Return all that was asked, in the order of asking."""
    found: dict[str, None] = {}
    for t in targets:
        found |= dict.fromkeys(a["question"] for a in t.portrait.get("answers", []))
    return list(found)


def conventions(targets: Sequence[TargetResults]) -> Table:
    """Return the answers of the probes side by side."""
    probed = [t for t in targets if t.portrait.get("answers")]
    rows = [[Cell(q), *plain(*(t.answer(q) or "-" for t in probed))] for q in questions(probed)]
    caption = "Conventions and behaviour, found out from outside"
    return Table("conventions", caption, _heads("question", probed), rows, "wide")


def accuracy(targets: Sequence[TargetResults]) -> Table:
    """Return the worst accuracy class by quantity and dtype, and from which n it is that."""
    probed = [t for t in targets if t.portrait.get("accuracy")]
    keys: dict[tuple[str, str], None] = {}
    for t in probed:
        keys |= dict.fromkeys((g["dtype"], g["quantity"]) for g in t.portrait["accuracy"])
    rows = []
    for dtype, quantity in sorted(keys, key=lambda key: DTYPES.index(key[0])):
        cells = [_class(t.portrait["accuracy"], dtype, quantity) for t in probed]
        rows.append([Cell(f"{quantity}, {dtype}"), *cells])
    caption = "Accuracy class by quantity and dtype, the worst over layouts and sizes"
    return Table("accuracy", caption, _heads("quantity", probed), rows, "wide")


def _class(grades: Any, dtype: str, quantity: str) -> Cell:
    own = [g for g in grades if (g["dtype"], g["quantity"]) == (dtype, quantity)]
    if not own:
        return Cell("-", "not offered")
    worst = max(g["grade"] for g in own)
    if worst == "A":
        return Cell("A", kind="A")
    least = min((g for g in own if g["grade"] == worst), key=lambda g: g["n"])
    several = len({g["layout"] for g in own}) > 1
    every = {g["layout"] for g in own if g["grade"] == worst} == {g["layout"] for g in own}
    where = "" if every or not several else f" in {least['layout']}"
    return Cell(f"{worst} from n = {least['n']}{where}", kind=worst)


def _portrait(t: TargetResults) -> Portrait:
    answers = [Answer(**a) for a in t.portrait["answers"]]
    return Portrait(t.name, answers, complete=bool(t.portrait.get("complete")))


def _told(source: TargetResults, other: TargetResults) -> list[str]:
    """Return what to change; that a probe was cut short stands among the remarks."""
    found = lines(*map(_portrait, (source, other)))
    found = [line for line in found if "not asked" not in line and "cut short" not in line]
    return found or ["nothing"]


def groups(targets: Sequence[TargetResults]) -> list[list[TargetResults]]:
    """Return the targets between which weights move as they are, group by group."""
    found: list[list[TargetResults]] = []
    for t in (t for t in targets if t.portrait.get("answers")):
        for group in found:
            if _told(group[0], t) == _told(t, group[0]) == ["nothing"]:
                group.append(t)
                break
        else:
            found.append([t])
    return found


def moving(targets: Sequence[TargetResults]) -> list[Table]:
    """Return per group of targets what to change when weights move from it to each other one."""
    found = groups(targets)
    tables = []
    for source in found:
        rows = []
        for other in found:
            if other is not source:
                told = "\n".join(_told(source[0], other[0]))
                rows.append([Cell(_names(other)), Cell(told)])
        caption = f"From {_names(source)}"
        heads = plain("to", "what to change")
        tables.append(Table(anchor("from", source[0].name), caption, heads, rows, "moving"))
    return [table for table in tables if table.rows]


def _names(group: Sequence[TargetResults]) -> str:
    return ", ".join(t.name for t in group)


def decades(targets: Sequence[TargetResults]) -> Table:
    """Return where each curve leaves its radius, and by how much at worst."""
    hunted = [t for t in targets if t.hunt.get("cells")]
    rows = []
    for t in hunted:
        cells = []
        for quantity in CURVES:
            own = [c for c in t.hunt["cells"] if c["quantity"] == quantity]
            decided = [c for c in own if c["closest"]]
            failing = [c["decade"] for c in own if c["verdict"] == "fail"]
            if not decided:
                cells.append(Cell("-", "not offered"))
                continue
            worst = max(float(c["closest"]["multiple"]) for c in decided)
            least = min((d for d in failing if isinstance(d, int)), default=None)
            where = "" if least is None else f", from mean/sd {_decade(least)} on"
            cells.append(Cell(f"{number(worst)}{where}", kind="fail" if failing else "pass"))
        dtype = next((c["dtype"] for c in t.hunt["cells"]), "")
        rows.append([Cell(t.name), Cell(dtype), *cells])
    heads = [*plain("target", "dtype"), *plain(*CURVES)]
    caption = "Largest error as a multiple of the certified radius, and where it leaves that"
    return Table("decades", caption, heads, rows)


def _decade(decade: int) -> str:
    return "below 1" if decade < 0 else f"1e{decade}"


def failing(t: TargetResults) -> list[dict[str, Any]]:
    """Return the rows of a target that need a word: failed, or expected to, or not."""
    told = ("fail", "unexpected pass", "expected failure")
    rows = [
        {"where": "", **row} for parts in t.rows.values() for row in parts if row["verdict"] in told
    ]
    seen = set()
    for row in rows:
        row["id"] = "" if row["name"] in seen else anchor("case", t.name, row["name"])
        seen.add(row["name"])
    return rows


def speed(targets: Sequence[TargetResults]) -> Table:
    """Return the median time of each call, and how many examples were judged in a second."""
    measured = [t for t in targets if t.environment.get("times")]
    keys: dict[tuple[str, str], None] = {}
    for t in measured:
        keys |= dict.fromkeys((row["call"], _shape(row)) for row in t.environment["times"])
    rows = []
    for key in sorted(keys, key=lambda key: (len(key[1]), key[1])):
        cells = []
        for t in measured:
            own = [row for row in t.environment["times"] if (row["call"], _shape(row)) == key]
            median = own[0].get("median") if own else None
            cells.append(Cell(seconds(median), kind="number") if median else Cell("-", "none"))
        rows.append([Cell(f"{key[0]}, {key[1]}"), *cells])
    rows.append([Cell("examples judged per second"), *(_rate(t) for t in measured)])
    caption = "Median time of one call through the adapter, channels counted on axis 1"
    return Table("speed", caption, _heads("call, shape", measured), rows)


def _shape(row: Any) -> str:
    return "({}) {}".format(", ".join(map(str, row["shape"])), row["dtype"])


def _rate(t: TargetResults) -> Cell:
    examples = sum(row["examples"] for parts in t.rows.values() for row in parts)
    taken = sum(t.stages.get(name, {}).get("seconds", 0.0) for name in ("run", "rest", "more"))
    return Cell(number(examples / taken), kind="number") if taken else Cell("-", "none")


def made(targets: Sequence[TargetResults]) -> Table:
    """Return how long each stage took and how it ended."""
    names = [stage.name for stage in STAGES]
    rows = []
    for t in (t for t in targets if not t.place.problem):
        cells = []
        for name in names:
            kept = t.stages.get(name)
            if kept:
                ended = "" if kept["state"] == "done" else f", {kept['state']}"
                cells.append(Cell(f"{kept['seconds']:.0f} s{ended}"))
            else:
                cells.append(Cell("-", "not begun"))
        rows.append([Cell(t.name), *cells])
    return Table("made", "Seconds that each stage took", plain("target", *names), rows)


def versions(targets: Sequence[TargetResults]) -> Iterator[tuple[str, str]]:
    """Yield each environment's versions with the targets judged in it."""
    by: dict[str, list[str]] = {}
    for t in targets:
        if t.run:
            told = ", ".join(f"{k} {v}" for k, v in sorted(t.run["versions"].items()))
            by.setdefault(told, []).append(t.name)
    for told, names in by.items():
        yield ", ".join(names), told
