"""Binding a file's code to the documented names, over Numbers and over floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .formula import Values
from .module import Module

KEPT = {"x", "dy", "xhat", "xc", "y", "ddx", "tx", "n", "eps", "momentum"}


def flat(name: str, value: Any) -> Any:
    """Channel values are (c,) for code, as NumPy users write them."""
    return value if name in KEPT or not isinstance(value, np.ndarray) else value.reshape(-1)


def both(module: Module, run: Callable[[Mapping[str, Any], Values], Mapping[str, Any]]) -> Any:
    """Return run over the rewritten module (None where there is none) and over the plain one."""

    def exact(given: Values) -> Mapping[str, Any]:
        return run(module.names(True, given["eps"]), given)

    def floating(given: Values) -> Mapping[str, Any]:
        return run(module.names(False, given["eps"]), given)

    return (exact if module.source else None), floating


def typed(module: Module) -> tuple[str, ...]:
    """Return the literals that were read as eps."""
    return module.source.typed_eps if module.source else ()


def copied(value: Any) -> Any:
    """Return a copy of an array: the code may write into what it is given."""
    return value.copy() if isinstance(value, np.ndarray) else value
