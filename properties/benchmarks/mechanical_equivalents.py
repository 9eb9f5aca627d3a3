"""The list of mechanical mutants that compute the same as bn, each with its reason."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from .mechanical_mutations import Mutation

LIST = Path(__file__).with_name("equivalent_mutants.toml")


@dataclass(frozen=True)
class Equivalent:
    """A change that no result shows: the lines before and after, in which file, and why."""

    file: str
    operator: str
    line: str
    becomes: str
    reason: str

    def is_made_by(self, mutation: Mutation) -> bool:
        """Return whether a mutation is this change."""
        mine = (self.file, self.operator, self.line, self.becomes)
        return mine == (
            file_of(mutation.module),
            mutation.operator,
            mutation.before,
            mutation.after,
        )


def file_of(module: str) -> str:
    """Return the file of a module of bn."""
    return f"bn/{module.removeprefix('bn.')}.py"


def equivalents(path: Path = LIST) -> list[Equivalent]:
    """Read the list; a group of changes that have one reason stands as one table."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Equivalent(group["file"], operator, line, becomes, group["reason"])
        for group in content["group"]
        for operator, line, becomes in group["changes"]
    ]


def is_listed(mutation: Mutation, listed: list[Equivalent]) -> bool:
    """Return whether a mutation is in the list."""
    return any(one.is_made_by(mutation) for one in listed)
