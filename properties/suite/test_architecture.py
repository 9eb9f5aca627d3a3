"""Who may import whom, what each door shows, and what every invariant must have."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bn
import properties
from properties.invariants import INVARIANTS
from properties.mutants.planted import PLANTED
from properties.strategies import INPUTS

ROOT = Path(properties.__file__).resolve().parent.parent
SOURCES = sorted(
    path for package in ("bn", "reference", "properties") for path in (ROOT / package).rglob("*.py")
)
LIBRARY = [path for path in SOURCES if "suite" not in path.parts]


def name_of(path: Path) -> str:
    """Return the dotted name of a file, the package's for its __init__."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, package: bool = False) -> set[str]:
    """Return the modules that a source imports anywhere, relative names made absolute."""
    here = module.split(".") if package else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            where = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{where}.{alias.name}" for alias in node.names} | {where}
    return found


def outermost(path: Path) -> set[str]:
    """Return the outermost packages that a file imports, the standard library left out."""
    found = imports(path.read_text(encoding="utf-8"), name_of(path), path.stem == "__init__")
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names


ALLOWED = [
    ("bn", {"numpy", "bn"}),
    ("reference", {"numpy", "reference"}),
    ("properties/invariants", {"numpy", "reference", "properties"}),
    ("properties/contract.py", {"numpy", "properties"}),
    ("properties/cases.py", {"numpy", "properties", "ml_dtypes"}),
    ("properties/layouts.py", {"numpy", "properties"}),
    ("properties/verdict.py", {"numpy", "properties"}),
    ("properties/expected.py", {"numpy", "reference", "properties"}),
    ("properties/strategies.py", {"hypothesis", "properties"}),
    ("properties/cli.py", {"properties"}),
    ("properties/plugin.py", {"pytest", "properties"}),
    ("properties/mutants/textbook.py", {"numpy", "reference", "properties"}),
    ("properties/mutants/planted.py", {"numpy", "reference", "properties"}),
    ("properties/mutants/forms.py", {"numpy", "reference", "properties"}),
    ("properties/corpus", {"numpy", "reference", "properties"}),
]


@pytest.mark.parametrize(("where", "allowed"), ALLOWED, ids=[where for where, _ in ALLOWED])
def test_who_may_import_whom(where: str, allowed: set[str]) -> None:
    """Imports go downwards: design section 6, file by file, imports in functions included."""
    start = ROOT / where
    files = [path for path in LIBRARY if path == start or start in path.parents]
    assert files, f"{where} is gone"
    wrong = {str(path.relative_to(ROOT)): outermost(path) - allowed for path in files}
    assert not {path: names for path, names in wrong.items() if names}


def test_planted_imports_are_noticed() -> None:
    """The check sees every way to write an import, in functions and relative ones too."""
    source = "import a.b\nfrom c import d\ndef f():\n    import e\n"
    source += "    from .. import g\n    from .h import i\n"
    assert imports(source, "top.mid.leaf") == {
        "a.b", "c", "c.d", "e", "top", "top.g", "top.mid.h", "top.mid.h.i"}  # fmt: skip
    assert imports("from . import x", "top.mid", package=True) == {"top.mid", "top.mid.x"}


LOWER = ("contract", "cases", "expected", "verdict", "layouts", "invariants")


def test_the_lower_rooms_know_nothing_of_the_upper() -> None:
    """contract, cases, layouts and the invariants import no strategy, run, report or command."""
    for path in LIBRARY:
        name = name_of(path)
        parts = name.split(".")
        if parts[0] == "properties" and len(parts) > 1 and parts[1] in LOWER:
            found = imports(path.read_text(encoding="utf-8"), name, path.stem == "__init__")
            rooms = {n.split(".")[1] for n in found if n.startswith("properties.")}
            assert rooms <= set(LOWER), f"{name} imports {sorted(rooms - set(LOWER))}"


def test_relative_inside_a_package_absolute_between() -> None:
    """A module names its own package by dots, and another by its name."""
    for path in LIBRARY:
        own = name_of(path).partition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                assert node.module.partition(".")[0] != own, f"{path.name}:{node.lineno}: use dots"


