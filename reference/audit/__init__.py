"""Audit of gradient formulas: equal to the derivation or not, and if not, which term is wrong.

from reference import audit
answer = audit.audit(audit.from_text("dx", "gamma/std*(dy - mean(dy) - xhat*mean(dy*xhat))"))
print(answer.text())
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace

from .answer import ZERO_SUM, ZERO_TERM, Answer, Result
from .code import from_file
from .counterexample import smallest
from .diagnose import diagnose
from .formula import CannotRun, Formula, from_text
from .judge import SIZES, Finding, Verdict, judge
from .judge_float64 import judge_float64
from .language import NotAFormula
from .trials import Question
from .wrong_line import first_wrong_line

__all__ = ["Answer", "NotAFormula", "Question", "audit", "from_file", "from_text", "status"]

_LIMITS = (
    "sizes other than those named",
    "code that branches on the data, off the branches taken here",
    "rounding: the verdict is about the formula, not about floating point",
)
LONGEST = 120  # characters of an exception's text in a note
_COMPARED = (
    "the code compares data or takes the root of a square, so only the branches taken are covered"
)
_STATUS = {"equal": 0, "not equal": 1, "unknown": 3}
_DEVIATIONS = re.compile(r"x\s*-\s*\w*(mean|mu)|\bxc\b|\bxmu\b|xhat|\bxn\b|x_hat|self\.xc")


def audit(
    formula: Formula,
    question: Question | None = None,
    *,
    seed: int | None = None,
    sizes: tuple[int, ...] = SIZES,
    eps: float | None = None,
    explain: bool = True,
) -> Answer:
    """Audit one formula against the derivation graph, exactly where its code allows it.

    Args:
        formula: from `from_text` or `from_file`.
        question: the mode and conventions; the formula's mode by default.
        seed: of the random points; drawn anew when None, and named in the answer.
        sizes: the n to try, each with one and two channels.
        eps: the one built into code that runs in float64 alone.
        explain: look for the diagnosis and the smallest counterexample of what is wrong; without
            it the audit stops at the first wrong quantity.

    Raises:
        NotAFormula: it raises on plain data or is of the wrong structure.
    """
    question = replace(question or Question(), mode=formula.mode, **formula.stated)
    seed = secrets.randbits(128) if seed is None else seed
    try:
        verdict = judge(formula, question, seed, sizes, brief=not explain)
    except CannotRun as error:
        return _in_float64(formula, question, seed, eps, str(error))
    findings = list(verdict.findings.values())
    if not explain and any(finding.mismatch for finding in findings):
        findings = [finding for finding in findings if finding.mismatch]
    results = [_result(formula, question, seed, finding, explain) for finding in findings]
    notes = (*formula.notes, *((_COMPARED,) if verdict.log.compared else ()))
    return Answer(
        formula.label, question.mode, True, seed, tuple(results), sizes=verdict.sizes,
        zero_terms=_zero_terms(verdict), typed_eps=formula.typed_eps, notes=notes,
        not_covered=_LIMITS,
    )  # fmt: skip


def status(answer: Answer) -> int:
    """Return the exit status: 0 equal, 1 not equal, 3 unknown."""
    return _STATUS[answer.verdict]


def _result(
    formula: Formula, question: Question, seed: int, finding: Finding, explain: bool
) -> Result:
    quantity, wrong = finding.quantity, finding.mismatch
    if wrong is None and finding.undecided:
        return Result(quantity, "unknown", message=finding.undecided)
    if wrong is None:
        return Result(quantity, "equal", finding.degree, finding.log2_probability)
    if not explain:
        return Result(quantity, "not equal", message=wrong.message)
    diagnosis, line = diagnose(formula, quantity, question, seed, wrong.trial.shape)
    return Result(
        quantity, "not equal", message=wrong.message, corrected=line,
        diagnosis=tuple(d for d in diagnosis if d.words != wrong.message),
        wrong_line=first_wrong_line(formula, quantity, question, seed),
        counterexample=smallest(formula, quantity, question),
    )  # fmt: skip


def _zero_terms(verdict: Verdict) -> tuple[str, ...]:
    zero = [text for text, always in verdict.log.sums.items() if always]
    linear = [bool(_DEVIATIONS.search(text)) and "**" not in text for text in zero]
    return tuple(
        f"{text} {ZERO_TERM if is_linear else ZERO_SUM}"
        for text, is_linear in zip(zero, linear, strict=True)
    )


def _built_in(formula: Formula) -> float | None:
    """Return the eps that the code states or types, None where it takes one or types several."""
    if formula.eps is not None:
        return formula.eps
    values = {float(text.split()[0]) for text in formula.typed_eps}
    return values.pop() if len(values) == 1 and not formula.takes_eps else None


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 3] + "..."


def _in_float64(
    formula: Formula, question: Question, seed: int, eps: float | None, why: str
) -> Answer:
    if formula.floating is None:
        undecided = Result(formula.label, "unknown", message=why)
        return Answer(formula.label, question.mode, True, seed, (undecided,))
    eps = _built_in(formula) if eps is None else eps
    findings = judge_float64(formula, question, seed, eps)
    if eps is None and not formula.takes_eps:
        message = f"its eps is built in, so float64 must be told it: say --eps ({_short(why)})"
        undecided = Result(formula.label, "unknown", message=message)
        return Answer(formula.label, question.mode, False, seed, (undecided,))
    results = tuple(
        Result(f.quantity, f.verdict, message=f.message or f"would have seen a relative error "
               f"of {f.seen:.1e}; worst error {f.worst:.2f} of what is allowed")
        for f in findings.values()
    )  # fmt: skip
    notes = (*formula.notes, f"audited in float64 because {_short(why)}")
    missing = ("inputs other than those tried: float64 gives evidence, not proof",)
    return Answer(
        formula.label, question.mode, False, seed, results, notes=notes, not_covered=missing
    )
