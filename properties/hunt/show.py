"""The table of a hunt as text, and each failure as a sentence with its worst and smallest case."""

from __future__ import annotations

from ..model.contract import Target
from .cells import Cell
from .measure import CONSTANT, Decade, Point, case_of
from .registered import known
from .search import Failing
from .table import Table, rank

_MARK = {"fail": "!", "undecided": "?", "pass": ""}


def decade_text(decade: Decade) -> str:
    """Return the head of a decade's column."""
    return "constant" if decade == CONSTANT else "<1" if decade == -1 else f"1e{decade}"


def number(value: float) -> str:
    """Return a number of two digits, of three where two would hide on which side of 1 it is."""
    return f"{value:.3g}" if 0.95 <= value < 1.05 else f"{value:.2g}"


def _cells(cell: Cell, decade: Decade) -> tuple[str, str]:
    """Return the largest error in ulp and as a multiple of its radius, marked by the verdict."""
    if not cell.examples:
        return "-", "-"
    ulp = cell.largest or cell.beyond
    shown = "-" if ulp is None or decade == CONSTANT else number(ulp.ulp)
    return shown, (number(cell.closest.multiple) if cell.closest else "") + _MARK[cell.verdict]


def text(found: Table) -> str:
    """Return the table: per dtype a line in ulp and one in radii for each quantity."""
    decades = sorted({decade for _, _, decade in found.cells}, key=rank)
    lines = []
    for dtype in dict.fromkeys(dtype for _, dtype in found.quantities):
        heads = "".join(f"{decade_text(d):>9}" for d in decades)
        lines.append(f"{dtype + ', largest error by mean/sd':<39}{heads}")
        for quantity in (q for q, d in found.quantities if d == dtype):
            pairs = [_cells(found.cell(quantity, dtype, d), d) for d in decades]
            for k, what in enumerate((f"{quantity:<13} in ulp", f"{'':<13} / radius")):
                verdict = found.verdict(quantity, dtype) if k == 0 else ""
                lines.append(f"  {what:<25}{verdict:<12}" + "".join(f"{p[k]:>9}" for p in pairs))
        lines.append("")
    return "\n".join([*lines, "!: beyond its radius; ?: no finite radius there; -: nothing seen"])


def begins(found: Table, quantity: str, dtype: str) -> str:
    """Return in which decade of mean/sd a quantity begins to exceed its radius."""
    failing = [d for d, cell in found.of(quantity, dtype).items() if cell.failing]
    swept = [d for d in failing if d != CONSTANT]
    if not failing:
        return "nowhere"
    if not swept:
        return "in constant channels"
    return (
        "where mean/sd is below 1" if swept[0] == -1 else f"from mean/sd {decade_text(swept[0])} on"
    )


def failures(found: Table, target: Target, again: str) -> str:
    """Return each failing quantity: where it begins, worst and smallest case, whether known."""
    lines = []
    for quantity, dtype in found.quantities:
        if found.verdict(quantity, dtype) != "fail":
            continue
        lines.append(f"{quantity} in {dtype} exceeds its radius {begins(found, quantity, dtype)}")
        worst, smallest = found.worst(quantity, dtype), found.smallest.get((quantity, dtype))
        if worst is not None:
            lines.append(f"  worst     {_point(worst, target)}")
        if smallest is not None:
            lines += _smallest(smallest, target)
        if entry := known(found, target, quantity, dtype):
            lines.append(f"  known     {entry.reason} ({entry.link})")
        lines.append(f"  again     {again} --only {quantity} --dtype {dtype}")
    for name, message in found.died.items():
        lines.append(f"{name}: {message}")
    return "\n".join(lines)


def _point(point: Point, target: Target) -> str:
    case = case_of(target, point)
    return (
        f"{number(point.multiple)} times its radius, {number(point.ulp)} ulp, at mean/sd "
        f"{number(point.mean_over_sd)}: {case.recipe.regime}, x of shape {case.x.shape}"
    )


def _smallest(failing: Failing, target: Target) -> list[str]:
    case = case_of(target, failing.point)
    lines = [f"  smallest  {_point(failing.point, target)}, eps={case.eps!r}"]
    if failing.message:
        lines.append(f"  because   {failing.message}")
    if case.x.size <= 16:
        lines.append(f"  x         {case.x.tolist()}")
    return lines
