"""Recognising a coefficient as a function of n and the statistics: n/(n - 1), 1/std, ..."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .arithmetic import NEAR
from .numbers import rational
from .terms import parsed
from .trials import Trial

LARGEST = 10**4
SIMPLE = ("std", "gamma", "var", "eps", "mean", "momentum", "(1 - momentum)")
_LIMITS = (4, 2, 1, 1, 1, 1, 1)
COMPOSITES = (
    "sqrt(var)", "(sqrt(var) + eps)", "(std + eps)", "sqrt(var - eps)", "sqrt(var + eps**2)",
    "sqrt(var*n/(n - 1) + eps)", "sqrt(var*n/(n - 1))", "sqrt(n*var + eps)", "sqrt(std)",
    "(var + eps**2)", "sqrt(var/n + eps)",
)  # fmt: skip
OF_N: dict[str, Callable[[int], Fraction]] = {
    "": lambda n: Fraction(1),
    "n": lambda n: Fraction(n),
    "1/n": lambda n: Fraction(1, n),
    "n/(n - 1)": lambda n: Fraction(n, n - 1),
    "(n - 1)/n": lambda n: Fraction(n - 1, n),
    "(n - 1)": lambda n: Fraction(n - 1),
    "1/(n - 1)": lambda n: Fraction(1, n - 1),
    "n**2": lambda n: Fraction(n * n),
    "1/n**2": lambda n: Fraction(1, n * n),
    "n/(n + 1)": lambda n: Fraction(n, n + 1),
    "(n + 1)/n": lambda n: Fraction(n + 1, n),
    "1/(n*(n - 1))": lambda n: Fraction(1, n * (n - 1)),
    "n**2/(n - 1)**2": lambda n: Fraction(n * n, (n - 1) ** 2),
}


def _exponents() -> list[tuple[int, ...]]:
    ranges = [range(-limit, limit + 1) for limit in _LIMITS]
    found = [powers for powers in itertools.product(*ranges) if sum(map(abs, powers)) <= 5]
    return sorted(found, key=lambda powers: (sum(map(abs, powers)), [-p for p in powers]))


EXPONENTS = _exponents()


@dataclass(frozen=True)
class Sample:
    """A coefficient at one n, with the values of the names it may be made of."""

    n: int
    value: Fraction
    is_exact: bool
    trial: Trial


def value_in(trial: Trial, text: str) -> Fraction:
    """Return what a name or a formula of channel values is in a trial, in its first channel."""
    names = trial.as_numbers
    value = names[text] if text in names else parsed(text).run(names)
    return rational(np.ravel(np.asarray(value, dtype=object))[0])[0]


def recognise(samples: Sequence[Sample]) -> str | None:
    """Return a factor that explains the coefficient at every n, None if none of the list does."""
    if all(sample.value == 0 for sample in samples):
        return "0"
    for composite, powers in _candidates(samples[0]):
        ratios = [_over(sample, composite, powers) for sample in samples]
        for name, of_n in OF_N.items():
            constants = {
                _small(ratio / of_n(sample.n), sample.is_exact and not composite)
                for ratio, sample in zip(ratios, samples, strict=True)
            }
            if len(constants) == 1 and (constant := constants.pop()) is not None:
                return _written(constant, name, composite, powers)
    return None


Composite = tuple[str, int] | None


def _candidates(sample: Sample) -> Iterator[tuple[Composite, tuple[int, ...]]]:
    """Monomials under which the first sample is a small rational, the simplest first."""
    atoms = [value_in(sample.trial, name) for name in SIMPLE]
    for powers in EXPONENTS:
        monomial = _monomial(atoms, powers)
        if monomial and _small(sample.value / monomial, sample.is_exact) is not None:
            yield None, powers
    for name in COMPOSITES:
        try:
            base = value_in(sample.trial, name)
        except ArithmeticError:
            continue
        for power, powers in itertools.product((-1, 1, -2, 2, -3, 3), EXPONENTS[:120]):
            monomial = base**power * _monomial(atoms, powers)
            if monomial and _quickly_small(sample.value / monomial):
                yield (name, power), powers


def _monomial(atoms: Sequence[Fraction], powers: Sequence[int]) -> Fraction:
    result = Fraction(1)
    for atom, power in zip(atoms, powers, strict=True):
        if power:
            result *= atom**power if atom else 0
    return result


def _quickly_small(ratio: Fraction) -> bool:
    """A cheap test first: few of the candidates are near a fraction of small denominator."""
    value = ratio.numerator * 5040 // ratio.denominator  # 7! covers what n - 1, n, n + 1 divide
    return 0 < abs(value) < 10**9 and _small(ratio, False) is not None


def _over(sample: Sample, composite: Composite, powers: tuple[int, ...]) -> Fraction:
    atoms = [value_in(sample.trial, name) for name in SIMPLE]
    base = value_in(sample.trial, composite[0]) ** composite[1] if composite else Fraction(1)
    return sample.value / (base * _monomial(atoms, powers))


def _small(ratio: Fraction, is_exact: bool) -> Fraction | None:
    """Return the ratio as a fraction of small numbers, None if it is none."""
    if is_exact:
        small = ratio.denominator <= LARGEST and abs(ratio.numerator) <= LARGEST * 100
        return ratio if small else None
    near = ratio.limit_denominator(LARGEST)
    if near and abs(near.numerator) <= LARGEST and abs(near - ratio) <= NEAR * abs(ratio):
        return near
    return None


def _written(constant: Fraction, of_n: str, composite: Composite, powers: tuple[int, ...]) -> str:
    """Write constant * f(n) * monomial as one quotient."""
    above, below = [], []
    if of_n:
        above_n, _, below_n = of_n.partition("/")
        above += [above_n] if above_n != "1" else []
        below += [below_n] if below_n else []
    exponents = dict(zip(SIMPLE, powers, strict=True))
    for name in ("var", "eps"):
        while exponents[name] > 0 and exponents["std"] <= -2:
            exponents[name] -= 1
            exponents["std"] += 2
            above.append(name)
            below.append("(var + eps)")
        while exponents[name] < 0 and exponents["std"] >= 2:
            exponents[name] += 1
            exponents["std"] -= 2
            above.append("(var + eps)")
            below.append(name)
    for name, power in [*exponents.items(), *([composite] if composite else [])]:
        if power:
            (above if power > 0 else below).append(
                name + (f"**{abs(power)}" if abs(power) > 1 else "")
            )
    return _quotient(constant, above, below)


def _quotient(constant: Fraction, above: list[str], below: list[str]) -> str:
    sign = "-" if constant < 0 else ""
    if abs(constant.numerator) != 1 or not above:
        above = [str(abs(constant.numerator)), *above]
    if constant.denominator != 1:
        below = [str(constant.denominator), *below]
    top = "*".join(above)
    if not below:
        return f"{sign}{top}"
    bottom = "*".join(below)
    return f"{sign}{top}/{bottom}" if len(below) == 1 else f"{sign}{top}/({bottom})"
