"""Readers under odd input: never a traceback, nothing executed, bounded in time and memory.

    python -m properties.benchmarks.fuzz --count 100000 [--only READER] [--seed N] [--keep DIR]

prints per reader how many inputs were taken and how many refused, the longest processor time of
one and by how much the memory grew, and each fault with the shortest input that shows it. Exit
status: 0 without a fault, 1 with.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, Phase, given, seed, settings

from ..support.argument_types import positive, seed_number
from .fuzz_guard import Escaped, TooLong, guarded
from .fuzz_inputs import free, mutated
from .fuzz_readers import READERS, Reader

MEGABYTES = 2048  # beyond what the process has before
_KILO = 2**10 if sys.platform == "linux" else 1  # ru_maxrss is in KiB there


@dataclass
class Tally:
    """What came of the inputs of one reader; faults by where they were raised."""

    taken: int = 0
    refused: int = 0
    broken: int = 0
    longest: float = 0.0
    slowest: bytes = b""
    faults: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many inputs were read."""
        return self.taken + self.refused + self.broken


def warm(reader: Reader, folder: Path) -> None:
    """Read the valid inputs, so that all is imported; each is taken or refused as it should be."""
    for data in reader.seeds():
        reader.read(data, folder)


def tried(reader: Reader, data: bytes, folder: Path, tally: Tally) -> None:
    """Read one input under guard and note what came of it."""
    before = time.process_time()
    try:
        with guarded(folder, reader.may):
            taken = reader.read(data, folder)
    except (Exception, Escaped, TooLong, SystemExit) as error:
        where = traceback.extract_tb(error.__traceback__)
        own = [f for f in where if "properties" in f.filename or "reference" in f.filename]
        last = own[-1] if own else where[-1]
        tally.broken += 1
        key = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        text = f"{error}"[:200]
        if key not in tally.faults or len(data) < len(tally.faults[key][0]):
            tally.faults[key] = (data, text)
        return
    spent = time.process_time() - before
    if spent > tally.longest:
        tally.longest, tally.slowest = spent, data
    tally.taken += taken
    tally.refused += not taken


def fuzzed(reader: Reader, count: int, number: int, folder: Path) -> Tally:
    """Read inputs: four of five valid ones with changes, one of five drawn by Hypothesis."""
    tally = Tally()
    warm(reader, folder)
    random, seeds = Random(number), reader.seeds()
    for _ in range(count - count // 5):
        tried(reader, mutated(random, seeds, reader.words), folder, tally)

    @seed(number)
    @settings(
        max_examples=max(1, count - tally.count), database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(free(reader.words))
    def run(data: bytes) -> None:
        tried(reader, data, folder, tally)

    run()
    return tally


def shares(count: int, names: list[str]) -> dict[str, int]:
    """Return how many of the inputs each reader gets."""
    chosen = [READERS[name] for name in names or READERS]
    whole = sum(reader.parts for reader in chosen)
    found = {reader.name: max(1, count * reader.parts // whole) for reader in chosen}
    found[chosen[0].name] += count - sum(found.values())
    return found


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILO / 2**20


def _limit_memory() -> None:
    """Let a reader that takes without bound fail, not the machine."""
    if sys.platform == "linux":
        now = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = now * resource.getpagesize() + MEGABYTES * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=positive, default=100_000, metavar="N")
    parser.add_argument("--only", action="append", default=[], choices=list(READERS))
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="save the faults' inputs there")
    args = parser.parse_args()
    print("| reader | inputs | taken | refused | faults | longest (s) | memory (MB) |")
    print("|---|---|---|---|---|---|---|")
    faults: dict[str, tuple[bytes, str]] = {}
    total, begun = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for name, count in shares(args.count, args.only).items():
            reader, place = READERS[name], Path(folder) / name
            place.mkdir()
            warm(reader, place)
            _limit_memory()
            before = _resident()
            tally = fuzzed(reader, count, args.seed, place)
            total += tally.count
            faults |= {f"{name}: {key}": what for key, what in tally.faults.items()}
            row = (name, tally.count, tally.taken, tally.refused, len(tally.faults))
            print(f"| {' | '.join(map(str, row))} | {tally.longest:.2f} |"
                  f" {_resident() - before:.0f} |", flush=True)  # fmt: skip
    print(f"\n{total} inputs in {time.monotonic() - begun:.0f} s, {len(faults)} faults")
    for number, (key, (data, text)) in enumerate(faults.items()):
        print(f"\n{key}: {text}\n  {data[:300]!r}")
        if args.keep is not None:
            args.keep.mkdir(exist_ok=True)
            (args.keep / f"{number}.bin").write_bytes(data)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
