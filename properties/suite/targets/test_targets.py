"""From a spec to a target: how it is found, what it offers, and conventions it does not state."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import bn
from properties.engine.exercise import Result, run_invariant
from properties.invariants import INVARIANTS, backward, forward
from properties.invariants.levels import EDGE
from properties.model import contract
from properties.model.contract import FUNCTIONS, Conventions, Target, TargetError
from properties.plants.textbook import Functions, Pieces, implementation
from properties.targets import load as targets
from properties.targets.offers import probed
from properties.targets.open import loaded

# what a target warns of is its own affair
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

Save = Callable[..., Path]
SEED = Path(__file__).with_name("seed_layer.py.txt")  # the class as typed in the text of the seed


def textbook(**conventions: Any) -> Functions:
    """Return a right implementation of these conventions that states none of them."""
    whole = Conventions(**{"dtypes": ("float32", "float64"), **conventions})
    functions = dict(implementation(Pieces(), whole, "textbook").functions)
    return channels_last(functions) if whole.channel_axis == -1 else functions


def channels_last(functions: Functions) -> Functions:
    """Return the functions with the channels of x, y, dy and dx on the last axis."""

    def inner(a: Any) -> Any:
        return np.moveaxis(a, -1, 1)

    def outer(a: Any) -> Any:
        return np.moveaxis(a, 1, -1)

    def forward(name: str) -> Callable[..., Any]:
        def moved(x: Any, *args: Any, **options: Any) -> Any:
            y, *rest = functions[name](inner(x), *args, **options)
            return outer(y), *rest

        return moved

    def back(dy: Any, saved: Any) -> Any:
        dx, *rest = functions["backward_train"](inner(dy), saved)
        return outer(dx), *rest

    return {"forward_train": forward("forward_train"), "backward_train": back}


def run(target: Target, name: str, examples: int = 20, *, strict: bool = True) -> Result:
    return run_invariant(target, INVARIANTS[name], examples=examples, seed_number=1, strict=strict)


# --- specs ---------------------------------------------------------------------------------------

LAYER = """
import numpy as np
class Layer:
    def __init__(self, gamma, beta, momentum=0.9, running_mean=None, running_var=None{more}):
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean, self.running_var = running_mean, running_var
        self.eps = {eps}
    def forward(self, x, train_flg=True):
        mean, var = self.running_mean, self.running_var
        if train_flg:
            mean, var, m = x.mean(axis=0), x.var(axis=0), self.momentum
            self.running_mean = m * self.running_mean + (1 - m) * mean
            self.running_var = m * self.running_var + (1 - m) * var
        self.rstd = 1 / np.sqrt(var + x.dtype.type(self.eps))
        self.xhat = (x - mean) * self.rstd
        return self.gamma * self.xhat + self.beta
    def backward(self, dout):
        self.dbeta, self.dgamma = dout.sum(axis=0), (dout * self.xhat).sum(axis=0)
        n = dout.dtype.type(len(dout))
        return self.gamma * self.rstd * (dout - self.dbeta / n - self.xhat * self.dgamma / n)
