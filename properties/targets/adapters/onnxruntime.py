"""ONNX Runtime on the CPU, with its default optimizations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxruntime import InferenceSession

from .onnx_model import target


def make(model: Any) -> Callable[[dict[str, Any]], Any]:
    """Return what runs the model."""
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)


TARGET = target(make)
