"""Readers under odd input: never a traceback, nothing executed, bounded in time and memory.

    python -m properties.benchmarks.fuzz --count 100000 [--only READER] [--seed N] [--keep DIR]

prints per reader how many inputs were taken and how many refused, the longest processor time of
one and by how much the memory grew, and each fault with the shortest input that shows it. Exit
status: 0 without a fault, 1 with.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure

from ..support.argument_types import positive, seed_number
from .fuzz_guard import Escaped, TooLong, guarded
from .fuzz_inputs import free, mutants
from .fuzz_readers import READERS, Reader

MEGABYTES = 2048  # beyond what the process has before
ROUND = 1000  # inputs after which what Hypothesis remembers of them is let go
_KILO = 2**10 if sys.platform == "linux" else 1  # ru_maxrss is in KiB there


class NewFault(Exception):
    """An input showed a fault that no round before had found."""


@dataclass
class Tally:
    """What came of the inputs of one reader; faults by where they were raised."""

    taken: int = 0
    refused: int = 0
    broken: int = 0
    longest: float = 0.0
    faults: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many inputs were read."""
        return self.taken + self.refused + self.broken


def warm(reader: Reader, folder: Path) -> None:
    """Read the valid inputs, so that all is imported; each is taken or refused as it should be."""
    for data in reader.seeds():
        reader.read(data, folder)


def read(reader: Reader, data: bytes, folder: Path, tally: Tally) -> str:
    """Read one input under guard, note what came of it, and return where it failed, or nothing."""
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
        if key not in tally.faults or len(data) < len(tally.faults[key][0]):
            tally.faults[key] = (data, f"{error}"[:200])
        return key
    tally.longest = max(tally.longest, time.process_time() - before)
    tally.taken += taken
    tally.refused += not taken
    return ""


def inputs(reader: Reader) -> st.SearchStrategy[bytes]:
    """Return the strategy of what a reader is given: four of five are valid inputs, changed."""
    changed = mutants(reader.seeds(), reader.words)
    return st.sampled_from((changed,) * 4 + (free(reader.words),)).flatmap(lambda chosen: chosen)


def fuzzed(reader: Reader, count: int, number: int, folder: Path) -> Tally:
    """Read what Hypothesis draws, round after round, until there were as many inputs as asked."""
    tally = Tally()
    warm(reader, folder)
    while tally.count < count:
        search(reader, min(ROUND, count - tally.count), number, folder, tally)
        number += 1
    return tally


def search(reader: Reader, count: int, number: int, folder: Path, tally: Tally) -> None:
    """Read up to so many inputs; the first fault that is new is shrunk and ends the round.

    What takes too long is not shrunk: every try would take as long.
    """
    known = {*tally.faults, ""}
    shrunk: list[str] = []

    @seed(number)
    @settings(
        max_examples=count, database=None, deadline=None, report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(inputs(reader))
    def run(data: bytes) -> None:
        key = read(reader, data, folder, tally)
        if key not in known and not key.startswith(TooLong.__name__):
            shrunk.append(key)
            if key == shrunk[0]:
                raise NewFault(key)

    with contextlib.suppress(NewFault, FlakyFailure):
        run()


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=positive, default=100_000, metavar="N")
    parser.add_argument("--only", action="append", default=[], choices=list(READERS))
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="save the faults' inputs there")
    args = parser.parse_args(arguments)
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
