"""Who may import whom, what each door shows, and what every invariant must have."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import bn
import properties
from properties.engine.strategies import INPUTS
from properties.invariants import INVARIANTS
from properties.plants.planted import PLANTED

ROOT = Path(properties.__file__).resolve().parent.parent
SOURCES = sorted(
    path for package in ("bn", "reference", "properties") for path in (ROOT / package).rglob("*.py")
)
LIBRARY = [path for path in SOURCES if "suite" not in path.parts]

# The rooms from the ground up. A file may import from its own room and from the rooms above it in
# this list; the names beside a room are what it may import from outside, at any place in a file.
ANY = {"anything"}  # adapters, reports and benchmarks use what their extra brings
ROOMS: dict[str, set[str]] = {
    "bn": {"numpy"},
    "reference": {"numpy"},
    "properties.support": {"numpy"},
    "properties.model": {"numpy", "ml_dtypes"},
    "properties.plants": {"numpy"},
    "properties.invariants": {"numpy"},
    "properties.engine": {"numpy", "hypothesis", "redis"},
    "properties.bugs": {"numpy"},
    "properties.targets": ANY,
    "properties.corpus": {"numpy"},
    "properties.run": {"numpy", "hypothesis"},
    "properties": set(),  # the door: it imports a name when it is used
    "properties.kills": {"numpy", "hypothesis"},
    "properties.grade": ANY,
    "properties.probe": {"numpy", "hypothesis"},
    "properties.hunt": {"numpy", "hypothesis", "distributed"},
    "properties.report": ANY,
    "properties.exam": {"numpy", "torch", "matplotlib"},
    "properties.experiment": {"numpy", "scipy", "sklearn", "matplotlib"},
    "properties.commands": {"numpy", "packaging"},
    "properties.cli": set(),
    "properties.benchmarks": ANY,
    "properties.plugin": {"pytest"},
}


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


def graph(sources: Mapping[str, str], packages: Iterable[str] = ()) -> dict[str, set[str]]:
    """Return what each module imports of the others, for types only and in functions included."""
    found = {n: imports(s, n, n in packages) - {n} for n, s in sources.items()}
    for name, names in found.items():  # `from a import b` is an import of a.b where that is a file
        for whole in names & set(sources):
            names = names - {whole.rpartition(".")[0]}
        found[name] = {n if n in sources else n.rpartition(".")[0] for n in names} & set(sources)
        found[name] -= {name}
    return found


def library() -> dict[str, set[str]]:
    """Return the graph of the library's own files."""
    files = {name_of(path): path for path in LIBRARY}
    packages = [name for name, path in files.items() if path.stem == "__init__"]
    return graph({n: p.read_text(encoding="utf-8") for n, p in files.items()}, packages)


def room_of(module: str) -> str:
    """Return the room that a module is in: the longest of the table that its name begins with."""
    return max((r for r in ROOMS if f"{module}.".startswith(f"{r}.")), key=len, default="")


def upward(modules: Mapping[str, set[str]]) -> list[str]:
    """Return the imports that go from a room to one that stands later in the table."""
    floor = {room: i for i, room in enumerate(ROOMS)}
    return [
        f"{module} imports {name}"
        for module, names in modules.items()
        for name in sorted(names)
        if floor[room_of(name)] > floor[room_of(module)]
    ]


def circle(modules: Mapping[str, set[str]]) -> list[str]:
    """Return a circle of imports between files, or nothing."""
    try:
        TopologicalSorter(modules).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports_go_downwards() -> None:
    """Each file imports from its own room and from those below, imports in functions included."""
    assert upward(library()) == []


def test_no_two_files_import_each_other() -> None:
    """No circle of imports between files, imports for types included."""
    assert circle(library()) == []


def test_every_room_is_in_the_table() -> None:
    """No file stands outside the rooms, and no room is empty."""
    assert {room_of(name) for name in library()} == set(ROOMS)
    loose = [path.stem for path in (ROOT / "properties").glob("*.py")]
    assert sorted(loose) == ["__init__", "cli", "plugin"]


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_takes_from_outside(room: str) -> None:
    """A room imports the packages beside it in the table and the standard library."""
    files = {name_of(path): path for path in LIBRARY if room_of(name_of(path)) == room}
    found = set()
    for name, path in files.items():
        names = imports(path.read_text(encoding="utf-8"), name, path.stem == "__init__")
        found |= {n.partition(".")[0] for n in names} - sys.stdlib_module_names
    found -= {"bn", "reference", "properties"}
    assert ROOMS[room] == ANY or found <= ROOMS[room]


