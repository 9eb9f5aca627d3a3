"""A BatchNormalization node of an ONNX file is a target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from properties.model.contract import TargetError
from properties.targets.open import loaded

onnx = pytest.importorskip("onnx")
helper = onnx.helper
pytestmark = pytest.mark.filterwarnings("ignore")

Save = Callable[..., Path]
INPUTS = ["s", "b", "m", "v"]


@pytest.fixture
def model(tmp_path: Path) -> Save:
    """Save a model of batch norms in a row: (name, attributes) each."""

    def save(
        *nodes: tuple[str, dict[str, Any]], opset: int = 15, dtype: str = "float32", op: str = ""
    ) -> Path:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        names = ["x", *(f"y{k}" for k in range(len(nodes)))]
        op = op or "BatchNormalization"
        made = [
            helper.make_node(op, [names[k], *INPUTS], [names[k + 1]], name=name, **given)
            for k, (name, given) in enumerate(nodes)
        ]
        ends = [
            [helper.make_tensor_value_info(name, kind, [None, 3, 4])] for name in ("x", names[-1])
        ]
        held = [onnx.numpy_helper.from_array(np.ones(3, dtype), name) for name in INPUTS]
        graph = helper.make_graph(made, "net", *ends, held)
        path = tmp_path / "model.onnx"
        opsets = [helper.make_opsetid("", opset)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
        return path

    return save


@pytest.mark.parametrize(
    ("opset", "dtype", "told"),
    [(15, "float32", "training_mode=0; run by onnx"), (9, "float32", "opset 9, "),
     (17, "float64", "node bn: float64, opset 17, epsilon=0.001, momentum=0.75")],
)  # fmt: skip
def test_a_node_passes(
    bncheck: Callable[..., Any], model: Save, opset: int, dtype: str, told: str
) -> None:
    """The only node needs no name; the heading says what it is, and its numbers are written in."""
    path = model(("bn", {"epsilon": 1e-3, "momentum": 0.75}), opset=opset, dtype=dtype)
    ran = bncheck("run", path, "--examples", 20, "--seed", 1, "-v")
    assert ran.status == 0, ran.out + ran.err
    assert told in ran.out and "fixed_momentum=0.75" in ran.out, ran.out


def test_a_wrong_runtime_fails(model: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs the node is judged: y times 1.001 is no batch norm."""
    from properties.engine.exercise import run_invariant
    from properties.invariants import INVARIANTS
    from properties.targets.adapters import onnx as reference

    right, path = reference.make, model(("bn", {}))
    monkeypatch.setattr("properties.targets.adapters.onnx_file.missing", lambda _: "onnxruntime")
    agrees = INVARIANTS["output_agrees_with_reference"]
    assert run_invariant(loaded(str(path)), agrees, examples=10).verdict == "pass"

    def wrong(made: Any) -> Any:
        run = right(made)
        return lambda given: [run(given)[0] * np.float32(1.001), *run(given)[1:]]

    monkeypatch.setattr(reference, "make", wrong)
    assert run_invariant(loaded(str(path)), agrees, examples=10).verdict == "fail"


def test_a_node_keeps_its_numbers(model: Save) -> None:
    """Of two nodes the named one is taken, with its own eps, whatever is passed."""
    path = model(("one", {"epsilon": 0.25}), ("", {"epsilon": 2.0}))
    x, one = np.float32([[0.0], [2.0]]), np.ones(1, np.float32)
    for name, eps in (("one", 0.25), ("y1", 2.0)):
        target = loaded(f"{path}:{name}")
        assert (target.conventions.eps, target.conventions.dtypes) == (eps, ("float32",))
        y = target.functions["forward_train"](x, one, 0 * one, one, one, eps=7.0, momentum=0.5)[0]
        np.testing.assert_allclose(y, (x - 1) / np.sqrt(1 + eps), rtol=1e-6)


def test_a_node_in_a_branch_is_found(model: Save) -> None:
    """The bodies of If are searched too."""
    path = model(("inner", {}))
    inner = onnx.load(path)
    branch = helper.make_graph(inner.graph.node, "then", [], inner.graph.output)
    choose = helper.make_node("If", ["c"], ["y0"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([choose], "net", [], inner.graph.output)
    onnx.save(helper.make_model(graph, opset_imports=inner.opset_import, ir_version=8), path)
    assert "node inner: float32" in loaded(str(path)).style


SEVEN = [(f"n{k}", {}) for k in range(7)]
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no such node": ({}, ":gone", "no BatchNormalization node 'gone' in "),
    "five names": ({}, ":gone", "expected one of these after ':': n0, n1, n2, n3, n4, ...$"),
    "several": ({}, "", "7 such nodes in .*; expected one of these after ':': n0, n1, "),
    "none": ({"op": "Sum"}, "", "has no BatchNormalization node .an exporter may have folded it"),
    "too old": ({"opset": 6}, ":n0", "n0: opset=6: expected 7 or newer, and no spatial=0"),
    "no number": ({"epsilon": float("nan")}, ":n0", r"CONVENTIONS\['eps'\]=nan of target=.*"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_node_is_one_line(bncheck: Callable[..., Any], model: Save, name: str) -> None:
    """What is wrong, and which nodes there are, five at most; status 2."""
    given, node, said = WRONG[name]
    own = {"epsilon": given["epsilon"]} if "epsilon" in given else {}
    more = {key: value for key, value in given.items() if key not in own}
    nodes = [(n, own) for n, _ in SEVEN]
    ran = bncheck("run", f"{model(*nodes, **more)}{node}")
    assert ran.status == 2 and ran.err.count("\n") == 1, ran.err
    with pytest.raises(TargetError, match=said):
        loaded(f"{model(*nodes, **more)}{node}")


def test_what_is_no_model_is_one_line(bncheck: Callable[..., Any], tmp_path: Path) -> None:
    """A file that is none, and one that is not there."""
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    for name, said in (("bad", "is no ONNX model; expected"), ("gone", "no file ")):
        ran = bncheck("run", tmp_path / f"{name}.onnx")
        assert ran.status == 2 and said in ran.err and ran.err.count("\n") == 1, ran.err