"""
MODULE = "from bn import backward_train, forward_train\nimport bn\nCONVENTIONS = bn.CONVENTIONS\n"
OBJECT = MODULE + "class holder:\n    forward_train = staticmethod(bn.forward_train)\n"


@pytest.mark.parametrize(
    ("spec", "functions"),
    [
        ("bn", FUNCTIONS),
        ("bn:per_activation", FUNCTIONS),
        ("bn.per_activation", FUNCTIONS),
        ("bn:BatchNormalization", FUNCTIONS[:4]),
        ("users_module", FUNCTIONS[:2]),
        ("users_module:bn", FUNCTIONS),
        ("users_module:holder", FUNCTIONS[:1]),
        ("users_module:bn.per_activation", FUNCTIONS),
        ("users_module.py", FUNCTIONS[:2]),
        ("./users_module.py", FUNCTIONS[:2]),
        ("users_module.py:bn", FUNCTIONS),
        ("users_module.py:holder", FUNCTIONS[:1]),
        ("users_layer.py", FUNCTIONS[:4]),
        ("users_layer.py:Layer", FUNCTIONS[:4]),
        ("users_layer", FUNCTIONS[:4]),
        ("users_package.inner", FUNCTIONS[:2]),
    ],
)
def test_every_form_of_a_spec_is_found(
    clean_imports: None,
    saved: Save,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spec: str,
    functions: tuple[str, ...],
) -> None:
    """Built-in name, module, file, object in either, layer class: each with its functions."""
    saved(OBJECT, "users_module.py")
    saved(LAYER.format(more="", eps="1e-5"), "users_layer.py")
    (tmp_path / "users_package").mkdir()
    saved(MODULE, "users_package/inner.py")
    monkeypatch.chdir(tmp_path)
    found, _ = targets.load(spec)
    assert set(found) & set(FUNCTIONS) == set(functions) & set(found)
    assert set(functions) - {"fold"} <= set(found), f"{set(functions) - set(found)} is missing"


def test_an_absolute_path_may_hold_colons_and_spaces(clean_imports: None, saved: Save) -> None:
    """The last colon divides path and name, whatever the path holds."""
    path = saved(OBJECT, "users own: module.py")
    assert set(targets.load(f"{path}:holder")[0]) == {"forward_train"}


def test_a_file_may_import_what_lies_beside_it(clean_imports: None, saved: Save) -> None:
    """A target file finds its neighbours wherever the command is started."""
    saved(MODULE, "users_neighbour.py")
    path = saved("from users_neighbour import forward_train", "users_module.py")
    assert set(targets.load(str(path))[0]) == {"forward_train"}


@dataclass(frozen=True)
class Point:
    """An entry point that loads this."""

    name: str
    load: Callable[[], Any]


def test_third_parties_register_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of the entry-point group bncheck.targets is a target, listed with the others."""
    holder = SimpleNamespace(forward_train=bn.forward_train, CONVENTIONS={"momentum": "keep"})
    groups = {"bncheck.targets": [Point("theirs", lambda: holder)]}
    monkeypatch.setattr(targets, "entry_points", lambda *, group: groups[group])
    functions, stated = targets.load("theirs")
    assert functions == {"forward_train": bn.forward_train}
    assert stated == {"momentum": "keep", "masked_by": "mask"}
    with pytest.raises(TargetError, match=r"expected one of bn, bn:per_activation, .*theirs"):
        targets.load("thiers")


def test_a_broken_entry_point_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered name that does not load is a wrong target, not a crash."""

    def broken() -> Any:
        raise ImportError("no module named theirs\nat all")

    monkeypatch.setattr(targets, "entry_points", lambda *, group: [Point("theirs", broken)])
    with pytest.raises(
        TargetError, match=r"^target=theirs: it does not import: ImportError: no module"
    ):
        targets.load("theirs")


def test_a_built_in_name_cannot_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party that registers `bn` does not get it."""
    point = Point("bn", lambda: SimpleNamespace(forward_train=print))
    monkeypatch.setattr(targets, "entry_points", lambda *, group: [point])
    assert targets.load("bn")[0]["forward_train"] is bn.forward_train


