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
    """A failure that is known: of which target and invariant, why, and where.

    dtypes are those it is in (all unless given); without is "gamma and beta" where it is only in
    calls that have none. A rare one does not show in every run: a pass is then a pass.
    """

    target: str
    invariant: str
    reason: str
    link: str
    dtypes: tuple[str, ...] = ()
    without: str = ""
    rare: bool = False


_ONLY = {"gamma and beta": "no affine"}  # what a target offers, taken away or made the rule


def read(path: Path = REGISTRY) -> list[Expectation]:
    """Return the entries of a registry.

    Raises:
        TargetError: an entry that lacks a field, has an unknown one, or names what does not exist.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TargetError(f"registry={path}: it cannot be read: {error}") from error
    if unknown := sorted(content.keys() - {"expected"}):
        raise TargetError(f"registry={path}: unknown {unknown}: expected [[expected]] tables")
    tables = content.get("expected", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise TargetError(f"registry={path}: expected={tables!r}: expected [[expected]] tables")
    return [_entry(table, number, path) for number, table in enumerate(tables, 1)]


def _entry(table: dict[str, Any], number: int, path: Path) -> Expectation:
    where = f"registry={path}: entry {number}"
    missing = {"target", "invariant", "reason", "link"} - table.keys()
    unknown = table.keys() - {"target", "invariant", "reason", "link", "dtypes", "without", "rare"}
    if missing or unknown:
        raise TargetError(f"{where}: missing {sorted(missing)}, unknown {sorted(unknown)}")
    if table["invariant"] not in INVARIANTS:
        raise TargetError(f"{where}: invariant={table['invariant']!r} does not exist")
    for key in ("target", "reason"):
        if not isinstance(table[key], str) or not table[key].strip():
            raise TargetError(f"{where}: {key}={table[key]!r}: expected a text")
    dtypes = table.get("dtypes", [])
    if not isinstance(dtypes, list) or any(dtype not in DTYPES for dtype in dtypes):
        raise TargetError(f"{where}: dtypes={dtypes!r}: expected a list out of {DTYPES}")
    if not str(table["link"]).startswith("https://"):
        raise TargetError(f"{where}: link={table['link']!r}: expected an https address")
    without = table.get("without", "")
    if without and without not in _ONLY:
        raise TargetError(f"{where}: without={without!r}: expected one of {list(_ONLY)}")
    if table.get("rare", False) not in (True, False):
        raise TargetError(f"{where}: rare={table['rare']!r}: expected true or false")
    texts = {key: str(table[key]) for key in ("target", "invariant", "reason", "link")}
    rare = bool(table.get("rare", False))
    return Expectation(**texts, dtypes=tuple(dtypes), without=without, rare=rare)


def only_dtypes(target: Target, dtypes: Iterable[str]) -> Target:
    """Return the target with no other dtypes than these."""
    kept = tuple(name for name in target.conventions.dtypes if name in set(dtypes))
    dropped = set(target.conventions.dtypes) - set(kept)
    conventions = replace(target.conventions, dtypes=kept)
    return replace(target, conventions=conventions, offers=target.offers - dropped)


def held(
    target: Target, name: str, registry: Iterable[Expectation], **options: Any
) -> Iterator[Result]:
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
        part = only_dtypes(target, dtypes)
        feature = _ONLY.get(e.without)
        if not dtypes or (feature is not None and feature not in target.offers):
            continue
        if feature is not None:
            result = run_invariant(
                replace(part, offers=part.offers - {feature}), invariant, **options
            )
            yield replace(result, where=f"{', '.join(dtypes)}")
            part = replace(part, offers=part.offers | {f"only {feature}"})
        # a failure that is expected gets more examples to show itself, and is not made small
        more = {**options, "examples": 10 * options.get("examples", 100), "shrink": False}
        result = run_invariant(part, invariant, **more)
        place = ", ".join(dtypes) + (f" without {e.without}" if e.without else "")
        yield replace(_excused(result, e), where=place)


def _excused(result: Result, e: Expectation) -> Result:
    if result.verdict == "fail":
        return replace(result, verdict="expected failure", message=f"{e.reason} ({e.link})")
    if result.verdict == "pass" and not e.rare:
        message = f"it was expected to fail: {e.reason} ({e.link}); take the entry out"
        return replace(result, verdict="unexpected pass", message=message)
    return result
