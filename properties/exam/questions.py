"""Small inputs as Python text, and on which of them a bug shows: what a missing test would be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..model import expected
from ..model.cases import Case, Recipe
from ..model.contract import Array, Conventions
from .subjects import Functions, functions_of

ARRAYS = ("x", "dy", "gamma", "beta", "mean", "var")
DECISIVE = 2.0  # times the radius, as everywhere


@dataclass(frozen=True)
class Question:
    """One input; the text of each array makes it, so that a test can show it.

    about is the kind of a bug that no question before this one shows; empty: that of the quantity.
    """

    about: str
    x: str
    dy: str
    gamma: str = "np.float64([2])"
    beta: str = "np.float64([0.5])"
    mean: str = "np.float64([1])"
    var: str = "np.float64([3])"
    eps: float = 0.5
    momentum: float = 0.75

    def arrays(self) -> dict[str, Any]:
        """Return the arrays; the texts are this file's own."""
        return {name: eval(getattr(self, name), {"np": np}) for name in ARRAYS}


def _channels(count: int, dtype: str = "float64") -> dict[str, Any]:
    """Return parameters and statistics that differ from channel to channel."""
    k = f"np.arange({count})"
    return {
        "gamma": f"np.{dtype}(1 + {k} % 3)", "beta": f"np.{dtype}({k} % 5)",
        "mean": f"np.{dtype}({k} % 7 - 2)", "var": f"np.{dtype}(1 + {k} % 11)",
    }  # fmt: skip


def _grid(shape: tuple[int, ...], dtype: str = "float64") -> dict[str, Any]:
    """Return x and dy of a shape, small whole numbers that repeat in no axis."""
    k = f"np.arange({math.prod(shape)})"
    return {
        "x": f"np.{dtype}({k}**2 % 23).reshape{shape}",
        "dy": f"np.{dtype}({k}**3 % 19 - 6).reshape{shape}",
    }


def _one(dtype: str) -> dict[str, Any]:
    given = {"gamma": 2, "beta": 0.5, "mean": 1, "var": 3}
    return {name: f"np.{dtype}([{value}])" for name, value in given.items()}


def _last(shape: tuple[int, ...]) -> dict[str, Any]:
    """Return x and dy in the memory order of channels last."""
    order = (0, len(shape) - 1, *range(1, len(shape) - 1))
    return {name: f"{text}.transpose{order}" for name, text in _grid(shape).items()}


_X, _DY = "np.float64([[0], [2], [7]])", "np.float64([[1], [0], [3]])"
_HALF = "np.float16(np.arange(5000) % 7).reshape(5000, 1)"
_SINGLE = "np.float32([[0], [2], [7]])"
_OFFSET = "np.float64(np.arange(26) ** 2 % 23)[2:].reshape(2, 2, 2, 3).transpose(0, 3, 1, 2)"

