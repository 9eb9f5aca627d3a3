"""How fast and how large: `python -m properties.benchmarks` prints tables, and JSON on request.

    python -m properties.benchmarks [--json FILE] [--plot FILE] [--only PART] [--quick]

All contenders of a table run in turn, round after round, in one run; figures are medians, and
ratios are medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..corpus.files import write_whole
from ..support.argument_types import positive
from ..support.extras import hint
from . import examples, growth, layers
from . import waiting as commands
from .timing import Table, machine

PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Table]]] = {
    "example": lambda a: examples.split(a.rounds, a.quick),
    "invariants": lambda a: examples.per_invariant(a.rounds, a.quick),
    "run": lambda a: examples.whole_run(a.rounds, a.quick),
    "waits": lambda a: commands.waits(a.rounds, a.quick),
    "kills": lambda a: commands.kills(a.rounds, a.quick),
    "bn": lambda a: layers.multiples(a.rounds, a.quick),
    "growth": lambda a: growth.growth(a.quick, a.largest),
    "examples": lambda a: growth.examples(a.quick),
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m properties.benchmarks.__main__",
        description="Measure how fast bncheck and bn are, and how they grow.",
        allow_abbrev=False,
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the tables there too")
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw growth (.svg, .png or .pdf)")
    made.add_argument(
        "--only",
        action="append",
        choices=list(PARTS),
        metavar="PART",
        default=[],
        help=f"measure this part: {', '.join(PARTS)}",
    )
    made.add_argument("--quick", action="store_true", help="few rounds: a look, not a figure")
    made.add_argument("--rounds", type=positive, metavar="N", help="per table (15; quick: 3)")
    made.add_argument(
        "--largest",
        type=int,
        default=growth.LARGEST,
        metavar="K",
        choices=range(growth.SMALLEST, 27),
        help="growth to 2**K elements, 12 to 26 (22); at 26 it takes 1.5 GB",
    )
    return made


def _wrong(args: argparse.Namespace) -> str:
    """Return what is wrong with the arguments taken together, if anything is."""
    for name in ("json", "plot"):
        path = getattr(args, name)
        if path is not None and (path.is_dir() or not path.resolve().parent.is_dir()):
            return f"--{name}={path}: expected a file in a folder that exists"
    if args.plot is None:
        return ""
    if args.plot.suffix not in (".svg", ".png", ".pdf"):
        return f"--plot={args.plot}: expected a name that ends in .svg, .png or .pdf"
    if not growth.can_plot():
        return f"--plot={args.plot} needs matplotlib; {hint('benchmark')}"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print each table when it is there, and return the exit status."""
    args = parser().parse_args(arguments)
    if wrong := _wrong(args):
        print(f"bncheck: {wrong}", file=sys.stderr)
        return 2
    args.rounds = args.rounds or (3 if args.quick else 15)
    found: dict[str, list[dict[str, Any]]] = {}
    facts, status = machine(), 0
    print("; ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    try:
        for name in [part for part in PARTS if part in args.only] or PARTS:
            found[name] = []
            for table in PARTS[name](args):
                print(f"\n{table.markdown()}", flush=True)
                found[name].append(table.document())
    except KeyboardInterrupt:
        status = 130
    except RuntimeError as error:
        print(f"bncheck: {error}", file=sys.stderr)
        status = 1
    if args.json is not None:
        content = {"machine": facts, "quick": args.quick, "rounds": args.rounds}
        content |= {"complete": status == 0, "parts": found}
        write_whole(args.json, json.dumps(content, indent=1) + "\n")
    tables = found.get("growth", []) + found.get("examples", [])
    if args.plot is not None and any(table["rows"] for table in tables):
        growth.plot(tables, args.plot)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
