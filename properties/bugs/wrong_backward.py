"""Wrong backwards: of inference, of what was saved, and rebuilt from the output."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..model.contract import Array
from ..plants.planted import PLANTED
from ..plants.textbook import Functions, Pieces, Saved


def _by_batch_statistics(functions: Functions) -> Functions:
    """Differentiate inference by the training formula at the batch's statistics."""

    def evaluate(x: Array, gamma: Any, beta: Any, rm: Array, rv: Array, *, eps: float) -> Any:
        y, _ = functions["forward_eval"](x, gamma, beta, rm, rv, eps=eps)
        return y, functions["forward_train"](x, gamma, beta, None, None, eps=eps, momentum=0.5)[3]

    return {**functions, "forward_eval": evaluate, "backward_eval": functions["backward_train"]}


def _nothing_saved(functions: Functions) -> Functions:
    """Read, in inference's backward, what only training fills; unset memory is NaN here."""

    def back(dy: Array, saved: Saved) -> Any:
        unset = np.full_like(saved.mean, np.nan)
        return functions["backward_eval"](dy, replace(saved, mean=unset, rstd=unset))

    return {**functions, "backward_eval": back}


def _of_the_last_training(name: str) -> Any:
    """Differentiate inference by this backward with what the last training saved."""

    def rewire(functions: Functions) -> Functions:
        last: list[Saved] = []

        def train(*args: Any, **options: Any) -> Any:
            result = functions["forward_train"](*args, **options)
            last[:] = [result[3]]
            return result

        def back(dy: Array, saved: Saved) -> Any:
            return functions[name](dy, last[0] if last else saved)

        return {**functions, "forward_train": train, "backward_eval": back}

    return rewire


def _from_output(x: Array, y: Array, gamma: Array, beta: Array, mean: Array, rstd: Array) -> Array:
    """Return x rebuilt from y, which gamma = 0 has made impossible."""
    return (y - beta) / gamma / rstd + mean


def _slots_shifted_without_state(functions: Functions) -> Functions:
    def train(x: Array, gamma: Any, beta: Any, rm: Any, *args: Any, **options: Any) -> Any:
        y, mean, var, saved = functions["forward_train"](x, gamma, beta, rm, *args, **options)
        return y, mean, var, (saved, rm is None)

    def back(dy: Array, saved: Any) -> Any:
        dx, dgamma, dbeta = functions["backward_train"](dy, saved[0])
        return (None, dx, dgamma) if saved[1] else (dx, dgamma, dbeta)

    def first(name: str) -> Any:
        return lambda *args: functions[name](*args[:-1], args[-1][0])

    others = {name: first(name) for name in ("jvp_train", "double_backward_train")}
    return {**functions, **others, "forward_train": train, "backward_train": back}


WRONG_BACKWARD: dict[str, Pieces] = {
    "eval_backward_as_in_training": PLANTED["eval_backward_as_in_training"],
    "eval_backward_at_batch_statistics": Pieces(rewire=_by_batch_statistics),
    "eval_backward_reads_unset_memory": Pieces(rewire=_nothing_saved),
    "eval_backward_reads_the_last_training": Pieces(rewire=_of_the_last_training("backward_eval")),
    "eval_backward_is_the_last_training's": Pieces(rewire=_of_the_last_training("backward_train")),
    "xhat_rebuilt_from_the_output": Pieces(kept=_from_output),
    "gradients_shifted_without_running_statistics": Pieces(rewire=_slots_shifted_without_state),
}
