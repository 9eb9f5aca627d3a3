"""The adapters: each calls what it says, bit by bit, and an error in what it calls is caught.

What a framework is not installed for is skipped; its own environment runs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from framework_calls import DIRECT, PATCHED

from properties.invariants import INVARIANTS
from properties.model.cases import Case, Recipe, build
from properties.model.contract import Misbehaved, Target
from properties.model.verdict import Outcome, judge
from properties.run.expectations import entries_for, read
from properties.targets.adapters.built_in import BUILT_IN, ORDERS
from properties.targets.adapters.installed import missing
from properties.targets.open import loaded

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")  # for flax:sync

HERE = [name for name, b in BUILT_IN.items() if b.needs and not missing(b)]
if "keras:sync" in HERE:  # it wants devices that TensorFlow makes once
    loaded("keras:sync")
FORWARD = "output_agrees_with_reference"
SECOND = "double_backward_agrees_with_reference"
VARIANTS = [f"{n}:{o}" for n in HERE if BUILT_IN[n].differentiates for o in ORDERS]

pytestmark = pytest.mark.filterwarnings("ignore")  # what frameworks warn of is their own affair


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    """Forget what JAX compiled, as it would not see a patch."""
    import sys

    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


def case_for(target: Target, dtype: str = "float32") -> Case:
    """Return a plain batch of four dimensions, whose numbers have few bits."""
    recipe = Recipe(
        "unit_scale", 6, 3, (2, 2), dtype, bits=10, seed=3, gamma="ordinary", eps=2.0**-10
    )
    return build(recipe, target.conventions)


def judged(target: Target, name: str, dtype: str = "float32") -> Outcome:
    """Return what an invariant comes to on that batch."""
    return judge(INVARIANTS[name].check(target, case_for(target, dtype)))


def test_every_adapter_has_its_direct_call() -> None:
    """No adapter is without a call of the framework's own API, and a place for an error."""
    adapters = {name for name, built_in in BUILT_IN.items() if built_in.needs}
    assert set(DIRECT) == set(PATCHED) == adapters


@pytest.mark.parametrize("name", HERE)
def test_an_adapter_gives_what_the_framework_gives(name: str) -> None:
    """y of the adapter has the bits of a direct call of the framework on the same batch."""
    target = loaded(name)
    case = case_for(target)
    x = case.x if target.conventions.channel_axis == 1 else np.moveaxis(case.x, 1, -1).copy()
    state = (case.gamma, case.beta, case.running_mean, case.running_var)
    y, *_ = target.functions["forward_train"](x, *state, eps=case.eps, momentum=case.momentum)
    direct = DIRECT[name](x, *state, case.eps, case.momentum)
    np.testing.assert_array_equal(np.asarray(y), np.asarray(direct), strict=True)


EMA = "equinox:ema normalizes by its averages, not by the batch"


@pytest.mark.parametrize("name", HERE)
def test_an_error_in_the_framework_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the framework returns, times 1.001, fails, and as it is passes."""
    if name == "equinox:ema":
        pytest.skip(EMA)
    target = loaded(name)
    assert judged(target, FORWARD).failure is None
    if "jax" in BUILT_IN[name].pip:
        import jax

        jax.clear_caches()
    PATCHED[name](monkeypatch, lambda y: y * 1.001)
    failure = judged(loaded(name), FORWARD).failure
    assert failure is not None and failure.error > failure.radius


@pytest.mark.parametrize("name", VARIANTS)
def test_each_order_of_modes_agrees_or_is_registered(name: str) -> None:
    """The second derivative agrees with the exact one in every order that is not registered."""
    if name.startswith("equinox:ema"):
        pytest.skip(EMA)
    target = loaded(name)
    if "double_backward_train" not in target.offers:
        pytest.skip(target.refused["double_backward_train"])
    dtype = "float64" if "float64" in target.offers else "float32"
    known = [e for e in entries_for(read(), name, SECOND) if not e.dtypes or dtype in e.dtypes]
    failed = judged(target, SECOND, dtype).failure is not None
    assert failed <= bool(known)
    assert failed or all(e.rare for e in known)


@pytest.mark.parametrize("name", ["flax:linen", "flax:nnx", "flax:sync", "keras:sync"])
def test_a_mask_or_ranks_are_the_batch_that_counts(name: str) -> None:
    """On a plain float64 batch a mask hides what it should, and devices share their statistics."""
    if name not in HERE:
        pytest.skip(missing(BUILT_IN[name]))
    target = loaded(name)
    case = case_for(target, "float64")
    needs = {"mask"} if "sync" not in name else {"sync_forward_train", "sync_backward_train"}
    names = [n for n, i in INVARIANTS.items() if needs & set(i.needs)]
    assert len(names) == 4 and needs <= target.offers
    for invariant in names:
        assert judge(INVARIANTS[invariant].check(target, case)).failure is None, invariant


def test_replicas_that_share_nothing_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras's layer without synchronized=True fails on ranks, on the batch that it passes with."""
    if "keras:sync" not in HERE:
        pytest.skip(missing(BUILT_IN["keras:sync"]))
    target = loaded("keras:sync")
    import keras

    plain = keras.layers.BatchNormalization
    monkeypatch.setattr(
        keras.layers, "BatchNormalization", lambda synchronized, **options: plain(**options)
    )
    for name in (
        "ranks_give_the_output_of_the_whole_batch",
        "ranks_add_up_the_parameter_gradients",
    ):
        assert judged(target, name, "float64").failure is not None, name


@pytest.mark.parametrize("name", [n for n in HERE if n.startswith("keras:") and n != "keras:sync"])
def test_keras_with_a_mask_is_right_but_of_one_channel(name: str) -> None:
    """Three channels agree in float32; one raises, as it is registered."""
    target, invariant = loaded(name), INVARIANTS["masked_output_is_that_of_the_kept_places"]
    case = case_for(target)
    assert judge(invariant.check(target, case)).failure is None
    one = build(replace(case.recipe, channels=1), target.conventions)
    with pytest.raises(Misbehaved, match="forward_train raised"):
        judge(invariant.check(target, one))


def test_counts_are_kept_beside_the_averages() -> None:
    """Averages that came from the start are freed from it; others are taken as of long ago."""
    from properties.targets.adapters.counted import LONG_AGO, counted

    seen: list[Any] = []

    class Found:
        @staticmethod
        def forward_train(x: Any, g: Any, b: Any, mean: Any, var: Any, **_: Any) -> Any:
            seen.append(mean[1])
            return x, mean[0] + 1, var + 1, None

        @staticmethod
        def forward_eval(x: Any, g: Any, b: Any, mean: Any, var: Any, **_: Any) -> Any:
            seen.append((mean[1], float(var[1])))
            return x, None

    from types import SimpleNamespace

    functions = SimpleNamespace(forward_train=Found.forward_train, forward_eval=Found.forward_eval)
    made: Callable[..., Any] = counted(functions, 0.0)
    x, state = np.ones((2, 1)), made.initial_state(1, np.float32)
    for _ in range(2):
        state = made.forward_train(x, None, None, *state, eps=1.0, momentum=0.25)[1:3]
    made.forward_eval(x, None, None, *state, eps=1.0)
    made.forward_eval(x, None, None, state[0] + 5, state[1], eps=1.0)
    assert seen == [0, 1, (2, 0.25), (LONG_AGO, 0.5)]
