"""What the probe finds out: each value of each answer from an implementation made to have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from properties.bugs.wrong_precision import WRONG_PRECISION
from properties.bugs.wrong_state import WRONG_STATE
from properties.model.contract import Conventions, Target
from properties.plants.forms import RIGHT_FORMS
from properties.plants.planted import PLANTED
from properties.plants.textbook import (
    Functions,
    Pieces,
    implementation,
    root_of_sum,
    two_pass_mean,
    two_pass_variance,
)
from properties.probe import accuracy, exactness
from properties.probe.answers import Answer, chosen, merged, narrowest
from properties.probe.arithmetic import computed_in, statistics_dtype
from properties.probe.averages import averages, initial
from properties.probe.behaviour import behaviour
from properties.probe.determinism import same_again
from properties.probe.eps import eps_answer, shortest
from properties.probe.fresh import fresh
from properties.probe.inference import normalized_by, running_in_inference
from properties.probe.structure import statistics
from properties.probe.subject import Probing
from properties.probe.variance_method import method
from properties.run.causes import known
from properties.targets.offers import probed
from properties.targets.open import loaded

# what a target warns of is its own affair
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def made(pieces: Pieces | None = None, **conventions: Any) -> Target:
    """Return an implementation that states none of its conventions, as the probe finds it."""
    whole = replace(Conventions(), **conventions)
    functions = implementation(pieces or Pieces(), whole, "made").functions
    return probed("made", functions, {"dtypes": list(whole.dtypes), "ndim": list(whole.ndim)})


def around(name: str, wrap: Callable[..., Any]) -> Pieces:
    """Return the right pieces with one function of the contract wrapped."""

    def rewire(functions: Functions) -> Functions:
        inner = functions[name]
        return {**functions, name: lambda *a, **k: wrap(inner, *a, **k)}

    return Pieces(rewire=rewire)


def by_question(answers: list[Answer]) -> dict[str, Answer]:
    return {answer.question: answer for answer in answers}


# --- how running statistics are averaged ---------------------------------------------------------


def counting(share: Callable[[int, Any, Any], Any]) -> Callable[..., Any]:
    """Return an average whose share of the batch depends on the count of the call."""
    calls = [0]

    def average(old: Any, new: Any, keep: Any, rest: Any) -> Any:
        calls[0] += 1  # twice a call: mean and variance
        s = share((calls[0] + 1) // 2, keep, rest)
        return (1 - s) * old + s * new

    return average


def cumulative(k: int, keep: Any, rest: Any) -> Any:
    return type(keep)(1) / type(keep)(k)


def corrected(k: int, keep: Any, rest: Any) -> Any:
    return rest / (1 - keep**k)


AVERAGES: list[tuple[str, Callable[[], Target], tuple[str, str, str]]] = [
    ("keep", made, ("keep", "no", "no")),
    ("update", lambda: made(momentum="update"), ("update", "no", "no")),
    ("1/k", lambda: made(Pieces(average=counting(cumulative))),
     ("ignored (cumulative)", "yes", "no")),
    ("Adam's", lambda: made(Pieces(average=counting(corrected))), ("keep", "no", "yes")),
    ("Adam's, update", lambda: made(Pieces(average=counting(corrected)), momentum="update"),
     ("update", "no", "yes")),
    ("the last batch", lambda: made(Pieces(average=lambda old, new, keep, rest: new)),
     ("ignored (the batch alone)", "no", "no")),
    ("frozen", lambda: made(Pieces(average=lambda old, new, keep, rest: old.copy())),
     ("ignored (never changed)", "no", "no")),
    ("a sum", lambda: made(Pieces(average=lambda old, new, keep, rest: old + keep * new)),
     ("adds", "no", "no")),
]  # fmt: skip


@pytest.mark.parametrize(("make", "want"), [row[1:] for row in AVERAGES],
                         ids=[row[0] for row in AVERAGES])  # fmt: skip
def test_every_average_is_recognised(make: Callable[[], Target], want: tuple[str, ...]) -> None:
    """Direction of momentum, cumulative or not, corrected or not: each with one hypothesis."""
    found = by_question(averages(Probing(make())))
    questions = ("momentum", "cumulative average", "bias correction")
    assert [found[q].verdict for q in questions] == ["found"] * 3
    assert tuple(found[q].value for q in questions) == want
    fits = [name for name, ratio in found["momentum"].evidence.items() if ratio <= 1]
    assert len(fits) == 1, "two averages within their radius"


def test_an_average_of_no_kind_fits_none() -> None:
    """Weights that no hypothesis has are given in numbers, and the divisor stays open."""
    odd = Pieces(average=lambda old, new, keep, rest: keep * keep * old + (1 - keep * keep) * new)
    found = by_question(averages(Probing(made(odd))))
    assert found["momentum"].verdict == found["bias correction"].verdict == "fits none"
    old, new = found["momentum"].numbers["old_and_new_weights"]["momentum=0.25"]
    assert old == pytest.approx(1 / 16) and new == pytest.approx(15 / 16)
    assert found["running_var"].verdict == "cannot tell"


DIVISORS = {
    "biased": made,
    "unbiased": lambda: made(running_var="unbiased"),
    "biased, with eps in it": lambda: made(
        Pieces(running_variance=lambda var, n, convention, eps: var + eps)
    ),
    "the standard deviation": lambda: made(
        Pieces(running_variance=lambda var, n, convention, eps: np.sqrt(var))
    ),
}


@pytest.mark.parametrize("want", DIVISORS)
def test_every_divisor_is_recognised(want: str) -> None:
    """Biased, unbiased, with eps in it, a deviation: read from the running variance."""
    found = by_question(averages(Probing(DIVISORS[want]())))["running_var"]
    assert (found.verdict, found.value) == ("found", want)


def test_a_mean_of_squares_in_place_of_a_variance_is_recognised() -> None:
    """A running second moment about zero is none of the variances."""

    def forward_train(inner: Any, x: Any, g: Any, b: Any, rm: Any, rv: Any, **o: Any) -> Any:
        y, mean, var, saved = inner(x, g, b, rm, rv, **o)
        if x.ndim > 2 or var is None:
            return y, mean, var, saved
        batch = (x * x).mean(axis=0, dtype=np.float64)
        return y, mean, (o["momentum"] * rv + (1 - o["momentum"]) * batch).astype(rv.dtype), saved

    target = made(around("forward_train", forward_train), ndim=(2,))
    assert by_question(averages(Probing(target)))["running_var"].value == "mean of squares"


def test_another_divisor_fits_none() -> None:
    """A divisor of n + 1 is outside every radius, and the numbers are given."""
    odd = Pieces(running_variance=lambda var, n, convention, eps: var * var.dtype.type(n / (n + 1)))
    found = by_question(averages(Probing(made(odd))))["running_var"]
    assert found.verdict == "fits none" and "biased" in found.sure
    assert len(found.numbers["new_running_var"]) == 8


def test_a_divisor_that_depends_on_the_rank_is_said_by_rank() -> None:
    """An answer that changes with the rank is no answer, and says which holds where."""
    target = made(WRONG_STATE["running_variance_is_unbiased_in_rank_4"])
    found = by_question(averages(Probing(target)))["running_var"]
    assert found.verdict == "differs"
    assert "unbiased (rank 4)" in found.value and "biased (rank 2" in found.value


def test_initial_statistics_are_what_is_returned() -> None:
    """A fresh layer's mean and variance, and that there is none to ask."""
    assert initial(Probing(made())).value == "mean 0, variance 1"
    assert initial(Probing(made(Pieces(initial_var=0.0)))).value == "mean 0, variance 0"
    functions = {k: f for k, f in made().functions.items() if k != "initial_state"}
    assert initial(Probing(probed("made", functions, {}))).verdict == "not offered"


