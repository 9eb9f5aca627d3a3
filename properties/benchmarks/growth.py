"""Growth of `bn`: time and peak memory against values per channel, channels and examples."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..support.writing import write_whole
from .timing import Table, run_python, told

MEGABYTE = 2**20
SMALLEST, LARGEST = 12, 22  # powers of two: elements

MEMORY = ("forward MiB", "backward MiB", "saved MiB")

POINT = ("-m", "properties.benchmarks.growth_point")


def measured(kind: str, *sizes: int) -> dict[str, float]:
    """Return what `growth_point` measures in an interpreter of its own."""
    found: dict[str, float] = json.loads(run_python([*POINT, kind, *map(str, sizes)]))
    return found


def growth(quick: bool, largest: int = LARGEST) -> Iterator[Table]:
    """Yield tables against the values per channel and the channels: flat times are linear growth.

    Args:
        quick: take a few small sizes.
        largest: log2 of the most elements.
    """
    top = 18 if quick else largest
    powers = range(SMALLEST, top + 1, 2)
    ways = {
        "values per channel (64 channels)": [((1 << k) // 64, 64) for k in powers],
        "channels (64 values in each)": [(64, (1 << k) // 64) for k in powers],
        "channels (4 values in each)": [(4, (1 << k) // 4) for k in powers if k <= LARGEST],
    }
    columns = ("n", "channels", "forward ns", "backward ns", *MEMORY)
    for way, sizes in ways.items():
        table = Table(
            f"bn, float32, against {way}: time per element, memory beyond inputs and outputs",
            columns,
        )
        for n, c in sizes:
            with told(f"growth: n={n}, channels={c}"):
                found = measured("layer", n, c)
            times = [1e9 * found[name] / (n * c) for name in ("forward", "backward")]
            held = ("forward_beyond", "backward_beyond", "saved")
            spare = [found[name] / MEGABYTE for name in held]
            table.rows.append((n, c, *times, *spare))
        yield table


def examples(quick: bool) -> Iterator[Table]:
    """Yield time and peak memory of a run against the number of its examples."""
    table = Table(
        "bncheck run bn, three invariants, against examples",
        ("examples", "seconds (processor)", "peak MiB"),
    )
    for count in (10, 20, 40) if quick else (50, 100, 200, 400, 800):
        with told(f"growth: {count} examples"):
            found = measured("run", count)
        table.rows.append((count, found["seconds"], found["peak"] / MEGABYTE))
    yield table


def can_plot() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def plot(tables: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw each growth table: time above, memory below, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(tables), figsize=(4.5 * len(tables), 7), squeeze=False)
    for k, table in enumerate(tables):
        columns = list(table["columns"])
        against = 1 if "against channels" in table["title"] else 0
        for name in columns[2 if columns[0] == "n" else 1 :]:
            place = axes[1 if "MiB" in name else 0][k]
            sizes = [row[against] for row in table["rows"]]
            values = [row[columns.index(name)] for row in table["rows"]]
            place.plot(sizes, values, marker="o", label=name)
        for place in axes[:, k]:
            place.set_xscale("log", base=2)
            place.set_xlabel(columns[against])
            place.set_ylim(bottom=0)
            place.legend()
        axes[0][k].set_title(table["title"].partition(":")[0], fontsize=8)
    figure.tight_layout()
    held = io.BytesIO()
    figure.savefig(held, format=path.suffix[1:] or "png")
    write_whole(path, held.getvalue())
    pyplot.close(figure)
