"""Masks: in which form a target takes one is found out, and right code of every form passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bn
from properties.engine.exercise import Result, run_invariant
from properties.engine.tally import Tally
from properties.invariants import INVARIANTS
from properties.model import masks
from properties.model.cases import Recipe, build
from properties.model.contract import Conventions, Target, TargetError
from properties.plants.masked import Masking, as_none
from properties.plants.textbook import Pieces, implementation
from properties.targets.isolate import protocol
from properties.targets.open import loaded, open_target

Save = Callable[..., Path]
Run = Callable[..., Any]
OF_MASKS = [name for name, i in INVARIANTS.items() if {"mask", "empty mask"} & set(i.needs)]

# each with its own form of a mask, and its own way to leave places out
WEIGHTED = """
import numpy as np

def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum, {argument}=None):
    axes, shape, t = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2), x.dtype.type
    {weight}
    count = weight.sum(dtype=np.float64)
    n = t(max(count, 1))
    mean = ((x * weight).sum(axis=axes) / n).reshape(shape)
    var = ((np.square(x - mean) * weight).sum(axis=axes) / n).reshape(shape)
    rstd = 1 / np.sqrt(var + t(eps))
    xhat = (x - mean) * rstd
    keep, rest = t(momentum), t(1 - momentum)
    both = (running_mean, mean), (running_var, var)
    new = [keep * old + rest * now.ravel() if count else old for old, now in both]
    y = gamma.reshape(shape) * xhat + beta.reshape(shape)
    return {y}, *new, (xhat, rstd, gamma.reshape(shape), weight, n, axes)

def backward_train(dy, saved):
    xhat, rstd, gamma, weight, n, axes = saved
    dy = dy * weight
    dbeta, dgamma = dy.sum(axis=axes, keepdims=True), (dy * xhat).sum(axis=axes, keepdims=True)
    dx = gamma * rstd * weight * (dy - dbeta / n - xhat * dgamma / n)
    return dx, dgamma.ravel(), dbeta.ravel()
"""
WHOLE = "np.ones((x.shape[0], 1, *x.shape[2:]), x.dtype)"
WEIGHTS = {
    "places": ("mask", f"weight = {WHOLE} if mask is None else mask[:, None].astype(x.dtype)"),
    "broadcast": ("mask", f"weight = {WHOLE} if mask is None else np.ones_like(x[:, :1]) * mask"),
    "broadcast_bool": (
        "mask",
        f"weight = {WHOLE} if mask is None else np.where(mask, {WHOLE}, x.dtype.type(0))\n"
        "    assert mask is None or mask.dtype == bool",
    ),
    "lengths": (
        "lengths",
        f"weight = {WHOLE}\n"
        "    if lengths is not None:\n"
        "        last = (np.arange(x.shape[-1]) < lengths[:, None]).astype(x.dtype)\n"
        "        weight = weight * last.reshape(len(x), *(1,) * (x.ndim - 2), -1)",
    ),
}


def weighted(form: str, y: str = "y * weight") -> str:
    """Return right code that takes a mask in this form and weighs every value with 1 or 0."""
    argument, weight = WEIGHTS[form]
    return WEIGHTED.format(argument=argument, weight=weight, y=y)


def checked(target: Target, examples: int = 60) -> dict[str, Result]:
    """Return what each invariant of masks comes to, an edge being no edge."""
    options: dict[str, Any] = {"examples": examples, "seed_number": 1}
    return {name: run_invariant(target, INVARIANTS[name], **options) for name in OF_MASKS}


def assert_holds(target: Target) -> None:
    """Every invariant of masks passes, and has seen examples in which its error would show."""
    for name, result in checked(target).items():
        assert result.verdict == "pass", f"{name}: {result.message} {result.failure}"
        assert result.decisive >= 3


@pytest.mark.parametrize("form", WEIGHTS)
def test_the_form_of_a_mask_is_found_out(form: str, saved: Save) -> None:
    """The first form that goes through is remembered, with the ranks that take it; right passes."""
    target = loaded(str(saved(weighted(form))))
    assert target.conventions.mask == form
    assert target.conventions.mask_ndim == ((3, 4, 5) if form == "lengths" else (2, 3, 4, 5))
    assert {"mask", "masked gradients", "empty mask"} <= target.offers
    assert_holds(target)


def test_hidden_places_may_be_normalized_too(saved: Save) -> None:
    """y is free where the mask hides x: its own numbers there are no failure, nor is dy = 0."""
    text = weighted("places", y="y").replace("dy = dy * weight", "")
    text = text.replace("rstd * weight * (dy", "rstd * (dy").replace(
        "- dbeta / n - xhat * dgamma / n", "- weight * (dbeta / n + xhat * dgamma / n)"
    )
    assert text.count("weight") == weighted("places", y="y").count("weight") - 1
    assert_holds(loaded(str(saved(text))))


AUTODIFF = """
import numpy as np, torch