def test_a_module_that_needs_another_names_it(clean_imports: None, saved: Save, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """A target whose own import is missing says what to install, not that it does not exist."""
    saved("import not_installed_here", "users_needy.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        TargetError, match="it needs not_installed_here, which is not installed; try:"
    ):
        targets.load("users_needy")


# --- the class of the seed -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def seed_layer(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """The class as typed, with the import that it lacks."""
    path = tmp_path_factory.mktemp("seed") / "users_seed.py"
    path.write_text("import numpy as np\n" + SEED.read_text(encoding="utf-8"), encoding="utf-8")
    return loaded(str(path))


def test_the_class_of_the_seed_is_understood(seed_layer: Target) -> None:
    """Per activation, ranks 2 and 4, momentum keeps, biased, and 10e-7 is found to be 1e-6."""
    conventions = seed_layer.conventions
    assert conventions.eps == 1e-6
    assert conventions.statistics == "per_activation"
    assert conventions.ndim == (2, 4)
    assert conventions.dtypes == ("float32", "float64", "float16")
    assert conventions.halves == "own", "it answers in float32 for float16, as NumPy promotes"
    assert (conventions.momentum, conventions.running_var) == ("keep", "biased")


def test_the_report_names_the_crash_of_the_seed_in_eval(
    bncheck: Callable[..., Any], saved: Save
) -> None:
    """`sc` for `xc` in the eval branch is a NameError, shown with its text before anything else."""
    path = saved("import numpy as np\n" + SEED.read_text(encoding="utf-8"))
    ran = bncheck("run", path, "--only", "inference_changes_nothing", "--examples", 5)
    text = "forward_eval raised NameError: name 'sc' is not defined"
    assert ran.status == 1
    assert f"\nFAIL: 1 finding, 1 of 1 invariants\n\n1. {text}\n" in ran.out
    assert "Traceback" not in ran.out + ran.err


TRAINING = [
    name
    for name, i in INVARIANTS.items()
    if i.check.__module__ in (forward.__name__, backward.__name__)
]


@pytest.mark.parametrize("name", [*TRAINING, "running_statistics_follow_the_closed_form"])
def test_the_seed_passes_its_training_forward_and_backward(seed_layer: Target, name: str) -> None:
    """Every invariant of training that the class of the seed offers holds."""
    result = run(seed_layer, name, 25, strict=False)
    allowed = {
        "output_follows_scale",
        "input_gradient_follows_scale",
        "missing_affine_is_one_and_zero",
    }
    if result.verdict == "not offered":
        assert name in allowed, result.message
    elif result.verdict == "remark":
        assert name in EDGE, result.message
    else:
        assert result.verdict == "pass", f"{result.verdict}: {result.message} {result.failure}"


# --- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("eps", [0.0, 1e-12, 1e-8, 1e-6, 2e-5, 1e-3, 0.1, 1.0])
def test_the_fixed_eps_of_a_layer_is_found(
    clean_imports: None, saved: Save, eps: float, dtype: str
) -> None:
    """An eps that cannot be passed is found out to the digit, whatever its size."""
    source = LAYER.format(more="", eps=repr(eps)).replace(
        "        mean, var = self", f"        assert x.dtype == {dtype!r}\n        mean, var = self"
    )
    target = loaded(str(saved(source)))
    assert target.conventions.dtypes == (dtype,)
    assert target.conventions.eps == eps
    assert "eps" not in target.offers
    assert target.refused["eps"] == "it is fixed"


def test_a_layer_may_take_eps(clean_imports: None, saved: Save) -> None:
    """An eps among the constructor's arguments is passed, and nothing is fixed."""
    target = loaded(str(saved(LAYER.format(more=", eps=1e-5", eps="eps"))))
    assert target.conventions.eps is None
    assert run(target, "output_follows_scale").verdict == "pass"


def test_a_stated_eps_is_believed_and_held_against_the_layer(
    clean_imports: None, saved: Save
) -> None:
    """A layer that states another eps than it uses fails: no probe covers it up."""
    source = LAYER.format(more="", eps="1e-3")
    target = loaded(str(saved(source + "    CONVENTIONS = {'eps': 1e-5}\n")))
    assert target.conventions.eps == 1e-5
    assert run(target, "output_agrees_with_reference").verdict == "fail"


def test_a_layer_is_given_copies_and_a_new_instance_each_time(
    clean_imports: None, saved: Save
) -> None:
    """A layer that writes into its own state changes nothing of the caller's."""
    source = LAYER.format(more="", eps="1e-5").replace(
        "self.running_mean = m", "self.running_mean[:] = m"
    )
    target = loaded(str(saved(source)))
    assert run(target, "training_leaves_its_inputs_unchanged").verdict == "pass"
    assert run(target, "saved_outlives_other_forwards").verdict == "pass"


@pytest.mark.parametrize("where", ["module", "class"])
def test_conventions_may_stand_at_the_class_or_at_its_module(
    clean_imports: None, saved: Save, where: str
) -> None:
    """A statement beside the class counts like one in it; a wrong one is a failure."""
    indent = "" if where == "module" else "    "
    source = LAYER.format(more="", eps="1e-5") + f"{indent}CONVENTIONS = {{'momentum': 'update'}}\n"
    target = loaded(str(saved(source)))
    assert target.conventions.momentum == "update"
    assert run(target, "running_statistics_follow_the_closed_form").verdict == "fail"


# --- conventions that are not stated -------------------------------------------------------------

AXES = [("per_channel", 1), ("per_channel", -1), ("per_activation", 1)]


@pytest.mark.parametrize(
    ("momentum", "running_var", "axes"),
    list(itertools.product(("keep", "update"), ("biased", "unbiased"), AXES)),
)
def test_unstated_conventions_are_found_out(
    momentum: str, running_var: str, axes: tuple[str, int]
) -> None:
    """Each combination is read off a few plain calls, and the target then passes under it."""
    stated = {
        "momentum": momentum,
        "running_var": running_var,
        "statistics": axes[0],
        "channel_axis": axes[1],
    }
    target = probed("textbook", textbook(**stated), {})
    found = {key: getattr(target.conventions, key) for key in stated}
    assert found == stated
    for name in ("output_agrees_with_reference", "running_statistics_follow_the_closed_form"):
        result = run(target, name)
        assert result.verdict == "pass", (
            f"{name}: {result.verdict} {result.message} {result.failure}"
        )


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("momentum", "update"), ("running_var", "unbiased"), ("statistics", "per_activation")],
)
def test_a_wrong_statement_is_a_failure(key: str, wrong: str) -> None:
    """What is stated is not probed: a target that follows another one fails, or is refused."""
    try:
        target = probed("textbook", textbook(), {key: wrong, "ndim": [4]})
    except TargetError as error:
        assert "forward_train" in str(error)  # noqa: PT017 - one of two right answers
        return
    assert getattr(target.conventions, key) == wrong
    verdicts = {
        run(target, name).verdict
        for name in ("output_agrees_with_reference", "running_statistics_follow_the_closed_form")
    }
    assert "fail" in verdicts


