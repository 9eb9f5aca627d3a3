"""`bncheck hunt`: search for the largest error, as long and as wide as one likes."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..support.argument_types import DATABASE, positive, seed_number
from ..support.signals import status_of, terminable
from ..support.terminal import clear, show
from ..support.writing import hidden

if TYPE_CHECKING:
    from ..hunt.pool import Pool
    from ..hunt.shards import Shard
    from ..hunt.state import State
    from ..model.contract import Target

_HOME = Path(".bncheck") / "hunts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck hunt`."""
    add = parser.add_argument
    add("target", metavar="TARGET", help="a built-in name, module, module:NAME or file.py[:NAME]")
    add("--examples", type=positive, default=40, metavar="N", help="per shard (40)")
    add("--seed", type=seed_number, default=0, metavar="N", help="another seed searches anew (0)")
    add("--jobs", type=positive, metavar="N", help="processes (as many as there are cores)")
    add("--scheduler", metavar="ADDRESS", help="of Dask, tcp://HOST:PORT, instead of processes")
    add("--only", action="append", default=[], metavar="QUANTITY", help="y, dx, …; may be repeated")
    add("--dtype", action="append", default=[], metavar="D", help="may be repeated")
    add(
        "--out", type=Path, metavar="PATH",
        help=f"FILE.json or a folder; where it holds this very hunt, that is resumed ({_HOME})",
    )  # fmt: skip
    add("--database", **DATABASE)


def run(args: argparse.Namespace) -> int:
    """Hunt; 0 nothing exceeds its radius, 1 something does, 2 bad input, 3 undecided."""
    from ..model.contract import TargetError

    try:
        return _run(args)
    except TargetError as error:
        print(f"bncheck: {' '.join(str(error).split())}", file=sys.stderr)
    except OSError as error:  # a full disk; what was finished stands in the state file
        place = error.filename or args.out or _HOME
        print(f"bncheck: --out={place}: {error.strerror or error}", file=sys.stderr)
    return 2


def _run(args: argparse.Namespace) -> int:
    from ..engine.database import absolute, opened
    from ..hunt.work import target_of

    if args.jobs is not None and args.scheduler is not None:
        raise _wrong("--jobs", args.jobs, "either --jobs or --scheduler, which has its own workers")
    _check_quantities(args)
    opened(args.database)
    args.database = absolute(args.database)
    target = target_of(_absolute(args.target) if args.scheduler else args.target)
    return _Hunt(args, target, _chosen(args, target)).all()


def _wrong(option: str, value: object, expected: str) -> Exception:
    from ..model.contract import TargetError

    return TargetError(f"{option}={value}: expected {expected}")


def _check_quantities(args: argparse.Namespace) -> None:
    from ..hunt.quantities import QUANTITIES

    for name in args.only:
        if name not in QUANTITIES:
            raise _wrong("--only", name, f"one of {', '.join(QUANTITIES)}")


def _chosen(args: argparse.Namespace, target: Target) -> list[Shard]:
    """Return the shards of the quantities and dtypes that were asked for."""
    from ..engine.strategies import offered_dtypes
    from ..hunt.shards import offered_quantities, shards

    dtypes = offered_dtypes(target.conventions, target.offers)
    for dtype in args.dtype:
        if dtype not in dtypes:
            raise _wrong("--dtype", dtype, f"one that {target.spec} takes: {', '.join(dtypes)}")
    offered = [quantity.name for quantity in offered_quantities(target)]
    for name in args.only:
        if name not in offered:
            raise _wrong("--only", name, f"one that {target.spec} offers: {', '.join(offered)}")
    return shards(target, args.only, args.dtype)


def _absolute(spec: str) -> str:
    """Return the spec with a file's whole path, as workers start elsewhere."""
    found = re.fullmatch(r"(.*?\.py)(:.*)?", spec)
    return str(Path(found[1]).resolve()) + (found[2] or "") if found else spec