def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum, mask=None):
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    t, g, b = leaves
    axes, shape = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    kept = torch.ones_like(t) if mask is None else torch.tensor(mask)[:, None].expand(t.shape) * 1.0
    kept = kept.to(t.dtype)
    n = kept.sum(axes, keepdim=True).clamp(min=1)
    mean = (t * kept).sum(axes, keepdim=True) / n
    var = ((t - mean) ** 2 * kept).sum(axes, keepdim=True) / n
    y = g.reshape(shape) * (t - mean) / torch.sqrt(var + eps) + b.reshape(shape)
    state = running_mean, running_var
    if kept.any():
        batch = (a.detach().numpy().ravel() for a in (mean, var))
        m, r = x.dtype.type(momentum), x.dtype.type(1 - momentum)
        state = [m * old + r * new for old, new in zip((running_mean, running_var), batch)]
    return y.detach().numpy(), *state, (y, leaves)

def backward_train(dy, saved):
    y, leaves = saved
    grads = torch.autograd.grad(y, leaves, torch.tensor(dy), retain_graph=True)
    return tuple(g.numpy() for g in grads)
"""


def test_automatic_differentiation_is_not_accused(saved: Save) -> None:
    """What autodiff gives of a masked forward that normalizes every place passes."""
    pytest.importorskip("torch")
    text = f"CONVENTIONS = {{'dtypes': ['float32', 'float64']}}\n{AUTODIFF}"
    assert_holds(loaded(str(saved(text))))


def test_a_mask_in_one_rank_alone_is_checked_there(saved: Save) -> None:
    """What refuses a mask in other ranks offers it in its own, and nothing is held against it."""
    check = (
        "    if mask is not None and x.ndim != 3:\n        raise ValueError('sequences alone')\n"
    )
    text = weighted("places").replace("    axes, shape", check + "    axes, shape", 1)
    target = loaded(str(saved(text)))
    assert target.conventions.mask_ndim == (3,)
    assert_holds(target)


def test_a_mask_that_is_refused_is_not_offered(saved: Save) -> None:
    """A parameter that takes nothing is named among what is not offered, with what it said."""
    check = "    if mask is not None:\n        raise NotImplementedError('later')\n"
    text = weighted("places").replace("    axes, shape", check + "    axes, shape", 1)
    target = loaded(str(saved(text)))
    assert "mask" not in target.offers and target.conventions.mask == ""
    assert target.refused["mask"].endswith("NotImplementedError: later")
    assert {r.verdict for r in checked(target, 2).values()} == {"not offered"}


def test_options_that_are_swallowed_are_no_mask(saved: Save) -> None:
    """Code that takes any keyword and reads no mask is not accused of counting what it hides."""
    path = saved(
        "import bn\nfrom bn import CONVENTIONS\n"
        "def forward_train(*args, eps, momentum, **options):\n"
        "    return bn.forward_train(*args, eps=eps, momentum=momentum)\n"
    )
    assert "mask" not in loaded(str(path)).offers


def test_a_backward_that_fails_with_a_mask_has_failed(saved: Save) -> None:
    """A backward that refuses a mask does not offer it; one that stumbles over it is broken."""
    for raised, verdict in (("NotImplementedError", "not offered"), ("KeyError", "fail")):
        line = f"    if (weight == 0).any(): raise {raised}('mask')\n    dy = dy * weight"
        text = weighted("places").replace("    dy = dy * weight", line)
        target = loaded(str(saved(text, f"users_{raised.lower()}.py")))
        found = checked(target, 2)
        assert found["masked_input_gradient_is_that_of_the_kept_places"].verdict == verdict
        assert found["masked_output_is_that_of_the_kept_places"].verdict != "not offered"


def test_a_stated_form_is_taken_and_a_wrong_one_told(saved: Save) -> None:
    """CONVENTIONS["mask"] is the form that is tried; another word is one clear line."""
    stated = "CONVENTIONS = {'mask': 'broadcast', 'mask_ndim': [4]}\n"
    target = loaded(str(saved(stated + weighted("broadcast"))))
    assert (target.conventions.mask, target.conventions.mask_ndim) == ("broadcast", (4,))
    with pytest.raises(TargetError, match=r"CONVENTIONS\['mask'\]='rows' .* expected '', 'places'"):
        loaded(str(saved(stated.replace("broadcast", "rows") + weighted("broadcast"), "b.py")))


def test_a_parameter_that_is_something_else_is_left_alone(saved: Save) -> None:
    """CONVENTIONS["mask"] = "" says that what is called mask is none: it is not passed."""
    text = "CONVENTIONS = {'mask': ''}\n" + weighted("places")
    check = "    assert mask is None, 'it was passed'\n    axes, shape"
    target = loaded(str(saved(text.replace("    axes, shape", check, 1))))
    assert "mask" not in target.offers and "mask" not in target.refused


def test_a_mask_is_a_byte_per_place_in_a_message() -> None:
    """A program gets bool as |b1, in lists of arrays as by itself, and both come back the same."""
    mask = np.array([[True, False, True]])
    out = bytearray()
    protocol.put(out, [mask, mask.T], protocol.put_inline)
    assert bytes(out).count(b"|b1") == 2 and b"\x01\x00\x01" in out
    one, two = protocol.Reader(bytes(out)).value()
    assert one.dtype == two.dtype == bool
    assert np.array_equal(one, mask) and np.array_equal(two, mask.T)


def test_a_mask_travels_to_a_process_of_its_own(saved: Save) -> None:
    """Isolated, the target is found to take the same form, and gets the same numbers."""
    path = str(saved(weighted("broadcast_bool")))
    with open_target(path) as target:
        assert target.conventions.mask == "broadcast_bool"
        assert {r.verdict for r in checked(target, 10).values()} == {"pass"}


def test_channels_on_the_last_axis_have_their_mask_there(saved: Save) -> None:
    """A mask with an axis for the channels has it where x has them."""
    text = """
