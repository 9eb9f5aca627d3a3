"""Batch norm of a batch that lies on several ranks, each with its own samples, some with none.

Here the ranks are the items of lists, in one process; what they exchange are the rows that
merge_statistics and merge_gradients take.
"""

from collections.abc import Sequence

import numpy as np

from .arguments import check_number, check_ranks, check_running, check_saved, check_vector
from .blocks import Array, DType
from .functional import (
    Saved,
    channel_rows,
    gradient_sums,
    input_gradient,
    normalize,
    parameter_gradients,
    save,
    seen_as_x,
    summing_dtype,
)
from .statistics import (
    Statistics,
    batch_statistics,
    merge_statistics,
    move_running,
    sum_shards,
    working_dtype,
)


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
) -> tuple[list[Array], Array | None, Array | None, list[Saved]]:
    """Normalize each rank's part with the statistics of the whole batch, (25).

    Args:
        xs: per rank (n_k, c, *spatial), as x of forward_train; of one dtype, and alike but for n_k,
            which may be 0.
        the others: as for forward_train.
    Returns:
        ys: per rank, like its x; the new running statistics, the same on every rank, or None;
        saved, for sync_backward_train.
    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range.
    """
    check_ranks("xs", xs)
    seen = [channel_rows(x, per_activation) for x in xs]
    first = seen[0][0]
    gamma, beta = check_vector("gamma", gamma, first), check_vector("beta", beta, first)
    running = check_running(running_mean, running_var, first)
    eps, momentum = check_number("eps", eps), check_number("momentum", momentum, 1.0)
    with np.errstate(all="ignore"):
        parts = [batch_statistics(rows, summing_dtype(rows)) for rows, _ in seen]
        whole = of_all(parts, working_dtype(first.dtype))
        saved = [save(True, shape, None, rows, gamma, beta, whole, eps) for rows, shape in seen]
        ys = [normalize(one, beta, summing_dtype(one.x)) for one in saved]
        new = (None, None) if running is None else move_running(*running, whole, momentum)
    return ys, *new, saved


def sync_backward_train(
    dys: Sequence[Array], saved: Sequence[Saved]
) -> tuple[list[Array], Array | None, Array | None]:
    """Return the gradients of a loss over all ranks by each x, and by gamma and beta.

    The sums of dy and of dy * xhat run over all ranks, (26); dgamma and dbeta are these sums.

    Args:
        dys: per rank, like its x.
        saved: from sync_forward_train; it is not changed.
    Returns:
        dxs: per rank, like its x; dgamma, dbeta: (c,), None where gamma and beta are.
    Raises:
        TypeError, ValueError: dys of another kind, number, shape or dtype, or another saved.
    """
    check_ranks("dys", dys, len(saved))
    for one in saved:
        check_saved(one, Saved, training=True)
    pairs = [
        (seen_as_x(f"dys[{k}]", dy, one), one)
        for k, (dy, one) in enumerate(zip(dys, saved, strict=True))
    ]
    with np.errstate(all="ignore"):
        parts = np.array([gradient_sums(dy, one) for dy, one in pairs])  # (k, 2, c)
        sums = np.array([sum_shards(parts[:, 0]), sum_shards(parts[:, 1])])  # (2, c)
        dgamma, dbeta = parameter_gradients(sums, saved[0])
        sums /= max(1, saved[0].statistics.n)
        return [input_gradient(dy, sums, one) for dy, one in pairs], dgamma, dbeta


def of_all(parts: Sequence[Statistics], dtype: DType) -> Statistics:
    """Return the statistics of the whole batch from those of its parts, (25)."""
    counts = np.array([part.n for part in parts])
    means, variances = (np.array([getattr(p, name) for p in parts]) for name in ("mean", "var"))
    n, *merged = merge_statistics(counts, means, variances)
    mean, var = (a.astype(np.float64) for a in merged)  # which they are
    pivot = np.where(mean * mean > var, mean.astype(dtype), 0.0)
    return Statistics(n, pivot, mean - pivot, var)
