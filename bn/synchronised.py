"""Batch norm of a batch that lies on several ranks, each with its own samples, some with none.

Here the ranks are the items of lists, in one process, and the whole batch is laid together. Where
it cannot be, the ranks exchange the rows that merge_statistics and merge_gradients take.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import arguments as check
from .blocks import Array
from .functional import Saved, backward_train, forward_train


@dataclass(frozen=True)
class SavedRanks:
    """What is saved of the whole batch, and how many samples each rank has."""

    whole: Saved
    sizes: tuple[int, ...]


def sync_forward_train(
    xs: Sequence[Array],
    gamma: Array | None,
    beta: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    *,
    eps: float,
    momentum: float,
    per_activation: bool = False,
) -> tuple[list[Array], Array | None, Array | None, SavedRanks]:
    """Normalize each rank's part with the statistics of the whole batch, (25).

    Args: xs, per rank (n_k, c, *spatial), as x of forward_train; of one dtype, and alike but for
        n_k, which may be 0; the others as for forward_train.
    Returns: ys, per rank like its x; the new running statistics, the same on every rank, or None;
        saved, for sync_backward_train.
    """
    arrays = check.ranks("xs", xs)
    sizes = tuple(map(len, arrays))
    y, mean, var, saved = forward_train(
        np.concatenate(arrays), gamma, beta, running_mean, running_var,
        eps=eps, momentum=momentum, per_activation=per_activation,
    )  # fmt: skip
    return cut(y, sizes), mean, var, SavedRanks(saved, sizes)


def sync_backward_train(
    dys: Sequence[Array], saved: SavedRanks
) -> tuple[list[Array], Array | None, Array | None]:
    """Return the gradients of a loss over all ranks by each x, and by gamma and beta.

    The sums of dy and of dy * xhat run over all ranks, (26); dgamma and dbeta are these sums.

    Args: dys, per rank like its x; saved, from sync_forward_train, not changed.
    Returns: dxs, per rank like its x; dgamma, dbeta: (c,), None where gamma and beta are.
    """
    if type(saved) is not SavedRanks:
        given, expected = f"saved={type(saved).__name__}", "what sync_forward_train returned"
        check.refuse(TypeError, given, expected, "pass that")
    if len(check.ranks("dys", dys)) != len(saved.sizes):
        expected = f"{len(saved.sizes)}, as many as xs"
        check.refuse(ValueError, f"len(dys)={len(dys)}", expected, "pass all ranks'")
    for k, (dy, n) in enumerate(zip(dys, saved.sizes, strict=True)):
        form = (n, *saved.whole.shape[1:]), saved.whole.x.dtype.itemsize
        check.form(f"dys[{k}]", dy, *form, f"that of xs[{k}]", "pass that forward's saved")
    dx, dgamma, dbeta = backward_train(np.concatenate(dys), saved.whole)
    return cut(dx, saved.sizes), dgamma, dbeta


def cut(whole: Array, sizes: Sequence[int]) -> list[Array]:
    """Cut the whole batch into the parts of the ranks."""
    return [part.copy() for part in np.split(whole, np.cumsum(sizes)[:-1])]
