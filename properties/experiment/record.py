"""Real activations and gradients for the corpus: windows of what a batch norm saw in training.

    python -m properties.experiment.record [--corpus DIR]

trains as `bncheck experiment` does and writes activations.json, which `bncheck replay` replays.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import bn

from ..corpus.entries import Calls, encode_array
from ..corpus.expected import with_expected
from ..corpus.files import CORPUS, Entry, format_entries, write_whole
from ..corpus.numbers import encode_float
from ..model.contract import Array
from .claims import SCALES
from .images import Images, digits
from .network import step
from .training import Plan, Setting, batches, begun

FILE = "activations.json"
ROWS, CHANNELS = 20, [0, 25, 50, 75]
SNAPSHOTS = (  # weight scale, steps done, hidden layer
    (SCALES[0], 0, 0),
    (SCALES[5], 0, 4),
    (SCALES[5], 50, 2),
    (SCALES[5], 400, 4),
    (SCALES[12], 100, 0),
    (SCALES[15], 0, 4),
)
Seen = dict[str, Array]  # what a layer was given in a step: x and dy (n, c), the state before (c,)


class Listening(bn.BatchNormalization):
    """The built-in layer, which keeps what it was last given."""

    seen: Seen

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """Return y, and keep x and the state."""
        mean, var = bn.initial_state(x.shape[1], x.dtype)
        self.seen = {"x": x.copy(), "running_mean": mean, "running_var": var, **self.state_dict()}
        return super().forward(x, train_flg)

    def backward(self, dout: Array) -> Array:
        """Return dx, and keep dy."""
        self.seen["dy"] = dout.copy()
        return super().backward(dout)


def listening(width: int) -> Listening:
    """Return a layer that listens, with gamma 1 and beta 0."""
    return Listening(np.ones(width, np.float32), np.zeros(width, np.float32))


def seen(images: Images, plan: Plan, setting: Setting, done: int, layer: int) -> Seen:
    """Return what a layer is given in the step after so many."""
    net = begun(images, plan, setting, listening)
    for _, (x, t) in zip(range(done + 1), batches(images, plan, setting), strict=False):
        step(net, x, t, setting.rate)
    found: Seen = net.norms[layer].seen
    return found


def calls(found: Seen, eps: float, momentum: float) -> Calls:
    """Return training, its backward and inference on some of it, each with what it must give."""
    window = {k: (a[:ROWS] if a.ndim == 2 else a)[..., CHANNELS] for k, a in found.items()}
    names = ("x", "gamma", "beta", "running_mean", "running_var")
    given: dict[str, Any] = {name: encode_array(window[name]) for name in names}
    given["eps"] = encode_float(eps)
    train = {"call": "forward_train", **given, "momentum": encode_float(momentum)}
    back = {"call": "backward_train", "dy": encode_array(window["dy"]), "saved": 0}
    return with_expected([train, back, {"call": "forward_eval", **given}])


def entries(images: Images) -> Iterator[Entry]:
    """Yield an entry per snapshot."""
    source = "recorded by python -m properties.experiment.record"
    for scale, done, layer in SNAPSHOTS:
        found = seen(images, Plan(), Setting(0.01, 0, scale, True), done, layer)
        where = f"hidden layer {layer + 1}, weight scale {scale:.2g}, after {done} steps"
        yield Entry(f"Activations of training: {where}", source, False, calls(found, 1e-5, 0.9))


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="python -m properties.experiment.record")
    parser.add_argument("--corpus", type=Path, default=CORPUS, metavar="DIR")
    folder = parser.parse_args().corpus
    found = list(entries(digits()))
    write_whole(folder / FILE, format_entries(found))
    print(f"{folder / FILE}: {len(found)} entries")


if __name__ == "__main__":
    main()
