"""What must not be accused: right forms, other conventions, and what only looks wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reference import forms

from ..model.contract import Array, Conventions, Target
from ..plants.forms import RIGHT_FORMS
from ..plants.layers import Cumulative
from ..plants.masked import Masking
from ..plants.textbook import Functions, Pieces
from .catalogue import LAST, SEED, TORCH, UPDATE, built
from .wrong_layout import channels_last


@dataclass(frozen=True)
class Control:
    """A right implementation; with stated false its conventions are left to the probe."""

    name: str
    reason: str
    pieces: Pieces
    conventions: Conventions
    stated: bool = True

    def target(self) -> Target:
        """Return a fresh target in the conventions it has, which are not stated everywhere."""
        return built(self.name, self.pieces, self.conventions)


def _nodes(extra: Any) -> Any:
    """Return dx node by node with a further term that is zero in real arithmetic."""

    def input_gradient(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Any:
        n, xc = x.dtype.type(x.shape[0]), x - mean
        dxhat = dy * gamma
        dvar = -(dxhat * xc).sum(axis=0, keepdims=True) * rstd * rstd * rstd / 2
        dxc = dxhat * rstd + dvar * 2 * xc / n
        return dxc - (dxc.sum(axis=0, keepdims=True) - extra(dvar, xc, n)) / n

    return input_gradient


def _with_y_mean(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Any:
    xhat = (x - mean) * rstd
    n = x.dtype.type(x.shape[0])
    extra = (dy * xhat).sum(axis=0, keepdims=True) / n * (xhat.sum(axis=0, keepdims=True) / n)
    return forms.input_gradient_means(dy, x, gamma, mean, rstd) + extra * (rstd * gamma)


def _from_the_last_row(x: Array) -> Any:
    return np.add.accumulate(x[::-1], axis=0)[-1:] / x.dtype.type(x.shape[0])


def _plain_strides(functions: Functions) -> Functions:
    """Give dx back in Fortran order whatever the order of dy."""

    def back(dy: Array, saved: Any) -> Any:
        dx, dgamma, dbeta = functions["backward_train"](dy, saved)
        return np.asfortranarray(dx), dgamma, dbeta

    return {**functions, "backward_train": back}


def _minus_two_xc(dvar: Array, xc: Array, n: Any) -> Any:
    return dvar * (-2 * xc).sum(axis=0, keepdims=True) / n


_LOOKS_WRONG: dict[str, tuple[str, Pieces]] = {
    "torch-format-numerics": ("another order of summation", Pieces(mean=_from_the_last_row)),
    "mxnet-extra-zero-term": ("the term is zero", Pieces(input_gradient=_nodes(_minus_two_xc))),
    "mlpack-missing-zero-term": (
        "the term is zero",
        Pieces(input_gradient=forms.input_gradient_nodes),
    ),
    "caffe-ymean-term": ("the mean of xhat is zero", Pieces(input_gradient=_with_y_mean)),
    "student-dmean-commented": (
        "the sum of xc is zero",
        Pieces(input_gradient=_nodes(lambda dvar, xc, n: 0 * dvar)),
    ),
    "torch-dgamma-order": (
        "rstd * sum(dy * xc) is on the list of right forms",
        Pieces(gamma_gradient=forms.gamma_gradient_late),
    ),
    "tvm-simplify-inf": (
        "the folded output is on the list of right forms",
        RIGHT_FORMS["output_folded"],
    ),
    "mlpack-cumulative": ("each batch weighs as much as any other", Pieces(layer=Cumulative)),
    "torch-cuda-grad-format": ("the strides of dx are free", Pieces(rewire=_plain_strides)),
}

_CONVENTIONS: dict[str, tuple[str, Conventions]] = {
    "cma-note": ("another momentum, found by the probe", UPDATE),
    "mcnn-momentum-0": ("momentum 0 that updates keeps the state, as it should", TORCH),
    "dlfs-per-activation": (
        "statistics per activation, found by the probe",
        replace(SEED, statistics="per_activation", ndim=(2, 3, 4, 5)),
    ),
    "unbiased-unstated": (
        "another divisor, found by the probe",
        Conventions(running_var="unbiased"),
    ),
}


def controls() -> dict[str, Control]:
    """Return everything that must pass, by name."""
    found = [Control(name, "a right form", pieces, SEED) for name, pieces in RIGHT_FORMS.items()]
    found += [Control(name, why, pieces, SEED) for name, (why, pieces) in _LOOKS_WRONG.items()]
    found += [
        Control(name, why, Pieces(), conventions, stated=False)
        for name, (why, conventions) in _CONVENTIONS.items()
    ]
    found.append(Control("channels-last", "the channels on the last axis", channels_last(), LAST))
    why = "a mask, and a divisor of what it keeps"
    found.append(Control("masked", why, Pieces(masking=Masking()), TORCH))
    return {control.name: control for control in found}
