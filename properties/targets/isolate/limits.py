"""How long a call of a target may take, how much memory, and how much it may print."""

from __future__ import annotations

from dataclasses import dataclass

from ...support.argument_types import MEMORY, TIMEOUT

OUTPUT_PER_CALL = 2**20  # bytes on standard output and error that one call may write
OUTPUT_SHOWN = 2**16  # bytes of it that are shown, in all


@dataclass(frozen=True)
class Limits:
    """What a target may take: seconds per call, and megabytes beyond what its import took.

    in_process asks for no process of its own; a program has one all the same, within these limits.
    """

    timeout: float = TIMEOUT
    memory: int = MEMORY
    in_process: bool = False

    @property
    def start(self) -> float:
        """Seconds until a process must have imported its target and said so."""
        return max(1.0, 6 * self.timeout)


def needs_process(spec: str, limits: Limits) -> bool:
    """Return whether a target runs in a process of its own; the suite's own code does not."""
    own = spec == "bn" or spec.startswith(("bn:", "bn.", "mutants:"))
    return spec.startswith("exec:") or not (own or limits.in_process)
