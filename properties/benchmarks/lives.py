"""Random lives of a layer: what is claimed of it, how often that fails, and by how much at most.

    python -m properties.benchmarks.lives bn:BatchNormalization torch:layer --lives 1000

The claims that something stays as it was are compared bit by bit; the others by their radii. The
known deviations of a framework are not left out here.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np

from ..engine.strategies import INPUTS, choices, coarse
from ..invariants.lives import Life
from ..model.cases import Case, Recipe, build
from ..model.contract import Misbehaved, Target
from ..model.verdict import judge
from ..targets.open import loaded


def drawn(target: Target, rng: np.random.Generator, few: bool = False) -> Case:
    """Return a batch as the random sequences of calls have it, of few shapes or of any."""
    columns = choices(INPUTS["sequence"], target.conventions, target.offers)
    picked = {name: column[int(rng.integers(len(column)))] for name, column in columns.items()}
    if few:
        picked |= coarse(picked["channels"], picked["n"], picked["spatial"])
    return build(Recipe(**{**picked, "mixed": ()}), target.conventions)


Found = dict[str, tuple[int, int, float]]


def lived(target: Target, lives: int, steps: int, seed: int, few: bool = False) -> Found:
    """Return per kind of claim how many there were, how many failed, and the largest multiple.

    Args:
        lives: how many layers are made; each is in another dtype, rank and size.
        steps: how many random steps each takes; one that misbehaves ends there.
        seed: the same number draws the same lives.
        few: whether shapes are few, for who compiles for each.
    """
    claims, failed, worst = Counter[str](), Counter[str](), dict[str, float]()
    rng = np.random.Generator(np.random.PCG64(seed))
    for _ in range(lives):
        life = Life(target, drawn(target, rng, few))
        for _ in range(steps):
            name, k = Life.STEPS[int(rng.integers(len(Life.STEPS)))], int(rng.integers(3))
            try:
                found = life.step(name, k)
            except Misbehaved as error:
                kind = re.sub(r"\d+", "#", str(error))[:80]
                claims[kind], failed[kind] = claims[kind] + 1, failed[kind] + 1
                break
            for claim in found:
                outcome = judge([claim])
                claims[claim.quantity] += 1
                failed[claim.quantity] += outcome.failure is not None
                worst[claim.quantity] = max(worst.get(claim.quantity, 0.0), outcome.worst)
    return {kind: (claims[kind], failed[kind], worst.get(kind, 0.0)) for kind in sorted(claims)}


def table(spec: str, found: Found) -> Iterator[str]:
    """Yield the lines of a target's table."""
    yield f"\n| {spec} | claims | failed | worst error / radius |\n|---|---|---|---|"
    for kind, (number, failures, most) in found.items():
        yield f"| {kind} | {number} | {failures} | {most:.3g} |"


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(prog="python -m properties.benchmarks.lives")
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--lives", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--few-shapes", action="store_true", help="for who compiles for each")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for spec in args.targets:
        found = lived(loaded(spec), args.lives, args.steps, args.seed, args.few_shapes)
        print("\n".join(table(spec, found)), flush=True)


if __name__ == "__main__":
    main()
