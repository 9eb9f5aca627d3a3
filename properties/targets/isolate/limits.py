"""How long a call of a target may take, how much memory, and how much it may print."""

from __future__ import annotations

from dataclasses import dataclass

OUTPUT_PER_CALL = 2**20  # bytes on standard output and error that one call may write
OUTPUT_SHOWN = 2**16  # bytes of it that are shown, in all


@dataclass(frozen=True)
class Limits:
    """What a target may take: seconds per call, and megabytes beyond what its import took."""

    timeout: float = 20.0
    memory: int = 4096

    @property
    def start(self) -> float:
        """Seconds until a process must have imported its target and said so."""
        return max(1.0, 6 * self.timeout)


def is_own(spec: str) -> bool:
    """Return whether a target is the suite's own code, which runs where the suite does."""
    return spec == "bn" or spec.startswith(("bn:", "bn.", "mutants:"))
