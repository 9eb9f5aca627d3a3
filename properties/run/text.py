"""How results are shown: a line per invariant, a failure in full, and the JSON."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..corpus.failures import entry
from ..engine.database import public
from ..engine.exercise import Result, count_numbers
from ..invariants import INVARIANTS
from ..invariants.arguments import arguments
from ..model.cases import dtype_of
from ..model.contract import Conventions, Target
from ..model.verdict import Failure
from ..support.writing import write_whole
from ..targets.adapters.built_in import BUILT_IN


def header(target: Target) -> str:
    """Return the head of the table; the strengths stand per dtype, in the target's order."""
    dtypes = " / ".join(target.conventions.dtypes)
    return (
        f"{'verdict':<17} {'examples':>8} {'decisive':>8}  invariant: "
        f"the least relative error it would have seen ({dtypes})"
    )


def strength_text(result: Result, target: Target) -> str:
    """Return how small a relative error a pass would have shown, per dtype."""
    if not result.decisive:
        return "nothing"
    if all(value == 0 for value in result.strengths.values()):
        return "any bit"
    shown = (result.strengths.get(dtype, np.inf) for dtype in target.conventions.dtypes)
    return " / ".join(f"{value:.0e}" if np.isfinite(value) else "-" for value in shown)


def name_of(result: Result) -> str:
    """Return the invariant's name, with the part of the cases where it is not all."""
    return result.invariant.name + (f" [{result.where}]" if result.where else "")


def line(result: Result, target: Target) -> str:
    """Return one line of the table."""
    text = f"{result.verdict:<17} {result.examples:>8} {result.decisive:>8}  {name_of(result)}"
    if result.verdict == "not offered":
        return f"{text}: {result.message}"
    return f"{text}: {strength_text(result, target)}" if result.verdict == "pass" else text


def _ulp(failure: Failure, dtype: str) -> float:
    """Return the error in units in the last place of what was wanted."""
    of = "float32" if dtype == "bfloat16" else dtype
    spacing = float(np.spacing(np.abs(dtype_of(of).type(failure.want))))
    return failure.error / (spacing * (2.0**16 if dtype == "bfloat16" else 1.0))


def _wanted(failure: Failure) -> str:
    """Return what was wanted; NaN on both sides of an invariant is no equality but no number."""
    both = np.isnan(failure.got) and np.isnan(failure.want)
    return "a number; what it is compared with is NaN too" if both else repr(failure.want)


def _size(failure: Failure, ulp: float) -> str:
    """Return the error as a share of what was wanted; in ulp where it is small enough for that."""
    share = failure.error / abs(failure.want) if failure.want else np.inf
    whole = f"{share:.2g} of what was wanted, " if 1e-6 < share < np.inf else ""
    return whole + (f"{ulp:.3g} ulp and " if ulp < 1000 else "")


def failure_text(
    result: Result,
    target: Target,
    seed: int,
    examples: int,
    database: str = "",
    cause: str = "",
) -> str:
    """Return a failure: fact, place, got and wanted, error, cause, how to see it again."""
    case = result.case
    assert case is not None
    lines = [f"{name_of(result)}: {result.invariant.sentence}."]
    failure = result.failure
    if failure is not None:
        place = ", ".join(str(i) for i in failure.index)
        with np.errstate(all="ignore"):
            ulp = _ulp(failure, case.recipe.dtype)
        lines += [
            f"  at      {failure.quantity}[{place}]  (value, channel)",
            f"  got     {failure.got!r}",
            f"  wanted  {_wanted(failure)}",
            f"  error   {failure.error:.3g}, which is {_size(failure, ulp)}"
            f"{result.worst:.3g} times the allowed {failure.radius:.3g}",
        ]
    if result.message:
        lines.append(f"  because {result.message}")
    if cause:
        lines.append(f"  cause   {cause}")
    only = f"--only {result.invariant.name} --seed {seed} --examples {examples}"
    only += f" --database {shlex.quote(public(database))}" if database else ""
    lines.append(f"  again   bncheck run {shlex.quote(target.spec)} {only}")
    lines.append(
        f"  with    {count_numbers(result)} numbers, eps={case.eps!r}, momentum={case.momentum!r}"
    )
    names = ("x", "dy", "gamma", "beta", "running_mean", "running_var")
    given = arguments(result.invariant.name, case) or {k: getattr(case, k) for k in names}
    for name, array in given.items():
        if not isinstance(array, np.ndarray):
            lines += [f"  {name} = {array}"] if array is not None or name == "bias" else []
        else:
            text = np.array2string(array, threshold=64, separator=", ")
            lines.append(
                f"  {name} = {text}  # {array.dtype} {array.shape}".replace("\n", "\n    ")
            )
    return "\n".join(lines)