QUESTIONS = (
    Question("", _X, _DY),
    Question("", _X, _DY, eps=1e-5, momentum=0.9),
    Question("", _X, _DY, gamma="np.float64([0])"),
    Question("", **_grid((4, 2)), **_channels(2)),
    Question("sizes", "np.float64([[3]])", "np.float64([[2]])"),
    Question("sizes", "np.zeros((0, 1))", "np.zeros((0, 1))"),
    Question("forward", _X, _DY, gamma="None", beta="None"),
    Question("state", _X, _DY, mean="None", var="None"),
    *(Question("layout", **_grid(s), **_channels(s[1])) for s in ((3, 2, 4), (2, 3, 2, 2))),
    Question("layout", **_grid((2, 3, 2, 2, 2)), **_channels(3)),
    Question("layout", f"np.asfortranarray({_grid((4, 2))['x']})", _grid((4, 2))["dy"],
             **_channels(2)),
    Question("layout", _grid((4, 2))["x"], f"np.asfortranarray({_grid((4, 2))['dy']})",
             **_channels(2)),
    Question("layout", **_last((2, 2, 2, 3)), **_channels(3)),
    Question("layout", _last((2, 2, 2, 3))["x"], _grid((2, 3, 2, 2))["dy"], **_channels(3)),
    Question("layout", _grid((2, 3, 2, 2))["x"], _last((2, 2, 2, 3))["dy"], **_channels(3)),
    Question("layout", **_last((2, 2, 2, 2, 3)), **_channels(3)),
    Question("layout", _OFFSET, _OFFSET, **_channels(3)),
    Question("precision", "np.float32([[4096], [4097], [4099]])", "np.float32([[1], [0], [3]])",
             **_one("float32")),
    Question("precision", "np.float32(np.arange(600) % 7 * 100.1).reshape(600, 1)",
             "np.float32(np.arange(600) % 5 + 0.1).reshape(600, 1)", **_one("float32")),
    Question("precision", _SINGLE, _SINGLE, **_one("float32") | {"var": "np.float32([1e-9])"},
             eps=1e-5),
    Question("precision", _HALF, _HALF, **_one("float32")),
    Question("precision", "np.float16(np.arange(5000) % 7 * 60).reshape(5000, 1)", _HALF,
             **_one("float32")),
    Question("precision", "np.float16([[0], [2], [7]])", "np.float16([[1], [0], [3]])",
             **_one("float32") | {"var": "np.float32([0.00001])"}, eps=1e-7),
    Question("precision", "np.float16(np.arange(10000) % 7).reshape(2, 5000).T",
             "np.float16(np.arange(10000) % 5).reshape(2, 5000).T", **_channels(2, "float32")),
    Question("precision", "np.float16([[0], [2], [7]])", "np.float16([[1], [0], [3]])",
             gamma="None", beta="None", mean="np.float32([1])", var="np.float32([3])"),
    Question("sizes", **_grid((3, 20)), **_channels(20)),
    Question("sizes", **_grid((3, 300)), **_channels(300)),
    Question("sizes", **_grid((2, 2, 5)), **_channels(2)),
    Question("sizes", **_grid((2, 2, 2, 5)), **_channels(2)),
    Question("sizes", **_grid((2, 32, 3)), **_channels(32)),
    Question("sizes", **_grid((800, 1))),
    Question("sizes", **_grid((5000, 1))),
    Question("sizes", **_grid((70000, 1))),
)  # fmt: skip

# the calls of a test, and what is read after the last of them
PROGRAMS = {
    "train": ("y", "running_mean", "running_var"),
    "train back": ("dx", "dgamma", "dbeta"),
    "eval": ("y",),
    "eval back": ("dx", "dgamma", "dbeta"),
    "train eval": ("y",),
    "train eval back": ("dx", "dgamma", "dbeta"),
}


@dataclass(frozen=True)
class Style:
    """What a style of code can be asked, and the conventions it has unless told otherwise."""

    programs: tuple[str, ...] = tuple(PROGRAMS)
    ranks: tuple[int, ...] = (2, 3, 4, 5)
    dtypes: tuple[str, ...] = ("float16", "float32", "float64")
    one_value: bool = True  # a batch of one value per channel is taken, and one of none
    nones: bool = True  # no gamma, or no running statistics
    momentum: str = "keep"
    running_var: str = "biased"

    def takes(self, question: Question) -> bool:
        """Return whether a question can be put."""
        a = question.arrays()
        x = a["x"]
        given = self.nones or all(a[name] is not None for name in ARRAYS)
        enough = self.one_value or x.size > x.shape[1]
        return x.ndim in self.ranks and x.dtype.name in self.dtypes and given and enough

    def conventions(self, momentum: str = "", running_var: str = "") -> Conventions:
        """Return the conventions of the style, or those that are stated."""
        return Conventions(
            momentum=momentum or self.momentum,
            running_var=running_var or self.running_var,
            dtypes=("float32", "float64", "float16"),
        )


_NUMPY = ("train", "train back", "eval")
_WIDE = ("float32", "float64")
STYLES = {
    "contract": Style(),
    "cs231n": Style(_NUMPY, (2,), _WIDE, nones=False),
    "class": Style(_NUMPY, (2, 4), _WIDE, nones=False),
    "torch": Style(one_value=False, momentum="update", running_var="unbiased"),
}


_KIND = {
    "train": "forward", "train back": "backward", "eval": "inference",
    "train eval": "inference", "eval back": "backward", "train eval back": "backward",
}  # fmt: skip
KINDS = ("forward", "backward", "state", "inference", "precision", "layout", "sizes")


