"""Forward mode, and the backward of the backward, in training."""

import numpy as np

from .arguments import check_saved, check_vector
from .blocks import Array, Term, combine, paired_sums
from .functional import (
    Saved,
    gradient_sums,
    like_x,
    seen_as_x,
    spread,
    summing_dtype,
    xhat_term,
)
from .statistics import batch_statistics


def jvp_train(tx: Array | None, tgamma: Array | None, tbeta: Array | None, saved: Saved) -> Array:
    """Return the derivative of y along the direction (tx, tgamma, tbeta), None being zero.

    ty = gamma * rstd * (tx - mean(tx) - xhat * mean(tx * xhat)) + tgamma * xhat + tbeta    (21)

    Args:
        tx: of the shape and dtype of x.
        tgamma, tbeta: (c,), of gamma's dtype.
        saved: from forward_train; it is not changed.
    Returns:
        ty: like x.
    Raises:
        TypeError, ValueError: an argument of another kind, shape or dtype.
    """
    check_saved(saved, Saved, training=True)
    return along("t", tx, tgamma, tbeta, saved)


def along(
    prefix: str, tx: Array | None, tgamma: Array | None, tbeta: Array | None, saved: Saved
) -> Array:
    """Return (21), which is (22) too, since backward is linear in dy and its own transpose."""
    tgamma = check_vector(f"{prefix}gamma", tgamma, saved.x)
    tbeta = check_vector(f"{prefix}beta", tbeta, saved.x)
    with np.errstate(all="ignore"):
        scale, n = saved.gamma * saved.rstd, saved.statistics.n
        by_xhat = np.zeros_like(scale) if tgamma is None else tgamma.astype(np.float64)
        terms = []
        if tx is not None:
            tx = seen_as_x(f"{prefix}x", tx, saved)
            sum_tx, sum_tx_xhat = gradient_sums(tx, saved)  # (c,) each
            terms.append(Term(tx, None, sum_tx / n, scale))
            by_xhat = by_xhat - scale * sum_tx_xhat / n
        terms.append(xhat_term(saved, by_xhat))
        constant = None if tbeta is None else tbeta.astype(np.float64)
        ty = combine(terms, constant, like_x(saved), summing_dtype(saved.x))  # (21) (22)
    return spread(ty, saved)


def double_backward_train(
    ddx: Array | None, ddgamma: Array | None, ddbeta: Array | None, dy: Array, saved: Saved
) -> tuple[Array, Array | None, Array]:
    """Return the gradients of L = <ddx, dx> + <ddgamma, dgamma> + <ddbeta, dbeta>.

    With p = mean(ddx * xhat), q = mean(dy * xhat), a = mean(ddx * dy) - mean(ddx) * mean(dy):

    by dy: gamma rstd (ddx - mean(ddx) - xhat p) + ddgamma xhat + ddbeta                   (22)
    by gamma: n rstd (a - p q)                                                             (23)
    by x: -gamma rstd^2 (xhat (a - 3 p q) + q (ddx - mean(ddx)) + p (dy - mean(dy)))
          + ddgamma rstd (dy - mean(dy) - xhat q)                                          (24)

    Args:
        ddx: of the shape and dtype of x; ddgamma, ddbeta: (c,), of gamma's dtype; None is zero.
        dy: as given to backward_train.
        saved: from forward_train; it is not changed.
    Returns:
        the gradients by x (like x), by gamma ((c,), None where gamma is) and by dy (like x).
    Raises:
        TypeError, ValueError: an argument of another kind, shape or dtype.
    """
    check_saved(saved, Saved, training=True)
    by_dy = along("dd", ddx, ddgamma, ddbeta, saved)  # (22)
    dy = seen_as_x("dy", dy, saved)
    with np.errstate(all="ignore"):
        rstd, n = saved.rstd, max(1, saved.statistics.n)
        centre, q = batch_statistics(dy, summing_dtype(dy)), gradient_sums(dy, saved)[1] / n  # (c,)
        by_dy_scale = rstd * (0.0 if ddgamma is None else ddgamma.astype(np.float64))  # (c,)
        by_xhat, by_gamma, terms = -by_dy_scale * q, np.zeros_like(rstd), []
        if ddx is not None:
            ddx = seen_as_x("ddx", ddx, saved)
            mean_ddx, p = np.divide(gradient_sums(ddx, saved), n)  # (c,) each
            product = paired_sums(dy, centre.pivot, ddx, summing_dtype(dy))[1] / n  # (c,)
            a = product - mean_ddx * centre.rest  # dy far from zero cancels before it is summed
            factor = saved.gamma * rstd**2
            terms.append(Term(ddx, None, mean_ddx, -factor * q))
            by_dy_scale = by_dy_scale - factor * p
            by_xhat = by_xhat - factor * (a - 3 * p * q)
            by_gamma = n * rstd * (a - p * q)  # (c,) (23)
        terms += [Term(dy, centre.pivot, centre.rest, by_dy_scale), xhat_term(saved, by_xhat)]
        by_x = combine(terms, None, like_x(saved), summing_dtype(dy))  # (24)
        kept = None if saved.gamma_dtype is None else by_gamma.astype(saved.gamma_dtype)
    return spread(by_x, saved), kept, by_dy
