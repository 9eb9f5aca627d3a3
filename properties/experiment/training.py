"""One run of the experiment: a net trained by plain gradient descent, its accuracy on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..model.contract import Array
from .network import Net, Norm, accuracy, batch_norm, build, forward, step


@dataclass(frozen=True)
class Images:
    """Images (n, pixels) in float32 and their classes (n,), for training and held out."""

    x: Array
    t: Array
    held_x: Array
    held_t: Array

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(max(self.t.max(), self.held_t.max())) + 1


@dataclass(frozen=True, order=True)
class Setting:
    """What one run differs in from another; equal seeds have equal draws of weights and batches."""

    rate: float
    seed: int
    scale: float
    normalized: bool


@dataclass(frozen=True)
class Plan:
    """What all runs share.

    layers, width: of the hidden layers; steps: of gradient descent, each on `batch` images; the
    held-out accuracy is taken every `every` steps, the training accuracy every `epoch` steps;
    eps: of the batch norms; seed: of everything that is drawn.
    """

    steps: int = 500
    batch: int = 100
    layers: int = 5
    width: int = 100
    every: int = 5
    epoch: int = 10
    eps: float = 1e-5
    seed: int = 0


@dataclass(frozen=True)
class Curve:
    """The accuracies of a run: held out after `every` steps each, in training after `epoch`."""

    setting: Setting
    held_out: tuple[float, ...]
    training: tuple[float, ...]


class Stopped(Exception):
    """The run was told to stop."""


def begun(images: Images, plan: Plan, setting: Setting, norm: Norm | None = None) -> Net:
    """Return the net of a run before its first step; norm replaces the built-in batch norm."""
    if setting.normalized and norm is None:
        norm = partial(batch_norm, eps=plan.eps)
    widths = (images.x.shape[1], *[plan.width] * plan.layers, images.classes)
    rng = np.random.default_rng([plan.seed, setting.seed, 0])
    return build(widths, setting.scale, norm if setting.normalized else None, rng)


def batches(images: Images, plan: Plan, setting: Setting) -> Iterator[tuple[Array, Array]]:
    """Yield the images and classes of each step, drawn without repetition within a step."""
    rng = np.random.default_rng([plan.seed, setting.seed, 1])
    for _ in range(plan.steps):
        chosen = rng.choice(len(images.x), plan.batch, replace=False)
        yield images.x[chosen], images.t[chosen]


def train(
    images: Images,
    plan: Plan,
    setting: Setting,
    norm: Norm | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Curve:
    """Train one net and return its accuracies.

    Args:
        norm: the layer of a normalized net, the built-in one if None.
        stop: asked now and then.
    Raises:
        Stopped: stop said so.
    """
    net, held_out, training = begun(images, plan, setting, norm), [], []
    with np.errstate(all="ignore"):  # a net may diverge: that is one of the things to be seen
        for k, (x, t) in enumerate(batches(images, plan, setting), 1):
            step(net, x, t, setting.rate)
            if k % plan.every == 0:
                held_out.append(accuracy(net, images.held_x, images.held_t))
                if stop():
                    raise Stopped
            if k % plan.epoch == 0:
                training.append(accuracy(net, images.x, images.t))
    return Curve(setting, tuple(held_out), tuple(training))


@dataclass(frozen=True)
class Start:
    """What a normalized net is like before training.

    signal: root mean square of xhat in the last hidden layer, the root of var / (var + eps), (29):
    1 while the variance exceeds eps. change: the size of the first step of that layer's weights, as
    a multiple of the size of the weights; behind batch norm it goes with rate / scale^2, (33).
    """

    signal: float
    change: float


def start(images: Images, plan: Plan, setting: Setting) -> Start:
    """Return what the first step of a run with batch norm starts from and does."""
    net, (x, t) = begun(images, plan, setting), next(batches(images, plan, setting))
    xhat = forward(net, x, training=True).outputs[-2].astype(np.float64)
    before = net.weights[-2].copy()
    step(net, x, t, setting.rate)
    change = np.linalg.norm(net.weights[-2] - before) / np.linalg.norm(before)
    return Start(float(np.sqrt((xhat * xhat).mean())), float(change))
