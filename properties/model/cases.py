"""A case: one batch with its parameters, filled by NumPy from a few drawn numbers.

A `Recipe` is what is drawn; `build` turns it into a `Case`. Each regime is one numerical
situation; whether it is ill-conditioned on purpose is a flag on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .contract import Array, Conventions

Fill = Callable[["Recipe", np.random.Generator, int, int, float], Array]


@dataclass(frozen=True)
class Recipe:
    """The few numbers a case is made of.

    n, channels and spatial give the shape; bits is how many bits the numbers have; level is the
    regime's own parameter, from 0 to 1024; option chooses what an invariant has besides (layouts,
    layers, shards); seed fills the arrays; eps may be fixed by the target. With more channels than
    NARROW they have regimes out of mixed, levels and gammas of their own; pick keeps these
    channels, () all.
    """

    regime: str = "small_integers"
    n: int = 2
    channels: int = 1
    spatial: tuple[int, ...] = ()
    dtype: str = "float32"
    bits: int = 1
    level: int = 0
    seed: int = 0
    gamma: str = "one"
    dy: str = "generic"
    eps: float = 1.0
    momentum: float = 0.5
    option: int = 0
    affine: bool = True
    tracked: bool = True
    pick: tuple[int, ...] = ()
    mixed: tuple[str, ...] = ()


NARROW = 4  # channels up to which a case has one regime


@dataclass(frozen=True, eq=False)
class Case:
    """One batch: x and dy (n, c, *spatial), the rest per statistic, and the recipe it came from."""

    recipe: Recipe
    conventions: Conventions
    x: Array
    dy: Array
    gamma: Array | None
    beta: Array | None
    running_mean: Array | None
    running_var: Array | None
    eps: float
    momentum: float

    def memo(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what make gives, made once per case and key."""
        memory = self.__dict__.setdefault("_memory", {})
        if key not in memory:
            memory[key] = make()
        return memory[key]

    @property
    def ill_conditioned(self) -> bool:
        return REGIMES[self.recipe.regime].ill_conditioned

    def random(self, stream: int) -> np.random.Generator:
        """Return a generator of its own for each stream number, fixed by the recipe."""
        return np.random.Generator(np.random.PCG64([self.recipe.seed, stream]))

    def another(self, stream: int) -> Case:
        """Return a case of the same recipe with other numbers, made once per stream."""
        seed = (self.recipe.seed + 7919 * stream) % 2**32
        return self.memo(
            ("another", stream), lambda: build(replace(self.recipe, seed=seed), self.conventions)
        )

    def like_x(self, stream: int, shape: tuple[int, ...] | None = None) -> Array:
        """Return small random numbers of x's dtype, in x's shape unless another is given."""
        shape = self.x.shape if shape is None else shape
        numbers = _integers(self.random(stream), 1 << min(self.recipe.bits, 6), shape)
        return (numbers / 4.0 * _quiet(self.recipe.dtype)).astype(self.x.dtype)


@dataclass(frozen=True)
class Regime:
    """How x is filled, in rows; whether its channels or numbers are ill-conditioned on purpose."""

    fill: Fill
    ill_conditioned: bool = False


_FORMAT = {  # bits of precision, least and largest exponent of a normal number
    "float16": (11, -14, 15),
    "bfloat16": (8, -126, 127),
    "float32": (24, -126, 127),
    "float64": (53, -1022, 1023),
}


def _quiet(dtype: str) -> float:
    """Return a factor for gradients that keeps gamma * rstd**2 times them in range."""
    return 2.0**-7 if dtype == "float16" else 1.0


def _integers(rng: np.random.Generator, reach: int, shape: tuple[int, ...]) -> Array:
    return rng.integers(-reach, reach + 1, size=shape).astype(np.float64)


def _bits(r: Recipe) -> int:
    return min(r.bits, _FORMAT[r.dtype][0] - 2)


def _unit(r: Recipe, rng: np.random.Generator, n: int, c: int) -> Array:
    """Return numbers in [-1, 1] of a few bits."""
    reach = 1 << _bits(r)
    return _integers(rng, reach, (n, c)) / reach


