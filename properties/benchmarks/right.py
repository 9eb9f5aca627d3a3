"""No false alarm: right implementations on many batches, each batch judged for all of them.

    python -m properties.benchmarks.right --batches 200000 --jobs 2 [--torch]

prints per implementation and dtype the failures and the largest error as a multiple of its
radius, and per regime the share of undecided batches. A one-pass variance is run beside, to show
that the radius is not loose.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np

from ..engine.strategies import EPSILONS, MOMENTA
from ..invariants.calls import agrees, evaluated, parameter_agrees, trained
from ..invariants.state import initial
from ..model import contract, expected
from ..model.cases import FINITE, GAMMAS, GRADIENTS, REGIMES, Case, Recipe, build
from ..model.contract import Array, Conventions, Misbehaved, Target
from ..model.verdict import Claim, judge
from ..plants.forms import COMBINED
from ..plants.textbook import Pieces, implementation
from ..run.expectations import only_dtypes

DTYPES = ("float32", "float64")


def _one_pass(x: Array, mean: Array) -> Array:
    n = x.dtype.type(len(x))
    return np.asarray(np.maximum((x * x).sum(axis=0, keepdims=True) / n - mean * mean, 0))


def drawn(rng: np.random.Generator, dtype: str) -> Recipe:
    """Draw a recipe from the ranges of the strategies, without Hypothesis."""
    integer, pick = rng.integers, rng.integers
    spatial = tuple(int(k) for k in integer(1, 4, size=max(int(integer(-3, 3)), 0)))
    return Recipe(
        regime=FINITE[pick(len(FINITE))],
        n=int(2 ** rng.uniform(1, 5.3)),
        channels=int(integer(1, 5)),
        spatial=spatial,
        dtype=dtype,
        bits=int(integer(1, 21)),
        level=int(integer(0, 1025)),
        seed=int(integer(0, 2**32)),
        gamma=GAMMAS[pick(len(GAMMAS))],
        dy=GRADIENTS[pick(len(GRADIENTS))],
        eps=EPSILONS[pick(len(EPSILONS))],
        momentum=MOMENTA[pick(len(MOMENTA))],
    )


def everything(target: Target, case: Case) -> Iterable[Claim]:
    """Claim that training, its gradients, the state and inference agree with the reference."""
    result = trained(target, case)
    yield agrees("y", case, result.y, expected.output(case))
    mean, var = case.memo(
        ("state", target.conventions), lambda: expected.running(case, *initial(case))
    )
    yield from parameter_agrees("running_mean", result.running_mean, mean)
    yield from parameter_agrees("running_var", result.running_var, var)
    got, wanted = (
        contract.backward(target, case.dy, result.saved, case.gamma),
        expected.gradients(case),
    )
    yield agrees("dx", case, got.dx, wanted["dx"])
    yield from parameter_agrees("dgamma", got.dgamma, wanted["dgamma"])
    yield from parameter_agrees("dbeta", got.dbeta, wanted["dbeta"])
    assert case.running_mean is not None and case.running_var is not None
    state = (case.running_mean, case.running_var)
    y, saved = evaluated(target, case)
    at = case.memo("eval", lambda: expected.eval_output(case, *state))
    yield agrees("eval y", case, y, at)
    back = contract.backward(target, case.dy, saved, case.gamma, mode="eval")
    eval_wanted = case.memo("eval back", lambda: expected.eval_gradients(case, *state))
    yield agrees("eval dx", case, back.dx, eval_wanted["dx"])


def _targets(with_torch: bool) -> dict[str, Target]:
    from ..targets.open import loaded

    conventions = Conventions(dtypes=DTYPES)
    targets = {name: implementation(pieces, conventions, name) for name, pieces in COMBINED.items()}
    targets["bn"] = only_dtypes(loaded("bn"), DTYPES)
    if with_torch:
        targets["torch"] = only_dtypes(loaded("torch"), DTYPES)
    targets["(one-pass variance)"] = implementation(
        Pieces(variance=_one_pass), conventions, "one pass"
    )
    return targets


def _shared(cases: dict[Conventions, Case], conventions: Conventions, recipe: Recipe) -> Case:
    """Return the batch under these conventions; all but the state is wanted alike under any."""
    if conventions not in cases:
        first = next(iter(cases.values()), None) or build(recipe, conventions)
        first.memo("begun", lambda: True)
        cases[conventions] = replace(first, conventions=conventions)
        cases[conventions].__dict__["_memory"] = first.__dict__["_memory"]
    return cases[conventions]


def _shard(
    arguments: tuple[int, int, str, bool],
) -> tuple[Counter[str], dict[str, float], Counter[str]]:
    """Judge all targets on some batches; return failures, worst multiples and undecided batches."""
    seed, batches, dtype, with_torch = arguments
    warnings.simplefilter("ignore")
    targets = _targets(with_torch)
    rng = np.random.Generator(np.random.PCG64([seed, DTYPES.index(dtype)]))
    failures: Counter[str] = Counter()
    undecided: Counter[str] = Counter()
    worst = dict.fromkeys(targets, 0.0)
    for _ in range(batches):
        recipe = drawn(rng, dtype)
        cases: dict[Conventions, Case] = {}
        for name, target in targets.items():
            case = _shared(cases, target.conventions, recipe)
            try:
                outcome = judge(everything(target, case))
            except Misbehaved as error:
                print(name, recipe, error, file=sys.stderr, flush=True)
                failures[name] += 1
                continue
            worst[name] = max(worst[name], outcome.worst)
            if outcome.failure is not None:
                failures[name] += 1
                if name[0] != "(":
                    print(name, recipe, outcome.failure, file=sys.stderr, flush=True)
            if name == "bn":
                undecided[recipe.regime] += outcome.undecided
                undecided[recipe.regime + " all"] += 1
    return failures, worst, undecided


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(prog="python -m properties.benchmarks.right")
    parser.add_argument("--batches", type=int, default=200_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--torch", action="store_true")
    args = parser.parse_args()
    print("| implementation | dtype | batches | failures | worst error / radius |")
    print("|---|---|---|---|---|")
    undecided: Counter[str] = Counter()
    for dtype in DTYPES:
        shards = 20 * args.jobs
        work = [
            (args.seed * 1000 + i, args.batches // shards, dtype, args.torch) for i in range(shards)
        ]
        with ProcessPoolExecutor(args.jobs) as pool:
            found = []
            for result in pool.map(_shard, work):
                found.append(result)
                print(f"{dtype}: {len(found)}/{shards}", file=sys.stderr, flush=True)
        for name in found[0][1]:
            failed = sum(f[name] for f, _, _ in found)
            worst = max(w[name] for _, w, _ in found)
            count = shards * (args.batches // shards)
            print(f"| {name} | {dtype} | {count} | {failed} | {worst:.3g} |", flush=True)
        for _, _, u in found:
            undecided += u
    print("\n| regime | ill-conditioned on purpose | undecided |\n|---|---|---|")
    for name, regime in REGIMES.items():
        if undecided[name + " all"]:
            share = undecided[name] / undecided[name + " all"]
            print(f"| {name} | {'yes' if regime.ill_conditioned else 'no'} | {share:.2%} |")


if __name__ == "__main__":
    main()
