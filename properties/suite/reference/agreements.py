"""Small batches drawn without Hypothesis, and all that a right implementation must give on one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from properties.engine.strategies import EPSILONS, MOMENTA
from properties.invariants.calls import agrees, evaluated, parameter_agrees, trained
from properties.model import contract, expected
from properties.model.cases import FINITE, GAMMAS, GRADIENTS, Case, Recipe
from properties.model.contract import Target
from properties.model.verdict import Claim


def drawn(rng: np.random.Generator, dtype: str) -> Recipe:
    """Draw a recipe from the ranges of the strategies, without Hypothesis."""
    integer, pick = rng.integers, rng.integers
    spatial = tuple(int(k) for k in integer(1, 4, size=max(int(integer(-3, 3)), 0)))
    return Recipe(
        regime=FINITE[pick(len(FINITE))],
        n=int(2 ** rng.uniform(1, 5.3)),
        channels=int(integer(1, 5)),
        spatial=spatial,
        dtype=dtype,
        bits=int(integer(1, 21)),
        level=int(integer(0, 1025)),
        seed=int(integer(0, 2**32)),
        gamma=GAMMAS[pick(len(GAMMAS))],
        dy=GRADIENTS[pick(len(GRADIENTS))],
        eps=EPSILONS[pick(len(EPSILONS))],
        momentum=MOMENTA[pick(len(MOMENTA))],
    )


def everything(target: Target, case: Case) -> Iterable[Claim]:
    """Claim that training, its gradients, the state and inference agree with the reference."""
    result = trained(target, case)
    yield agrees("y", case, result.y, expected.output(case))
    mean, var = case.memo(
        ("state", target.conventions), lambda: expected.running(case, *expected.initial(case))
    )
    yield from parameter_agrees("running_mean", result.running_mean, mean)
    yield from parameter_agrees("running_var", result.running_var, var)
    got, wanted = (
        contract.backward(target, case.dy, result.saved, case.gamma),
        expected.gradients(case),
    )
    yield agrees("dx", case, got.dx, wanted["dx"])
    yield from parameter_agrees("dgamma", got.dgamma, wanted["dgamma"])
    yield from parameter_agrees("dbeta", got.dbeta, wanted["dbeta"])
    assert case.running_mean is not None and case.running_var is not None
    state = (case.running_mean, case.running_var)
    y, saved = evaluated(target, case)
    at = case.memo("eval", lambda: expected.eval_output(case, *state))
    yield agrees("eval y", case, y, at)
    back = contract.backward(target, case.dy, saved, case.gamma, mode="eval")
    eval_wanted = case.memo("eval back", lambda: expected.eval_gradients(case, *state))
    yield agrees("eval dx", case, back.dx, eval_wanted["dx"])