def _small_integers(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    return _integers(rng, 1 << min(r.bits, 4), (n, c))


def _exact_statistics(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """Values m + s * d with whole m and s and a pattern d: mean m, variance s*s or 2*s*s."""
    m = _integers(rng, 1 << min(r.bits, 4), (1, c))
    s = rng.integers(1, 1 + (1 << min(r.bits, 3)), size=(1, c)).astype(np.float64)
    d = np.array(_pattern(n))[:, None]
    return m + s * rng.permuted(np.broadcast_to(d, (n, c)), axis=0)


def _pattern(n: int) -> list[float]:
    """Return n numbers of mean 0 and variance 1 for an even n, 2 for an odd one above 1."""
    if n % 2 == 0:
        return [-1.0, 1.0] * (n // 2)
    start = [0.0] if n == 1 else [-1.0, -1.0, 2.0] if n % 4 == 3 else [-2.0, -1.0, 0.0, 1.0, 2.0]
    return start + [-2.0, 2.0, 0.0, 0.0] * ((n - len(start)) // 4)


def _scale(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    return _unit(r, rng, n, c)


def _offset(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """mean/sd from 1 to u**(-1/4), equally many per octave."""
    return _unit(r, rng, n, c) + 2.0 ** (r.level / 1024 * _FORMAT[r.dtype][0] / 4)


def _far_offset(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """mean/sd from u**(-1/4) to 1/u."""
    share = 0.25 + 0.75 * r.level / 1024
    return _unit(r, rng, n, c) + 2.0 ** (share * _FORMAT[r.dtype][0])


def _small_variance(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """var from eps / 4 down to eps / 2**20."""
    return _unit(r, rng, n, c) * math.sqrt(eps) * 2.0 ** -(1 + 9 * r.level / 1024)


def _near_variance(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """var near eps: numbers up to 1 to 4 times sqrt(eps)."""
    return _unit(r, rng, n, c) * math.sqrt(eps) * 2.0 ** (r.level / 512)


def _large_variance(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """var from 4 eps up to 2**20 eps."""
    return _unit(r, rng, n, c) * math.sqrt(eps) * 2.0 ** (2 + 9 * r.level / 1024)


def _magnitude(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """From the subnormals to the edge of overflow."""
    _, least, largest = _FORMAT[r.dtype]
    exponent = least - 8 + (largest - least + 7) * r.level // 1024
    return np.ldexp(_unit(r, rng, n, c), exponent)


def _constant_channel(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """Every other channel, the first among them, is constant at some multiples of sqrt(eps)."""
    x = _unit(r, rng, n, c)
    x[:, ::2] = _integers(rng, 1 << min(r.bits, 4), (1, (c + 1) // 2)) * math.sqrt(eps)
    return x


def _far_constant(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """Every other channel, the first among them, is a constant integer, however small eps is."""
    x = _unit(r, rng, n, c)
    x[:, ::2] = _integers(rng, 1 << min(r.bits, 10), (1, (c + 1) // 2))
    return x


def _outlier(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """One value per channel is 2 to 2**8 times as large as the rest."""
    x = _unit(r, rng, n, c)
    x[rng.integers(n, size=c), np.arange(c)] = 2.0 ** (1 + 7 * r.level / 1024)
    return x


def _mixed_scales(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """Channels whose scales differ by up to 1e12 (1e4 in float16)."""
    reach = 12.0 if _FORMAT[r.dtype][2] > 15 else 4.0
    return _unit(r, rng, n, c) * 10.0 ** (reach * (np.arange(c) / max(c - 1, 1) - 0.5))


def _not_finite(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """One value of the last channel is NaN, inf or -inf."""
    x = _unit(r, rng, n, c)
    x[rng.integers(n), -1] = (np.nan, np.inf, -np.inf)[r.level % 3]
    return x


def _balanced(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """Integers m - 3 and m + 3 in equal numbers: any order of summation is exact."""
    sign = np.where(np.arange(n) % 2, 3.0, -3.0)
    sign[-1] *= 1 - n % 2
    return (5.0 + np.arange(c)) + np.broadcast_to(rng.permutation(sign)[:, None], (n, c))


@cache
def recordings() -> tuple[tuple[Array, Array], ...]:
    """Return x and dy (rows, channels) of each batch norm that was recorded in training."""
    path = Path(__file__).parents[1] / "corpus" / "activations.json"
    found = []
    for _, entry in sorted(json.loads(path.read_text(encoding="utf-8")).items()):
        arrays = (entry["calls"][0]["x"], entry["calls"][1]["dy"])
        x, dy = (np.array([float.fromhex(v) for v in a["data"]]) for a in arrays)
        found.append((x.reshape(arrays[0]["shape"]), dy.reshape(arrays[1]["shape"])))
    return tuple(found)


def _recorded(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """Rows and channels of what a net's batch norm was given in training."""
    return _window(r, n, c)[0]


def _window(r: Recipe, n: int, c: int) -> tuple[Array, Array]:
    """Return x and dy of some rows and channels of one recording, the same for the same recipe."""
    x, dy = recordings()[r.level % len(recordings())]
    rng = np.random.Generator(np.random.PCG64([r.seed, r.level]))
    at = np.ix_(rng.integers(len(x), size=n), rng.integers(x.shape[1], size=c))
    return x[at], dy[at]


REGIMES: dict[str, Regime] = {
    "small_integers": Regime(_small_integers),
    "exact_statistics": Regime(_exact_statistics),
    "unit_scale": Regime(_scale),
    "offset": Regime(_offset),
    "far_offset": Regime(_far_offset, ill_conditioned=True),
    "variance_below_eps": Regime(_small_variance),
    "variance_near_eps": Regime(_near_variance),
    "variance_above_eps": Regime(_large_variance),
    "magnitude": Regime(_magnitude, ill_conditioned=True),
    "constant_channel": Regime(_constant_channel),
    "far_constant_channel": Regime(_far_constant, ill_conditioned=True),
    "outlier": Regime(_outlier),
    "mixed_scales": Regime(_mixed_scales),
    "recorded": Regime(_recorded),
    "not_finite": Regime(_not_finite),
    "balanced": Regime(_balanced),
}
FINITE = tuple(name for name in REGIMES if name not in ("not_finite", "balanced"))
WELL = tuple(name for name in FINITE if not REGIMES[name].ill_conditioned)

GAMMAS = ("one", "ordinary", "negative", "huge", "zero")
GRADIENTS = ("generic", "along_xhat", "constant", "one_hot", "ones_and_generic")


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the dtype of this name; bfloat16 needs ml_dtypes."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def state_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype of gamma, beta and the running statistics beside x of this dtype."""
    return np.dtype("float32" if name in ("float16", "bfloat16") else name)


def _whole(share: Array, least: int, largest: int) -> Array:
    """Return whole numbers from least to largest, from shares in [0, 1)."""
    return np.floor(share * (largest + 1 - least)) + least


def _gamma(r: Recipe, share: Array, side: Array) -> Array:
    """Return gamma per channel; of many channels each fifth has the same kind."""
    if share.size <= NARROW:
        return _gamma_of(r, share, side)
    found = np.empty_like(share)
    first = GAMMAS.index(r.gamma)
    for k in range(len(GAMMAS)):
        kind = replace(r, gamma=GAMMAS[(first + k) % len(GAMMAS)])
        at = slice(k, None, len(GAMMAS))
        found[at] = _gamma_of(kind, share[at], side[at])
    return found


def _gamma_of(r: Recipe, share: Array, side: Array) -> Array:
    if r.gamma in ("one", "zero"):
        return np.full(share.shape, 1.0 if r.gamma == "one" else 0.0)
    numbers = _whole(share, 1, 1 + (1 << min(r.bits, 5))) / 2.0
    if r.gamma == "huge":
        return numbers * (1.0 if r.dtype == "float16" else 2.0**20)
    return numbers * (-1.0 if r.gamma == "negative" else np.where(side < 0.5, -1.0, 1.0))


def _gradient(r: Recipe, rng: np.random.Generator, x: Array) -> Array:
    """Return dy in rows: off the span of 1 and xhat, along either, or one-hot."""
    n, c = x.shape
    reach = 1 << min(r.bits, 6)
    if r.dy == "constant":
        return np.broadcast_to(rng.integers(1, 1 + reach, size=(1, c)).astype(np.float64), (n, c))
    if r.dy == "one_hot":
        dy = np.zeros((n, c))
        if n:
            dy[rng.integers(n), rng.integers(c) if c else 0] = 1.0 + reach // 2
        return dy
    generic = _integers(rng, reach, (n, c))
    if r.regime == "recorded" and r.dy == "generic" and n:
        dy = _window(r, n, c)[1]
        largest = np.abs(dy).max(initial=0.0)
        return np.ldexp(dy, math.frexp(reach / largest)[1] - 1) if largest else generic
    if r.dy == "along_xhat" and n:
        with np.errstate(all="ignore"):
            x = x.astype(np.float64)
            xc = x - x.mean(axis=0, keepdims=True)
            largest = np.abs(xc).max(axis=0, keepdims=True)
            return np.where((largest > 0) & np.isfinite(largest), xc / largest * reach, generic)
    return generic + reach if r.dy == "ones_and_generic" else generic


def _filled(r: Recipe, rng: np.random.Generator, n: int, c: int, eps: float) -> Array:
    """Return x in rows: of one regime, or of as many as there are where channels are many."""
    names = r.mixed
    if c <= NARROW or r.regime not in names:
        return REGIMES[r.regime].fill(r, rng, n, c, eps)
    x = np.empty((n, c))
    first = names.index(r.regime)
    for k in range(len(names)):
        columns = x[:, k :: len(names)]
        if columns.shape[1]:
            part = replace(r, level=(r.level + 397 * k) % 1025)
            fill = REGIMES[names[(first + k) % len(names)]].fill
            columns[...] = fill(part, rng, n, columns.shape[1], eps)
    return x


def build(r: Recipe, conventions: Conventions) -> Case:
    """Fill the arrays of a case.

    Args:
        r: what was drawn.
        conventions: of the target; they say what a statistic belongs to.
    """
    eps = r.eps if conventions.eps is None else conventions.eps
    if r.dtype == "float16" and conventions.eps is None:
        eps = max(eps, 1e-5)  # below it gradients of flat channels overflow
    rng = np.random.Generator(np.random.PCG64(r.seed))
    shape = (r.n, r.channels, *r.spatial)
    c = conventions.columns(shape)
    n = math.prod(shape) // c if c else 0
    dtype, state = dtype_of(r.dtype), state_dtype(r.dtype)
    if n:
        with np.errstate(over="ignore"):
            x = _filled(r, rng, n, c, eps).astype(dtype)
    else:
        x = np.zeros((n, c), dtype)
    dy = _gradient(r, rng, x)
    dy = (dy if _quiet(r.dtype) == 1.0 else dy * _quiet(r.dtype)).astype(dtype)
    reach = 1 << min(r.bits, 5)
    share = rng.random((5, c))  # one call: five calls of rng.integers take a third of the time here
    gamma = _gamma(r, share[0], share[1]).astype(state) if r.affine else None
    beta = (_whole(share[2], -reach, reach) / 2.0).astype(state) if r.affine else None
    mean = (_whole(share[3], -reach, reach) / 4.0).astype(state) if r.tracked else None
    var = (_whole(share[4], 1, 1 + reach) / 4.0).astype(state) if r.tracked else None
    x, dy = conventions.shaped(x, shape), conventions.shaped(dy, shape)
    if r.pick and conventions.statistics == "per_channel":
        at = list(r.pick)
        x, dy = x[:, at], dy[:, at]
        gamma, beta, mean, var = (None if a is None else a[at] for a in (gamma, beta, mean, var))
    x, dy = np.ascontiguousarray(x), np.ascontiguousarray(dy)
    fixed = conventions.fixed_momentum
    momentum = r.momentum if fixed is None else fixed
    return Case(r, conventions, x, dy, gamma, beta, mean, var, eps, momentum)