def test_an_average_that_fits_no_convention_fails() -> None:
    """A running mean that forgets fits neither momentum: the best guess does not save it."""
    forgetful = Pieces(average=lambda old, new, keep, rest: keep * old + keep * new)
    functions = implementation(forgetful, Conventions(), "forgetful").functions
    target = probed("forgetful", functions, {})
    assert run(target, "running_statistics_follow_the_closed_form").verdict == "fail"


def test_conventions_that_change_with_the_call_fail() -> None:
    """Momentum that keeps for small batches and updates for large ones is a failure."""
    keep, update = textbook(), textbook(momentum="update")

    def forward_train(x: Any, *args: Any, **options: Any) -> Any:
        return (update if len(x) > 8 else keep)["forward_train"](x, *args, **options)

    target = probed("fickle", {"forward_train": forward_train}, {})
    assert target.conventions.momentum == "keep"
    assert run(target, "running_statistics_follow_the_closed_form", 50).verdict == "fail"


def refusing(functions: Mapping[str, Any], condition: Callable[..., bool]) -> Functions:
    """Return the functions with a forward_train that raises where the condition holds."""

    def forward_train(x: Any, gamma: Any, beta: Any, rm: Any, rv: Any, **options: Any) -> Any:
        if condition(x, gamma, rm):
            raise NotImplementedError("not for me")
        return functions["forward_train"](x, gamma, beta, rm, rv, **options)

    return {**functions, "forward_train": forward_train}


