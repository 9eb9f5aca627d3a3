"""The registry of expected failures: per target and invariant, with a reason and a link."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .contract import DTYPES, Target, TargetError
from .invariants import INVARIANTS
from .run import Result, run_invariant

REGISTRY = Path(__file__).with_name("adapters") / "expected_failures.toml"


@dataclass(frozen=True)
class Expectation:
    """A failure that is known: of which target, in which invariant, in which dtypes, and why."""

    target: str
    invariant: str
    reason: str
    link: str
    dtypes: tuple[str, ...] = ()


def read(path: Path = REGISTRY) -> list[Expectation]:
    """Return the entries of a registry.

    Raises:
        TargetError: an entry that lacks a field, has an unknown one, or names what does not exist.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("expected", [])
    except (OSError, ValueError) as error:
        raise TargetError(f"registry={path}: it cannot be read: {error}") from error
    return [_entry(table, number, path) for number, table in enumerate(tables, 1)]


def _entry(table: dict[str, Any], number: int, path: Path) -> Expectation:
    where = f"registry={path}: entry {number}"
    missing = {"target", "invariant", "reason", "link"} - table.keys()
    unknown = table.keys() - {"target", "invariant", "reason", "link", "dtypes"}
    if missing or unknown:
        raise TargetError(f"{where}: missing {sorted(missing)}, unknown {sorted(unknown)}")
    if table["invariant"] not in INVARIANTS:
        raise TargetError(f"{where}: invariant={table['invariant']!r} does not exist")
    dtypes = tuple(table.get("dtypes", ()))
    if not set(dtypes) <= set(DTYPES):
        raise TargetError(f"{where}: dtypes={dtypes}: expected a list out of {DTYPES}")
    if not str(table["link"]).startswith("https://"):
        raise TargetError(f"{where}: link={table['link']!r}: expected an https address")
    return Expectation(table["target"], table["invariant"], table["reason"], table["link"], dtypes)


def only_dtypes(target: Target, dtypes: Iterable[str]) -> Target:
    """Return the target with no other dtypes than these."""
    kept = tuple(name for name in target.conventions.dtypes if name in set(dtypes))
    dropped = set(target.conventions.dtypes) - set(kept)
    conventions = replace(target.conventions, dtypes=kept)
    return replace(target, conventions=conventions, offers=target.offers - dropped)


def held(target: Target, name: str, registry: Iterable[Expectation], **options: Any) -> Iterator[Result]:
    """Yield the results of one invariant: of the dtypes where it is to hold, then of each entry.

    A failure that is registered becomes an expected failure, a pass an unexpected one.
    """
    invariant = INVARIANTS[name]
    entries = [e for e in registry if e.target == target.spec and e.invariant == name]
    offered = [dtype for dtype in target.conventions.dtypes if dtype in target.offers]
    excused = {dtype for e in entries for dtype in (e.dtypes or offered)}
    rest = [dtype for dtype in offered if dtype not in excused]
    if rest:
        yield run_invariant(only_dtypes(target, rest), invariant, **options)
    for e in entries:
        dtypes = [dtype for dtype in offered if dtype in (e.dtypes or offered)]
        if not dtypes:
            continue
        result = run_invariant(only_dtypes(target, dtypes), invariant, **options)
        yield replace(_excused(result, e), dtypes=tuple(dtypes))


def _excused(result: Result, e: Expectation) -> Result:
    if result.verdict == "fail":
        return replace(result, verdict="expected failure", message=f"{e.reason} ({e.link})")
    if result.verdict == "pass":
        message = f"it was expected to fail: {e.reason} ({e.link}); take the entry out"
        return replace(result, verdict="unexpected pass", message=message)
    return result
