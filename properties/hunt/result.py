"""The failing cases of a hunt as corpus entries, and all that was found as one JSON document."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from ..corpus.entries import recorded
from ..corpus.expected import with_expected
from ..corpus.files import unused
from ..model.cases import Case
from ..model.contract import Target
from ..run.text import versions
from .measure import Point, case_of
from .quantities import QUANTITIES
from .registered import known
from .table import Table


def verdict(found: Table) -> str:
    """Return pass, fail or undecided for the whole."""
    verdicts = {found.verdict(*key) for key in found.quantities}
    if "fail" in verdicts or found.died:
        return "fail"
    return "undecided" if "undecided" in verdicts or not verdicts else "pass"


def sentence(quantity: str, case: Case, point: Point) -> str:
    """Return what a case is called."""
    what = case.recipe.regime.replace("_", " ")
    shape, dtype = list(case.x.shape), case.recipe.dtype
    at = f"mean/sd {point.mean_over_sd:.2g}"
    return f"{QUANTITIES[quantity].sentence}: {what}, {at}, {dtype} {shape}"


def entry(target: Target, quantity: str, point: Point, again: str) -> dict[str, Any]:
    """Return the corpus entry of a point: its sentence, and the calls with what is right."""
    case = case_of(target, point)
    calls = recorded(target, lambda logged: QUANTITIES[quantity].got(logged, case))
    return {
        "sentence": sentence(quantity, case, point),
        "source": f"found by {again}",
        "calls": with_expected(calls),
    }


def _known(found: Table, target: Target, quantity: str, dtype: str) -> str:
    """Return the reason of an expected failure that what was found is, "" where it is none."""
    entry = known(found, target, quantity, dtype)
    return f"{entry.reason} ({entry.link})" if entry else ""


def document(
    target: Target, head: dict[str, Any], found: Table, done: int, total: int, again: str
) -> dict[str, Any]:
    """Return all that a hunt found, for `report` and for scripts."""
    cases: dict[str, Any] = {}
    keys: dict[tuple[str, Any], str] = {}

    def named(quantity: str, point: Point | None, failing: bool) -> dict[str, Any] | None:
        if point is None:
            return None
        at = (quantity, point.recipe)
        if at not in keys:
            keys[at] = unused(sentence(quantity, case_of(target, point), point), cases)
            cases[keys[at]] = {"recipe": asdict(point.recipe)}
        if failing and "calls" not in cases[keys[at]]:
            made = entry(target, quantity, point, again)
            cases[keys[at]] |= {"source": made["source"], "calls": made["calls"]}
        content = {k: v for k, v in point.as_json().items() if k not in ("recipe", "decade")}
        return {**content, "case": keys[at]}

    rows = []
    for quantity, dtype in found.quantities:
        for decade, cell in found.of(quantity, dtype).items():
            points = {
                "largest": named(quantity, cell.largest, False),
                "closest": named(quantity, cell.closest, cell.verdict == "fail"),
                "beyond": named(quantity, cell.beyond, False),
            }
            counts = {k: getattr(cell, k) for k in ("examples", "decided", "failing")}
            rows.append(
                {"quantity": quantity, "dtype": dtype, "decade": decade, **counts, **points}
                | {"verdict": cell.verdict, "class": cell.accuracy}
            )
    smallest = [
        {
            "quantity": q,
            "dtype": d,
            "message": failing.message,
            "known": _known(found, target, q, d),
        }
        | {"point": named(q, failing.point, True)}
        for (q, d), failing in found.smallest.items()
    ]
    return {
        "bncheck": version("bncheck"),
        "hunt": head,
        "target": target.spec,
        "versions": versions(),
        "complete": done == total,
        "shards": {"done": done, "total": total},
        "verdict": verdict(found),
        "cells": rows,
        "smallest": smallest,
        "died": found.died,
        "cases": cases,
    }