# --- eps -----------------------------------------------------------------------------------------

PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "inside the root, as passed": root_of_sum,
    "outside the root, as passed": lambda v, e: 1 / (np.sqrt(v) + e),
    "maximum of variance and eps, as passed": lambda v, e: 1 / np.sqrt(np.maximum(v, e)),
    "floor of the standard deviation, as passed": lambda v, e: 1 / np.maximum(np.sqrt(v), e),
    "squared, inside the root, as passed": lambda v, e: 1 / np.sqrt(v + e * e),
    "ignored": lambda v, e: 1 / np.sqrt(v),
    "inside the root, fixed at 1e-05": lambda v, e: root_of_sum(v, v.dtype.type(1e-5)),
    "inside the root, fixed at 0.001": lambda v, e: root_of_sum(v, v.dtype.type(1e-3)),
    "inside the root, fixed at 1e-12": lambda v, e: root_of_sum(v, v.dtype.type(1e-12)),
    "outside the root, fixed at 0.001": lambda v, e: 1 / (np.sqrt(v) + v.dtype.type(1e-3)),
    "maximum of variance and eps, fixed at 1e-07": lambda v, e: (
        1 / np.sqrt(np.maximum(v, v.dtype.type(1e-7)))
    ),
    "inside the root, as passed but at least 1e-05": lambda v, e: root_of_sum(
        v, np.maximum(e, v.dtype.type(1e-5))
    ),
}


@pytest.mark.parametrize("dtypes", [("float64",), ("float32",)])
@pytest.mark.parametrize("want", PLACES)
def test_every_place_of_eps_is_recognised(want: str, dtypes: tuple[str, ...]) -> None:
    """Inside, outside, maximum, floor, ignored; passed, fixed or raised: in either mode."""
    form = PLACES[want]
    p = Probing(made(Pieces(rstd=form, eval_rstd=form), dtypes=dtypes))
    for mode in ("training", "inference"):
        found = eps_answer(p, mode)
        assert (found.verdict, found.value) == ("found", want)
        assert sum(ratio <= 1 for ratio in found.evidence.values()) == 1


def test_eps_in_training_and_in_inference_are_two_questions() -> None:
    """An eps that only inference forgets is seen in inference alone."""
    p = Probing(made(PLANTED["eval_without_eps"]))
    assert eps_answer(p, "training").value == "inside the root, as passed"
    assert eps_answer(p, "inference").value == "ignored"


def test_an_eps_of_no_kind_fits_none_or_differs() -> None:
    """Another power fits none, with rstd in numbers; twice the passed one differs by what is."""
    odd = Pieces(rstd=lambda v, e: 1 / (v + e) ** 0.4)
    found = eps_answer(Probing(made(odd)), "training")
    assert found.verdict == "fits none" and len(found.numbers["rstd"]) > 30
    twice = eps_answer(Probing(made(Pieces(rstd=lambda v, e: root_of_sum(v, 2 * e)))), "training")
    assert twice.verdict == "differs"
    assert "inside the root, fixed at 0.125 where 0.0625 is passed" in twice.value


