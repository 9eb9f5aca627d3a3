"""Batch norm as a layer: parameters, running statistics, and what backward needs."""

import threading
from collections.abc import Mapping
from typing import Any

from . import functional
from .arguments import check_batch, check_number, check_state, refuse
from .blocks import Array
from .statistics import initial_state, move_running

STATE = ("gamma", "beta", "running_mean", "running_var")


class PerThread(threading.local):
    """What one thread's last forward and backward left behind."""

    saved: functional.Saved | None = None
    dgamma: Array | None = None
    dbeta: Array | None = None


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
    Raises:
        TypeError, ValueError: momentum or eps out of range, in forward all that forward_train and
            forward_eval raise; the layer's state is then as it was.
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
        self.momentum = check_number("momentum", momentum, 1.0)
        self.eps = check_number("eps", eps, float("inf"))
        self.running_mean, self.running_var = running_mean, running_var
        self._lock, self._own = threading.Lock(), PerThread()

    @property
    def dgamma(self) -> Array | None:
        """(c,) gradient by gamma of this thread's last backward."""
        return self._own.dgamma

    @property
    def dbeta(self) -> Array | None:
        """(c,) gradient by beta of this thread's last backward."""
        return self._own.dbeta

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
        saved = self._own.saved
        if saved is None:
            fix = "call forward first, in the same thread"
            refuse(ValueError, "saved=None", "a forward before this backward", fix)
        backward = functional.backward_train if saved.training else functional.backward_eval
        dx, self._own.dgamma, self._own.dbeta = backward(dout, saved)
        return dx

    def state_dict(self) -> dict[str, Array]:
        """Return copies of gamma, beta and the running statistics, without those that are None."""
        with self._lock:
            return {
                name: getattr(self, name).copy()
                for name in STATE
                if getattr(self, name) is not None
            }

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the arrays of a state_dict, copied; what is missing becomes None.

        Raises:
            TypeError, ValueError: an unknown name, not a float array, lengths that differ; the
                layer is then as it was.
        """
        arrays = check_state(state, STATE)
        with self._lock:
            for name in STATE:
                setattr(self, name, arrays.get(name))

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave out what belongs to a thread."""
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_own")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock, self._own = threading.Lock(), PerThread()

    def _running(self, x: Array) -> tuple[Any, Any]:
        if self.running_mean is None and self.running_var is None:
            x = check_batch("x", x, "(n, c, *spatial)")
            return initial_state(x.shape[1], x.dtype)
        return self.running_mean, self.running_var
