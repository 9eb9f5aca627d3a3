"""Types of command-line arguments, and options that several commands share."""

from __future__ import annotations

import argparse
from typing import Any

DATABASE: dict[str, Any] = {
    "default": "",
    "metavar": "WHERE",
    "help": "share examples: a folder, redis://HOST:PORT, or both with a comma between",
}  # of `--database`
STYLE: dict[str, Any] = {
    "default": "",
    "metavar": "NAME",
    "help": "how the file is written, where that is not recognised: contract, cs231n, "
    "numpy-class, pytorch, jax, stax, flax, equinox, keras",
}  # of `--style`
TIMEOUT = 20.0  # seconds that a call of a target may take
MEMORY = 4096  # megabytes, likewise


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 1")
    return value


def seconds(text: str) -> float:
    """Return a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of seconds above 0")
    return value


def number(text: str) -> float:
    """Return a number."""
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number") from error


def seed_number(text: str, bits: int = 32) -> int:
    """Return a whole number from 0 to 2**bits - 1."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**bits:
        wanted = f"expected a whole number from 0 to 2**{bits} - 1"
        raise argparse.ArgumentTypeError(f"{text!r}: {wanted}")
    return value


def seed_of_64_bits(text: str) -> int:
    """Return a whole number from 0 to 2**64 - 1."""
    return seed_number(text, 64)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a target is called; `Limits` has the same defaults."""
    parser.add_argument(
        "--in-process", action="store_true", help="call the target here, not in its own process"
    )
    add_bounds(parser)


def add_bounds(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what a call may take."""
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"per call ({TIMEOUT:g})",
    )
    parser.add_argument(
        "--memory", type=positive, default=MEMORY, metavar="MB",
        help=f"that calls may take ({MEMORY})",
    )  # fmt: skip
