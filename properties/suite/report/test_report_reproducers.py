"""Reproducers: numbers in full, ten lines at most, Python that compiles, for every framework."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import bn
from properties.corpus.entries import Calls, encode_array
from properties.corpus.expected import with_expected
from properties.corpus.files import Entry, decode_array
from properties.corpus.numbers import encode_float
from properties.corpus.replay import replay
from properties.model.contract import Conventions
from properties.model.verdict import Failure
from properties.report.frameworks import TEMPLATES
from properties.report.reproducers import LARGEST, literal, number, printed, reproducer
from properties.report.smallest_call import shrunk
from properties.targets.adapters.built_in import BUILT_IN
from properties.targets.offers import probed
from properties.targets.open import loaded

LINES = 10
QUANTITIES = ("y", "running_mean", "running_var", "dx", "dgamma", "dbeta")


def calls(quantity: str, dtype: str, rank: int, mode: str = "train", affine: bool = True) -> Calls:
    """Return the calls of a small corpus entry, with a backward where a gradient is meant."""
    shape = (3, 2, *(1,) * (rank - 2))
    x = np.arange(6).reshape(shape).astype(dtype)
    state = np.float32 if dtype == "float16" else np.dtype(dtype)
    names = ("gamma", "beta", "running_mean", "running_var")
    given = {name: encode_array(np.array([1.0, 0.5], state)) for name in names}
    if not affine:
        given["gamma"] = given["beta"] = None  # type: ignore[assignment]
    found: Calls = [{"call": f"forward_{mode}", "x": encode_array(x), **given,
                     "eps": encode_float(0.1), "momentum": encode_float(0.25)}]  # fmt: skip
    if quantity.startswith("d"):
        found.append({"call": f"backward_{mode}", "dy": encode_array(x), "saved": 0})
    return found


def failure(quantity: str, rank: int) -> Failure:
    """Return a failure at the last number of a quantity."""
    index = (2, 1, *(0,) * (rank - 2)) if quantity in ("y", "dx") else (0, 1)
    return Failure(quantity, index, 1.0, 2.0, 1.0, 0.1)


@pytest.mark.parametrize("spec", TEMPLATES)
def test_each_template_gives_ten_lines_of_python(spec: str) -> None:
    """Whatever is asked of it, a template gives nothing or a short program without bncheck."""
    axis = 1 if spec.startswith(("torch", "onnx", "tinygrad")) else -1
    given = 0
    for quantity in QUANTITIES:
        for dtype in ("float32", "float64", "float16"):
            for rank in (2, 4):
                for affine in (True, False):
                    if quantity in ("dgamma", "dbeta") and not affine:
                        continue
                    if spec == "tensorflow:fused" and (rank == 2 or not affine):
                        continue
                    made = calls(quantity, dtype, rank, affine=affine)
                    wrong = failure(quantity, rank)
                    conventions = Conventions(channel_axis=axis)
                    lines = reproducer(spec, conventions, made, len(made) - 1, wrong)
                    if lines:
                        given += 1
                        ast.parse("\n".join(lines))
                        assert len(lines) <= LINES + (dtype == "float64"), lines
                        assert "wanted 2.0, within 0.1" in lines[-1]
                        assert "bncheck" not in "".join(lines)
    assert given > 3


def test_every_built_in_framework_has_a_template() -> None:
    """Only the built-in bn, which is no framework, and what runs on several devices have none."""
    without = set(BUILT_IN) - set(TEMPLATES)
    assert {name for name in without if not name.startswith("bn")} <= {"flax:sync", "keras:sync"}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_come_back_to_the_bit(dtype: type[np.floating]) -> None:
    """What is printed is the number again in its dtype, in as few digits as that takes."""
    bits = np.random.default_rng(1).integers(0, 2**16, 4000, dtype=np.uint16)
    values = bits.view(np.float16).astype(dtype)
    values = np.concatenate([values, np.array([0.1, 1 / 3, 1e-7, 6e4], dtype)])
    for value in values:
        back = dtype(eval(number(value)))
        assert back == value or (np.isnan(back) and np.isnan(value))
    assert number(np.float32(0.1)) == "0.1"
    assert literal(np.array([[1.5], [2.0]], np.float32)) == "[[1.5], [2.0]]"


def test_what_has_no_short_program_has_none() -> None:
    """A large x, another function, and a target without a template give nothing."""
    conventions, wrong = Conventions(), failure("y", 2)
    made = calls("y", "float32", 2)
    assert reproducer("torch", conventions, made, 0, wrong)
    assert reproducer("mine.py", conventions, made, 0, wrong) == []
    assert reproducer("torch", conventions, made, 0, replace(wrong, quantity="ty")) == []
    big = np.zeros((LARGEST + 1, 2), np.float32)
    large = [{**made[0], "x": encode_array(big)}]
    assert reproducer("torch", conventions, large, 0, wrong) == []


def test_the_index_follows_the_channels_to_the_end() -> None:
    """Where the framework has channels last, x, dy and the place of the number are moved."""
    made = calls("y", "float32", 4)
    wrong = failure("y", 4)
    last = reproducer("mlx", Conventions(channel_axis=-1), made, 0, wrong)
    assert "y[2, 0, 0, 1]" in last[-1]
    assert "[[[[0.0, 1.0]]]" in "".join(last)
    first = reproducer("tinygrad", Conventions(), made, 0, wrong)
    assert "y[2, 1, 0, 0]" in first[-1]


def test_a_failing_call_is_made_small() -> None:
    """One channel and the rows that are needed are left, and it fails as before."""

    def forward_train(x: np.ndarray, *args: Any, **options: Any) -> Any:
        y, *rest = bn.forward_train(x, *args, **options)
        return np.where(x == 7, y + 1, y).astype(x.dtype), *rest

    target = probed("theirs", {"forward_train": forward_train}, bn.CONVENTIONS)
    x = np.arange(6 * 3 * 2, dtype=np.float32).reshape(6, 3, 2)
    state = {name: encode_array(np.ones(3, np.float32)) for name in
             ("gamma", "beta", "running_mean", "running_var")}  # fmt: skip
    options = {"eps": encode_float(0.5), "momentum": encode_float(0.5)}
    made = [{"call": "forward_train", "x": encode_array(x), **state, **options}] * 2
    found = replay(target, Entry("", "", False, with_expected(made)))
    small = shrunk(target, found)
    assert (small.verdict, small.failure and small.failure.quantity) == ("fail", "y")
    (call,) = small.entry.calls
    assert decode_array(call["x"]).tolist() == [[[6.0, 7.0]]]
    assert decode_array(call["gamma"]).shape == (1,)


def test_an_empty_batch_keeps_its_shape() -> None:
    """Nested lists would lose it."""
    assert literal(np.zeros((0, 1, 2))) == "np.zeros((0, 1, 2))"
    made = calls("running_mean", "float32", 2)
    made[0]["x"] = encode_array(np.zeros((0, 2), np.float32))
    lines = reproducer("torch", Conventions(), made, 0, failure("running_mean", 2))
    assert lines[0] == "import numpy as np"
    assert any("np.zeros((0, 2))" in line for line in lines)


def test_printing_is_caught(capsys: pytest.CaptureFixture[str]) -> None:
    """A reproducer's output is returned, and how it fails."""
    assert printed(["a = 1", "print(a + 1)"]) == "2"
    assert printed(["raise KeyError('x')"]) == "KeyError: 'x'"
    assert capsys.readouterr().out == ""


def test_torch_prints_what_the_adapter_got(clean_imports: Callable[..., None]) -> None:
    """Where PyTorch is installed, its template's program computes what the adapter does."""
    pytest.importorskip("torch")
    from properties.model import contract

    target = loaded("torch")
    made = calls("dx", "float32", 4)
    arrays = [decode_array(made[0][name]) for name in
              ("x", "gamma", "beta", "running_mean", "running_var")]  # fmt: skip
    done = contract.train(target, *arrays, eps=0.1, momentum=0.25)
    back = contract.backward(target, decode_array(made[1]["dy"]), done.saved, arrays[1])
    lines = reproducer("torch", target.conventions, made, 1, failure("dx", 4))
    assert float(printed(lines)) == float(back.dx[2, 1, 0, 0])
