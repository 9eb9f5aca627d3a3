"""The registry of expected failures: per target and invariant, with a reason and a link."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.exercise import Result, run_invariant
from ..invariants import INVARIANTS, Invariant
from ..model.cases import Case
from ..model.contract import DTYPES, Target, TargetError
from ..model.expected import rows
from ..model.masks import masked
from ..model.ranks import ranked
from ..targets.adapters.built_in import ORDERS
from ..targets.adapters.installed import named

REGISTRY = Path(__file__).with_name("expected_failures.toml")


@dataclass(frozen=True)
class Expectation:
    """A failure that is known: of which target and invariant, why, and where.

    dtypes are those it is in (all unless given); without is "gamma and beta" where it is only in
    calls that have none. up_to is the multiple of the allowed error up to which it is expected,
    any unless given; per = "condition" says that this grows with 1 + mean**2 / var of the batch,
    as the error of a one-pass variance does. quantities are the claims that it is in, by the names
    that failures give them, all unless given; the other claims of the invariant have to hold. A
    rare one does not show in every run: a pass is then a pass.
    """

    target: str
    invariant: str
    reason: str
    link: str
    dtypes: tuple[str, ...] = ()
    without: str = ""
    rare: bool = False
    up_to: float = float("inf")
    per: str = ""
    quantities: tuple[str, ...] = ()

    def _counted(self, case: Case) -> Case:
        """Return the batch whose statistics are taken."""
        needs = INVARIANTS[self.invariant].needs
        if "mask" in needs and (held := masked(case)) is not None:
            return held.alone
        return ranked(case).whole if any("sync" in need for need in needs) else case

    def allowed(self, case: Case) -> float:
        """Return the multiple of the allowed error up to which it is expected in this case."""
        if not self.per or not case.x.size:
            return self.up_to
        x = rows(case, self._counted(case).x)
        with np.errstate(all="ignore"):
            condition = 1.0 + x.mean(axis=0) ** 2 / x.var(axis=0)
        return self.up_to * float(np.where(np.isnan(condition), np.inf, condition).max())


_ONLY = {"gamma and beta": "no affine"}  # what a target offers, taken away or made the rule
_PER = ("condition",)
_KEYS = ("target", "invariant", "reason", "link")
_FREE = ("dtypes", "without", "rare", "up_to", "per", "quantities")


def read(path: Path = REGISTRY) -> list[Expectation]:
    """Return the entries of a registry; a table of several targets or invariants is as many.

    Raises:
        TargetError: an entry that lacks a field, has an unknown one, or names what does not exist.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TargetError(f"registry={path}: it cannot be read: {error}") from error
    if unknown := sorted(content.keys() - {"expected"}):
        raise TargetError(f"registry={path}: unknown {unknown}: expected [[expected]] tables")
    tables = content.get("expected", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise TargetError(f"registry={path}: expected={tables!r}: expected [[expected]] tables")
    return [e for i, table in enumerate(tables, 1) for e in _entries(table, i, path)]


def _entries(table: dict[str, Any], number: int, path: Path) -> list[Expectation]:
    where = f"registry={path}: entry {number}"
    missing = set(_KEYS) - table.keys()
    unknown = table.keys() - {*_KEYS, *_FREE}
    if missing or unknown:
        raise TargetError(f"{where}: missing {sorted(missing)}, unknown {sorted(unknown)}")
    targets, invariants = (_names(table[key], key, where) for key in ("target", "invariant"))
    for name in targets:
        if named(name) is None and not name.endswith(".py"):
            expected = "expected one that bncheck targets lists, or a file.py"
            raise TargetError(f"{where}: target={name!r} does not exist: {expected}")
    for name in invariants:
        if name not in INVARIANTS:
            raise TargetError(f"{where}: invariant={name!r} does not exist")
    if not isinstance(table["reason"], str) or not table["reason"].strip():
        raise TargetError(f"{where}: reason={table['reason']!r}: expected a text")
    if not str(table["link"]).startswith("https://"):
        raise TargetError(f"{where}: link={table['link']!r}: expected an https address")
    free = {**_scope(table, where), **_size(table, where)}
    if "quantities" in table:
        free["quantities"] = tuple(_names(table["quantities"], "quantities", where))
    why = table["reason"], str(table["link"])
    return [Expectation(t, i, *why, **free) for t in targets for i in invariants]


def _names(value: Any, key: str, where: str) -> list[str]:
    """Return the names in a text or a list of texts."""
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise TargetError(f"{where}: {key}={value!r}: expected a text, or a list of some")
    return names


def _scope(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Return in which calls a failure is expected, and whether always."""
    dtypes = table.get("dtypes", [])
    if not isinstance(dtypes, list) or any(dtype not in DTYPES for dtype in dtypes):
        raise TargetError(f"{where}: dtypes={dtypes!r}: expected a list out of {DTYPES}")
    without = table.get("without", "")
    if without not in ("", *_ONLY):
        raise TargetError(f"{where}: without={without!r}: expected one of {list(_ONLY)}")
    if table.get("rare", False) not in (True, False):
        raise TargetError(f"{where}: rare={table['rare']!r}: expected true or false")
    return {"dtypes": tuple(dtypes), "without": without, "rare": bool(table.get("rare", False))}


def _size(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Return up to which size a failure is expected."""
    up_to, per = table.get("up_to", float("inf")), table.get("per", "")
    known = isinstance(up_to, (int, float)) and not isinstance(up_to, bool)
    if not known or not (1 < up_to < 1e300 or up_to == float("inf")):
        raise TargetError(f"{where}: up_to={up_to!r}: expected a number above 1")
    if per and (per not in _PER or "up_to" not in table):
        raise TargetError(f"{where}: per={per!r}: expected one of {list(_PER)}, beside up_to")
    return {"up_to": float(up_to), "per": per}


def entries_for(registry: Iterable[Expectation], spec: str, invariant: str) -> list[Expectation]:
    """Return the entries of a target and an invariant; NAME:ORDER without any has NAME's."""
    found = [e for e in registry if e.invariant == invariant]
    own = [e for e in found if e.target == spec]
    base, _, order = spec.rpartition(":")
    return own or [e for e in found if order in ORDERS and e.target == base]


def only_dtypes(target: Target, dtypes: Iterable[str]) -> Target:
    """Return the target with no other dtypes than these."""
    kept = tuple(name for name in target.conventions.dtypes if name in set(dtypes))
    dropped = set(target.conventions.dtypes) - set(kept)
    conventions = replace(target.conventions, dtypes=kept)
    return replace(target, conventions=conventions, offers=target.offers - dropped)


def results_of(
    target: Target, name: str, registry: Iterable[Expectation], **options: Any
) -> Iterator[Result]:
    """Yield the results of one invariant: of the dtypes where it is to hold, then of each entry.

    A failure that is registered becomes an expected failure, a pass an unexpected one.
    """
    invariant = INVARIANTS[name]
    entries = entries_for(list(registry), target.spec, name)
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
        result = _of_entry(part, invariant, e, options)
        place = ", ".join(dtypes) + (f" without {e.without}" if e.without else "")
        yield replace(result, where=place)


def _of_entry(
    part: Target, invariant: Invariant, e: Expectation, options: dict[str, Any]
) -> Result:
    """Return what came of the part of the cases in which an entry expects a failure."""
    options = {**options, "excused": e.quantities}
    if np.isfinite(e.up_to) or e.quantities:
        result = run_invariant(part, invariant, **options, allowed=e.allowed)
        if result.verdict == "fail" or result.worst > 1 or e.rare:
            return _excused(result, e)
    # a failure that has to show gets more examples for it, and is not made small
    more = 1 if e.rare else 10
    tried = {**options, "examples": more * options.get("examples", 100), "shrink": False}
    return _excused(run_invariant(part, invariant, **tried), e)


def _excused(result: Result, e: Expectation) -> Result:
    """Return the result with what the entry says of it."""
    why = f"{e.reason} ({e.link})"
    worse = result.case is not None and result.worst > e.allowed(result.case)
    if result.verdict == "fail" and e.quantities:
        named = result.failure.quantity if result.failure else "an exception"
        if named not in e.quantities:
            message = f"expected are failures of {', '.join(e.quantities)} alone, not of {named}"
            return replace(result, message="; ".join(filter(None, (result.message, message))))
    if result.verdict == "fail" and worse and np.isfinite(e.up_to):
        message = f"worse than the {e.up_to:g} times the allowed error that are expected: {why}"
        return replace(result, message="; ".join(filter(None, (result.message, message))))
    if result.verdict == "fail" or (result.verdict in ("pass", "undecided") and result.worst > 1):
        return replace(result, verdict="expected failure", message=why)
    if result.verdict == "pass" and not e.rare:
        message = f"it was expected to fail: {why}; take the entry out"
        return replace(result, verdict="unexpected pass", message=message)
    return result
