"""Batch norm as a layer: parameters, running statistics, and what backward needs."""

import threading
from collections.abc import Mapping
from typing import Any

from . import arguments as check
from . import functional
from .blocks import Array
from .statistics import initial_state, move_running

STATE = ("gamma", "beta", "running_mean", "running_var")


class BatchNormalization:
    """Batch normalization per channel, in the shape of the seed's class.

    Several threads may call one layer at once: each backward belongs to the last forward of its
    own thread, dgamma and dbeta are those of the thread's own last backward, and every training
    forward moves the running statistics once, one after the other.

    Args:
        gamma, beta: (c,), float32 for float16 x, else of x's dtype; None for 1 and 0.
        momentum: share of the running statistics that is kept, 0 to 1.
        running_mean, running_var: (c,) like gamma; None for 0 and 1 from the first forward on.
        eps: finite, >= 0.
    What forward refuses leaves the layer's state as it was.
    """

    def __init__(
        self,
        gamma: Array | None,
        beta: Array | None,
        momentum: float = 0.9,
        running_mean: Array | None = None,
        running_var: Array | None = None,
        eps: float = 1e-5,
    ) -> None:
        self.gamma, self.beta = gamma, beta
        self.momentum = check.number("momentum", momentum, 1.0)
        self.eps = check.number("eps", eps, float("inf"))
        self.running_mean, self.running_var = running_mean, running_var
        self._lock, self._own = threading.Lock(), threading.local()

    @property
    def dgamma(self) -> Array | None:
        """(c,) gradient by gamma of this thread's last backward."""
        return getattr(self._own, "dgamma", None)

    @property
    def dbeta(self) -> Array | None:
        """(c,) gradient by beta of this thread's last backward."""
        return getattr(self._own, "dbeta", None)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """Return y (like x).

        Args:
            x: (n, c, *spatial); leave it unchanged until backward is done.
            train_flg: True to normalize with the batch's statistics, which move the running ones;
                False to normalize with those.
        """
        with self._lock:
            mean, var = self._running(x)
        if not train_flg:
            y, saved = functional.forward_eval(x, self.gamma, self.beta, mean, var, eps=self.eps)
        else:
            y, _, _, saved = functional.forward_train(
                x, self.gamma, self.beta, mean, var, eps=self.eps, momentum=self.momentum
            )
            with self._lock:  # another thread may have moved them in the meantime
                self.running_mean, self.running_var = move_running(
                    *self._running(x), saved.statistics, self.momentum
                )
        self._own.saved = saved
        return y

    def backward(self, dout: Array) -> Array:
        """Return dx (like x) and set dgamma and dbeta, for this thread's last forward."""
        saved = getattr(self._own, "saved", None)
        if saved is None:
            fix = "call forward first, in the same thread"
            check.refuse(ValueError, "saved=None", "a forward before this backward", fix)
        backward = functional.backward_train if saved.training else functional.backward_eval
        dx, self._own.dgamma, self._own.dbeta = backward(dout, saved)
        return dx

    def state_dict(self) -> dict[str, Array]:
        """Return copies of gamma, beta and the running statistics, without those that are None."""
        with self._lock:
            arrays = {name: getattr(self, name) for name in STATE}
        return {name: array.copy() for name, array in arrays.items() if array is not None}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the arrays of a state_dict, copied, or none; what is missing becomes None."""
        arrays = check.state(state, STATE)
        with self._lock:
            for name in STATE:
                setattr(self, name, arrays.get(name))

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave out what belongs to a thread."""
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_own")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock, self._own = threading.Lock(), threading.local()

    def _running(self, x: Array) -> tuple[Any, Any]:
        if self.running_mean is None and self.running_var is None:
            x = check.batch("x", x, "(n, c, *spatial)")
            return initial_state(x.shape[1], x.dtype)
        return self.running_mean, self.running_var