@pytest.mark.parametrize(
    ("low", "high", "want"),
    [(0.9e-5, 1.1e-5, 1e-5), (0.00099999, 0.00100001, 1e-3), (0.123455, 0.123465, 0.12346),
     (2.0**-30, 2.0**-30, 2.0**-30)],
)  # fmt: skip
def test_the_shortest_decimal_is_taken(low: float, high: float, want: float) -> None:
    """A fixed eps is the number of fewest digits that the radius admits."""
    assert shortest(low, high) == want


# --- what a statistic belongs to -----------------------------------------------------------------


def channels_last(functions: Functions) -> Functions:
    """Return the functions with the channels of x and y on the last axis."""

    def forward_train(x: Any, *args: Any, **options: Any) -> Any:
        y, *rest = functions["forward_train"](np.moveaxis(x, -1, 1), *args, **options)
        return np.moveaxis(y, 1, -1), *rest

    return {"forward_train": forward_train}


def normalizing(axes: Callable[[int], tuple[int, ...]]) -> Functions:
    """Return another normalization, over these axes of x."""

    def forward_train(x: Any, gamma: Any, beta: Any, rm: Any, rv: Any, **options: Any) -> Any:
        t = x.astype(np.float64)
        where = axes(x.ndim)
        mean, var = t.mean(where, keepdims=True), t.var(where, keepdims=True)
        return ((t - mean) / np.sqrt(var + options["eps"])).astype(x.dtype), rm, rv, None

    return {"forward_train": forward_train}


def right(**conventions: Any) -> Functions:
    whole = replace(Conventions(), **conventions)
    return dict(implementation(Pieces(), whole, "made").functions)


