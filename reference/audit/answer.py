"""What an audit answers, as text for a terminal, as Markdown for an issue, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Any

from .counterexample import Counterexample
from .diagnose import Diagnosis

ZERO_TERM = (
    "is exactly zero for every batch tried: the deviations x - mean sum to zero, equation (2); "
    "with this term or without it a formula is right"
)
ZERO_SUM = "is exactly zero for every batch tried; with it or without it the value is the same"


@dataclass(frozen=True)
class Result:
    """The verdict on one quantity and what explains it."""

    quantity: str
    verdict: str  # "equal", "not equal" or "unknown"
    degree: int = 0
    log2_probability: float | None = None
    message: str = ""
    diagnosis: tuple[Diagnosis, ...] = ()
    wrong_line: str = ""
    corrected: str = ""
    counterexample: Counterexample | None = None


@dataclass(frozen=True)
class Answer:
    """One formula's audit."""

    formula: str
    mode: str
    exact: bool
    seed: int
    results: tuple[Result, ...]
    sizes: tuple[int, ...] = ()
    zero_terms: tuple[str, ...] = ()
    typed_eps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> str:
        """The worst of the quantities' verdicts."""
        found = {result.verdict for result in self.results}
        return next(v for v in ("not equal", "unknown", "equal") if v in found or v == "equal")

    @property
    def log2_probability(self) -> float | None:
        """The largest probability, as a power of 2, that a wrong quantity passed at one n."""
        known = [r.log2_probability for r in self.results if r.log2_probability is not None]
        return max(known, default=None)

    def lines(self, verbose: bool = False) -> list[str]:
        """Return the answer as lines of text, the verdict first."""
        kind = "exactly, over rationals" if self.exact else "in float64: evidence, not proof"
        out = [f"{self.verdict}: {self.formula}", f"mode {self.mode}, audited {kind}", ""]
        for result in sorted(self.results, key=lambda r: r.verdict == "equal"):
            out += _result_lines(result, self)
        out += [f"note: {note}" for note in self._notes()]
        limits = "; ".join(self.not_covered) if verbose else ""
        return [*out, *([f"not covered: {limits}"] if limits else [])]

    def _notes(self) -> list[str]:
        eps = [f"{text} was read as eps" for text in self.typed_eps]
        return [*self.zero_terms, *eps, *self.notes]

    def text(self, verbose: bool = False) -> str:
        """Return the answer for a terminal; what it does not cover with verbose alone."""
        return "\n".join(self.lines(verbose))

    def markdown(self) -> str:
        """Return the answer as Markdown that can be pasted into an issue."""
        kind = "exact rational arithmetic" if self.exact else "float64, within the certified radius"
        out = [
            f"### Audit of `{self.formula}`: {self.verdict}",
            "",
            f"Mode {self.mode}, {kind}.",
            "",
        ]
        out += [
            "| quantity | verdict | probability that a wrong one passed, per n |",
            "|---|---|---|",
        ]
        out += [f"| {r.quantity} | {r.verdict} | {_power(r)} |" for r in self.results]
        return "\n".join([*out, "", "```text", *self.lines(True)[3:], "```", ""])

    def as_json(self) -> dict[str, Any]:
        """Return the answer as plain data for `json.dump`."""
        return {
            "formula": self.formula, "mode": self.mode, "verdict": self.verdict,
            "exact": self.exact, "seed": self.seed, "sizes": list(self.sizes),
            "log2_probability": self.log2_probability,
            "quantities": [_result_json(result) for result in self.results],
            "zero_terms": list(self.zero_terms), "typed_eps": list(self.typed_eps),
            "notes": list(self.notes), "not_covered": list(self.not_covered),
        }  # fmt: skip


def probability_words(result: Result, sizes: tuple[int, ...]) -> str:
    """Return the sentence that states how sure an exact "equal" is."""
    ns = f"n = {sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"n = {sizes[0]}"
    return (
        f"a wrong formula passes with a probability below {_power(result)} "
        f"per n ({ns}; degree at most {result.degree})"
    )


def _power(result: Result) -> str:
    if result.log2_probability is None:
        return ""
    return f"2^{ceil(result.log2_probability)}"


def _result_lines(result: Result, answer: Answer) -> list[str]:
    head = f"{result.quantity}: {result.verdict}"
    if result.verdict == "equal" and result.log2_probability is not None:
        head += f"; {probability_words(result, answer.sizes)}"
    out = [head + (f"; {result.message}" if result.message else "")]
    out += [f"  {diagnosis.words}" for diagnosis in result.diagnosis]
    out += [f"  {result.wrong_line}"] if result.wrong_line else []
    if result.counterexample:
        first, *rest = result.counterexample.lines(result.quantity)
        out += [f"  smallest counterexample: {first}", *(f"  {line}" for line in rest)]
    return out + ([f"  right: {result.corrected}"] if result.corrected else [])


def _result_json(result: Result) -> dict[str, Any]:
    example = result.counterexample
    return {
        "quantity": result.quantity, "verdict": result.verdict, "degree": result.degree,
        "log2_probability": result.log2_probability, "message": result.message,
        "diagnosis": [vars(diagnosis) for diagnosis in result.diagnosis],
        "wrong_line": result.wrong_line, "corrected": result.corrected,
        "counterexample": example and {
            "inputs": {name: list(map(str, values)) for name, values in example.inputs.items()},
            "wanted": list(map(str, example.wanted)), "got": example.got,
        },
    }  # fmt: skip
