"""`bncheck mutants` and `bncheck kill-matrix`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from ..support.argument_types import positive, seed_number
from ..support.terminal import complain, show


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck mutants`: none."""


def run_list(args: argparse.Namespace) -> int:
    """List the mutants, the controls and the bugs that cannot be run."""
    from ..kills.tables import listing

    lines = listing()
    print("\n".join(lines))
    kinds = [line.split("  ")[0] for line in lines]
    print(
        f"\n{kinds.count('mutant')} mutants, {kinds.count('control')} controls, "
        f"{kinds.count('not runnable')} not runnable; run one with: bncheck run mutants:NAME"
    )
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck kill-matrix`."""
    parser.add_argument(
        "--examples", type=positive, default=100, metavar="N", help="per invariant (100)"
    )
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="(0)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write JSON, CSV and Markdown there"
    )
    parser.add_argument(
        "--jobs", type=positive, default=min(2, os.cpu_count() or 1), metavar="N", help="processes"
    )


def run(args: argparse.Namespace) -> int:
    """Run the matrix; 0 where every mutant is killed and no control accused, else 1."""
    from ..corpus.files import write_whole
    from ..kills import causes
    from ..kills.matrix import run_matrix
    from ..kills.tables import summary, to_csv, to_json, to_markdown

    if args.out is not None and not args.out.is_dir():
        print(f"bncheck: --out={args.out}: expected a folder that exists", file=sys.stderr)
        return 2
    matrix = run_matrix(args.examples, args.seed, args.jobs, show)
    print("\n".join(summary(matrix)))
    if args.out is not None:
        text = json.dumps(to_json(matrix), indent=1, sort_keys=True) + "\n"
        try:
            write_whole(args.out / "kill_matrix.json", text)
            write_whole(args.out / "kill_matrix.csv", to_csv(matrix))
            write_whole(args.out / "kill_matrix.md", to_markdown(matrix))
            write_whole(args.out / "causes.md", causes.to_markdown(list(causes.told())))
        except OSError as error:
            return complain(f"--out={args.out}: {error.strerror or error}")
    return 1 if matrix.survivors() or matrix.accused() else 0
