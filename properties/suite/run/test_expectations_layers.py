"""What is known of a layer's numbers does not hide a fault of its state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from properties.engine.exercise import Result
from properties.model.contract import Conventions, Target, TargetError
from properties.plants.layers import Layer
from properties.plants.textbook import Pieces, implementation
from properties.run.expectations import Expectation, read, results_of
from properties.targets.adapters.built_in import BUILT_IN
from properties.targets.adapters.installed import missing
from properties.targets.open import loaded

LIVES = "a_layer_lives_by_the_model"
NAMES = ("only_training_moves_a_layer", LIVES)
LINK = "https://example.org/issue/1"

pytestmark = pytest.mark.filterwarnings("ignore")  # what frameworks warn of is their own affair


def off_in(*wrong: str) -> Target:
    """Return a right layer that says of these statistics twice what they are once it trained."""
    right = implementation(Pieces(layer=Layer), Conventions(), "right")
    trained: set[int] = set()

    def run_layer(x: Any, layer: Any, training: bool, elsewhere: bool) -> Any:
        if training:
            trained.add(id(layer))
        return right.functions["run_layer"](x, layer, training, elsewhere)

    def layer_state(layer: Any) -> Any:
        mean, var, count = right.functions["layer_state"](layer)
        double = {name: 1 + (name in wrong and id(layer) in trained) for name in ("mean", "var")}
        return mean * double["mean"], var * double["var"], count

    found = {**right.functions, "run_layer": run_layer, "layer_state": layer_state}
    return replace(right, functions=found)


def of(target: Target, *quantities: str) -> Result:
    """Return what comes of the target where it is expected to fail in these quantities."""
    entry = Expectation("theirs", LIVES, "its numbers", LINK, rare=True, quantities=quantities)
    named = replace(target, spec="theirs")
    (found,) = results_of(named, LIVES, [entry], examples=10, seed_number=1, shrink=False)
    return found


def test_a_failure_is_expected_in_its_quantities_alone() -> None:
    """What fails in another claim than those named fails; without names all is excused."""
    assert of(off_in("mean")).verdict == "expected failure"
    other = of(off_in("mean"), "running_var")
    assert other.verdict == "fail"
    assert other.failure is not None
    assert other.failure.quantity.startswith("running_mean")
    assert f"not of {other.failure.quantity}" in other.message
    assert of(off_in(), "running_var").verdict == "pass"


def test_an_exception_is_in_no_quantity() -> None:
    """A layer that raises fails, whichever quantities are excused."""
    target = off_in()

    def go_back(dy: Any, layer: Any) -> Any:
        raise ValueError("no")

    broken = replace(target, functions={**target.functions, "go_back": go_back})
    result = of(broken, "y in training")
    assert result.verdict == "fail"
    assert "not of an exception" in result.message


@pytest.mark.parametrize("value", ["[]", "3", '""'])
def test_quantities_are_names(tmp_path: Path, value: str) -> None:
    """Anything but a name or several is refused in a line."""
    path = tmp_path / "registry.toml"
    path.write_text(
        f'[[expected]]\ntarget = "bn"\ninvariant = "{LIVES}"\nreason = "r"\nlink = "{LINK}"\n'
        f"quantities = {value}\n",
        encoding="utf-8",
    )
    with pytest.raises(TargetError, match=r"quantities=.*: expected a text, or a list of some"):
        read(path)


Planted = Callable[[pytest.MonkeyPatch, str], Target]


def nnx_layer(patch: pytest.MonkeyPatch, fault: str) -> Target:
    """Return Flax's module, or a subclass with a fault, as a layer that lives."""
    from flax import nnx

    from properties.targets.adapters.flax_nnx import layer
    from properties.targets.adapters.living_nnx import living_of

    class Wrong(nnx.BatchNorm):
        def __call__(self, x: Any, use_running_average: Any = None, **more: Any) -> Any:
            y = super().__call__(x, use_running_average, **more)
            if fault == "moves in inference" and use_running_average:
                self.mean.set_value(self.mean.get_value() / 2 + 1)
            if fault == "counts twice" and not use_running_average:
                super().__call__(x, use_running_average, **more)
            return y

    target = loaded("flax:nnx")
    if fault:
        patch.setattr(nnx, "BatchNorm", Wrong)
    return replace(target, functions={**target.functions, **living_of(layer)})


def equinox_layer(patch: pytest.MonkeyPatch, fault: str) -> Target:
    """Return Equinox's module in mode "ema", or a subclass with a fault."""
    import equinox as eqx

    from properties.targets.adapters.equinox import _made
    from properties.targets.adapters.living_equinox import living_of

    class Wrong(eqx.nn.BatchNorm):  # type: ignore[misc, name-defined]
        def __call__(self, x: Any, state: Any, **more: Any) -> Any:
            if fault == "counts twice" and not self.inference:
                _, state = super().__call__(x, state, **more)
            y, state = super().__call__(x, state, **more)
            if fault == "moves in inference" and self.inference:
                mean, var = state.get(self.ema_state_index)
                state = state.set(self.ema_state_index, (mean / 2 + 1, var))
            return y, state

    target = loaded("equinox:ema")
    if fault:
        patch.setattr(eqx.nn, "BatchNorm", Wrong)
    return replace(target, functions={**target.functions, **living_of(_made, "ema")})


def keras_layer(patch: pytest.MonkeyPatch, fault: str) -> Target:
    """Return Keras's layer on PyTorch, or a subclass with a fault."""
    target = loaded("keras:torch")  # it chooses the backend, before Keras is imported
    import keras

    class Wrong(keras.layers.BatchNormalization):  # type: ignore[misc]
        def call(self, x: Any, training: Any = None, mask: Any = None) -> Any:
            y = super().call(x, training=training, mask=mask)
            if fault == "moves in inference" and not training:
                self.moving_mean.assign(self.moving_mean / 2 + 1)
            if fault == "counts twice" and training:
                super().call(x, training=training, mask=mask)
            return y

    if fault:
        patch.setattr(keras.layers, "BatchNormalization", Wrong)
    return target


LAYERS = {"flax:nnx": nnx_layer, "equinox:ema": equinox_layer, "keras:torch": keras_layer}
FAULTS = {
    "": set(),
    "moves in inference": set(NAMES),
    "counts twice": set(NAMES),
}


def failed(target: Target, names: Iterable[str] = NAMES) -> set[str]:
    """Return which of the two invariants fail beyond what is registered."""
    registry, options = read(), {"examples": 8, "seed_number": 1, "shrink": False}
    few = replace(target, offers=target.offers | {"few shapes"})  # JAX compiles for each
    found = {n: list(results_of(few, n, registry, **options)) for n in names}
    return {n for n, results in found.items() if "fail" in {r.verdict for r in results}}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_fault_of_state_is_seen_beside_known_numbers(
    monkeypatch: pytest.MonkeyPatch, name: str, fault: str
) -> None:
    """A layer whose numbers are excused passes; one that moves or counts wrongly fails in both."""
    if problem := missing(BUILT_IN[name]):
        pytest.skip(problem)
    make: Planted = LAYERS[name]
    assert failed(make(monkeypatch, fault)) == FAULTS[fault]