PLANTED_IMPORTS = {
    "bn.functional": "import properties.run.text",
    "properties.model.cases": "def f():\n    from ..engine import strategies",
    "properties.probe.eps": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
    "    from ..report.page import page",
}


@pytest.mark.parametrize("module", PLANTED_IMPORTS)
@pytest.mark.slow(but_one_in=3)
def test_a_planted_upward_import_is_noticed(module: str) -> None:
    """An import of a higher room is found at the top, in a function, and for types only."""
    sources = dict.fromkeys(library(), "") | {module: PLANTED_IMPORTS[module]}
    assert len(upward(graph(sources))) == 1


def test_a_planted_circle_is_noticed() -> None:
    """Three files that import each other in a ring are found, one of them for types only."""
    a, b, c = "properties.hunt.cells", "properties.hunt.search", "properties.hunt.space"
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .cells import Cell\n"
    ring = {a: "from . import search", b: "def f():\n    from .space import point", c: types}
    assert set(circle(graph(ring))) == {a, b, c}
    assert circle(graph(ring | {c: ""})) == []


def test_planted_imports_are_noticed() -> None:
    """The check sees every way to write an import, in functions and relative ones too."""
    source = "import a.b\nfrom c import d\ndef f():\n    import e\n"
    source += "    from .. import g\n    from .h import i\n"
    assert imports(source, "top.mid.leaf") == {
        "a.b", "c", "c.d", "e", "top", "top.g", "top.mid.h", "top.mid.h.i"}  # fmt: skip
    assert imports("from . import x", "top.mid", package=True) == {"top.mid", "top.mid.x"}


PRIVATE = re.compile(r"_[a-z]\w*")


def test_no_private_name_crosses_a_room() -> None:
    """A name with an underscore is used in its own room alone."""
    wrong = []
    for path in LIBRARY:
        here, package = name_of(path), path.stem == "__init__"
        found = imports(path.read_text(encoding="utf-8"), here, package)
        for name in found:
            where, _, last = name.rpartition(".")
            if PRIVATE.fullmatch(last) and room_of(where) not in ("", room_of(here)):
                wrong.append(f"{here}: {name}")
    assert wrong == []


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
    found = loaded_by("import properties, properties.plugin, properties.cli")
    assert not found & (HEAVY | {"bn", "reference"})


def test_invariants_can_be_called_from_plain_code() -> None:
    """Importing the invariants brings in neither bn nor pytest nor Hypothesis, by any way round."""
    found = loaded_by(
        "import properties.invariants, properties.model.cases, properties.model.contract"
    )
    assert not found & {"bn", "pytest", "hypothesis", "scipy", "torch"}
    assert {"numpy", "reference"} <= found


DOORS = {
    "bn": {
        "CONVENTIONS", "BatchNormalization", "backward_eval", "backward_train",
        "double_backward_train", "fold", "forward_eval", "forward_train", "initial_state",
        "jvp_train", "merge_gradients", "merge_statistics", "per_activation",
        "sync_backward_train", "sync_forward_train",
    },
    "properties.invariants": {"INVARIANTS", "Invariant"},
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


def test_the_door_of_properties_opens_when_it_is_used() -> None:
    """Each public name is there, is what its room defines, and says what it is with an example."""
    assert dir(properties) == sorted(properties.__all__) == PUBLIC
    for name in PUBLIC:
        found = getattr(properties, name)
        assert found.__doc__, name
        assert (
            name in ("Limits", "invariants")
            or ">>>" in found.__doc__
            or "with open_target" in (found.__doc__)
        )
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = properties.nothing


PUBLIC = ["Limits", "assert_batch_norm", "batches", "check", "invariants", "open_target", "radius"]


def test_bn_offers_the_contract() -> None:
    """bn has every function of the contract; per activation all but fold, which has channels."""
    from properties.model.contract import FUNCTIONS

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
    from properties.model.contract import FUNCTIONS, LAYER

    invariant = INVARIANTS[name]
    assert invariant.plant in PLANTED
    assert invariant.inputs in INPUTS
    assert invariant.weight > 0
    features = {"no affine", "no running statistics", "empty batch", "one value", "eps"}
    features |= {"running statistics", "dgamma", "dbeta", "layouts", "passed state"}
    features |= {"mask", "masked gradients", "empty mask"}
    assert set(invariant.needs) <= {*FUNCTIONS, *LAYER} | features


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
        if "suite" in path.parts and path.name.startswith("test_"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    text = ast.get_docstring(node) or ""
                    if not text.endswith("."):
                        missing.append(f"{path.name}:{node.lineno} {node.name}")
    assert missing == []