def _files(args: argparse.Namespace, head: dict[str, Any]) -> tuple[Path, Path]:
    """Return where the result and the state go."""
    if args.out is None:
        slug = re.sub(r"\W+", "-", args.target).strip("-")[-40:]
        mark = hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()[:8]
        hidden(_HOME.parent)
        _HOME.mkdir(exist_ok=True)
        return _HOME / f"{slug}-{mark}.json", _HOME / f"{slug}-{mark}.jsonl"
    out: Path = args.out
    if not out.resolve().parent.is_dir():
        raise _wrong("--out", out, "a file or folder in a folder that exists")
    if out.suffix == ".json" and not out.is_dir():
        return out, out.with_suffix(".jsonl")
    if out.exists() and not out.is_dir():
        raise _wrong("--out", out, "a name ending in .json, or a folder")
    out.mkdir(exist_ok=True)
    return out / "hunt.json", out / "hunt.jsonl"


def _cores() -> int:
    """Return how many cores this process may use."""
    usable = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(usable(0)) if usable else os.cpu_count() or 1


class _Hunt:
    """One hunt, from the first line it prints to its exit status."""

    def __init__(self, args: argparse.Namespace, target: Target, shards: list[Shard]) -> None:
        from ..engine.database import public
        from ..hunt.work import fingerprint

        self.args, self.target, self.shards = args, target, shards
        self.head = {
            "target": args.target,
            "seed": args.seed,
            "examples": args.examples,
            "only": sorted(set(args.only)),
            "dtypes": sorted(set(args.dtype)),
            "database": public(args.database),
            "fingerprint": fingerprint(target),
        }
        options = f"--seed {args.seed} --examples {args.examples}"
        options += f" --database {shlex.quote(self.head['database'])}" if args.database else ""
        self.again = f"bncheck hunt {shlex.quote(args.target)} {options}"

    def all(self) -> int:
        """Search, show and keep what is found."""
        from ..hunt.state import kept

        pool = self._pool()
        result, lines = _files(self.args, self.head)
        with kept(lines, self.head) as state:
            self._say(state, lines)
            cut = 0
            with terminable():
                try:
                    self._search(pool, state)
                except KeyboardInterrupt as stop:
                    cut = status_of(stop)
            return self._finish(state, result, cut)

    def _pool(self) -> Pool:
        from ..hunt.pool import dask, local

        if self.args.scheduler is not None:
            return dask(self.args.scheduler)
        return local(self.args.jobs or _cores())

    def _say(self, state: State, lines: Path) -> None:
        each = f"{self.args.examples} examples"
        print(f"target {self.args.target}: {len(self.shards)} shards of {each}", flush=True)
        if state.resumed:
            print(f"resumed: {state.resumed} shards were done, by {lines}", flush=True)

    def _search(self, pool: Pool, state: State) -> None:
        from ..hunt.drive import hunt

        args = self.args
        task = (
            self.target.spec, self.head["fingerprint"], args.examples, args.seed, args.database
        )  # fmt: skip
        failing = sum(found["smallest"] is not None for found in state.done.values())

        def tick(found: dict[str, Any]) -> None:
            nonlocal failing
            failing += found["smallest"] is not None
            show(f"[{len(state.done)}/{len(self.shards)}] {failing} shards with a failing case")

        hunt(pool, task, self.shards, state, tick)

    def _finish(self, state: State, result: Path, cut: int) -> int:
        from ..hunt.result import document, verdict
        from ..hunt.show import failures, text
        from ..hunt.table import table
        from ..run.text import write_json

        clear()
        found = table(self.shards, state)
        total, done = len(self.shards), len(state.done)
        print(f"\n{text(found)}" if found.cells else "nothing searched yet")
        if told := failures(found, self.target, self.again):
            print(f"\n{told}")
        content = document(self.target, self.head, found, done, total, self.again)
        try:
            write_json(result, content)
        except OSError as error:
            raise _wrong("--out", result, f"a place to write ({error.strerror})") from error
        _remember(content)
        whole = "" if done == total else f"interrupted after {done} of {total} shards; so far "
        rest = "" if done == total else "; the same command goes on from there"
        print(f"\n{whole}{verdict(found)}; {result}{rest}", flush=True)
        return cut or {"pass": 0, "fail": 1, "undecided": 3}[verdict(found)]


def _remember(content: dict[str, Any]) -> None:
    """Leave the failing cases where `bncheck corpus add --from-last-run` finds them."""
    from ..corpus.files import remember

    failing = [
        {"sentence": key, "source": case["source"], "calls": case["calls"]}
        for key, case in content["cases"].items()
        if "calls" in case
    ]
    with contextlib.suppress(OSError):
        remember(failing)
