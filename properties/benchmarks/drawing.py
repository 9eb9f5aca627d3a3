"""What a batch costs to draw: a case of 512 elements against as many plain integers.

    python -m properties.benchmarks.drawing [--rounds 15] [--examples 300]

prints the processor time per example of (a) as many plain integers as `strategies.recipes` draws,
(b) the recipe alone, (c) the whole case, and what each costs as a multiple of (a): medians over
rounds in which the three run one after the other. The bound for (c) is 1.3.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from ..engine.strategies import INPUTS, Inputs, cases, recipes
from ..model.contract import Conventions
from .timing import ratio

ELEMENTS = 512
MATRICES = INPUTS["matrices"] = Inputs(n=(128, 128), channels=(4, 4))
CONVENTIONS = Conventions()
OFFERS = frozenset({"float32", "float64", "rank 2", "no affine", "no running statistics"})


def count_draws() -> int:
    """Return how many choices the recipe of a matrix takes from Hypothesis."""
    drawn: list[int] = []

    @settings(max_examples=20, database=None, phases=(Phase.generate,))
    @given(st.data())
    def counting(data: st.DataObject) -> None:
        data.draw(recipes(MATRICES, CONVENTIONS, OFFERS))
        drawn.append(len(data.conjecture_data.nodes))

    counting()
    return int(median(drawn))


def time_per_example(strategy: st.SearchStrategy[Any], examples: int, number: int) -> float:
    """Return the processor seconds per example of drawing this many."""

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def drawing(_: Any) -> None:
        pass

    start = time.process_time()
    drawing()
    return (time.process_time() - start) / examples


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What a batch of 512 elements costs to draw.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--examples", type=int, default=300)
    args = parser.parse_args()
    count = count_draws()
    rows = {
        f"{count} plain integers": st.tuples(*(st.integers(0, 1023) for _ in range(count))),
        "the recipe": recipes(MATRICES, CONVENTIONS, OFFERS),
        f"the case of {ELEMENTS} elements": cases("matrices", CONVENTIONS, OFFERS),
    }
    times: dict[str, list[float]] = {name: [] for name in rows}
    for number in range(args.rounds):
        for name, strategy in rows.items():
            times[name].append(time_per_example(strategy, args.examples, number))
    base = times[f"{count} plain integers"]
    for name, values in times.items():
        print(f"{name:<26} {median(values) * 1e6:7.0f} us  {ratio(values, base):5.2f}")


if __name__ == "__main__":
    main()
