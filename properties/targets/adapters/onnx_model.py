"""A model of one BatchNormalization node, built with onnx.helper, and how a runner is called."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from onnx import helper

OPSET, IR = 15, 8  # the newest version of the operator, and a format that old runtimes read
NAMES = ["x", "scale", "bias", "mean", "var"]
CONVENTIONS = {
    "momentum": "keep",
    "running_var": "biased",
    "statistics": "per_channel",
    "channel_axis": 1,
}


@cache
def model(
    dtypes: tuple[str, ...], ndim: int, training: bool, eps: float, momentum: float, opset: int
) -> Any:
    """Return the model for x, parameters and statistics of these dtypes.

    Before opset 14 there is no training_mode, so training is that of `OPSET`.

    Raises:
        onnx.checker.ValidationError: a dtype that the operator does not take.
    """
    kinds = [helper.np_dtype_to_tensor_dtype(np.dtype(dtype)) for dtype in dtypes]
    results = ["y", "new_mean", "new_var"][: 3 if training else 1]
    opset = OPSET if training and opset < 14 else opset
    mode = {"training_mode": int(training)} if opset >= 14 else {}
    node = helper.make_node(
        "BatchNormalization",
        NAMES,
        results,
        epsilon=eps,
        momentum=momentum,
        **mode,
    )
    shapes = [[None] * ndim] + [[None]] * 4
    inputs = [
        helper.make_tensor_value_info(*given) for given in zip(NAMES, kinds, shapes, strict=True)
    ]
    outputs = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in zip(
            results, (kinds[0], *kinds[3:]), (shapes[0], *shapes[3:]), strict=False
        )
    ]
    graph = helper.make_graph([node], "batch_normalization", inputs, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR)
    onnx.checker.check_model(made, full_check=True)
    return made


def target(
    make: Callable[[Any], Callable[[dict[str, Any]], Any]],
    fixed: tuple[float, float] | None = None,
    opset: int = OPSET,
) -> SimpleNamespace:
    """Return the contract's forwards over what makes a runner of a model.

    Args:
        make: model -> (name: array) -> list of results.
        fixed: eps and momentum of a node, whatever is passed.
        opset: the version of the operators.
    """
    runner = cache(lambda *key: make(model(*key)))

    def run(given: Any, training: bool, eps: float, momentum: float) -> Any:
        arrays = [np.ascontiguousarray(a, a.dtype.newbyteorder("=")) for a in given]
        numbers = (eps, momentum) if fixed is None else fixed
        key = tuple(a.dtype.name for a in arrays), arrays[0].ndim, training, *numbers, opset
        return runner(*key)(dict(zip(NAMES, arrays, strict=True)))

    def forward_train(*given: Any, eps: float, momentum: float) -> Any:
        return *run(given, True, eps, momentum), None

    def forward_eval(*given: Any, eps: float) -> Any:
        return *run(given, False, eps, 0.5), None

    return SimpleNamespace(
        forward_train=forward_train, forward_eval=forward_eval, CONVENTIONS=CONVENTIONS
    )