@dataclass(frozen=True)
class Witness:
    """The smallest question that shows a bug: after which calls, where, and what is right there."""

    question: Question
    program: str
    quantity: str
    index: tuple[int, ...]
    value: float
    radius: float

    @property
    def kind(self) -> str:
        if self.question.about:
            return self.question.about
        return "state" if self.quantity.startswith("running") else _KIND[self.program]


def run(question: Question, program: str, functions: Functions) -> dict[str, Any]:
    """Return what the last call of a program gives; what raises raises."""
    a = question.arrays()
    given = [a[name] for name in ("x", "gamma", "beta", "mean", "var")]
    found: dict[str, Any] = {}
    saved, training = None, True
    for word in program.split():
        if word == "train":
            y, mean, var, saved = functions["forward_train"](
                *given, eps=question.eps, momentum=question.momentum
            )
            found = {"y": y, "running_mean": mean, "running_var": var}
        elif word == "eval":
            training = False
            y, saved = functions["forward_eval"](*given, eps=question.eps)
            found = {"y": y}
        else:
            back = functions["backward_train" if training else "backward_eval"]
            found = dict(zip(("dx", "dgamma", "dbeta"), back(a["dy"], saved), strict=True))
    return found


@cache
def wanted(
    question: Question, program: str, conventions: Conventions
) -> dict[str, tuple[Array, Array]]:
    """Return the right values and their radii, in the shapes of the contract."""
    a = question.arrays()
    case = Case(
        Recipe(dtype=a["x"].dtype.name), conventions, a["x"], a["dy"], a["gamma"], a["beta"],
        a["mean"], a["var"], question.eps, question.momentum,
    )  # fmt: skip
    if not len(a["x"]):  # an empty batch leaves the state as it is
        exact = {k: (a[v], 0 * a[v]) for k, v in (("running_mean", "mean"), ("running_var", "var"))}
        return exact if program == "train" else {}
    tracked = a["mean"] is not None
    if program.split()[-1] != "back":
        if "eval" in program:
            rows = {"y": expected.eval_output(case, a["mean"], a["var"])} if tracked else {}
        else:
            rows = {"y": expected.output(case)}
            if tracked:
                state = expected.running(case, *expected.initial(case))
                rows |= dict(zip(("running_mean", "running_var"), state, strict=True))
    elif "eval" in program:
        rows = expected.eval_gradients(case, a["mean"], a["var"]) if tracked else {}
    else:
        rows = dict(expected.gradients(case))
    if a["gamma"] is None:
        rows = {k: v for k, v in rows.items() if k not in ("dgamma", "dbeta")}

    def shaped(name: str, values: Array) -> Array:
        whole = name in ("y", "dx")
        return np.asarray(conventions.shaped(values, case.x.shape) if whole else values[0])

    return {k: (shaped(k, v.value), shaped(k, v.radius)) for k, v in rows.items()}


def _differs(question: Question, program: str, name: str, conventions: Conventions) -> Any:
    """Return the quantity, index, value and radius where a subject is wrong, None where it is not.

    A call that raises is wrong in the first number of its first result.
    """
    right = wanted(question, program, conventions)
    with np.errstate(all="ignore"):
        try:
            got = run(question, program, functions_of(name, conventions))
        except Exception:
            got = {}
        for quantity in PROGRAMS[program]:
            if quantity not in right:
                continue
            value, radius = right[quantity]
            if not value.size or not np.isfinite(radius).all():
                continue
            at = got.get(quantity)
            if at is None or np.shape(at) != value.shape:
                index = (0,) * value.ndim
            else:
                excess = np.abs(np.asarray(at, np.float64) - value) - DECISIVE * radius
                excess = np.where(np.isnan(excess), np.inf, excess)
                index = tuple(int(i) for i in np.unravel_index(excess.argmax(), value.shape))
                if not excess[index] > 0:
                    continue
            return quantity, index, float(value[index]), float(radius[index])
    return None


def witness(name: str, conventions: Conventions, style: Style) -> Witness | None:
    """Return the first question and program that show a bug, None where none of the style's do."""
    for question in QUESTIONS:
        if style.takes(question):
            for program in style.programs:
                if found := _differs(question, program, name, conventions):
                    return Witness(question, program, *found)
    return None
