"""Runs of the experiment: a net trained by plain gradient descent, its accuracy on the way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from typing import NamedTuple
from unittest import mock

import numpy as np

from ..model.contract import Array
from ..support.signals import interrupts_ignored
from .images import Images
from .network import Net, Norm, accuracy, batch_norm, build, forward, step

_ONE_THREAD = {
    f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "VECLIB_MAXIMUM", "BLIS")
}


class Setting(NamedTuple):
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


class Curve(NamedTuple):
    """The accuracies of a run: held out after `every` steps each, in training after `epoch`."""

    held_out: tuple[float, ...]
    training: tuple[float, ...]


def begun(images: Images, plan: Plan, setting: Setting, norm: Norm | None = None) -> Net:
    """Return the net of a run before its first step; norm replaces the built-in batch norm."""
    if setting.normalized and norm is None:
        norm = partial(batch_norm, eps=plan.eps)
    classes = int(max(images.t.max(), images.held_t.max())) + 1
    widths = (images.x.shape[1], *[plan.width] * plan.layers, classes)
    rng = np.random.default_rng([plan.seed, setting.seed, 0])
    return build(widths, setting.scale, norm if setting.normalized else None, rng)


def batches(images: Images, plan: Plan, setting: Setting) -> Iterator[tuple[Array, Array]]:
    """Yield the images and classes of each step, drawn without repetition within a step."""
    rng = np.random.default_rng([plan.seed, setting.seed, 1])
    for _ in range(plan.steps):
        chosen = rng.choice(len(images.x), plan.batch, replace=False)
        yield images.x[chosen], images.t[chosen]


def train(images: Images, plan: Plan, setting: Setting, norm: Norm | None = None) -> Curve:
    """Train one net and return its accuracies; norm replaces the built-in batch norm."""
    net, held_out, training = begun(images, plan, setting, norm), [], []
    with np.errstate(all="ignore"):  # a net may diverge: that is one of the things to be seen
        for k, (x, t) in enumerate(batches(images, plan, setting), 1):
            step(net, x, t, setting.rate)
            if k % plan.every == 0:
                held_out.append(accuracy(net, images.held_x, images.held_t))
            if k % plan.epoch == 0:
                training.append(accuracy(net, images.x, images.t))
    return Curve(tuple(held_out), tuple(training))


class Start(NamedTuple):
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
    xhat = forward(net, x, training=True)[-2][1].astype(np.float64)
    before = net.weights[-2].copy()
    step(net, x, t, setting.rate)
    change = np.linalg.norm(net.weights[-2] - before) / np.linalg.norm(before)
    return Start(float(np.sqrt((xhat * xhat).mean())), float(change))


def sweep(
    images: Images,
    plan: Plan,
    settings: Sequence[Setting],
    jobs: int,
    tick: Callable[[Setting, Curve], None],
) -> None:
    """Run all settings, each on one core, and hand every curve to tick as it is done.

    A KeyboardInterrupt ends the runs that are under way and is passed on.
    """
    context = get_context("spawn")
    with interrupts_ignored(), mock.patch.dict(os.environ, _ONE_THREAD):
        pool = context.Pool(jobs, initializer=_begin)
    with pool:
        one = partial(_one, images, plan)
        for setting, curve in pool.imap_unordered(one, settings):
            tick(setting, curve)


def _one(images: Images, plan: Plan, setting: Setting) -> tuple[Setting, Curve]:
    return setting, train(images, plan, setting)


def _begin() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
