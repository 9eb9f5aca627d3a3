"""On which device PyTorch code runs: `torch@cuda`, `mine.py:Net@cuda:1`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..model.contract import TargetError
from .adapters.built_in import BuiltIn

Functions = Mapping[str, Callable[..., Any]]

_PLACED = re.compile(r"(.+)@([a-z]+(?::\d+)?)")


def placed(spec: str) -> tuple[str, str]:
    """Return the spec of a target without its device, and the device, "" where none is named."""
    found = _PLACED.fullmatch(spec)
    return (found[1], found[2]) if found else (spec, "")


def use(device: str, spec: str) -> None:
    """Have PyTorch's tensors made on a device; code of the user's reads TORCH_DEVICE.

    Raises:
        TargetError: PyTorch is not installed, or has no such device here.
    """
    try:
        from .adapters import tensors

        tensors.use(device)
    except ImportError as error:
        raise TargetError(f"target={spec}: --device needs PyTorch: {error}") from error
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise TargetError(f"target={spec}: --device={device}: {why}") from error
    os.environ["TORCH_DEVICE"] = device


def refuse(
    known: BuiltIn | None, functions: Functions, stated: Mapping[str, Any], spec: str
) -> None:
    """Raise a TargetError where a device is named for what is not PyTorch's."""
    by_torch = any(need.startswith("torch") for need in known.needs) if known else False
    names = getattr(functions.get("forward_train"), "__globals__", {})
    by_torch |= getattr(names.get("torch"), "__name__", "") == "torch"
    if not by_torch and not str(stated.get("style", "")).startswith("pytorch:"):
        raise TargetError(f"target={spec}: --device holds for PyTorch code alone; leave it out")