import numpy as np, bn
CONVENTIONS = {"channel_axis": -1, "dtypes": ["float32", "float64"]}

def forward_train(x, *rest, mask=None, **options):
    kept = None if mask is None else mask[..., 0] != 0
    assert mask is None or mask.shape == (*x.shape[:-1], 1)
    y, *others = bn.forward_train(np.moveaxis(x, -1, 1), *rest, mask=kept, **options)
    return np.moveaxis(y, 1, -1), *others

def backward_train(dy, saved):
    dx, *rest = bn.backward_train(np.moveaxis(dy, -1, 1), saved)
    return np.moveaxis(dx, 1, -1), *rest
"""
    target = loaded(str(saved(text)))
    assert target.conventions.mask == "broadcast"
    assert_holds(target)


def test_a_right_mask_exits_0_and_padding_that_is_counted_is_named(
    bncheck: Run, saved: Save
) -> None:
    """Divided by the kept places status 0; by all places status 1 and a cause that says so."""
    path = saved(weighted("broadcast"))
    ran = bncheck("run", path, "--examples", 20, "--seed", 1)
    assert ran.status == 0, ran.out
    assert "; mask in x's dtype (n, 1, *spatial)" in ran.out
    wrong = weighted("broadcast").replace("n = t(max(count, 1))", "n = t(weight.size)")
    ran = bncheck("run", saved(wrong, "wrong.py"), "--examples", 20, "--seed", 1)
    assert ran.status == 1, ran.out
    assert "\n1. padded places are counted: the sums run over what the mask keeps" in ran.out
    assert "\n     mask = [" in ran.out, "the mask of the example is not shown"


# --- the masks that are drawn --------------------------------------------------------------------

FORMED = Conventions(mask="places", mask_ndim=(2, 3, 4, 5))


def drawn(conventions: Conventions = FORMED) -> list[masks.Masked]:
    """Return masked cases of every kind, rank and of many sizes."""
    found = []
    for k in range(400):
        spatial = ((), (3,), (1,), (2, 3), (1, 2, 3))[k % 5]
        recipe = Recipe("unit_scale", 2 + k % 7, 2, spatial, bits=6, seed=k, option=k)
        held = masks.masked(build(recipe, conventions))
        if held is not None:
            found.append(held)
    return found


def test_masks_of_every_kind_are_drawn() -> None:
    """At least two places count; None and masks of nothing come too; the rest hide something."""
    found = drawn()
    assert min(int(held.kept.sum()) for held in found) == 2
    assert sum(held.mask is None for held in found) > 20
    assert sum(held.mask is not None and held.mask.all() for held in found) > 20
    assert sum(not held.kept.all() for held in found) > 250
    for held in found:
        assert held.alone.x.shape == (held.kept.sum(), 2)


def test_masks_of_lengths_are_beginnings() -> None:
    """Where lengths are taken each sample counts up to its own, at least one place, and no less."""
    lengths = replace(FORMED, mask="lengths", mask_ndim=(3, 4, 5))
    some = [held for held in drawn(lengths) if held.mask is not None and not held.mask.all()]
    assert len(some) > 50
    for held in some:
        mask = held.mask
        assert mask is not None
        counted = masks.lengths_of(mask)
        assert (counted >= 1).all()
        again = np.arange(mask.shape[-1]) < counted.reshape(-1, *(1,) * (mask.ndim - 1))
        assert np.array_equal(np.broadcast_to(again, mask.shape), mask)


def test_what_is_hidden_is_no_larger_than_what_counts() -> None:
    """Hidden values lie between the least and the largest that count, so none overflows alone."""
    for held in drawn():
        rows = held.case.conventions.rows(held.case.x)
        low, high = rows[held.kept].min(axis=0), rows[held.kept].max(axis=0)
        assert (rows[~held.kept] >= low).all() and (rows[~held.kept] <= high).all()


def test_a_gradient_of_hidden_places_is_seen_whatever_y_is_there() -> None:
    """A backward that counts every place fails, both where y is 0 there and where it is not."""
    zeros = Pieces(masking=Masking(backward=as_none))
    target = implementation(zeros, Conventions(dtypes=("float64",)), "zeros")
    name = "masked_input_gradient_is_that_of_the_kept_places"
    assert checked(target)[name].verdict == "fail"

    def normalized(*args: Any, mask: Any = None, **options: Any) -> Any:
        y, *rest = target.functions["forward_train"](*args, mask=mask, **options)
        return (y if mask is None else y + ~mask[:, None]), *rest

    functions = {**target.functions, "forward_train": normalized}
    assert checked(replace(target, functions=functions))[name].verdict == "fail"


def test_evidence_is_only_of_ranks_that_take_a_mask() -> None:
    """In a rank without a mask nothing is claimed, and the planted error counts for nothing."""
    target = loaded("bn")
    held = replace(target, conventions=replace(target.conventions, mask_ndim=(4,)))
    case = build(Recipe("unit_scale", 6, 2, (3,), bits=6), held.conventions)
    invariant = INVARIANTS["masked_output_is_that_of_the_kept_places"]
    plant = implementation(Pieces(masking=Masking(as_none)), held.conventions, "plant")
    tally = Tally(held, plant, lambda: None)
    tally.example(case, lambda tried: invariant.check(tried, case))
    assert (tally.examples, tally.decisive) == (1, 0)


# --- the built-in --------------------------------------------------------------------------------


def test_the_built_in_takes_forward_mode_and_double_backward_with_a_mask() -> None:
    """jvp_train and double_backward_train of a masked forward are those of what counts, spread."""
    random = np.random.default_rng(3)
    x, v, dy = (random.normal(size=(3, 2, 4)) for _ in range(3))
    mask = random.random((3, 4)) < 0.6
    row = np.array([0.5, -2.0])
    state = row, row, row * 0, row * row
    *_, saved = bn.forward_train(x, *state, eps=0.1, momentum=0.5, mask=mask)
    alone = [np.moveaxis(a, 1, -1)[mask] for a in (x, v, dy)]
    *_, plain = bn.forward_train(alone[0], *state, eps=0.1, momentum=0.5)

    def spread(part: Any) -> Any:
        whole = np.zeros((3, 4, 2))
        whole[mask] = part
        return np.moveaxis(whole, -1, 1)

    ty = bn.jvp_train(v, row, row, saved)
    np.testing.assert_array_equal(ty, spread(bn.jvp_train(alone[1], row, row, plain)))
    got = bn.double_backward_train(v, row, row, dy, saved)
    want = bn.double_backward_train(alone[1], row, row, alone[2], plain)
    for a, b in zip(got, (spread(want[0]), want[1], spread(want[2])), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        ([True], "mask=list (1,): expected bool (2, 3), x without its channels; pass True"),
        (np.ones((2, 3)), "mask=float64 (2, 3): expected bool (2, 3)"),
        (np.ones((2, 1, 3), bool), "mask=bool (2, 1, 3): expected bool (2, 3)"),
    ],
)
def test_a_mask_of_another_kind_is_one_line(mask: Any, text: str) -> None:
    """The built-in says what it was given, what it expected and how to mend it."""
    x, row = np.ones((2, 1, 3)), np.ones(1)
    with pytest.raises(ValueError, match="mask=") as caught:
        bn.forward_train(x, row, row, row, row, eps=1.0, momentum=0.5, mask=mask)
    assert text in str(caught.value)
    with pytest.raises(ValueError, match="per_activation=True: expected no mask"):
        bn.per_activation.forward_train(x, row, row, row, row, eps=1.0, momentum=0.5, mask=mask)
