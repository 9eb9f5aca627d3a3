"""What is done in a target's own environment: worst cases shown in its own API, calls timed.

python -m properties.report.in_environment TARGET --run FILE --out FILE
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..corpus.files import Entry
from ..corpus.replay import replay
from ..model import contract
from ..model.cases import dtype_of, state_dtype
from ..model.contract import Misbehaved, Target, TargetError
from ..run.text import write_json
from ..targets.isolate.limits import Limits
from ..targets.open import open_target
from .reproducers import printed, reproducer
from .smallest_call import shrunk

CASES = 4  # reproducers per target
_TIMED = 0.25  # seconds that one kind of call is repeated
SHAPES = {2: ((256, 64),), 4: ((16, 64, 14, 14),)}


def worst_cases(target: Target, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the failing cases that a list of calls shows, the largest error first.

    Each has the invariant, the place, what was got and wanted, and where there is a template the
    reproducer and what it printed here.
    """
    failing = [r for r in rows if r.get("counterexample") and r["counterexample"]["calls"]]
    seen: set[Any] = set()
    for row in sorted(failing, key=lambda r: -float(r["worst"])):
        case = row["counterexample"]
        found = replay(target, Entry(case["sentence"], case["source"], False, case["calls"]))
        if found.verdict != "fail" or found.failure is None:
            continue
        call = case["calls"][found.call]
        forward = case["calls"][call["saved"]] if "saved" in call else call
        kind = (found.failure.quantity, forward.get("x", {}).get("dtype"))
        if kind in seen or len(seen) == CASES:
            continue
        seen.add(kind)
        found = shrunk(target, found)
        assert found.failure is not None
        failure = found.failure
        lines = reproducer(target.spec, target.conventions, found.entry.calls, found.call, failure)
        yield {
            "invariant": row["name"],
            "sentence": case["sentence"],
            "call": call["call"],
            "quantity": failure.quantity,
            "index": list(failure.index),
            "got": _finite(failure.got),
            "want": _finite(failure.want),
            "error": _finite(failure.error),
            "multiple": _finite(failure.error / failure.radius if failure.radius else np.inf),
            "lines": lines,
            "printed": printed(lines) if lines else "",
        }


def _finite(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)


def timed(target: Target) -> Iterator[dict[str, Any]]:
    """Yield the median time of each kind of call, through the adapter, after one to warm up."""
    dtypes = target.conventions.dtypes
    dtype = "float32" if "float32" in dtypes else dtypes[0]
    for shape in (
        shape for rank in (2, 4) if rank in target.conventions.ndim for shape in SHAPES[rank]
    ):
        for name, call in _calls(target, dtype, shape).items():
            try:
                seconds = list(_repeated(call))
            except Misbehaved as error:
                yield {"call": name, "shape": list(shape), "dtype": dtype, "problem": str(error)}
            else:
                yield {
                    "call": name, "shape": list(shape), "dtype": dtype, "calls": len(seconds),
                    "median": float(np.median(seconds)), "least": min(seconds),
                }  # fmt: skip


def _calls(target: Target, dtype: str, shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    rng = np.random.Generator(np.random.PCG64(1))
    x = rng.standard_normal(shape).astype(dtype_of(dtype))
    dy = rng.standard_normal(shape).astype(dtype_of(dtype))
    c = target.conventions.columns(shape)
    state = [np.full(c, v).astype(state_dtype(dtype)) for v in (1.0, 0.0, 0.0, 1.0)]

    def train() -> Any:
        return contract.train(target, x, *state, eps=1e-3, momentum=0.9)

    calls: dict[str, Callable[[], Any]] = {"training": train}
    if "backward_train" in target.offers:
        calls["training and backward"] = lambda: contract.backward(
            target, dy, train().saved, state[0]
        )
    if "forward_eval" in target.offers:
        calls["inference"] = lambda: contract.evaluate(target, x, *state, eps=1e-3)
    return calls


def _repeated(call: Callable[[], Any]) -> Iterator[float]:
    call()
    end = time.perf_counter() + _TIMED
    for number in range(1000):
        begun = time.perf_counter()
        call()
        yield time.perf_counter() - begun
        if number >= 2 and time.perf_counter() > end:
            return


def main(arguments: list[str] | None = None) -> int:
    """Write the worst cases and the call times of a target; 0, or 2 where it is none."""
    parser = argparse.ArgumentParser(prog="python -m properties.report.in_environment")
    parser.add_argument("target")
    parser.add_argument(
        "--run", type=Path, action="append", required=True, help="of bncheck run --json"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    try:
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in args.run]
        rows = [row for run in runs for row in run["invariants"]]
        with open_target(args.target, Limits(in_process=True)) as target:
            times, cases = list(timed(target)), list(worst_cases(target, rows))
    except (OSError, ValueError, KeyError, TargetError) as error:
        print(f"bncheck: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    write_json(args.out, {"target": args.target, "times": times, "cases": cases})
    return 0


if __name__ == "__main__":
    sys.exit(main())
