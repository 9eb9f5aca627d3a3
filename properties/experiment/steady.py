"""The claim as a property: a net with the layer trains where one without does not.

    python -m properties.experiment.steady [--seeds 400]

prints in how many nets of a small kind the built-in layer trains; a test rests on that figure.
"""

from __future__ import annotations

import argparse
from functools import cache

import numpy as np

from .images import Images
from .network import Norm, batch_norm
from .training import Plan, Setting, train

PLAN = Plan(steps=60, batch=40, layers=4, width=24, every=60, epoch=60)
SCALE, RATE = 0.01, 0.05  # weights so small that the signal is lost on its way through four layers
TRAINED = 0.75  # of the held-out images: midway between one class in two and all


@cache
def clusters(classes: int = 4, each: int = 80, pixels: int = 16) -> Images:
    """Return points about one random centre per class, half of them held out."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((classes, pixels))
    t = np.tile(np.arange(classes), each)
    x = (centres[t] + rng.standard_normal((len(t), pixels)) / 2).astype(np.float32)
    half = len(t) // 2
    return Images(x[:half], t[:half], x[half:], t[half:])


def trains(seed: int, norm: Norm | None) -> bool:
    """Whether a net of this seed gets three of four held-out images right after 60 steps.

    Args:
        norm: makes the layers between dense layer and ReLU; None for none.
    """
    setting = Setting(RATE, seed, SCALE, norm is not None)
    return train(clusters(), PLAN, setting, norm).held_out[-1] > TRAINED


def helps(seed: int, norm: Norm) -> bool:
    """Whether the net with the layer trains and the one without does not."""
    return trains(seed, norm) and not _trains_without(seed)


@cache
def _trains_without(seed: int) -> bool:
    return trains(seed, None)


def main() -> None:
    """Count on fresh seeds how often the built-in layer helps."""
    parser = argparse.ArgumentParser(prog="python -m properties.experiment.steady")
    parser.add_argument("--seeds", type=int, default=400)
    seeds = parser.parse_args().seeds
    lost = [seed for seed in range(1000, 1000 + seeds) if not helps(seed, batch_norm)]
    print(f"the layer trains where none does not: in {seeds - len(lost)} of {seeds} nets")


if __name__ == "__main__":
    main()
