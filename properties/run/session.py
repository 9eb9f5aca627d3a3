"""One run over the invariants: its options, and what the command, the plugin and a worker share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hypothesis.database import ExampleDatabase

from ..engine.database import opened
from ..engine.exercise import Result
from ..model.contract import Target
from ..targets.isolate.limits import Limits
from ..targets.open import open_target
from . import expectations
from .diagnosis import Cause, causes, explains
from .exact_audit import asked
from .expectations import Expectation


@dataclass(frozen=True)
class Options:
    """What a run is asked for.

    Args:
        spec: the target, as `open_target` takes it.
        limits: what its calls may take, and whether it has a process of its own.
        examples: per invariant.
        seed: the same seed draws the same examples.
        database: where examples are shared, as `database.opened` reads it; empty is nowhere.
        database_option: how the user gave it, for complaints.
        strict: whether a deviation at an edge fails; else it is a remark.
    """

    spec: Any
    limits: Limits = field(default_factory=Limits)
    examples: int = 100
    seed: int = 0
    database: str = ""
    database_option: str = "--database"
    strict: bool = False


@dataclass(frozen=True)
class Session:
    """A target that is open, and how each invariant is exercised on it."""

    options: Options
    target: Target
    registry: tuple[Expectation, ...]
    database: ExampleDatabase | None
    deaths: dict[str, str] = field(default_factory=dict)

    @cached_property
    def causes(self) -> list[Cause]:
        """What reproduces the target on fresh batches, worked out when first asked for."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return causes(self.target)

    @cached_property
    def audit(self) -> list[str]:
        """What the exact audit says of a target that is a file, asked when first wanted."""
        return asked(self.target, self.options.seed)

    def cause_of(self, result: Result) -> str:
        """Return what explains a failure, alternatives after "or", empty where nothing does."""
        if result.case is None or not self.causes:
            return ""
        if not explains(self.causes[0], self.target, result):
            return ""
        return "; or: ".join(cause.sentence for cause in self.causes)

    def results(
        self,
        name: str,
        *,
        examples: int | None = None,
        tick: Callable[[], None] = lambda: None,
    ) -> Iterator[Result]:
        """Yield the results of one invariant, with other examples than the options' if given."""
        yield from expectations.results_of(
            self.target,
            name,
            self.registry,
            examples=self.options.examples if examples is None else examples,
            seed_number=self.options.seed,
            database=self.database,
            strict=self.options.strict,
            deaths=self.deaths,
            tick=tick,
        )


@contextmanager
def session(options: Options) -> Iterator[Session]:
    """Hold the session of these options, the target closed at the end.

    Raises:
        TargetError: the target, the database or the registry cannot be had.
    """
    registry = tuple(expectations.read())
    database = opened(options.database, options.database_option)
    with open_target(options.spec, options.limits, afresh=True) as target:
        yield Session(options, target, registry, database)
