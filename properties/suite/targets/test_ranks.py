"""Ranks: synchronised batch norm against the whole batch, and targets without a forward."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bn
from properties.engine.exercise import Result, run_invariant
from properties.invariants import INVARIANTS
from properties.model.cases import Recipe, build
from properties.model.contract import Conventions, Misbehaved, Target, TargetError, sync_train
from properties.model.ranks import Ranked, ranked
from properties.targets.open import loaded, open_target

Save = Callable[..., Path]
Run = Callable[..., Any]
OF_RANKS = [n for n, i in INVARIANTS.items() if any("sync" in need for need in i.needs)]

# as PyTorch has it: each rank sends count, mean and variance, and back sum(dy) and sum(dy * xc)
EXCHANGING = """
import numpy as np
CONVENTIONS = {{"momentum": "update", "running_var": "unbiased", "dtypes": ["float32", "float64"]}}

def sync_forward_train(xs, gamma, beta, running_mean, running_var, *, eps, momentum):
    {check}
    axes, shape, t = (0, *range(2, xs[0].ndim)), (1, -1) + (1,) * (xs[0].ndim - 2), xs[0].dtype.type
    sent = [(x.size // x.shape[1], x.mean(axis=axes), x.var(axis=axes)) for x in xs if len(x)]
    n = t(sum(count for count, _, _ in sent))
    mean = sum(t(count) * m for count, m, _ in sent) / n
    var = sum(t(count) * (v + (m - mean) ** 2) for count, m, v in sent) / n
    rstd = 1 / np.sqrt(var + t(eps))
    ys = [gamma.reshape(shape) * ((x - mean.reshape(shape)) * rstd.reshape(shape))
          + beta.reshape(shape) for x in xs]
    m, unbiased = t(momentum), var * (n / max(n - 1, t(1)))
    new = [(1 - m) * old + m * now for old, now in ((running_mean, mean), (running_var, unbiased))]
    return ys, *new, (xs, mean, rstd, gamma, n, axes, shape)

def sync_backward_train(dys, saved):
    xs, mean, rstd, gamma, n, axes, shape = saved
    xcs = [x - mean.reshape(shape) for x in xs]
    sum_dy = sum(dy.sum(axis=axes) for dy in dys)
    sum_dy_xc = sum((dy * xc).sum(axis=axes) for dy, xc in zip(dys, xcs))
    along = (rstd * rstd * sum_dy_xc / n).reshape(shape)
    scale, mean_dy = (gamma * rstd).reshape(shape), (sum_dy / n).reshape(shape)
    dxs = [scale * (dy - mean_dy - xc * along) for dy, xc in zip(dys, xcs)]
    return dxs, rstd * sum_dy_xc, sum_dy
"""
NO_EMPTY = "if not all(map(len, xs)): raise NotImplementedError('an empty rank')"
EQUAL = "if len({len(x) for x in xs}) > 1: raise NotImplementedError('unequal ranks')"


def checked(target: Target, examples: int = 60) -> dict[str, Result]:
    """Return what each invariant of ranks comes to."""
    options: dict[str, Any] = {"examples": examples, "seed_number": 1}
    return {name: run_invariant(target, INVARIANTS[name], **options) for name in OF_RANKS}


def assert_holds(target: Target) -> None:
    """Every invariant of ranks passes, and has seen examples in which its error would show."""
    for name, result in checked(target).items():
        assert result.verdict == "pass", f"{name}: {result.message} {result.failure}"
        assert result.decisive > 10


@pytest.mark.parametrize(
    ("sizes", "check"), [("any", "pass"), ("unequal", NO_EMPTY), ("equal", EQUAL)]
)
def test_the_sizes_of_ranks_are_found_out(sizes: str, check: str, saved: Save) -> None:
    """Who refuses an empty rank, or unequal ones, is not held to them; right code passes."""
    target = loaded(str(saved(EXCHANGING.format(check=check))))
    assert target.conventions.ranks == sizes
    assert_holds(target)


def test_synchronised_functions_alone_are_plain_batch_norm_on_one_rank(saved: Save) -> None:
    """Without a forward_train conventions are found out on one rank, and it is checked there."""
    text = EXCHANGING.format(check="pass").replace('"momentum": "update", ', "")
    target = loaded(str(saved(text.replace('"running_var": "unbiased", ', ""))))
    assert (target.conventions.momentum, target.conventions.running_var) == ("update", "unbiased")
    for name in ("output_agrees_with_reference", "input_gradient_agrees_with_reference"):
        assert run_invariant(target, INVARIANTS[name], examples=20).verdict == "pass"


def test_ranks_travel_to_a_process_of_its_own(saved: Save) -> None:
    """Isolated, lists of arrays come over and back, and what is wrong is found there."""
    path = str(saved(EXCHANGING.format(check="pass")))
    with open_target(path) as target:
        assert target.conventions.ranks == "any"
        assert {r.verdict for r in checked(target, 10).values()} == {"pass"}
    wrong = EXCHANGING.format(check="pass").replace("* xc).sum", "* xc).mean")
    with open_target(str(saved(wrong, "wrong.py"))) as target:
        found = {name for name, r in checked(target, 10).items() if r.verdict == "fail"}
    assert found == set(OF_RANKS[2:])


WRONG = {
    "each rank normalizes its own part": """
def sync_forward_train(xs, *state, **options):
    done = [bn.forward_train(x, *state, **options) for x in xs]
    most = max(done, key=lambda d: len(d[0]))
    return [d[0] for d in done], most[1], most[2], [d[3] for d in done]

def sync_backward_train(dys, saved):
    done = [bn.backward_train(dy, one) for dy, one in zip(dys, saved)]
    sums = [None if done[0][i] is None else sum(d[i] for d in done) for i in (1, 2)]
    return [d[0] for d in done], *sums
""",
    "dgamma and dbeta are those of the first rank": """
from bn import sync_forward_train

def sync_backward_train(dys, saved):
    dxs, *whole = bn.sync_backward_train(dys, saved)
    first = next(k for k, dy in enumerate(dys) if len(dy))
    others = [dy if k == first else dy * 0 for k, dy in enumerate(dys)]
    return dxs, *bn.sync_backward_train(others, saved)[1:]
""",
}


@pytest.mark.parametrize("cause", WRONG)
def test_what_ranks_forget_to_share_is_named(cause: str, bncheck: Run, on_bn: Save) -> None:
    """The run fails with a cause that says what is not shared, and shows who had which samples."""
    ran = bncheck("run", on_bn(WRONG[cause]), "--examples", 30, "--seed", 1)
    assert ran.status == 1, ran.out
    assert f"\n1. {cause}: " in ran.out, ran.out
    assert "\n     samples per rank = [" in ran.out


# --- the ranks that are drawn --------------------------------------------------------------------


def drawn(sizes: str) -> list[Ranked]:
    """Return cases on ranks of such sizes."""
    conventions = Conventions(ranks=sizes)
    recipes = [Recipe("unit_scale", 2 + k % 9, 2, (2,), seed=k, option=k) for k in range(200)]
    return [ranked(build(recipe, conventions)) for recipe in recipes]


def test_ranks_of_every_size_are_drawn() -> None:
    """Two to four ranks; of any size some are empty and some have one sample, most are unequal."""
    for sizes, least in (("any", 0), ("unequal", 1)):
        counts = [np.diff(held.cuts) for held in drawn(sizes)]
        assert {len(c) for c in counts} == {2, 3, 4}
        assert min(c.min() for c in counts) == least
        assert sum(len(set(c)) > 1 for c in counts) > 100
        assert sum(1 in c for c in counts) > 50
        for held in drawn(sizes):
            assert sum(map(len, held.parts(held.whole.x))) == len(held.whole.x)


def test_equal_ranks_leave_out_what_is_left_over() -> None:
    """Of equal sizes each has as many samples, and the whole batch is what they have together."""
    for held in drawn("equal"):
        assert len(set(np.diff(held.cuts))) == 1
        assert held.cuts[-1] == len(held.whole.x) == len(held.whole.dy) >= 2


# --- structure -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            "lambda xs, *a, **k: (xs[:1], *a[2:], None)",
            "returned ys of 1 arrays: expected 2 arrays",
        ),
        ("lambda xs, *a, **k: (1, *a[2:], None)", "returned ys of type int: expected 2 arrays"),
        (
            "lambda xs, *a, **k: ([xs[0], xs[0]], *a[2:], None)",
            "returned ys[1] of shape (2, 2): expected (1, 2)",
        ),
    ],
)
def test_results_of_another_structure_misbehave(given: str, text: str) -> None:
    """One array per rank, each like its own x, is what is asked for."""
    target = Target("t", {"sync_forward_train": eval(given)})
    x, row = np.ones((3, 2)), np.ones(2)
    with pytest.raises(Misbehaved, match="sync_forward_train returned") as caught:
        sync_train(target, [x[:2], x[2:]], row, row, row, row, eps=1.0, momentum=0.5)
    assert text in str(caught.value)


def test_what_merges_or_folds_is_a_target_by_itself(bncheck: Run, saved: Save) -> None:
    """Without forward_train its own invariants run, and no other: status 0 right, 1 wrong."""
    path = saved("from bn import merge_statistics, merge_gradients, fold")
    ran = bncheck("run", path, "--examples", 30, "--seed", 1)
    assert ran.status == 0, ran.out + ran.err
    assert "\n  no forward_train; merge_statistics, merge_gradients, fold" in ran.out
    assert "\nPASS: 3 of 3 invariants hold" in ran.out
    wrong = saved(
        "def merge_statistics(counts, means, variances):\n"
        "    u = counts > 0\n"
        "    return counts.sum(), means[u].mean(axis=0), variances[u].mean(axis=0)\n",
        "merging.py",
    )
    ran = bncheck("run", wrong, "--examples", 30, "--seed", 1)
    assert ran.status == 1, ran.out + ran.err
    assert "\nFAIL: 1 finding, 1 of 1 invariants" in ran.out


def test_a_merge_that_is_a_known_bug_is_named(bncheck: Run, saved: Save) -> None:
    """The cause of wrong merging is found without a forward_train too."""
    path = saved(
        "import bn, numpy as np\n"
        "def merge_statistics(counts, means, variances):\n"
        "    n, mean, var = bn.merge_statistics(counts, means, variances)\n"
        "    return n, means[counts > 0].mean(axis=0).astype(means.dtype), var\n"
    )
    ran = bncheck("run", path, "--examples", 30, "--seed", 1)
    assert ran.status == 1
    assert "\n1. the merged mean does not weight by counts\n" in ran.out, ran.out


def test_what_merges_and_cannot_be_called_is_one_line(saved: Save) -> None:
    """A merging that raises in its first plain call is told in one line."""
    path = saved("def fold(*args, **options): raise NotImplementedError('not yet')")
    with pytest.raises(TargetError, match="the first plain call failed: fold raised NotImpl"):
        loaded(str(path))


# --- the built-in --------------------------------------------------------------------------------


def test_the_built_in_on_one_rank_is_the_built_in() -> None:
    """One rank has the bits of forward_train and backward_train on well-conditioned float64."""
    random = np.random.default_rng(5)
    x, dy = random.normal(size=(2, 8, 3, 2))
    row = np.array([0.5, -2.0, 3.0])
    state = row, row, row * 0, row * row
    y, mean, var, saved = bn.forward_train(x, *state, eps=0.1, momentum=0.5)
    ys, *rest, several = bn.sync_forward_train([x], *state, eps=0.1, momentum=0.5)
    for a, b in zip((ys[0], *rest), (y, mean, var), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    dxs, *others = bn.sync_backward_train([dy], several)
    for a, b in zip((dxs[0], *others), bn.backward_train(dy, saved), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("xs", "error", "text"),
    [
        (np.ones((2, 2)), TypeError, "xs=ndarray: expected a list of one array per rank"),
        ([], TypeError, "xs=list: expected a list of one array per rank, at least one"),
        (
            [np.ones((2, 2)), np.ones((2, 3))],
            ValueError,
            "xs[1].shape=(2, 3): expected (2, 2), as xs[0]",
        ),
        ([np.ones((2, 2)), np.ones((2, 2), "f4")], TypeError, "xs[1].dtype=float32: expected flo"),
    ],
)
def test_ranks_of_another_kind_are_one_line(xs: Any, error: type[Exception], text: str) -> None:
    """The built-in says which rank has what, what it expected and how to mend it."""
    row = np.ones(2)
    with pytest.raises(error) as caught:
        bn.sync_forward_train(xs, row, row, row, row, eps=1.0, momentum=0.5)
    assert text in str(caught.value)


def test_a_rank_that_is_missing_in_the_backward_is_one_line() -> None:
    """As many dys as xs are asked for."""
    x, row = np.ones((2, 2)), np.ones(2)
    *_, saved = bn.sync_forward_train([x, x], row, row, row, row, eps=1.0, momentum=0.5)
    with pytest.raises(ValueError, match=r"len\(dys\)=1: expected 2, as many as xs"):
        bn.sync_backward_train([x], saved)
