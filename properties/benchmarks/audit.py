"""19 planted backward bugs: the audit beside torch.autograd.gradcheck and scipy's check_grad.

    python -m properties.benchmarks.audit [--seed N]

prints a Markdown table. Every checker gets the same NumPy code, and all but the audit the same
batch. torch's columns say "not run" where PyTorch is not installed. check_grad gives a number and
no verdict: a bug counts as seen where it is over ten times that of the right formula.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import check_grad

from reference.audit import Answer, audit, from_file

from ..bugs.gradients import BUGS, RIGHT, source_of

EPS = 1e-5
Backward = Callable[..., tuple[Any, Any, Any]]


@dataclass(frozen=True)
class Row:
    """What each checker said of one bug: True where it was seen, None where it did not run."""

    name: str
    answer: Answer
    seconds: float
    slow: bool | None
    fast: bool | None
    scipy: bool

    @property
    def audit(self) -> bool:
        return self.answer.verdict == "not equal"


def forward(x: Any, gamma: Any, beta: Any) -> Any:
    """Return y (n, c) for NumPy arrays."""
    xc = x - x.mean(axis=0)
    return gamma * xc / np.sqrt((xc * xc).mean(axis=0) + EPS) + beta


def batch(seed: int, n: int = 6, c: int = 3) -> tuple[Any, Any, Any, Any]:
    """Return x, gamma, beta and dy, normally distributed."""
    random = np.random.default_rng(seed)
    x, dy = random.standard_normal((2, n, c))
    gamma, beta = random.standard_normal((2, c))
    return x, gamma, beta, dy


def scipy_error(backward: Backward, seed: int) -> float:
    """Return check_grad's number: the norm of the difference from finite differences."""
    x, gamma, beta, dy = batch(seed)
    n, c = x.shape

    def parts(v: Any) -> tuple[Any, Any, Any]:
        return v[: n * c].reshape(n, c), v[n * c : n * c + c], v[n * c + c :]

    def value(v: Any) -> Any:
        return np.sum(dy * forward(*parts(v)))

    def gradient(v: Any) -> Any:
        return np.concatenate([np.ravel(g) for g in backward(dy, *parts(v), EPS)])

    return float(check_grad(value, gradient, np.concatenate([x.ravel(), gamma, beta])))


def torch_sees(backward: Backward, seed: int, fast: bool) -> bool | None:
    """Return whether gradcheck rejects the backward, None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None

    class Planted(torch.autograd.Function):  # type: ignore[misc,unused-ignore]
        @staticmethod
        def forward(ctx: Any, x: Any, gamma: Any, beta: Any) -> Any:
            ctx.save_for_backward(x, gamma, beta)
            return torch.from_numpy(forward(x.numpy(), gamma.numpy(), beta.numpy()))

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            saved = [tensor.detach().numpy() for tensor in ctx.saved_tensors]
            return tuple(map(torch.from_numpy, backward(dy.numpy().copy(), *saved, EPS)))

    torch.manual_seed(seed)
    inputs = [torch.from_numpy(a).requires_grad_() for a in batch(seed)[:3]]
    kind = {"fast_mode": fast, "raise_exception": False, "check_undefined_grad": False}
    return not torch.autograd.gradcheck(Planted.apply, inputs, **kind)


def judge(name: str | None, seed: int, right_error: float) -> Row:
    """Run all checkers on one bug; None is the right formula.

    scipy's number counts as seen when it is over ten times that of the right formula.
    """
    source = source_of(name)
    names: dict[str, Any] = {}
    exec(compile(source, "<planted>", "exec"), names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "planted.py"
        path.write_text(source, encoding="utf-8")
        start = time.perf_counter()
        (formula,) = from_file(path, "backward")
        answer = audit(formula, seed=seed)
        seconds = time.perf_counter() - start
    code = names["backward"]
    return Row(
        name or "(none: the right formula)", answer, seconds, torch_sees(code, seed, False),
        torch_sees(code, seed, True), scipy_error(code, seed) > 10 * right_error,
    )  # fmt: skip


def rows(seed: int) -> list[Row]:
    """Return the right formula's row and one row per bug."""
    names: dict[str, Any] = {}
    exec(compile(RIGHT, "<right>", "exec"), names)
    right_error = scipy_error(names["backward"], seed)
    return [judge(name, seed, right_error) for name in (None, *BUGS)]


def _said(row: Row) -> str:
    found = [
        f"{r.quantity}: {d.term} times {d.factor}" if d.term != r.quantity else
        f"{r.quantity} times {d.factor}"
        for r in row.answer.results for d in r.diagnosis[:1]
    ]  # fmt: skip
    return "; ".join(found[:1])


def table(found: Sequence[Row]) -> str:
    """Return the Markdown table, with the number of bugs each checker saw."""
    names = ["bug", "bncheck audit", "what it says", "gradcheck", "gradcheck, fast", "check_grad"]
    head = f"| {' | '.join(names)} |"
    lines = [head, "|---|---|---|---|---|---|"]
    for row in found:
        marks = [_mark(row, seen) for seen in (row.slow, row.fast, row.scipy)]
        said = f"`{_said(row)}`" if _said(row) else ""
        lines.append(f"| {row.name} | {_mark(row, row.audit)} | {said} | {' | '.join(marks)} |")
    checkers: list[Callable[[Row], bool | None]] = [
        lambda row: row.audit, lambda row: row.slow, lambda row: row.fast, lambda row: row.scipy,
    ]  # fmt: skip
    totals = [_total([seen(row) for row in found[1:]]) for seen in checkers]
    lines.append(f"| **seen** | **{totals[0]}** | | {' | '.join(totals[1:])} |")
    return "\n".join(lines)


def _total(seen: Sequence[bool | None]) -> str:
    return "not run" if None in seen else f"{sum(map(bool, seen))} of {len(seen)}"


def _mark(row: Row, seen: bool | None) -> str:
    if seen is None:
        return "not run"
    if row.name.startswith("("):
        return "false alarm" if seen else "accepted"
    return "seen" if seen else "**missed**"


def main() -> int:
    """Print the table and how long the audit took."""
    parser = argparse.ArgumentParser(description="19 planted bugs before several checkers")
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    found = rows(seed)
    print(table(found))
    print(f"\nseed {seed}; an audit took {max(row.seconds for row in found):.2f} s at most")
    return 0 if all(row.audit for row in found[1:]) and not found[0].audit else 1


if __name__ == "__main__":
    raise SystemExit(main())
