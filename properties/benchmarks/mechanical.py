"""Mechanical mutants of bn: each small change of its source must be seen by some check.

    python -m properties.benchmarks.mechanical [--module bn.functional] [--jobs 2] [--json FILE]

makes every change that cosmic-ray's operators and those of numerical code make, one at a time, in
a copy of the package, and judges it by the core corpus, by the tests of bn's arguments, by those of
bn, and by all invariants, until one fails. What is listed in equivalent_mutants.toml must survive.
Results are appended to --json as they come and taken from there the next time.

Exit status: 0 all others are killed; 1 a mutant survives, or a listed one is killed or is no longer
made; 2 the command is wrong; 130 interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

from ..support.argument_types import positive, seed_number
from .mechanical_judge import KILLS, ROOT, STAGES, Judged, Worker, judge, prepare
from .mechanical_mutations import (
    Equivalent,
    Missing,
    Mutation,
    equivalents,
    is_listed,
    mutations,
)

MODULES = [f"bn.{path.stem}" for path in sorted((ROOT / "bn").glob("*.py"))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.json is not None and (args.json.is_dir() or not args.json.resolve().parent.is_dir()):
        parser.error(f"--json={args.json}: expected a file in a folder that exists")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # no worker is left behind
    try:
        mutants = _chosen(args)
        if args.list:
            for mutant in mutants:
                print(_line(mutant))
            return 0
        return _Benchmark(args, mutants).run()
    except (Missing, Unusable, OSError) as error:
        print(f"mechanical: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


class Unusable(Exception):
    """An argument cannot be used."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m properties.benchmarks.mechanical", allow_abbrev=False
    )
    parser.add_argument("--module", action="append", choices=MODULES, metavar="bn.NAME")
    parser.add_argument("--only", action="append", metavar="ID", help="only this mutant")
    parser.add_argument("--sample", type=positive, metavar="N", help="judge N drawn at random")
    parser.add_argument("--seed", type=seed_number, default=1, help="of --sample (1)")
    parser.add_argument("--stages", default=",".join(STAGES), metavar="A,B", help="(all)")
    parser.add_argument("--jobs", type=positive, default=1, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results, a line for each")
    parser.add_argument("--list", action="store_true", help="print the mutants, judge none")
    return parser


def _chosen(args: argparse.Namespace) -> list[Mutation]:
    found = [
        mutation
        for module in MODULES
        if module in (args.module or MODULES)
        for mutation in mutations(module, source_of(module).read_text(encoding="utf-8"))
        if args.only is None or mutation.id in args.only
    ]
    for name in set(args.only or ()) - {mutation.id for mutation in found}:
        raise Unusable(f"--only={name}: no such mutant; --list prints them")
    if args.sample is not None and args.sample < len(found):
        found = random.Random(args.seed).sample(found, args.sample)
    return found


def source_of(module: str) -> Path:
    """Return the file of a module of bn."""
    return ROOT / "bn" / f"{module.removeprefix('bn.')}.py"


def _line(mutant: Mutation) -> str:
    change = f"{mutant.before}  ->  {mutant.after}"
    return f"{mutant.id} {mutant.module}:{mutant.line} {mutant.operator}: {change}"


def digest(paths: Iterator[Path]) -> str:
    """Return a digest of the contents of files."""
    content = b"".join(path.name.encode() + path.read_bytes() for path in sorted(paths))
    return hashlib.sha256(content).hexdigest()[:12]


def judges() -> Iterator[Path]:
    """Yield the files that decide whether a mutant survives."""
    for path in (ROOT / "properties").rglob("*"):
        room = path.relative_to(ROOT).parts[1]
        elsewhere = room in ("benchmarks", "suite") and "test_bn" not in path.name
        if path.suffix in (".py", ".json") and not elsewhere:
            yield path
    yield from (ROOT / "reference").glob("*.py")


@dataclass
class _Benchmark:
    """All mutants, what is known of them, and those at work."""

    args: argparse.Namespace
    mutants: list[Mutation]
    listed: list[Equivalent] = field(default_factory=equivalents)
    results: dict[str, Judged] = field(default_factory=dict)

    def run(self) -> int:
        """Judge what is not yet judged, print the table, and return the exit status."""
        self.stages = self.args.stages.split(",")
        for name in self.stages:
            if name not in STAGES:
                raise Unusable(f"--stages={name}: expected some of {', '.join(STAGES)}")
        prepare()
        self.state = {"bn": digest((ROOT / "bn").glob("*.py")), "judges": digest(judges())}
        self._resume()
        waiting = [mutant for mutant in self.mutants if mutant.id not in self.results]
        with tempfile.TemporaryDirectory(prefix="bncheck-mechanical-") as folder:
            if waiting:
                itself = judge(Path(folder) / "bn-itself", self.stages)
                if itself.verdict != "survived":
                    raise Unusable(f"bn itself fails at {itself.stage}: {itself.by}")
            self._work_off(waiting, Path(folder))
        return self._conclude()

    def _resume(self) -> None:
        """Take kills of the same bn, and survivals of the same bn under the same checks."""
        if self.args.json is None or not self.args.json.exists():
            return
        for number, line in enumerate(self.args.json.read_text(encoding="utf-8").splitlines()):
            try:
                record = json.loads(line)
                KILLS[record["by"]] += 1
                judged = Judged(*(record[name] for name in ("verdict", "stage", "by", "seconds")))
                same = record["bn"] == self.state["bn"] and (
                    judged.verdict != "survived"
                    or (record["judges"], record["stages"]) == (self.state["judges"], self.stages)
                )
                if same:
                    self.results[record["id"]] = judged
                else:
                    self.results.pop(record["id"], None)
            except (ValueError, KeyError, TypeError):
                text = f"--json={self.args.json}: line {number + 1} is no result of this benchmark"
                raise Unusable(f"{text}; name another file") from None

    def _work_off(self, waiting: list[Mutation], folder: Path) -> None:
        active: dict[str, tuple[Mutation, Worker]] = {}
        waiting = waiting[::-1]
        try:
            while waiting or active:
                while waiting and len(active) < self.args.jobs:
                    mutant = waiting.pop()
                    worker = Worker(folder / mutant.id, self.stages, mutant.module, mutant.source)
                    active[mutant.id] = mutant, worker
                for mutant, worker in list(active.values()):
                    if (judged := worker.poll()) is not None:
                        del active[mutant.id]
                        self._keep(mutant, judged)
                wait([worker.messages for _, worker in active.values()], 1.0)
        finally:
            for _, worker in active.values():
                worker.stop()

    def _keep(self, mutant: Mutation, judged: Judged) -> None:
        self.results[mutant.id] = judged
        KILLS[judged.by] += 1
        done = f"[{len(self.results)}/{len(self.mutants)}]"
        if sys.stderr.isatty():
            print(f"\r\x1b[K{done}", end="", file=sys.stderr, flush=True)
        if self.args.json is not None:
            what = {name: getattr(mutant, name) for name in ("module", "operator", "line")}
            what |= {"id": mutant.id, "before": mutant.before, "after": mutant.after}
            record = {**what, **asdict(judged), **self.state, "stages": self.stages}
            with self.args.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def _conclude(self) -> int:
        rows: dict[str, Counter[str]] = {}
        wrong = []
        for mutant in self.mutants:
            judged, row = self.results[mutant.id], rows.setdefault(mutant.module, Counter())
            known = is_listed(mutant, self.listed)
            row["made"] += 1
            if judged.verdict == "survived":
                row["equivalent" if known else "survived"] += 1
            else:
                row[judged.stage if judged.verdict == "killed" else judged.verdict] += 1
            if known != (judged.verdict == "survived"):
                said = "survives" if not known else f"is listed, but killed by {judged.by}"
                wrong.append(f"{_line(mutant)}  {said}")
        print(table(rows, self.stages))
        print("\n".join(wrong))
        return 1 if wrong else 0


def table(rows: dict[str, Counter[str]], stages: Sequence[str]) -> str:
    """Return the counts as a Markdown table, a row for each module and one for all."""
    columns = ["made", "import", *stages, "timed out", "equivalent", "survived"]
    lines = [f"| module | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    whole = {**rows, "all": sum(rows.values(), Counter())}
    lines += [
        f"| {name} | {' | '.join(str(row[column]) for column in columns)} |"
        for name, row in whole.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