def loaded_by(statement: str) -> set[str]:
    """Return the outermost modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


HEAVY = {"numpy", "hypothesis", "scipy", "torch"}


def test_the_package_and_its_plugin_import_nothing_heavy() -> None:
    """A pytest session that does not use the plugin pays for pytest alone."""
    door = ast.parse((ROOT / "properties" / "__init__.py").read_text(encoding="utf-8"))
    assert [type(node).__name__ for node in door.body] == ["Expr"], "more than a docstring"
    found = loaded_by("import properties, properties.plugin, properties.cli")
    assert not found & (HEAVY | {"bn", "reference"})


def test_invariants_can_be_called_from_plain_code() -> None:
    """Importing the invariants brings in neither bn nor pytest nor Hypothesis, by any way round."""
    found = loaded_by("import properties.invariants, properties.cases, properties.contract")
    assert not found & {"bn", "pytest", "hypothesis", "scipy", "torch"}
    assert {"numpy", "reference"} <= found


DOORS = {
    "bn": {
        "CONVENTIONS", "BatchNormalization", "backward_eval", "backward_train",
        "double_backward_train", "fold", "forward_eval", "forward_train", "initial_state",
        "jvp_train", "merge_gradients", "merge_statistics", "per_activation",
    },
    "properties.invariants": {"INVARIANTS", "Invariant"},
    "properties.probe": {"find", "probed"},
    "properties": set(),
    "reference": set(),
}  # fmt: skip


@pytest.mark.parametrize("package", DOORS)
def test_each_package_has_one_door(package: str) -> None:
    """The public names of a package are these; what is added or lost shows here."""
    module = importlib.import_module(package)
    path = Path(inspect.getfile(module))
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname for alias in node.names if alias.asname}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    assert found - {"__all__"} == DOORS[package]
    assert all(hasattr(module, name) for name in found)


def test_bn_offers_the_contract() -> None:
    """bn has every function of the contract; per activation all but fold, which has channels."""
    from properties.contract import FUNCTIONS

    for module, lacks in ((bn, []), (bn.per_activation, ["fold"])):
        assert [name for name in FUNCTIONS if not callable(getattr(module, name, None))] == lacks


# --- invariants ----------------------------------------------------------------------------------


def paragraphs(text: str | None) -> list[str]:
    return [part.strip() for part in inspect.cleandoc(text or "").split("\n\n")]


@pytest.mark.parametrize("name", INVARIANTS)
def test_every_invariant_is_a_fact_with_a_reason(name: str) -> None:
    """One sentence on the first line, then why it is true; the name reads as a fact."""
    claim, *why = paragraphs(INVARIANTS[name].check.__doc__)
    assert re.fullmatch(r"([A-Z]|dx )[^\n]+ [^\n]+\.", claim), (
        f"{claim!r} is no sentence on one line"
    )
    assert why, "it does not say why it is true"
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", name)
    assert INVARIANTS[name].sentence == claim.rstrip(".")


@pytest.mark.parametrize("name", INVARIANTS)
def test_every_invariant_names_its_planted_error_and_inputs(name: str) -> None:
    """The planted error and the kind of inputs exist, and its needs are names of the contract."""
    from properties.contract import FUNCTIONS

    invariant = INVARIANTS[name]
    assert invariant.plant in PLANTED
    assert invariant.inputs in INPUTS
    assert invariant.weight > 0
    features = {"no affine", "no running statistics", "empty batch", "one value", "eps"}
    assert set(invariant.needs) <= set(FUNCTIONS) | features


def test_every_planted_error_is_one_of_an_invariant() -> None:
    """No planted error and no kind of inputs lies about unused."""
    assert set(PLANTED) == {i.plant for i in INVARIANTS.values()}
    assert set(INPUTS) >= {i.inputs for i in INVARIANTS.values()}


def test_sentences_are_unlike() -> None:
    """Each fact stands once."""
    sentences = [invariant.sentence for invariant in INVARIANTS.values()]
    assert len(set(sentences)) == len(sentences)


# --- the house -----------------------------------------------------------------------------------


def tracked() -> Iterator[str]:
    """Yield what git tracks at the top level, or what lies there without git."""
    done = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    names = done.stdout.splitlines() if done.returncode == 0 else [p.name for p in ROOT.iterdir()]
    yield from {name.partition("/")[0] for name in names}


def test_the_top_level_is_fixed() -> None:
    """bn, properties, reference, pyproject.toml, README.md, a licence and dot-files: no more."""
    fixed = {"bn", "properties", "reference", "pyproject.toml", "README.md", "LICENSE"}
    found = {name for name in tracked() if not name.startswith(".")}
    assert found <= fixed, f"{sorted(found - fixed)} does not belong there"
    assert found >= fixed - {"LICENSE"}


def test_every_module_says_what_it_is() -> None:
    """Each source file but an empty one begins with a docstring of one sentence."""
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if text.strip():
            first = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
            assert first.endswith((".", ":", "…")), (
                f"{path.relative_to(ROOT)} begins with {first!r}"
            )


def test_every_test_says_what_it_shows() -> None:
    """Each test of the suite has a docstring of one sentence: they are the specification."""
    missing = []
    for path in SOURCES:
        if path.parent.name == "suite" and path.name.startswith("test_"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    text = ast.get_docstring(node) or ""
                    if not text.endswith("."):
                        missing.append(f"{path.name}:{node.lineno} {node.name}")
    assert missing == []
