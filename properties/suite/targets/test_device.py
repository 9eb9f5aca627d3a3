"""PyTorch code on a device of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from properties.model.contract import TargetError
from properties.suite.conftest import Ran
from properties.targets.device import placed
from properties.targets.load import load


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("torch@cuda", ("torch", "cuda")),
        ("a.py:Net@cuda:1", ("a.py:Net", "cuda:1")),
        ("a@b/c.py:Net", ("a@b/c.py:Net", "")),
        ("torch:layer", ("torch:layer", "")),
    ],
)
def test_the_device_stands_behind_an_at(spec: str, parts: tuple[str, str]) -> None:
    """What follows the last @ is a device where it looks like one."""
    assert placed(spec) == parts


def test_other_code_has_no_device(bncheck: Callable[..., Ran]) -> None:
    """A device for a target that is not PyTorch's is refused in one line."""
    ran = bncheck("run", "bn", "--device", "cpu")
    assert ran.status == 2
    assert ran.err.startswith("bncheck: target=bn@cpu: --device")
    assert ran.err.count("\n") == 1


def test_tensors_are_made_on_the_device() -> None:
    """After `use` every tensor lies there; a device that is not there is refused."""
    pytest.importorskip("torch")
    from properties.targets.adapters import tensors

    with pytest.raises(TargetError, match=r"target=torch@nowhere: --device=nowhere: "):
        load("torch@nowhere")
    try:
        tensors.use("meta")
        made = tensors.tensor(np.ones((2, 3)), True)
        assert made.device.type == "meta"
        assert made.requires_grad
    finally:
        tensors.use("cpu")
    assert tensors.tensor(np.ones(2)).device.type == "cpu"