def conventions_text(target: Target) -> str:
    """Return the conventions and what is not offered, in a few lines."""
    stated = ", ".join(f"{key}={value}" for key, value in asdict(target.conventions).items())
    functions = {k: v for k, v in target.refused.items() if k in target.functions}
    lines = [f"target {target.spec}: {stated}", *([f"  {target.style}"] if target.style else [])]
    lines += [
        f"  not offered: {key}: {why}"
        for key, why in target.refused.items()
        if key not in functions
    ]
    lines += [f"  {key} FAILED its first plain call: {why}" for key, why in functions.items()]
    return "\n".join(lines)


def verdict_of(results: Sequence[Result]) -> str:
    """Return pass, fail or undecided for the whole."""
    verdicts = {result.verdict for result in results}
    if verdicts & {"fail", "unexpected pass"}:
        return "fail"
    return "undecided" if "undecided" in verdicts or not verdicts & {"pass"} else "pass"


def exit_status(results: Sequence[Result]) -> int:
    """Return 0, 1 or 3."""
    return {"pass": 0, "fail": 1, "undecided": 3}[verdict_of(results)]


def summary(results: Sequence[Result]) -> str:
    """Return the counts of the verdicts in one line."""
    order = (
        "pass",
        "fail",
        "remark",
        "undecided",
        "expected failure",
        "unexpected pass",
        "not offered",
    )
    counts = {verdict: sum(r.verdict == verdict for r in results) for verdict in order}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def invariants_table() -> str:
    """Return the invariants as a Markdown table: the fact, and the error planted to test it."""
    lines = ["| invariant | what it says | planted error |", "|---|---|---|"]
    lines += [f"| `{i.name}` | {i.sentence} | {i.plant} |" for i in INVARIANTS.values()]
    return "\n".join(lines)


def _finite(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)


def versions() -> dict[str, str]:
    """Return the versions of what a result depends on, where installed."""
    needs = {re.split(r"[^\w-]", need)[0] for known in BUILT_IN.values() for need in known.needs}
    found = {}
    for name in ("numpy", "hypothesis", "scipy", *sorted(needs)):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def document(
    target: Target,
    results: Sequence[Result],
    seed: int,
    examples: int,
    complete: bool,
    database: str = "",
    cause_of: Callable[[Result], str] = lambda result: "",
) -> dict[str, Any]:
    """Return the JSON of design section 4."""
    return {
        "bncheck": version("bncheck"),
        "target": target.spec,
        "conventions": _conventions(target.conventions),
        "versions": versions(),
        "seed": seed,
        "complete": complete,
        "verdict": verdict_of(results),
        "invariants": [
            _row(result, target, seed, examples, database, cause_of) for result in results
        ],
    }


def _conventions(conventions: Conventions) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(conventions).items()}


def _row(
    result: Result,
    target: Target,
    seed: int,
    examples: int,
    database: str,
    cause_of: Callable[[Result], str],
) -> dict[str, Any]:
    told = result.message
    if result.case is not None:
        cause = cause_of(result) if result.verdict == "fail" else ""
        told = failure_text(result, target, seed, examples, database, cause)
    row = {
        "name": result.invariant.name,
        "verdict": result.verdict,
        "examples": result.examples,
        "decisive": result.decisive,
        "channels": result.channels,
        "strength": _finite(result.strength),
        "strengths": {k: _finite(v) for k, v in result.strengths.items()},
        "worst": _finite(result.worst),
        "counterexample": entry(target, result.invariant, result.case) if result.case else None,
        "message": told,
    }
    return row | ({"where": result.where} if result.where else {})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_whole(path, text)