STATISTICS: dict[str, tuple[Functions, str, str]] = {
    "per channel": (right(), "per channel", "1"),
    "channels last": (channels_last(right()), "per channel", "-1"),
    "per activation": (right(statistics="per_activation"), "per activation", "none"),
    "instance": (normalizing(lambda d: tuple(range(2, d))), "per sample and channel", "none"),
    "layer": (normalizing(lambda d: tuple(range(1, d))), "per sample", "none"),
    "all": (normalizing(lambda d: tuple(range(d))), "over all values", "none"),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_what_a_statistic_belongs_to_is_recognised(name: str) -> None:
    """Channel on either axis or activation; other normalizations are called by what they are."""
    functions, kind, axis = STATISTICS[name]
    found = by_question(statistics(Probing(probed("made", functions, {}))))
    assert found["statistics"].verdict == "found"
    assert found["statistics"].value == kind
    assert found["channel axis"].value.partition(":")[0] == axis


def test_statistics_of_no_kind_fit_none() -> None:
    """Statistics of every other channel are none of the hypotheses."""
    found = by_question(statistics(Probing(made(PLANTED["mean_over_all_channels"]))))
    assert found["statistics"].verdict == "fits none"


def test_rank_two_alone_leaves_the_axis_open() -> None:
    """Without spatial axes all readings agree, and none is claimed."""
    answers = statistics(Probing(made(ndim=(2,))))
    assert {a.verdict for a in answers} == {"not offered"}


# --- the arithmetic ------------------------------------------------------------------------------


def rounded_to(narrow: Any, outer: str) -> Callable[[Functions], Functions]:
    """Return a rewiring that computes x of a dtype in a narrower one."""

    def rewire(functions: Functions) -> Functions:
        def inside(f: Any) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                if args[0].dtype != outer:
                    return f(*args, **options)
                given = (a.astype(narrow) if isinstance(a, np.ndarray) else a for a in args)
                got = f(*given, **options)
                return tuple(a.astype(outer) if isinstance(a, np.ndarray) else a for a in got)

            return call

        changed = ("forward_train", "backward_train", "forward_eval", "backward_eval")
        return {name: inside(f) if name in changed else f for name, f in functions.items()}

    return rewire


COMPUTED: list[tuple[str, Pieces, str]] = [
    ("float64", Pieces(), "float64"),
    ("float32", Pieces(), "float32"),
    ("float64", Pieces(rewire=rounded_to(np.float32, "float64")), "float32"),
    ("float32", Pieces(rewire=rounded_to(np.float64, "float32")), "float64"),
]


@pytest.mark.parametrize(("dtype", "pieces", "want"), COMPUTED)
def test_the_dtype_computed_in_is_recognised(dtype: str, pieces: Pieces, want: str) -> None:
    """A float64 that is only float32 inside is told from a real one, and the other way round."""
    found = computed_in(Probing(made(pieces)), dtype, "biased")
    assert (found.verdict, found.value) == ("found", want)


def test_halves_inside_are_recognised() -> None:
    """Mean and deviation rounded to a half show in y of float16, of float32 and of float64."""

    def root(var: Any, eps: Any) -> Any:
        return root_of_sum(var, eps).astype(np.float16).astype(var.dtype)

    def mean(x: Any) -> Any:
        return two_pass_mean(x).astype(np.float16).astype(x.dtype)

    p = Probing(made(Pieces(rstd=root, mean=mean), dtypes=("float64", "float32", "float16")))
    for dtype in ("float64", "float32", "float16"):
        assert computed_in(p, dtype).value == "float16"


def test_a_parameter_gradient_in_a_half_is_recognised() -> None:
    """A dgamma that passes through float16 beside a float16 x is told, and which it is."""

    def narrow(dy: Any, x: Any, mean: Any, rstd: Any) -> Any:
        total = (dy * ((x - mean) * rstd)).sum(axis=0, keepdims=True)
        return total.astype(np.float16).astype(dy.dtype)

    p = Probing(made(Pieces(gamma_gradient=narrow), dtypes=("float16",)))
    found = computed_in(p, "float16")
    assert (found.verdict, found.value) == ("found", "float16")
    assert found.numbers["coarsest"] == "dgamma"


def test_what_is_wrong_says_nothing_of_the_arithmetic() -> None:
    """A tenth too much in y, or n - 1 in dx, is no rounding: the other results decide, if any."""
    tenth = Pieces(output=lambda x, g, b, mean, rstd: (x - mean) * rstd * g * x.dtype.type(1.1) + b)
    found = computed_in(Probing(made(tenth, dtypes=("float64",))), "float64")
    assert (found.verdict, found.value) == ("found", "float64")
    path = known()["variance_path_over_n_minus_1"]
    found = computed_in(Probing(made(path, dtypes=("float64",))), "float64")
    assert (found.verdict, found.value) == ("found", "float64")
    forward = Pieces(variance=lambda x, mean: 2 * two_pass_variance(x, mean))
    found = computed_in(Probing(made(forward, dtypes=("float64",))), "float64", "biased")
    assert (found.value, found.numbers["coarsest"]) == ("float64", "mean"), "the mean is right"
    found = computed_in(Probing(made(forward, dtypes=("float64",))), "float64")
    assert (found.verdict, found.sure) == ("cannot tell", "y, dx, dgamma: wrong in any precision")


def test_the_parts_that_are_narrower_are_named() -> None:
    """The coarsest quantity decides, and the numbers say which it was."""

    def narrow(dy: Any, x: Any, mean: Any, rstd: Any) -> Any:
        total = (dy * (x - mean)).sum(axis=0, keepdims=True) * rstd
        return total.astype(np.float32).astype(dy.dtype)

    found = computed_in(Probing(made(Pieces(gamma_gradient=narrow))), "float64", "biased")
    assert found.value == "float32" and found.numbers["coarsest"] == "dgamma"
    assert found.numbers["by quantity"]["y"] == "float64"


def test_the_dtype_of_the_statistics_is_told_per_dtype() -> None:
    """Halves have float32 statistics beside them."""
    found = statistics_dtype(Probing(made(dtypes=("float32", "float16"))))
    assert found.numbers == {"float32": "float32", "float16": "float32"}


# --- how the variance is computed ----------------------------------------------------------------


def wide(x: Any, mean: Any) -> Any:
    t = x.astype(np.float64)
    return ((t * t).mean(0, keepdims=True) - t.mean(0, keepdims=True) ** 2).astype(x.dtype)


def corrected_two_pass(x: Any, mean: Any) -> Any:
    d = x - mean
    return (d * d).mean(axis=0, keepdims=True) - d.mean(axis=0, keepdims=True) ** 2


def about_the_running_mean(inner: Any, x: Any, g: Any, b: Any, rm: Any, rv: Any, **o: Any) -> Any:
    """Take the running mean for pivot, as some do to need one pass alone."""
    y, mean, var, saved = inner(x, g, b, rm, rv, **o)
    if x.ndim > 2 or rm is None or not len(x):
        return y, mean, var, saved
    d = x - rm
    batch = (d * d).mean(axis=0) - d.mean(axis=0) ** 2
    m = x.dtype.type(o["momentum"])
    return y, mean, m * rv + (1 - m) * batch, saved


METHODS: list[tuple[str, Pieces, str]] = [
    ("two_pass", RIGHT_FORMS["two_pass"], "two passes"),
    ("in order", RIGHT_FORMS["two_pass_in_order"], "two passes"),
    ("pairwise", RIGHT_FORMS["two_pass_pairwise"], "two passes"),
    ("welford", RIGHT_FORMS["welford"], "running update or merged chunks"),
    ("chunks", RIGHT_FORMS["chunked_merge"], "running update or merged chunks"),
    ("first value", RIGHT_FORMS["shifted"], "shifted"),
    ("corrected", Pieces(variance=corrected_two_pass), "shifted"),
    ("one pass", WRONG_PRECISION["one_pass_variance"], "one pass"),
    ("pivot", around("forward_train", about_the_running_mean), "shifted by the running mean"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "pieces", "want"), METHODS, ids=[row[0] for row in METHODS])
def test_every_method_is_recognised(name: str, pieces: Pieces, want: str, dtype: str) -> None:
    """Two passes, one pass, updates and pivots are told by how their error grows, for any seed."""
    target = made(pieces)
    for seed in range(4):
        found = method(Probing(target, seed), dtype, "biased")
        assert (found.verdict, found.value) == ("found", want)


def test_one_pass_in_a_wider_dtype_is_recognised() -> None:
    """In float32 a one-pass variance over float64 sums is told from two passes and from pivots."""
    target = made(Pieces(variance=wide))
    for seed in range(4):
        assert method(Probing(target, seed), "float32", "biased").value == "one pass in float64"
    assert method(Probing(target), "float64", "biased").value == "one pass"


def test_an_unbiased_variance_is_read_as_the_batchs() -> None:
    """The method is found whatever the divisor, if that is known; else the question is open."""
    target = made(running_var="unbiased")
    assert method(Probing(target), "float32", "unbiased").value == "two passes"
    assert method(Probing(target), "float32", "").verdict == "cannot tell"
    assert method(Probing(target), "float32", "biased").verdict == "fits none"


def test_a_method_is_found_in_the_dtype_computed_in() -> None:
    """Of a float64 that is only float32 inside, the method is that of its float32."""
    p = Probing(made(Pieces(rewire=rounded_to(np.float32, "float64"))))
    p.inner["float64"] = computed_in(p, "float64").value
    assert method(p, "float64", "biased").value == "two passes"


def test_what_a_half_cannot_show_is_left_open() -> None:
    """Where the textbook methods agree on this input, the answer names them all."""
    found = method(Probing(made(dtypes=("float16",))), "float16", "biased")
    assert found.verdict == "cannot tell" and "shifted or" in found.value


def test_the_growth_of_the_error_is_given() -> None:
    """The numbers have the error at each mean/sd; that of one pass grows by its square."""
    found = method(Probing(made(WRONG_PRECISION["one_pass_variance"])), "float32", "biased")
    error = dict(found.numbers["growth"])
    assert error[2.0**10] > 2.0**8 * error[2.0**4]


# --- inference -----------------------------------------------------------------------------------


def correcting(what: str, update: bool = False) -> Pieces:
    """Divide the running statistics by 1 - keep**k in inference, k the training calls so far."""
    calls: list[float] = []

    def rewire(functions: Functions) -> Functions:
        def forward_train(*args: Any, **options: Any) -> Any:
            calls.append(options["momentum"])
            return functions["forward_train"](*args, **options)

        def forward_eval(x: Any, g: Any, b: Any, rm: Any, rv: Any, **options: Any) -> Any:
            keep = 1 - calls[-1] if update else calls[-1]
            by = rm.dtype.type(1 - keep ** len(calls))
            rm, rv = (rm if what == "variance" else rm / by), (rv if what == "mean" else rv / by)
            return functions["forward_eval"](x, g, b, rm, rv, **options)

        return {**functions, "forward_train": forward_train, "forward_eval": forward_eval}

    return Pieces(rewire=rewire)


INFERENCE = {
    "as given": lambda: made(),
    "both divided by 1 - keep**calls": lambda: made(correcting("both")),
    "both divided by 1 - update**calls": lambda: made(correcting("both", True)),
    "the variance divided by 1 - keep**calls": lambda: made(correcting("variance")),
    "the mean divided by 1 - keep**calls": lambda: made(correcting("mean")),
}


@pytest.mark.parametrize("want", INFERENCE)
def test_how_inference_uses_the_statistics_is_recognised(want: str) -> None:
    """As given, or corrected by the count of training calls, in mean, variance or both."""
    found = running_in_inference(Probing(INFERENCE[want]()))
    assert (found.verdict, found.value) == ("found", want)


def test_inference_of_no_kind_fits_none() -> None:
    """A variance that is half as large fits none, and by how much it is divided is given."""

    def halved(inner: Any, x: Any, g: Any, b: Any, rm: Any, rv: Any, **options: Any) -> Any:
        return inner(x, g, b, rm, rv / 2, **options)

    found = running_in_inference(Probing(made(around("forward_eval", halved))))
    assert found.verdict == "fits none"
    assert [by for _, by in found.numbers["divided_by"].values()] == pytest.approx([2.0, 2.0])


def normalizing_by(which: str) -> Pieces:
    """Normalize in training by running statistics, those given or those just updated."""

    def rewire(functions: Functions) -> Functions:
        def forward_train(x: Any, g: Any, b: Any, rm: Any, rv: Any, **options: Any) -> Any:
            _, mean, var, saved = functions["forward_train"](x, g, b, rm, rv, **options)
            state = (mean, var) if which == "updated" else (rm, rv)
            y, _ = functions["forward_eval"](x, g, b, *state, eps=options["eps"])
            return y, mean, var, saved

        return {**functions, "forward_train": forward_train}

    return Pieces(rewire=rewire)


NORMALIZED = {
    "the batch's statistics": Pieces(),
    "the running statistics as updated": normalizing_by("updated"),
    "the running statistics as given": normalizing_by("given"),
}


@pytest.mark.parametrize("want", NORMALIZED)
def test_what_normalizes_in_training_is_recognised(want: str) -> None:
    """The batch's own statistics, or the running ones before or after the update."""
    found = normalized_by(Probing(made(NORMALIZED[want])))
    assert (found.verdict, found.value) == ("found", want)


def test_statistics_of_no_kind_in_training_fit_none() -> None:
    """A y that is ten percent off is normalized by none of them."""
    pieces = Pieces(rstd=lambda var, eps: root_of_sum(var, eps) * var.dtype.type(1.1))
    assert normalized_by(Probing(made(pieces))).verdict == "fits none"


# --- a fresh layer -------------------------------------------------------------------------------


def counting_from_the_start(start: float, *, first_replaces: bool, corrects: bool) -> Pieces:
    """Count the training calls since initial_state; the first may replace, inference correct."""
    count, keep = [10**6], [0.5]

    def rewire(functions: Functions) -> Functions:
        def initial_state(*args: Any) -> Any:
            count[0] = 0
            return functions["initial_state"](*args)

        def forward_train(*args: Any, momentum: float, **options: Any) -> Any:
            count[0], keep[0] = count[0] + 1, momentum
            momentum = 0.0 if first_replaces and count[0] == 1 else momentum
            return functions["forward_train"](*args, momentum=momentum, **options)

        def forward_eval(x: Any, g: Any, b: Any, rm: Any, rv: Any, **options: Any) -> Any:
            by = rm.dtype.type(1 - keep[0] ** count[0] if corrects else 1)
            return functions["forward_eval"](x, g, b, rm / by, rv / by, **options)

        changed = {"forward_train": forward_train, "forward_eval": forward_eval}
        return {**functions, "initial_state": initial_state, **changed}

    return Pieces(initial_var=start, rewire=rewire)


FRESH: list[tuple[str, str, Pieces, tuple[str, str]]] = [
    ("usual", "keep", Pieces(), ("averaged with the start", "fades by keep**k")),
    ("update", "update", Pieces(), ("averaged with the start", "fades by keep**k")),
    ("from zero", "keep", Pieces(initial_var=0.0),
     ("averaged with the start", "fades by keep**k")),
    ("first", "keep", counting_from_the_start(1.0, first_replaces=True, corrects=False),
     ("takes the place of the start", "fades by keep**k")),
    ("corrected", "keep", counting_from_the_start(0.0, first_replaces=False, corrects=True),
     ("averaged with the start", "is left out")),
    ("corrected, from one", "keep",
     counting_from_the_start(1.0, first_replaces=False, corrects=True),
     ("averaged with the start", "adds keep**k / (1 - keep**k) of itself")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("momentum", "pieces", "want"), [row[1:] for row in FRESH], ids=[row[0] for row in FRESH]
)
def test_what_becomes_of_the_start_is_recognised(
    momentum: str, pieces: Pieces, want: tuple[str, str]
) -> None:
    """A corrected average that starts from one is too large in inference, and is said to be."""
    p = Probing(made(pieces, momentum=momentum))
    p.divisor, p.eps_form = "biased", ("inside the root", None)
    answers = fresh(p, momentum)
    assert [a.verdict for a in answers] == ["found", "found"]
    assert tuple(a.value for a in answers) == want


def test_a_start_of_no_kind_fits_none_or_is_open() -> None:
    """A start that counts twice fits none; without a known momentum nothing is said."""
    p = Probing(made(PLANTED["fresh_variance_counts_its_start_twice"]))
    p.divisor, p.eps_form = "biased", ("inside the root", None)
    assert fresh(p, "keep")[0].verdict == "fits none"
    assert {a.verdict for a in fresh(p, "")} == {"cannot tell"}


# --- odd input -----------------------------------------------------------------------------------


def refusing(wanted: Callable[[Any], bool]) -> Pieces:
    def forward_train(inner: Any, x: Any, *args: Any, **options: Any) -> Any:
        if wanted(x):
            raise ValueError("not for me")
        return inner(x, *args, **options)

    return around("forward_train", forward_train)


def spoiling(inner: Any, x: Any, *args: Any, **options: Any) -> Any:
    y, mean, var, saved = inner(x, *args, **options)
    return (y * np.nan if np.isnan(x).any() else y), mean, var, saved


def leaving(inner: Any, x: Any, g: Any, b: Any, rm: Any, rv: Any, **options: Any) -> Any:
    y, mean, var, saved = inner(x, g, b, rm, rv, **options)
    return (y, rm.copy(), rv.copy(), saved) if len(x) == 1 else (y, mean, var, saved)


def converting(inner: Any, x: Any, *args: Any, **options: Any) -> Any:
    return inner(x.astype(np.float64) if x.dtype.kind == "i" else x, *args, **options)


BEHAVIOUR: list[tuple[str, Pieces, str]] = [
    ("one value per channel", Pieces(), "y is beta; running_var is averaged with 0"),
    ("one value per channel", around("forward_train", leaving),
     "y is beta; running_var is as it was"),
    ("one value per channel", PLANTED["unbiased_variance_of_one_value_is_nan"], "NaN"),
    ("one value per channel", refusing(lambda x: len(x) == 1),
     "refused: forward_train raised ValueError: not for me"),
    ("empty batch", Pieces(), "running_mean is as it was; running_var is as it was"),
    ("empty batch", PLANTED["empty_batch_gives_nan"], "NaN"),
    ("empty batch", refusing(lambda x: not len(x)), "refused: forward_train raised ValueError"),
    ("integer x", Pieces(), "refused: forward_train returned y of dtype int32"),
    ("integer x", around("forward_train", converting), "as of the same numbers in floats"),
    ("NaN in one channel", Pieces(),
     "its channel is NaN, the others are untouched; its running statistics become NaN"),
    ("NaN in one channel", PLANTED["nan_becomes_zero"], "finite: the NaN is hidden"),
    ("NaN in one channel", around("forward_train", spoiling), "the others are changed"),
    ("memory layouts", Pieces(), "the same bits: in Fortran order"),
    ("memory layouts", PLANTED["assumes_c_order"], "WRONG: "),
    ("memory layouts", refusing(lambda x: not x.flags.c_contiguous), "refused (forward_train"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "pieces", "want"), BEHAVIOUR)
def test_every_behaviour_is_recognised(question: str, pieces: Pieces, want: str) -> None:
    """What one value, no value, integers, NaN and other strides do is said in words."""
    found = by_question(behaviour(Probing(made(pieces))))[question]
    assert found.verdict == "seen" and want in found.value


# --- the accuracy class --------------------------------------------------------------------------


def graded(pieces: Pieces, n: int, dtype: str = "float32", quantity: str = "") -> dict[str, str]:
    """Return the worst class per layout of one quantity, or of all, at n values."""
    p = Probing(made(pieces, dtypes=(dtype,), ndim=(2, 4)))
    p.divisor, p.weight, p.eps_form = "biased", 0.5, ("inside the root", None)
    found: dict[str, str] = {}
    for grade in accuracy._of_size(p, dtype, n):
        if quantity in ("", grade.quantity):
            found[grade.layout] = max(found.get(grade.layout, "A"), grade.grade)
    return found


def pairwise_everywhere() -> Pieces:
    """Return a batch norm whose every sum is by halves."""

    def total(a: Any) -> Any:
        while len(a) > 1:
            half = len(a) // 2
            a = np.concatenate([a[:half] + a[half : 2 * half], a[2 * half :]])
        return a

    def gradient(dy: Any, x: Any, gamma: Any, mean: Any, rstd: Any) -> Any:
        n, xhat = x.dtype.type(len(x)), (x - mean) * rstd
        return (dy - total(dy) / n - xhat * (total(dy * xhat) / n)) * (gamma * rstd)

    return replace(
        RIGHT_FORMS["two_pass_pairwise"],
        input_gradient=gradient,
        gamma_gradient=lambda dy, x, mean, rstd: total(dy * ((x - mean) * rstd)),
        beta_gradient=total,
    )


def in_order() -> Pieces:
    """Return a batch norm whose sums run over the rows one after the other, in any layout."""
    return replace(
        RIGHT_FORMS["two_pass_in_order"],
        beta_gradient=lambda dy: np.add.accumulate(dy, axis=0)[-1:],
    )


def test_sums_in_order_are_class_b_at_large_n() -> None:
    """A naive float32 sum over 65536 values is B in every layout, over 16 values A."""
    assert set(graded(in_order(), 2**16, quantity="mean").values()) == {"B"}
    assert set(graded(in_order(), 2**4).values()) == {"A"}


def test_pairwise_sums_are_class_a() -> None:
    """Pairwise sums stay A at 65536 values in every quantity and layout."""
    assert set(graded(pairwise_everywhere(), 2**16).values()) == {"A"}


def test_one_pass_is_class_c() -> None:
    """The cancellation of a one-pass variance is beyond any order of summation."""
    for dtype in ("float32", "float64"):
        found = graded(WRONG_PRECISION["one_pass_variance"], 2**4, dtype, "variance")
        assert found["(n,c)"] == "C"
        assert set(graded(WRONG_PRECISION["one_pass_variance"], 2**4, dtype, "mean").values()) == {
            "A"
        }


def test_float32_inside_float64_is_class_c() -> None:
    """Results of float64 that are float32 inside are beyond the radius of float64."""
    found = graded(Pieces(rewire=rounded_to(np.float32, "float64")), 2**4, "float64", "y")
    assert set(found.values()) == {"C"}


@pytest.mark.parametrize(
    ("quantity", "plant"),
    [("dx", "dx_is_0.1_percent_too_large"), ("dgamma", "dgamma_without_rstd"),
     ("dbeta", "dbeta_is_a_mean"), ("mean", "mean_too_large"), ("y", "beta_scaled_by_gamma")],
)  # fmt: skip
def test_a_planted_error_is_class_c_in_its_quantity(quantity: str, plant: str) -> None:
    """Each quantity is graded by itself."""
    p = Probing(made(PLANTED[plant], dtypes=("float64",), ndim=(2,)))
    p.divisor, p.weight = "biased", 0.5
    worst: dict[str, str] = {}
    for g in accuracy.grades(p, 16):
        worst[g.quantity] = max(worst.get(g.quantity, "A"), g.grade)
    assert worst[quantity] == "C"
    if quantity.startswith("d") or quantity == "y":
        assert [name for name, grade in worst.items() if grade == "C"] == [quantity]


def test_the_built_in_is_class_a_and_exact() -> None:
    """bn is A in every dtype, layout and quantity, and exact on exactly representable data."""
    p = Probing(loaded("bn"))
    p.divisor, p.weight, p.eps_form = "biased", 0.5, ("inside the root", None)
    found = list(accuracy.grades(p, 2**12))
    assert {g.grade for g in found} == {"A"}
    assert {g.layout for g in found} == {
        "(n,c)", "(n,c) transposed", "(n,c,h,w)", "(n,c,h,w) channels last"
    }  # fmt: skip
    assert {g.n for g in found} == {2**4, 2**8, 2**12}
    assert {g.quantity for g in found} == set(accuracy.QUANTITIES)
    assert all(row.exact for row in exactness.exact(p))


def test_a_layout_that_is_worse_is_seen_in_that_layout() -> None:
    """Sums in order where the channels are last, pairwise elsewhere: B there, A elsewhere."""
    plain, worse = pairwise_everywhere(), in_order()

    def channels_last_memory(x: Any) -> bool:
        return bool(x.ndim == 4 and not x.flags.c_contiguous)

    found = graded(replace(plain, where=(channels_last_memory, worse)), 2**16, quantity="mean")
    assert found["(n,c,h,w) channels last"] == "B"
    assert {grade for layout, grade in found.items() if "last" not in layout} == {"A"}


@pytest.mark.parametrize("want", ["inside the root", "outside the root", "ignored"])
def test_exact_data_suit_the_place_of_eps(want: str) -> None:
    """With the root of 4 that each place of eps allows, right results are exact, others not."""
    names = {"inside the root": "inside the root, as passed", "ignored": "ignored"}
    form = PLACES[names.get(want, "outside the root, as passed")]
    p = Probing(made(Pieces(rstd=form), dtypes=("float32",), ndim=(2,)))
    p.divisor, p.weight, p.eps_form = "biased", 0.5, (want, None)
    rows = {row.quantity: row.exact for row in exactness.exact(p)}
    assert rows == dict.fromkeys(accuracy.QUANTITIES, True)


def test_a_last_bit_shows_in_exact_data() -> None:
    """A result one ulp off is not exact, and only that one."""
    pieces = Pieces(beta_gradient=lambda dy: np.nextafter(dy.sum(0, keepdims=True), np.inf))
    p = Probing(made(pieces, dtypes=("float32",), ndim=(2,)))
    p.divisor, p.weight, p.eps_form = "biased", 0.5, ("inside the root", None)
    assert {row.quantity for row in exactness.exact(p) if not row.exact} == {"dbeta"}


def test_statistics_are_graded_whatever_the_average() -> None:
    """Where the count of calls decides the weight, a constant channel tells it."""
    p = Probing(made(Pieces(average=counting(cumulative)), dtypes=("float64",), ndim=(2,)))
    averages(p)
    assert p.weight is None and p.divisor == "biased"
    found = {g.quantity: g.grade for g in accuracy.grades(p, 16)}
    assert found["mean"] == found["variance"] == "A"
    wrong = replace(PLANTED["variance_divides_by_n_minus_1"], average=counting(cumulative))
    p = Probing(made(wrong, dtypes=("float64",), ndim=(2,)))
    p.divisor = "biased"
    assert {g.grade for g in accuracy.grades(p, 16) if g.quantity == "variance"} == {"C"}


def test_statistics_that_never_change_are_not_graded() -> None:
    """Where the running statistics tell nothing of the batch, y and the gradients still do."""
    p = Probing(made(Pieces(average=lambda old, new, keep, rest: old.copy()), ndim=(2,)))
    averages(p)
    assert {g.quantity for g in accuracy.grades(p, 16)} == {"y", "dx", "dgamma", "dbeta"}


# --- determinism ---------------------------------------------------------------------------------


def test_equal_bits_are_deterministic_and_a_counter_is_not() -> None:
    """The same call three times; what differs is named."""
    assert same_again(Probing(made())).value == "yes"
    found = same_again(Probing(made(PLANTED["counts_its_calls"])))
    assert found.value.startswith("no: ") and found.numbers["differing"]


# --- hypotheses ----------------------------------------------------------------------------------


def test_an_answer_needs_exactly_one_hypothesis() -> None:
    """One within its radius: found; two: open; none: fits none; an unknown one keeps it open."""
    assert chosen("q", {"a": 0.5, "b": 7.0}).value == "a"
    assert chosen("q", {"a": 0.5, "b": 7.0}).sure == (
        "at 0.5 of its radius; the next is b, at 7 of its"
    )
    assert chosen("q", {"a": 0.5, "b": 1.0}).verdict == "cannot tell"
    assert chosen("q", {"a": 3.0, "b": 7.0}).verdict == "fits none"
    assert chosen("q", {"a": 0.5, "b": float("nan")}).verdict == "cannot tell"


def test_nested_hypotheses_need_that_the_wider_would_show() -> None:
    """The narrowest that holds is found, unless a planted wider one would look the same."""
    nested = {"narrow": 0.5, "wide": 0.01}
    assert narrowest("q", nested, {"wide": 9.0}).value == "narrow"
    assert narrowest("q", nested, {"wide": 1.5}).verdict == "cannot tell"
    assert narrowest("q", {"narrow": 5.0, "wide": 0.1}, {}).value == "wide"
    assert narrowest("q", {"narrow": 5.0, "wide": 2.0}, {}).verdict == "fits none"


def test_places_are_merged() -> None:
    """Equal answers are one, others differ, one that fits none is not outvoted."""
    a, b, none = Answer("", "found", "a"), Answer("", "found", "b"), Answer("", "fits none")
    either, refused = Answer("", "cannot tell", "a or b"), Answer("", "not offered", "no")
    assert merged("q", {"x": a, "y": a}).value == "a"
    assert merged("q", {"x": a, "y": b}).verdict == "differs"
    assert merged("q", {"x": a, "y": b}).value == "a (x); b (y)"
    assert merged("q", {"x": a, "y": none}).verdict == "fits none"
    assert merged("q", {"x": a, "y": either}).value == "a"
    assert merged("q", {"x": a, "y": refused}).value == "a"
    assert merged("q", {"x": refused}).verdict == "not offered"
