"""The planted errors: for each invariant a wrong batch norm that it must catch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from reference import forms

from ..model.contract import Array
from .kept import answers_by_storage, identity_at_the_start, one_buffer
from .layers import Functions, RecomputesInBackward, SharesItsState
from .masked import Masking, as_none
from .ranks import Sharing, in_parts
from .textbook import Pieces, root_of_sum, sum_of_rows, two_pass_mean, two_pass_variance


def _around(name: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Pieces:
    """Return the right pieces with one function of the contract wrapped."""

    def rewire(functions: Functions) -> Functions:
        return {**functions, name: change(functions[name])}

    return Pieces(rewire=rewire)


def _mean_over_all_channels(x: Array) -> Any:
    return two_pass_mean(x).mean(axis=1, keepdims=True) + np.zeros_like(x[:1])


def _eps_outside_root(var: Array, eps: Any) -> Any:
    return 1 / (np.sqrt(var) + eps)


def _double_output(train: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(x: Array, *args: Any, **kwargs: Any) -> Any:
        y, mean, var, saved = train(x, *args, **kwargs)
        other = np.float32 if y.dtype != x.dtype or x.dtype == np.float64 else np.float64
        return y.astype(other), mean, var, saved

    return wrong


def _other_dtypes(functions: Functions) -> Functions:
    def back(dy: Array, saved: Any) -> Any:
        dx, dgamma, dbeta = functions["backward_train"](dy, saved)
        return dx.astype(np.float32 if dy.dtype == np.float64 else np.float64), dgamma, dbeta

    train = _double_output(functions["forward_train"])
    return {**functions, "forward_train": train, "backward_train": back}


def _counting(train: Callable[..., Any]) -> Callable[..., Any]:
    calls = [0]

    def wrong(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        y, mean, var, saved = train(*args, **kwargs)
        return y + y.dtype.type(calls[0] % 2), mean, var, saved

    return wrong


def _with_running(train: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(x: Array, gamma: Any, beta: Any, rm: Any, rv: Any, **kwargs: Any) -> Any:
        y, mean, var, saved = train(x, gamma, beta, rm, rv, **kwargs)
        if rm is not None and len(y):
            y = y + y.dtype.type(rm[0])
        return y, mean, var, saved

    return wrong


def _writing(train: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(x: Array, *args: Any, **kwargs: Any) -> Any:
        result = train(x, *args, **kwargs)
        x += 1
        return result

    return wrong


def _updating_first(train: Callable[..., Any]) -> Callable[..., Any]:
    """Read gamma and beta after the running statistics were updated where they lie."""

    def wrong(x: Array, gamma: Any, beta: Any, rm: Any, rv: Any, **kwargs: Any) -> Any:
        y, mean, var, saved = train(x, gamma, beta, rm, rv, **kwargs)
        new = {id(rm): mean, id(rv): var}
        if rm is not None and {id(gamma), id(beta)} & new.keys():
            late = new.get(id(gamma), gamma), new.get(id(beta), beta)
            y, _, _, saved = train(x, *late, rm, rv, **kwargs)
        return y, mean, var, saved

    return wrong


def _start_twice(train: Callable[..., Any]) -> Callable[..., Any]:
    """Add the start to a running variance that was at it, in mean and variance."""

    def wrong(x: Array, gamma: Any, beta: Any, rm: Any, rv: Any, **kwargs: Any) -> Any:
        y, mean, var, saved = train(x, gamma, beta, rm, rv, **kwargs)
        fresh = rm is not None and not np.any(rm) and np.all(rv == 1)
        return y, mean, (var + rv if fresh else var), saved

    return wrong


def _nan_to_zero(train: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(x: Array, *args: Any, **kwargs: Any) -> Any:
        y, mean, var, saved = train(x, *args, **kwargs)
        return np.nan_to_num(y), mean, var, saved

    return wrong


def _zero_without_gamma(train: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(x: Array, gamma: Any, *args: Any, **kwargs: Any) -> Any:
        y, mean, var, saved = train(x, gamma, *args, **kwargs)
        return (y * 0 if gamma is None else y), mean, var, saved

    return wrong


def _uncentered_without_state(train: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(x: Array, gamma: Any, beta: Any, rm: Any, rv: Any, **kwargs: Any) -> Any:
        y, mean, var, saved = train(x, gamma, beta, rm, rv, **kwargs)
        return (y + 1 if rm is None else y), mean, var, saved

    return wrong


def _nan_when(condition: Callable[[Array], bool]) -> Callable[..., Callable[..., Any]]:
    def change(train: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(x: Array, *args: Any, **kwargs: Any) -> Any:
            y, mean, var, saved = train(x, *args, **kwargs)
            return y, mean, (var * np.nan if var is not None and condition(x) else var), saved

        return wrong

    return change


def _forgetful(forward: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(x: Array, *args: Any, **kwargs: Any) -> Any:
        """Leave the rows from 1024 on as they came."""
        y, *rest = forward(x, *args, **kwargs)
        if x.ndim == 2:
            y = y.copy()
            y[1024:] = x[1024:]
        else:
            y = np.ascontiguousarray(y)
            y.reshape(-1)[1024:] = np.ascontiguousarray(x).reshape(-1)[1024:]
        return y, *rest

    return wrong


def _own_state(train: Callable[..., Any]) -> Callable[..., Any]:
    held: dict[tuple[int, ...], Any] = {}

    def wrong(x: Array, gamma: Any, beta: Any, rm: Any, rv: Any, **kwargs: Any) -> Any:
        if rm is not None:
            rm, rv = held.get(rm.shape, (rm, rv))
        y, mean, var, saved = train(x, gamma, beta, rm, rv, **kwargs)
        if rm is not None:
            held[rm.shape] = (mean, var)
        return y, mean, var, saved

    return wrong


def _updating(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(x: Array, gamma: Any, beta: Any, rm: Array, rv: Array, **kwargs: Any) -> Any:
        result = evaluate(x, gamma, beta, rm, rv, **kwargs)
        rm += 1
        return result

    return wrong


def _batch_in_eval(functions: Functions) -> Functions:
    def wrong(x: Array, gamma: Any, beta: Any, rm: Any, rv: Any, *, eps: float) -> Any:
        y, _, _, saved = functions["forward_train"](
            x, gamma, beta, None, None, eps=eps, momentum=0.5
        )
        return y, saved

    return {**functions, "forward_eval": wrong}


def _train_backward_in_eval(functions: Functions) -> Functions:
    return {**functions, "backward_eval": functions["backward_train"]}


def _overwriting(backward: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(dy: Array, saved: Any) -> Any:
        result = backward(dy, saved)
        saved.x[...] += 1
        return result

    return wrong


def _one_buffer(functions: Functions) -> Functions:
    last: list[Any] = []

    def train(*args: Any, **kwargs: Any) -> Any:
        y, mean, var, saved = functions["forward_train"](*args, **kwargs)
        last[:] = [saved]
        return y, mean, var, last

    def back(dy: Array, saved: Any) -> Any:
        held = saved[0]
        x = np.resize(held.x, (dy.size // held.mean.size, held.mean.size))
        return functions["backward_train"](dy, replace(held, x=x))

    def keep_first(name: str) -> Callable[..., Any]:
        return lambda *args: functions[name](*args[:-1], args[-1][0])

    others = {name: keep_first(name) for name in ("jvp_train", "double_backward_train")}
    return {**functions, "forward_train": train, "backward_train": back, **others}


def _c_order(functions: Functions) -> Functions:
    def flat(a: Array) -> Any:
        return np.ravel(a, order="K").reshape(a.shape) if a.ndim > 1 else a

    def train(x: Array, *args: Any, **kwargs: Any) -> Any:
        return functions["forward_train"](flat(x), *args, **kwargs)

    def back(dy: Array, saved: Any) -> Any:
        return functions["backward_train"](flat(dy), saved)

    return {**functions, "forward_train": train, "backward_train": back}


def _no_mean_path(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Any:
    n, xhat = x.shape[0], (x - mean) * rstd
    return gamma * rstd * (dy - xhat * (dy * xhat).sum(axis=0, keepdims=True) / n)


def _no_variance_path(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Any:
    return gamma * rstd * (dy - dy.sum(axis=0, keepdims=True) / x.shape[0])


def _first_row_path(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Any:
    n, xhat = x.shape[0], (x - mean) * rstd
    return gamma * rstd * (dy - dy[:1] - xhat * (dy * xhat).sum(axis=0, keepdims=True) / n)


def _first_rows_alone(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Any:
    """Take the means of the first 1024 rows for those of all."""
    n, some = x.dtype.type(min(len(x), 1024)), slice(0, 1024)
    xhat = (x - mean) * rstd
    along = (dy[some] * xhat[some]).sum(axis=0, keepdims=True) / n
    return gamma * rstd * (dy - dy[some].sum(axis=0, keepdims=True) / n - xhat * along)


def _clipped(dy: Array, *rest: Any) -> Any:
    return forms.input_gradient_means(np.clip(dy, -1, 1), *rest)


def _without_gamma(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Any:
    return forms.input_gradient_means(dy, x, np.ones_like(rstd), mean, rstd)


def _too_large(dy: Array, *rest: Any) -> Any:
    return forms.input_gradient_means(dy, *rest) * np.float32(1.001)


def _second_without_variance(
    ddx: Array, ddgamma: Any, dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array
) -> Any:
    xhat, n = (x - mean) * rstd, x.shape[0]
    p, q = (ddx * xhat).sum(0, keepdims=True) / n, (dy * xhat).sum(0, keepdims=True) / n
    right = forms.second_by_x(ddx, ddgamma, dy, x, gamma, mean, rstd)
    return right - 2 * p * q * xhat * gamma * rstd * rstd


def _mean_of_variances(counts: Array, means: Array, variances: Array) -> Any:
    used = counts > 0
    w = (counts[used] / counts.sum()).astype(means.dtype)[:, None]
    return counts.sum(), (w * means[used]).sum(axis=0), (w * variances[used]).sum(axis=0)


def _mean_of_means(counts: Array, sums_dy: Array, sums_dy_xhat: Array) -> Any:
    used = counts > 0
    w = counts[used, None].astype(sums_dy.dtype)
    return counts.sum(), (sums_dy[used] / w).mean(axis=0), (sums_dy_xhat[used] / w).mean(axis=0)


def _unscaled_bias(
    weight: Array, bias: Any, scale: Array, shift: Array, transposed: bool, groups: int
) -> Any:
    right, _ = Pieces().fold(weight, bias, scale, shift, transposed, groups)
    return right, shift if bias is None else bias + shift


def _over_n_minus_1(x: Array) -> Any:
    return x.sum(axis=0, keepdims=True) / max(x.shape[0] - 1, 1)


def _backward_moves_the_statistics(functions: Functions) -> Functions:
    """Let the backward average into the running statistics that the forward returned."""

    def forward(x: Array, *args: Any, **options: Any) -> Any:
        y, mean, var, saved = functions["forward_train"](x, *args, **options)
        return y, mean, var, (saved, mean, var)

    def backward(dy: Array, saved: Any) -> Any:
        inner, mean, var = saved
        for a in (mean, var):
            if a is not None:
                a += 1
        return functions["backward_train"](dy, inner)

    second = {
        name: lambda *args, name=name: functions[name](*args[:-1], args[-1][0])
        for name in ("jvp_train", "double_backward_train")
    }
    return {**functions, **second, "forward_train": forward, "backward_train": backward}


def with_divisor(pieces: Pieces, n: int) -> Pieces:
    """Return pieces that sum over the values and divide by this number, whatever theirs is."""

    def mean(x: Array) -> Any:
        return sum_of_rows(x) / x.dtype.type(n)

    def variance(x: Array, mean: Array) -> Any:
        return sum_of_rows((x - mean) * (x - mean)) / x.dtype.type(n)

    return replace(pieces, mean=mean, variance=variance)


def _padded_running_variance(pieces: Pieces, places: int) -> Pieces:
    """Return pieces whose running variance alone is divided by all places there are."""

    def running_variance(var: Array, n: int, convention: str, eps: Any) -> Any:
        return pieces.running_variance(var * var.dtype.type(n / places), n, convention, eps)

    return replace(pieces, running_variance=running_variance)


def _nan_of_nothing(pieces: Pieces, places: int) -> Pieces:
    """Return pieces whose running variance is NaN where nothing is kept."""
    wrong = _around("forward_train", _nan_when(lambda x: x.size == 0))
    return replace(pieces, rewire=wrong.rewire)


def _averaged_statistics(pieces: Pieces, sizes: list[int]) -> Pieces:
    """Return pieces that average the ranks' own means and variances, however many values each has.

    Of equal ranks the mean is right, and the variance lacks that of the means.
    """

    def averaged(statistic: Callable[..., Any], x: Array) -> Any:
        return np.mean([statistic(part) for (part,) in in_parts(sizes, x)], axis=0)

    return replace(
        pieces,
        mean=lambda x: averaged(two_pass_mean, x),
        variance=lambda x, mean: averaged(lambda p: two_pass_variance(p, two_pass_mean(p)), x),
    )


def _sums_of_each_rank(pieces: Pieces, sizes: list[int]) -> Pieces:
    """Return pieces whose dx takes the means of its own rank."""

    def input_gradient(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Any:
        parts = in_parts(sizes, dy, x)
        return np.concatenate([pieces.input_gradient(*p, gamma, mean, rstd) for p in parts])

    return replace(pieces, input_gradient=input_gradient)


def _parameters_of_the_first_rank(pieces: Pieces, sizes: list[int]) -> Pieces:
    """Return pieces whose dgamma and dbeta are sums over the first rank that has values."""

    def gamma_gradient(dy: Array, x: Array, mean: Array, rstd: Array) -> Any:
        return pieces.gamma_gradient(*in_parts(sizes, dy, x)[0], mean, rstd)

    def beta_gradient(dy: Array) -> Any:
        return pieces.beta_gradient(*in_parts(sizes, dy)[0])

    return replace(pieces, gamma_gradient=gamma_gradient, beta_gradient=beta_gradient)


PLANTED: dict[str, Pieces] = {
    "answers_kept_by_storage": Pieces(rewire=answers_by_storage),
    "hands_out_one_buffer": Pieces(rewire=one_buffer),
    "identity_at_the_initial_state": Pieces(rewire=identity_at_the_start),
    "backward_moves_the_statistics": Pieces(rewire=_backward_moves_the_statistics),
    "layer_recomputes_in_backward": Pieces(layer=RecomputesInBackward),
    "layer_shares_its_state": Pieces(layer=SharesItsState),
    "mean_divides_by_n_minus_1": Pieces(mean=_over_n_minus_1),
    "mean_too_large": Pieces(mean=lambda x: two_pass_mean(x) * x.dtype.type(1.001)),
    "mean_over_all_channels": Pieces(mean=_mean_over_all_channels),
    "first_row_left_out_of_mean": Pieces(mean=lambda x: two_pass_mean(x[1:] if len(x) > 1 else x)),
    "variance_divides_by_n_minus_1": Pieces(
        variance=lambda x, mean: (
            two_pass_variance(x, mean) * x.dtype.type(len(x) / max(len(x) - 1, 1))
        )
    ),
    "eps_outside_root": Pieces(rstd=_eps_outside_root),
    "eps_is_constant": Pieces(rstd=lambda var, eps: root_of_sum(var, var.dtype.type(1e-3))),
    "beta_scaled_by_gamma": Pieces(
        output=lambda x, gamma, beta, mean, rstd: ((x - mean) * rstd + beta) * gamma
    ),
    "returns_another_dtype": Pieces(rewire=_other_dtypes),
    "counts_its_calls": _around("forward_train", _counting),
    "normalizes_with_running_statistics": _around("forward_train", _with_running),
    "writes_into_x": _around("forward_train", _writing),
    "updates_state_before_it_reads_gamma": _around("forward_train", _updating_first),
    "nan_becomes_zero": _around("forward_train", _nan_to_zero),
    "missing_gamma_is_zero": _around("forward_train", _zero_without_gamma),
    "untracked_output_is_not_centered": _around("forward_train", _uncentered_without_state),
    "rows_beyond_1024_left_out": _around("forward_train", _forgetful),
    "momentum_swapped": Pieces(average=lambda old, new, keep, rest: rest * old + keep * new),
    "running_mean_adds_up": Pieces(average=lambda old, new, keep, rest: old + rest * new),
    "keeps_its_own_state": _around("forward_train", _own_state),
    "running_variance_holds_eps": Pieces(
        running_variance=lambda var, n, convention, eps: var + eps
    ),
    "unbiased_variance_of_one_value_is_nan": _around(
        "forward_train", _nan_when(lambda x: x.size == x.shape[1])
    ),
    "empty_batch_gives_nan": _around("forward_train", _nan_when(lambda x: x.size == 0)),
    "running_variance_starts_at_zero": Pieces(initial_var=0.0),
    "fresh_variance_counts_its_start_twice": _around("forward_train", _start_twice),
    "eval_leaves_rows_beyond_1024": _around("forward_eval", _forgetful),
    "eval_updates_running_statistics": _around("forward_eval", _updating),
    "eval_eps_outside_root": Pieces(eval_rstd=_eps_outside_root),
    "eval_uses_batch_statistics": Pieces(rewire=_batch_in_eval),
    "eval_without_eps": Pieces(eval_rstd=lambda var, eps: root_of_sum(var, 0 * eps)),
    "eval_backward_as_in_training": Pieces(rewire=_train_backward_in_eval),
    "fold_leaves_bias_unscaled": Pieces(fold=_unscaled_bias),
    "dx_is_0.1_percent_too_large": Pieces(input_gradient=_too_large),
    "mean_path_missing": Pieces(input_gradient=_no_mean_path),
    "mean_path_takes_first_row": Pieces(input_gradient=_first_row_path),
    "gradient_means_of_1024_rows": Pieces(
        input_gradient=_first_rows_alone,
        gamma_gradient=lambda dy, x, mean, rstd: forms.gamma_gradient_direct(
            dy[:1024], x[:1024], mean, rstd
        ),
        beta_gradient=lambda dy: sum_of_rows(dy[:1024]),
    ),
    "variance_path_missing": Pieces(input_gradient=_no_variance_path),
    "gamma_missing_in_dx": Pieces(input_gradient=_without_gamma),
    "dx_is_clipped": Pieces(input_gradient=_clipped),
    "rstd_squared_in_dx": Pieces(
        input_gradient=lambda dy, x, gamma, mean, rstd: (
            rstd * forms.input_gradient_means(dy, x, gamma, mean, rstd)
        )
    ),
    "dgamma_without_rstd": Pieces(
        gamma_gradient=lambda dy, x, mean, rstd: (dy * (x - mean)).sum(axis=0, keepdims=True)
    ),
    "dbeta_is_a_mean": Pieces(beta_gradient=lambda dy: dy.mean(axis=0, keepdims=True)),
    "backward_overwrites_saved": _around("backward_train", _overwriting),
    "next_forward_overwrites_saved": Pieces(rewire=_one_buffer),
    "assumes_c_order": Pieces(rewire=_c_order),
    "tangent_ignores_mean": Pieces(tangent=_no_mean_path),
    "double_backward_ignores_variance": Pieces(second_by_x=_second_without_variance),
    "merged_variance_is_mean_of_variances": Pieces(merge_statistics=_mean_of_variances),
    "merged_gradients_are_mean_of_means": Pieces(merge_gradients=_mean_of_means),
    "ranks_normalize_by_themselves": Pieces(sharing=Sharing(apart=True)),
    "statistics_of_ranks_are_averaged": Pieces(sharing=Sharing(_averaged_statistics)),
    "rank_gradient_sums_are_not_shared": Pieces(sharing=Sharing(_sums_of_each_rank)),
    "first_ranks_parameter_gradients": Pieces(sharing=Sharing(_parameters_of_the_first_rank)),
    "padded_places_are_counted": Pieces(masking=Masking(pieces=with_divisor)),
    "running_variance_over_the_padded_size": Pieces(
        masking=Masking(pieces=_padded_running_variance)
    ),
    "mask_in_forward_only": Pieces(masking=Masking(backward=as_none)),
    "empty_mask_gives_nan": Pieces(masking=Masking(pieces=_nan_of_nothing)),
}

__all__ = ["PLANTED", "with_divisor"]
