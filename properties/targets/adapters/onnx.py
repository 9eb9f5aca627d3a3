"""ONNX: its reference evaluator, which defines what the operator does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnx.reference import ReferenceEvaluator

from .onnx_model import target


def make(model: Any) -> Callable[[dict[str, Any]], Any]:
    """Return what evaluates the model."""
    evaluator = ReferenceEvaluator(model)
    return lambda given: evaluator.run(None, given)


TARGET = target(make)
