"""Forward mode, and the backward of the backward, in training."""

import numpy as np

from . import arguments as check
from .blocks import Array, Term, paired_sums
from .functional import Saved, gradient_sums, rows_like_x, summing_dtype, written, xhat
from .statistics import batch_statistics, working_dtype


def jvp_train(tx: Array | None, tgamma: Array | None, tbeta: Array | None, saved: Saved) -> Array:
    """Return the derivative of y along the direction (tx, tgamma, tbeta), None being zero.

    ty = gamma * rstd * (tx - mean(tx) - xhat * mean(tx * xhat)) + tgamma * xhat + tbeta    (21)

    Args: tx, of the shape and dtype of x; tgamma, tbeta, (c,), of gamma's dtype; saved, from
        forward_train, not changed.
    Returns: ty, like x.
    """
    check.saved(saved, Saved, training=True)
    tx = direction("tx", tx, saved)
    by_xhat = check.parameter("tgamma", tgamma, saved.x, 0.0)
    shift = check.parameter("tbeta", tbeta, saved.x, -0.0)
    with np.errstate(all="ignore"):
        scale, n = saved.gamma * saved.rstd, saved.statistics.n
        sum_tx, sum_tx_xhat = gradient_sums(tx, saved)  # (c,) each
        by_xhat -= scale * sum_tx_xhat / n
        terms = [Term(tx, None, sum_tx / n, scale), xhat(saved, by_xhat)]
        return written(terms, shift, saved)  # (21)


def double_backward_train(
    ddx: Array | None, ddgamma: Array | None, ddbeta: Array | None, dy: Array, saved: Saved
) -> tuple[Array, Array | None, Array]:
    """Return the gradients of L = <ddx, dx> + <ddgamma, dgamma> + <ddbeta, dbeta>.

    With p = mean(ddx * xhat), q = mean(dy * xhat), a = mean(ddx * dy) - mean(ddx) * mean(dy):

    by dy: gamma rstd (ddx - mean(ddx) - xhat p) + ddgamma xhat + ddbeta                   (22)
    by gamma: n rstd (a - p q)                                                             (23)
    by x: -gamma rstd^2 (xhat (a - 3 p q) + q (ddx - mean(ddx)) + p (dy - mean(dy)))
          + ddgamma rstd (dy - mean(dy) - xhat q)                                          (24)

    Args: ddx, of the shape and dtype of x; ddgamma, ddbeta, (c,), of gamma's dtype; None is zero.
        dy, as given to backward_train; saved, from forward_train, not changed.
    Returns: the gradients by x (like x), by gamma (like it, None where it is) and by dy (like x).
    """
    check.saved(saved, Saved, training=True)
    of_ddx, dy = direction("ddx", ddx, saved), rows_like_x("dy", dy, saved)
    of_ddgamma = check.parameter("ddgamma", ddgamma, saved.x, 0.0)
    check.parameter("ddbeta", ddbeta, saved.x, 0.0)
    by_dy = jvp_train(ddx, ddgamma, ddbeta, saved)  # (22), backward being its own transpose
    with np.errstate(all="ignore"):
        rstd, n, dtype = saved.rstd, max(1, saved.statistics.n), summing_dtype(dy)
        centre, q = batch_statistics(dy, dtype), gradient_sums(dy, saved)[1] / n  # (c,)
        mean_ddx, p = gradient_sums(of_ddx, saved) / n  # (c,) each
        product = paired_sums(dy, centre.pivot, of_ddx, dtype)[1] / n  # (c,)
        a = product - mean_ddx * centre.rest  # dy far from zero cancels before it is summed
        factor, turned = saved.gamma * rstd**2, rstd * of_ddgamma
        terms = [
            Term(of_ddx, None, mean_ddx, -factor * q),
            Term(dy, centre.pivot, centre.rest, turned - factor * p),
            xhat(saved, -turned * q - factor * (a - 3 * p * q)),
        ]
        by_x = written(terms, None, saved)  # (24)
        by_gamma = (n * rstd * (a - p * q)).astype(working_dtype(saved.x.dtype))  # (c,) (23)
    return by_x, by_gamma if saved.given[0] else None, by_dy


def direction(name: str, value: Array | None, saved: Saved) -> Array:
    """See a direction as x was, zeros for None."""
    return np.zeros_like(saved.x) if value is None else rows_like_x(name, value, saved)