REFUSED: dict[str, Callable[..., bool]] = {
    "rank 2": lambda x, gamma, rm: x.ndim == 2,
    "rank 3": lambda x, gamma, rm: x.ndim == 3,
    "rank 5": lambda x, gamma, rm: x.ndim == 5,
    "float32": lambda x, gamma, rm: x.dtype == np.float32,
    "float64": lambda x, gamma, rm: x.dtype == np.float64,
    "float16": lambda x, gamma, rm: x.dtype == np.float16,
    "no affine": lambda x, gamma, rm: gamma is None,
    "no running statistics": lambda x, gamma, rm: rm is None,
    "empty batch": lambda x, gamma, rm: x.size == 0,
    "one value": lambda x, gamma, rm: x.size == len(gamma if gamma is not None else ()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_raises_on_plain_data_is_not_offered(name: str) -> None:
    """A rank, dtype or special input that is refused is left out with its text, and it alone."""
    conventions = Conventions(dtypes=("float32", "float64", "float16"))
    functions = implementation(Pieces(), conventions, "textbook").functions
    whole, target = (
        probed("whole", functions, {}),
        probed("part", refusing(functions, REFUSED[name]), {}),
    )
    assert whole.offers - target.offers == {name}
    assert target.refused[name] == "forward_train raised NotImplementedError: not for me"
    assert run(target, "output_agrees_with_reference").verdict == "pass"


@pytest.mark.parametrize("name", FUNCTIONS[1:])
def test_a_function_that_raises_at_first_is_not_offered(name: str) -> None:
    """Each function of the contract is tried once on plain data; its text is kept."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("half done")

    functions = textbook()
    target = probed("part", {**functions, name: broken}, {})
    assert name not in target.offers
    assert target.refused[name] == f"{name} raised RuntimeError: half done"
    leaning = {"forward_eval": {"backward_eval"}, "backward_train": {"double_backward_train"}}
    leaning |= {"sync_forward_train": {"sync_backward_train"}}
    assert set(functions) - target.offers == {name} | leaning.get(name, set())


def test_flushed_subnormals_are_found_out() -> None:
    """A target that flushes subnormal results to zero flushes, and is not wrong."""
    functions = textbook()

    def forward_train(x: Any, *args: Any, **options: Any) -> Any:
        y, *rest = functions["forward_train"](x, *args, **options)
        return np.where(np.abs(y) < np.finfo(y.dtype).tiny, 0, y).astype(y.dtype), *rest

    target = probed("flushing", {"forward_train": forward_train}, {})
    assert target.conventions.subnormals == "flushed"
    assert probed("keeping", functions, {}).conventions.subnormals == "kept"


def test_what_is_stated_is_not_probed_away() -> None:
    """Stated ranks and dtypes are taken at their word: what then raises is a failure."""
    functions = refusing(textbook(), lambda x, gamma, rm: x.ndim == 3)
    target = probed("stated", functions, {"ndim": [2, 3], "dtypes": ["float64"]})
    assert target.conventions.ndim == (2, 3)
    assert target.conventions.dtypes == ("float64",)
    result = run(target, "output_agrees_with_reference")
    assert (result.verdict, result.message) == (
        "fail", "forward_train raised NotImplementedError: not for me")  # fmt: skip


def test_bfloat16_without_its_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that states bfloat16 says what to install where ml_dtypes is missing."""
    finding = importlib.import_module("properties.targets.offers")
    monkeypatch.setattr(finding, "_installed_dtypes", lambda: ("float32",))
    with pytest.raises(TargetError, match=r"bfloat16 needs ml_dtypes; try: pip install ml_dtypes"):
        probed("wide", textbook(), {"dtypes": ["float32", "bfloat16"]})


# --- how a target is called ----------------------------------------------------------------------


def test_the_target_is_given_its_own_copies() -> None:
    """A target that writes into all it is given changes nothing for the invariants after it."""

    def forward_train(x: Any, gamma: Any, beta: Any, rm: Any, rv: Any, **options: Any) -> Any:
        result = bn.forward_train(x.copy(), gamma, beta, rm, rv, **options)
        for a in (x, gamma, beta, rm, rv):
            a[...] = np.nan
        return result

    target = Target("vandal", {"forward_train": forward_train})
    x, one, zero = np.ones((2, 3), "float32"), np.ones(3, "float32"), np.zeros(3, "float32")
    contract.train(target, x, one, zero, zero, one, eps=1.0, momentum=0.5)
    assert (x == 1).all()
    assert (one == 1).all()
    assert (zero == 0).all()


def test_channels_last_is_moved_there_and_back() -> None:
    """With channel_axis -1 the target sees channels last in C order, the suite channels second."""
    seen: list[Any] = []

    def forward_train(x: Any, gamma: Any, beta: Any, rm: Any, rv: Any, **options: Any) -> Any:
        seen.append(x)
        return x + 1, rm, rv, None

    target = Target("last", {"forward_train": forward_train}, Conventions(channel_axis=-1))
    x = np.arange(24.0).reshape(2, 3, 4)
    y = contract.train(target, x, None, None, None, None, eps=1.0, momentum=0.5).y
    assert seen[0].shape == (2, 4, 3)
    assert seen[0].flags.c_contiguous
    assert (y == x + 1).all()


def test_only_an_interrupt_gets_through_a_call() -> None:
    """Whatever a target raises is its misbehaviour; an interrupt is the user's."""

    def raising(error: BaseException) -> Target:
        def forward_train(*_: Any, **__: Any) -> Any:
            raise error

        return replace(Target("t", {}), functions={"forward_train": forward_train})

    for error in (ValueError("v"), SystemExit(3), GeneratorExit(), MemoryError(), RecursionError()):
        with pytest.raises(contract.Raised, match=f"forward_train raised {type(error).__name__}: "):
            contract.call(raising(error), "forward_train")
    with pytest.raises(KeyboardInterrupt):
        contract.call(raising(KeyboardInterrupt()), "forward_train")
