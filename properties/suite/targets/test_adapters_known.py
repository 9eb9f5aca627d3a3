"""The table of built-in targets, `bncheck targets`, and what is said of one that is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import bn
import properties
from properties.cli import main
from properties.model.contract import TargetError
from properties.targets.adapters import built_in as known
from properties.targets.adapters import installed
from properties.targets.adapters.built_in import BUILT_IN, ORDERS, BuiltIn
from properties.targets.load import load

ROOT = Path(properties.__file__).resolve().parent.parent
FRAMEWORKS = {
    "torch", "jax", "flax", "haiku", "equinox", "keras", "tensorflow", "onnx", "onnxruntime",
    "tinygrad", "mlx",
}  # fmt: skip


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Make a built-in called `made` of a module's text and what it needs."""

    def make(text: str, *needs: str, differentiates: bool = False) -> None:
        (tmp_path / "made_adapter.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "made_adapter", raising=False)
        entry = BuiltIn("made_adapter", "made", "made", needs, "made==1", differentiates)
        monkeypatch.setitem(BUILT_IN, "made", entry)

    return make


GOOD = "from bn import forward_train, backward_train, double_backward_train\n"


def test_a_built_in_is_loaded_by_its_name(made: Any) -> None:
    """What is installed is imported and has its functions."""
    made(GOOD, "numpy>=1.0")
    functions, _ = load("made")
    assert functions["forward_train"] is bn.forward_train


def test_a_built_in_that_is_not_installed_is_one_line(made: Any) -> None:
    """The line names what is missing and how to install it; nothing is imported."""
    made("raise AssertionError('imported')", "no-such-distribution>=2")
    with pytest.raises(TargetError) as caught:
        load("made")
    wanted = "target=made: no-such-distribution>=2 is not installed; try: pip install made==1"
    assert str(caught.value) == wanted


def test_a_built_in_of_a_wrong_version_is_one_line(made: Any) -> None:
    """The line names the version that is there and the one that is wanted."""
    made("raise AssertionError('imported')", "numpy>=99")
    with pytest.raises(TargetError) as caught:
        load("made")
    here = f"numpy {version('numpy')} is installed: expected numpy>=99"
    assert str(caught.value) == f"target=made: {here}; try: pip install made==1"


def test_a_built_in_that_fails_at_import_is_one_line(made: Any) -> None:
    """Whatever an import raises becomes one line."""
    made("raise OSError('libfoo.so.1: cannot open\\nmore')", "numpy>=1.0")
    with pytest.raises(TargetError) as caught:
        load("made")
    assert str(caught.value) == (
        "target=made: it does not import: OSError: libfoo.so.1: cannot open"
    )


def test_an_order_of_modes_is_a_target_of_its_own(made: Any) -> None:
    """NAME:ORDER has forward, backward, and the second derivative through that order alone."""
    text = GOOD + "def second_derivative_train(order, *given):\n    return order, given\n"
    made(text, differentiates=True)
    functions, _ = load("made:forward_over_reverse")
    assert set(functions) == {"forward_train", "backward_train", "double_backward_train"}
    second = functions["double_backward_train"]
    assert second(1, 2, 3, 4, 5) == ("forward_over_reverse", (1, 2, 3, 4, 5))


def test_an_order_that_is_not_there_is_told_with_those_that_are(made: Any) -> None:
    """The line names the orders of modes there are."""
    made(GOOD, "numpy>=1.0", differentiates=True)
    with pytest.raises(TargetError) as caught:
        load("made:sideways")
    orders = ", ".join(ORDERS)
    wanted = f"target=made:sideways: no 'sideways' of made; expected {orders} after made:"
    assert str(caught.value) == wanted


def test_a_name_behind_a_target_is_told_with_its_variants() -> None:
    """The line names further targets of a framework beside the orders."""
    with pytest.raises(TargetError, match=r"expected layer, channels_last, .*, forward_over_f"):
        load("torch:sideways")
    with pytest.raises(TargetError, match="no 'forward_over_forward' of torch:compile; expected n"):
        load("torch:compile:forward_over_forward")


def test_an_order_of_what_has_no_second_derivative_is_no_target(made: Any) -> None:
    """An order of a target that has none is refused, even one that exists elsewhere."""
    made(GOOD, "numpy>=1.0")
    with pytest.raises(TargetError, match="no 'forward_over_reverse' of made; expected nothing"):
        load("made:forward_over_reverse")


def test_the_extras_are_what_the_table_says() -> None:
    """Each built-in with needs has an extra of these very needs in pyproject.toml."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = content["project"]["optional-dependencies"]
    for name, built_in in BUILT_IN.items():
        if built_in.needs:
            assert extras[built_in.extra] == list(built_in.needs), name
            assert built_in.pip, name


def test_no_adapter_is_long() -> None:
    """An adapter has at most 60 lines, so that a fault in it has nowhere to hide."""
    modules = {b.where.partition(":")[0] for b in BUILT_IN.values() if b.needs}
    for module in modules:
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 60, f"{module}: {lines} lines"


def test_targets_lists_each_with_its_version_or_how_to_get_it(
    capsys: pytest.CaptureFixture[str], made: Any
) -> None:
    """A line per target: the version where it is installed, else what is missing and a pip line."""
    made("", "no-such-distribution>=2")
    assert main(["targets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split("  ")[0]: line for line in lines if "  " in line}
    assert list(rows) == list(BUILT_IN)
    assert rows["bn"].endswith(f"bncheck {version('bncheck')}")
    assert rows["made"].endswith(
        "- no-such-distribution>=2 is not installed; try: pip install made==1"
    )


def test_targets_writes_what_it_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json FILE holds name, whether installed, versions, the pip line and the orders."""
    path = tmp_path / "targets.json"
    assert main(["targets", "--json", str(path)]) == 0
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in content["targets"]}
    assert content["bncheck"] == version("bncheck")
    assert set(rows) == set(BUILT_IN)
    assert rows["bn"]["installed"] and rows["bn"]["orders"] == []
    assert rows["torch"]["install"].startswith("pip install torch==")
    assert rows["torch"]["orders"] == [f"torch:{order}" for order in ORDERS]
    for name, row in rows.items():
        assert row["installed"] == (row["problem"] == ""), name


def test_targets_imports_no_framework() -> None:
    """Versions are read from what pip wrote, so that the list comes at once."""
    code = "from properties.cli import main; main(['targets']); import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not loaded & FRAMEWORKS


def test_a_distribution_may_stand_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """tensorflow-cpu counts as tensorflow, whose modules it brings."""

    def only_cpu(name: str) -> str:
        if name != "tensorflow-cpu":
            raise installed.PackageNotFoundError(name)
        return "2.21.0"

    monkeypatch.setattr(installed, "version", only_cpu)
    assert installed.version_of("tensorflow>=2.20") == "2.21.0"
    assert installed.missing(known.BUILT_IN["tensorflow"]) == ""
    old = replace(known.BUILT_IN["tensorflow"], needs=("tensorflow>=3",))
    assert "2.21.0 is installed: expected tensorflow>=3" in installed.missing(old)
