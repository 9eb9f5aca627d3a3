"""A PyTorch module as a layer that lives: made once, its state in its buffers."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import torch

from .tensors import array, tensor

_COUNT = "num_batches_tracked"


class Living:
    """What makes the module, the module once x tells its rank, and the last forward."""

    def __init__(self, make: Callable[..., Any], *arrays: Any, **options: float) -> None:
        self.make, self.arrays, self.options = make, arrays, options
        self.module: Any = None
        self.last: Any = None

    def run(self, x: Any, training: bool) -> Any:
        """Return y, and keep what a backward needs."""
        if self.module is None:
            self.module = self.make(x.ndim, *self.arrays, **self.options)
        leaf = tensor(x, True)
        y = self.module.train(training)(leaf)
        self.last = leaf, y
        return array(y)

    def back(self, dy: Any) -> Any:
        """Return the gradients by x, weight and bias."""
        leaf, y = self.last
        weights = [getattr(self.module, name, None) for name in ("weight", "bias")]
        given = [leaf, *(w for w in weights if w is not None)]
        found = iter(torch.autograd.grad(y, given, tensor(dy), retain_graph=True))
        dx = array(next(found))
        return dx, *(None if w is None else array(next(found)) for w in weights)

    def state(self) -> Any:
        """Return the running statistics and the count of batches."""
        if self.module is None:
            return self.arrays[2], self.arrays[3], 0
        buffers = dict(self.module.named_buffers())
        mean, var = buffers.get("running_mean"), buffers.get("running_var")
        count = buffers.get(_COUNT)
        kept = (None if t is None else array(t).copy() for t in (mean, var))
        return *kept, None if count is None else int(count)

    def another(self, how: str) -> Living:
        """Return a copy, by way of a file of the module, or of its state alone."""
        other = Living(self.make, *self.arrays, **self.options)
        if self.module is None:
            return other
        if how == "deepcopy":
            other.module = copy.deepcopy(self.module)
        else:
            held = self.module if how == "pickle" else self.module.state_dict()
            file = io.BytesIO()
            torch.save(held, file)
            file.seek(0)
            found = torch.load(file, weights_only=how != "pickle")
            if how == "pickle":
                other.module = found
            else:
                other.module = copy.deepcopy(self.module)
                for buffer in (*other.module.parameters(), *other.module.buffers()):
                    buffer.detach().zero_()
                other.module.load_state_dict(found)
        return other
