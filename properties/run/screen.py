"""A run on one screen: the verdict, each cause once with an example, the rest in a line each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from ..engine.exercise import Result
from ..engine.tally import LARGE, without_numbers
from ..model.contract import Conventions, Target
from ..model.masks import SAID
from .diagnosis import Cause, explains
from .text import failure_text, name_of

WIDTH = 100
_FIRST = (  # whose example says most, the first that failed
    "output_agrees_with_reference",
    "input_gradient_agrees_with_reference",
    "gamma_gradient_is_sum_of_dy_xhat",
    "beta_gradient_is_sum_of_dy",
    "inference_is_one_affine_map_per_channel",
    "inference_gradients_agree_with_reference",
    "running_statistics_follow_the_closed_form",
    "folding_preserves_inference",
)
_LONGEST = 24  # lines of an example
_MOST = 38  # lines below the heading


@dataclass(frozen=True)
class Finding:
    """What is wrong, once: its causes, the failure that shows it best, its consequences."""

    causes: tuple[str, ...]
    example: Result
    consequences: tuple[Result, ...]


def findings(target: Target, results: Sequence[Result], causes: Sequence[Cause]) -> list[Finding]:
    """Group failures: those with one message, those that a cause reproduces, then the rest."""
    failed = [r for r in results if r.verdict in ("fail", "unexpected pass")]
    by_message: dict[str, list[Result]] = {}
    numeric = []
    for result in failed:
        if result.failure is None:
            by_message.setdefault(without_numbers(result.message), []).append(result)
        else:
            numeric.append(result)
    explained = [r for r in numeric if causes and explains(causes[0], target, r)]
    found = []
    for group in by_message.values():
        if causes and any(explains(causes[0], target, r) for r in group):
            explained += group
        else:
            found.append(Finding((), *_led(group)))
    if explained:
        found.insert(0, Finding(tuple(c.sentence for c in causes), *_led(explained)))
    rest = [r for r in numeric if r not in explained]
    return found + ([Finding((), *_led(rest))] if rest else [])


def _led(group: Sequence[Result]) -> tuple[Result, tuple[Result, ...]]:
    """Return the failure that says most, and the others."""
    order = {name: k for k, name in enumerate(_FIRST)}

    def rank(r: Result) -> tuple[bool, bool, int]:
        faint = r.failure is None or r.failure.share <= LARGE
        return r.case is None, faint, order.get(r.invariant.name, len(order))

    best = min(group, key=rank)
    return best, tuple(r for r in group if r is not best)


def heading(target: Target, seed: int) -> str:
    """Return what the target takes, what was found out of its conventions, and its style."""
    c = target.conventions
    ranks = ", ".join(f"{rank}-D" for rank in c.ndim)
    axis = "" if c.channel_axis == 1 else ", channels last"
    eps = "eps as passed" if c.eps is None else f"eps={c.eps:g} is written in"
    first = (
        f"{target.spec} (seed {seed}): {', '.join(c.dtypes)}; {ranks}{axis}; {c.statistics}; {eps}"
    )
    mask = f"; {SAID[c.mask]}" if "mask" in target.offers else ""
    style = f"\n  {_cut(target.style)}" if target.style else ""
    return f"{first}\n  {_state(c, target)}{mask}{_missing(target)}{style}"


def _state(c: Conventions, target: Target) -> str:
    if "forward_train" not in target.functions:
        return f"no forward_train; {', '.join(target.functions)}"
    if "running statistics" not in target.offers:
        return "no running statistics"
    if c.fixed_momentum is not None:
        keep = f"{c.fixed_momentum:g} * old + {1 - c.fixed_momentum:g} * batch (written in)"
    else:
        keep = (
            "momentum * old + (1 - momentum) * batch"
            if c.momentum == "keep"
            else "(1 - momentum) * old + momentum * batch"
        )
    return f"running = {keep}, {c.running_var} variance"


def _missing(target: Target) -> str:
    """Return what is not offered, in as few words as there are."""
    names = [key for key in target.refused if key not in target.broken and key != "eps"]
    return f"; not offered: {', '.join(names)}" if names else ""


def screen(
    target: Target,
    results: Sequence[Result],
    causes: Sequence[Cause],
    seed: int,
    examples: int,
    database: str = "",
    *,
    early: str = "",
    audit: Sequence[str] = (),
) -> str:
    """Return the verdict and what it rests on, at most 40 lines for one cause.

    Args:
        early: why the run ended before its end, before the verdict.
        audit: what the exact audit says of the target.
    """
    grouped = findings(target, results, causes)
    lines = _screen(target, results, grouped, seed, examples, database, early, audit, _LONGEST)
    if (over := len(lines) - _MOST + bool(target.style)) > 0:
        longest = max(_LONGEST - over, 8)
        lines = _screen(target, results, grouped, seed, examples, database, early, audit, longest)
    return "\n".join(lines)


def _screen(
    target: Target,
    results: Sequence[Result],
    grouped: Sequence[Finding],
    seed: int,
    examples: int,
    database: str,
    early: str,
    audit: Sequence[str],
    longest: int,
) -> list[str]:
    lines = [_verdict(results, grouped, early)]
    for number, finding in enumerate(grouped, 1):
        if number > 1 and not finding.causes:
            lines += ["", *_left_over(finding, number)]
        else:
            lines += ["", *_finding(finding, number, target, seed, examples, database, longest)]
        if number == 1:
            lines += [part for line in audit for part in _wrapped(f"   {line}", "      ")]
    told = {without_numbers(f.example.message) for f in grouped if f.example.failure is None}
    rest = _rest(target, results, told)
    return lines + ([""] if grouped and rest else []) + rest


def _verdict(results: Sequence[Result], grouped: Sequence[Finding], early: str) -> str:
    run = sum(r.verdict != "not offered" for r in results)
    if grouped:
        failed = sum(1 + len(f.consequences) for f in grouped)
        return f"{early}FAIL: {_many(grouped)}, {failed} of {run} invariants"
    undecided = sum(r.verdict == "undecided" for r in results)
    if not run:
        return f"{early}UNDECIDED: nothing that was asked for is offered"
    if undecided or not any(r.verdict == "pass" for r in results):
        return f"{early}UNDECIDED: {undecided} of {run} invariants had no decisive example"
    counted = sum(r.verdict in ("pass", "remark") for r in results)
    return f"{early}PASS: {counted} of {run} invariants hold"


def _many(grouped: Sequence[Finding]) -> str:
    """Return how many causes were found, and how many findings have none."""
    known = sum(bool(f.causes) for f in grouped)
    unknown = len(grouped) - known
    cause = f"{known} cause{'s' if known > 1 else ''}" if known else ""
    finding = f"{unknown} finding{'s' if unknown > 1 else ''}" if unknown else ""
    return " and ".join(
        filter(None, (cause, f"{finding} of unknown cause" if cause and finding else finding))
    )


def _finding(
    finding: Finding,
    number: int,
    target: Target,
    seed: int,
    examples: int,
    database: str,
    longest: int,
) -> list[str]:
    lines = []
    for k, sentence in enumerate(finding.causes):
        lines += _wrapped(f"{number}. {'or: ' if k else ''}{sentence}", "   ")
    example = finding.example
    if not finding.causes:
        what = example.message if example.failure is None else "cause not known"
        if example.failure is not None and example.message:
            what += f": {example.message}"
        lines += _wrapped(f"{number}. {what}", "   ")
    if example.case is None:
        lines.append(f"   {name_of(example)}: {example.invariant.sentence}.")
    else:
        text = failure_text(example, target, seed, examples, database).splitlines()
        cut = [_cut(line) for line in text]
        if len(cut) > longest:
            cut = [*cut[:longest], "  ... (-v shows all of it)"]
        lines += [f"   {line}" for line in cut]
    if finding.consequences:
        names = [name_of(r) for r in finding.consequences]
        head = "with it fail" if finding.causes or example.failure is None else "also fail"
        lines += _wrapped(f"   {head} ({len(names)}): {', '.join(names)}", "      ")[:6]
    return lines


def _left_over(finding: Finding, number: int) -> list[str]:
    """Return a further finding of unknown cause, in short."""
    example = finding.example
    names = [name_of(r) for r in (example, *finding.consequences)]
    what = example.message if example.failure is None else "cause not known"
    text = f"{number}. {what} ({len(names)}; -v shows more): {', '.join(names)}"
    return _wrapped(text, "   ")[:4]


def _cut(line: str) -> str:
    """Return a line that is not too long; a command stays whole."""
    whole = len(line) <= WIDTH + 20 or line.startswith("  again")
    return line if whole else f"{line[: WIDTH + 17]}..."


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False)


def _remark(result: Result) -> str:
    """Return what was seen at an edge."""
    failure = result.failure
    if failure is None:
        return _short(result.message)
    if (failure.got, failure.want) == (0.0, 1.0):  # a plain fact, which the quantity states
        return _short(failure.quantity)
    return f"{failure.quantity} is {failure.got:g}, wanted {failure.want:g} ({result.message})"


def _rest(target: Target, results: Sequence[Result], told: set[str]) -> list[str]:
    """Return a line per remark, expected failure and undecided invariant, and the passes."""
    remarks: dict[str, list[Result]] = {}  # by what they are a remark for
    for r in results:
        if r.verdict == "remark" and without_numbers(r.message) not in told:
            remarks.setdefault(r.message, []).append(r)
    lines = [
        f"remark: {', '.join(map(name_of, alike))}: {_remark(alike[0])}"
        for alike in remarks.values()
    ]
    lines += [f"remark: {text}" for text in target.remarks[:2]]
    for verdict in ("expected failure", "unexpected pass", "undecided"):
        lines += [
            f"{verdict}: {name_of(r)}: {_short(r.message)}" for r in results if r.verdict == verdict
        ]
    passed = [r for r in results if r.verdict == "pass"]
    if not passed:  # then it matters why
        lines += [
            f"not offered: {name_of(r)}: {_short(r.message)}"
            for r in results
            if r.verdict == "not offered"
        ][:5]
    if passed:
        weak = max((min(r.strengths.values(), default=0.0) for r in passed), default=0.0)
        absent = sum(r.verdict == "not offered" for r in results)
        more = f"; {absent} not offered" if absent else ""
        seen = sum(r.channels for r in passed)
        lines.append(
            f"{len(passed)} pass on {seen:,} channels; the weakest would have seen {weak:.0e}{more}"
        )
    return lines


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
