"""Growth of `bn`: time and peak memory against values per channel, channels and examples.

Each point is measured in an interpreter of its own, which prints JSON:

    python -m properties.benchmarks.growth layer N CHANNELS
    python -m properties.benchmarks.growth run EXAMPLES
"""

from __future__ import annotations

import importlib.util
import io
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bn

from ..support.writing import write_whole
from .timing import Table, run_python, told

MEGABYTE = 2**20
SMALLEST, LARGEST = 12, 22  # powers of two: elements

MEMORY = ("forward MiB", "backward MiB", "saved MiB")
INVARIANTS_RUN = (
    "output_agrees_with_reference",
    "channels_are_independent",
    "jacobian_is_symmetric",
)
FEW = 1 << 20  # elements up to which a call is timed more often


def measured(kind: str, *sizes: int) -> dict[str, float]:
    """Return what `layer` or `run` measures in an interpreter of its own."""
    words = ["-m", "properties.benchmarks.growth", kind, *map(str, sizes)]
    found: dict[str, float] = json.loads(run_python(words))
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


def peak() -> int:
    """Return the most memory that this process has held, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere this counts what the parent held, too
        lines = status.read_text(encoding="ascii").splitlines()
        found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        if found:
            return int(found[0]) * 1024
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def layer(n: int, c: int) -> dict[str, float]:
    """Return seconds of forward and backward, and the bytes held up to each beyond its arrays.

    What is given and what is returned is not counted; what forward returns for backward, five
    float64 vectors, is told apart. x and dy (n, c) float32 are there before.
    """
    _once(64, 64)  # so that all code is loaded
    first = _once(n, c)
    again = [_once(n, c) for _ in range(5 if n * c <= FEW else 2)]
    ahead, back = (
        min(times) for times in zip(*(once[:2] for once in (first, *again)), strict=True)
    )
    return {
        "forward": ahead,
        "backward": back,
        "forward_beyond": max(0, first[2]),
        "backward_beyond": max(0, first[3]),
        "saved": first[4],
    }


def _once(n: int, c: int) -> tuple[float, float, int, int, int]:
    """Return both times, how much the peak grew up to each beyond results, and what is saved."""
    rng = np.random.default_rng(0)
    x, dy = (rng.random((n, c), dtype=np.float32) for _ in "xd")
    ones = np.ones(c, np.float32)
    start = peak()
    (*outputs, saved), ahead = _timed(
        lambda: bn.forward_train(x, ones, ones, ones, ones, eps=1e-5, momentum=0.9)
    )
    batch = saved.statistics
    kept = sum(a.nbytes for a in (saved.gamma, saved.rstd, batch.pivot, batch.rest, batch.var))
    after_y = peak() - start - kept - sum(a.nbytes for a in outputs)
    gradients, back = _timed(lambda: bn.backward_train(dy, saved))
    outputs += gradients
    return ahead, back, after_y, peak() - start - kept - sum(a.nbytes for a in outputs), kept


def run(examples: int) -> dict[str, float]:
    """Return the seconds of a run of some invariants on bn, and the memory it held at most."""
    from ..engine.exercise import run_invariant
    from ..invariants import INVARIANTS
    from ..targets.open import loaded

    target, start = loaded("bn"), time.process_time()
    for name in INVARIANTS_RUN:
        run_invariant(target, INVARIANTS[name], examples=examples)
    return {"seconds": time.process_time() - start, "peak": peak()}


if __name__ == "__main__":
    kind, *sizes = sys.argv[1:]
    numbers = [int(size) for size in sizes]
    print(json.dumps(layer(*numbers) if kind == "layer" else run(*numbers)))
