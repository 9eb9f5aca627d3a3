"""A BatchNormalization node of an ONNX file as a target, taken out into a model of its own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from .built_in import BUILT_IN
from .installed import missing, version_of
from .onnx_model import OPSET, target
from .words import Unfit

LISTED = 5  # names of nodes in a complaint


def found_in(path: str, name: str) -> SimpleNamespace:
    """Return the target that a node makes: its eps, momentum, dtype and opset are the file's.

    ONNX Runtime runs it where that is installed, else ONNX's reference evaluator. Nothing of the
    model but this node is run. Training is that of opset 14 on, whatever training_mode says.

    Args:
        path: of the file.
        name: of the node, or of its first output; "" for the only one.

    Raises:
        Unfit: the file is no ONNX model, or has no such node, or too old a one.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise Unfit(f"{path} is no ONNX model; expected one that onnx.load reads") from error
    nodes = {label(node): (node, graph) for node, graph in _nodes(model)}
    if not nodes:
        raise Unfit(f"{path} has no BatchNormalization node (an exporter may have folded it)")
    if name not in nodes and (name or len(nodes) > 1):
        shown = ", ".join([*nodes][:LISTED]) + (", ..." if len(nodes) > LISTED else "")
        wrong = f"no BatchNormalization node {name!r} in" if name else f"{len(nodes)} such nodes in"
        raise Unfit(f"{wrong} {path}; expected one of these after ':': {shown}")
    name = name or next(iter(nodes))
    return _of_node(name, *nodes[name], _opset(model))


def label(node: Any) -> str:
    """Return what a node is called: by its name, or else by its first output."""
    return str(node.name or node.output[0])


def _nodes(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield all batch norms with the graph or function that they are in."""
    graphs = [model.graph, *model.functions]
    for graph in graphs:  # grows: the bodies of If and Loop lie in their nodes
        for node in graph.node:
            graphs += [a.g for a in node.attribute if a.HasField("g")]
            if node.op_type == "BatchNormalization" and node.domain in ("", "ai.onnx"):
                yield node, graph


def _opset(model: Any) -> int:
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)


def _of_node(name: str, node: Any, graph: Any, opset: int) -> SimpleNamespace:
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if opset < 7 or given.get("spatial", 1) != 1:
        raise Unfit(f"{name}: opset={opset}: expected 7 or newer, and no spatial=0")
    numbers = given.get("epsilon", 1e-5), given.get("momentum", 0.9)
    eps, momentum = (float(np.float32(value)) for value in numbers)  # as the file holds them
    runtime = "onnx" if missing(BUILT_IN["onnxruntime"]) else "onnxruntime"
    make = importlib.import_module(f".{runtime}", __package__).make
    dtype = _dtype(node, graph)
    mode = given.get("training_mode", 0) if opset >= 14 else f"none, training as in opset {OPSET}"
    told = f"onnx: node {name}: {dtype}, opset {opset}, epsilon={eps:g}, momentum={momentum:g}, "
    told += f"training_mode={mode}; run by {runtime} {version_of(runtime)}"
    found = target(make, (eps, momentum), opset)
    found.CONVENTIONS = {
        **found.CONVENTIONS,
        **{"eps": eps, "fixed_momentum": momentum, "dtypes": [dtype]},
        **{"layouts": "copied", "style": told},
    }
    return found


def _dtype(node: Any, graph: Any) -> str:
    """Return the dtype of x or of its scale, where the file tells it; else float32."""
    kinds = {a.name: a.data_type for a in getattr(graph, "initializer", ())}
    for held in ("input", "output", "value_info"):
        for value in getattr(graph, held, ()):
            if not isinstance(value, str):  # a function has names alone
                kinds.setdefault(value.name, value.type.tensor_type.elem_type)
    kind = next((kinds[n] for n in node.input[:2] if kinds.get(n)), onnx.TensorProto.FLOAT)
    return str(onnx.helper.tensor_dtype_to_np_dtype(kind).name)
