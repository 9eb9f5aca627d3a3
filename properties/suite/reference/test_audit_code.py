"""NumPy code under audit: functions, layers, contract implementations, float64 code."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from audit_cases import SEED, in_file

from properties.benchmarks import audit as planted
from reference.audit import NotAFormula, audit, from_file

FUNCTION = """
def f(dy, x, gamma, eps):
    n = x.shape[0]
    xc = x - x.mean(axis=0)
    std = np.sqrt((xc ** 2).sum(0) / n + eps)
    xhat = xc / std
    dxhat = gamma * dy
    dstd = -np.sum((dxhat * xc) / (std * std), axis=0)
    dvar = 0.5 * dstd / std
    dxc = dxhat / std
    dxc += (2.0 / n) * xc * dvar
    dx = dxc - np.sum(dxc, axis=0) / n
    return dx, np.sum(dy * xhat, axis=0), dy.sum(axis=0)
"""


def test_function_with_literals_is_equal(tmp_path: Path) -> None:
    """2.0/n and 0.5*dstd are right and are not accused of rounding."""
    answer = in_file(tmp_path, FUNCTION)
    assert answer.verdict == "equal", answer.text()
    assert answer.exact, "audited in float64"
    assert [r.quantity for r in answer.results] == ["dx", "dgamma", "dbeta"]


def test_wrong_line_of_a_function_is_named(tmp_path: Path) -> None:
    """A lost 1/2 is found in the line where it was lost, though the direct path is right."""
    answer = in_file(tmp_path, FUNCTION.replace("0.5 * dstd / std", "dstd / std"))
    result = answer.results[0]
    assert result.verdict == "not equal", answer.text()
    assert "dvar = dstd / std  (line 10) is 2 times" in result.wrong_line, result.wrong_line
    assert [r.verdict for r in answer.results[1:]] == ["equal", "equal"], answer.text()


WRITINGS = {
    "integers divided": "dy.sum(0) * (1 / x.shape[0])",
    "einsum": "np.einsum('nc->c', dy) / len(dy)",
    "matrix product": "np.ones(len(dy)) @ dy / len(dy)",
    "np.divide": "np.divide(dy.sum(0), dy.shape[0])",
    "keepdims": "dy.mean(axis=0, keepdims=True)",
    "a float count": "dy.sum(0) / float(len(dy))",
    "stacked": "np.stack([row for row in dy]).mean(0)",
    "negative power": "dy.sum(0) * len(dy) ** -1",
}


@pytest.mark.parametrize("mean", WRITINGS.values(), ids=WRITINGS)
def test_ways_to_write_a_mean_stay_exact(mean: str, tmp_path: Path) -> None:
    """Plain NumPy, integer division and matrix products included, is audited exactly."""
    source = f"""
    def f(dy, x, gamma, xhat, rstd):
        return gamma * rstd * (dy - {mean} - xhat * np.mean(dy * xhat, axis=0))
    """
    answer = in_file(tmp_path, source)
    assert answer.exact, answer.text()
    assert answer.verdict == "equal", answer.text()


SEED_LAYER = """
class BatchNormalization:
    def __init__(self, gamma, beta, momentum=0.9, running_mean=None, running_var=None):
        self.gamma = gamma
        self.beta = beta
        self.momentum = momentum
        self.running_mean = running_mean
        self.running_var = running_var

    def forward(self, x, train_flg=True):
        if self.running_mean is None:
            N, D = x.shape
            self.running_mean = np.zeros(D)
            self.running_var = np.zeros(D)
        if train_flg:
            mu = x.mean(axis=0)
            xc = x - mu
            var = np.mean(xc**2, axis=0)
            std = np.sqrt(var + 10e-7)
            xn = xc / std
            self.batch_size = x.shape[0]
            self.xc = xc
            self.xn = xn
            self.std = std
            self.running_mean = self.momentum * self.running_mean + (1-self.momentum) * mu
            self.running_var = self.momentum * self.running_var + (1-self.momentum) * var
        else:
            xc = x - self.running_mean
            sn = sc / ((np.sqrt(self.running_var + 10e-7)))
        out = self.gamma * xn + self.beta
        return out

    def backward(self, dout):
        dbeta = dout.sum(axis=0)
        dgamma = np.sum(self.xn * dout, axis=0)
        dxn = self.gamma * dout
        dxc = dxn / self.std
        dstd = -np.sum((dxn * self.xc) / (self.std * self.std), axis=0)
        dvar = 0.5 * dstd / self.std
        dxc += (2.0 / self.batch_size) * self.xc * dvar
        dmu = np.sum(dxc, axis=0)
        dx = dxc - dmu / self.batch_size
        self.dgamma = dgamma
        self.dbeta = dbeta
        return dx
"""


def test_layer_of_the_seed_is_equal_and_its_eps_is_read(tmp_path: Path) -> None:
    """The seed's class as typed: all quantities equal, 10e-7 is eps, inference crashes."""
    answer = in_file(tmp_path, SEED_LAYER, None)
    assert answer.verdict == "equal", answer.text()
    wanted = {"y", "dx", "dgamma", "dbeta", "new_running_mean", "new_running_var"}
    assert {result.quantity for result in answer.results} == wanted
    assert "10e-7 in line 20 was read as eps" in answer.text()
    assert "forward(x, False) raises NameError: name 'sc' is not defined" in answer.text()


CONTRACT = """
EPS = 1e-5
def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    mean, var = x.mean(0), x.var(0)
    xhat = (x - mean) / np.sqrt(var + eps)
    new = [momentum * a + (1 - momentum) * b for a, b in ((running_mean, mean), (running_var, var))]
    return gamma * xhat + beta, *new, (xhat, gamma, var, eps)
def backward_train(dy, saved):
    xhat, gamma, var, eps = saved
    dx = gamma / np.sqrt(var + eps) * (dy - dy.mean(0) - xhat * (dy * xhat).mean(0))
    return dx, (dy * xhat).sum(0), dy.sum(0)
def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
    xhat = (x - running_mean) / np.sqrt(running_var + eps)
    return gamma * xhat + beta, (xhat, gamma, running_var + eps)
def backward_eval(dy, saved):
    xhat, gamma, inner = saved
    return gamma * dy * inner ** -0.5, (dy * xhat).sum(0), dy.sum(0)
"""


def test_contract_implementation_is_audited_in_both_modes(tmp_path: Path) -> None:
    """A module with the contract's functions gives one answer for training, one for inference."""
    path = tmp_path / "contract.py"
    path.write_text("import numpy as np\n" + CONTRACT, encoding="utf-8")
    answers = [audit(formula, seed=SEED) for formula in from_file(path, None)]
    assert [(r.mode, r.verdict) for r in answers] == [("train", "equal"), ("eval", "equal")]


def test_typed_eps_becomes_the_free_one(tmp_path: Path) -> None:
    """An eps typed in the source, as a literal or a constant, is not taken for a mistake."""
    body = "xc*gamma*0 + gamma*rstd_of(xc)*(dy - dy.mean(0) - h(xc)*(dy*h(xc)).mean(0))"
    source = f"""
    EPS = 1e-8
    def rstd_of(xc, eps=1e-5): return 1 / np.sqrt((xc**2).mean(0) + 1e-5)
    def h(xc): return xc / np.sqrt((xc**2).mean(0) + EPS)
    def f(dy, x, gamma):
        xc = x - x.mean(0)
        return {body}
    """
    answer = in_file(tmp_path, source)
    assert answer.verdict == "equal", answer.text()
    assert "1e-8 in line 3 was read as eps" in answer.text()


IN_FLOAT64 = """
def f(dy, x, gamma, eps):
    x = np.asarray(x, dtype=np.float64)
    xc = x - x.mean(0)
    r = 1 / np.sqrt((xc ** 2).mean(0) + eps)
    dx = gamma * r * (dy - dy.mean(0) - xc * r * (dy * xc * r).mean(0))
    return dx * FACTOR, (dy * xc * r).sum(0), dy.sum(0)
"""


@pytest.mark.parametrize(("factor", "verdict"), [("1", "equal"), ("1.000001", "not equal")])
def test_float64_code_is_audited_in_float64(factor: str, verdict: str, tmp_path: Path) -> None:
    """Code that turns values into floats is judged within the radius, and the answer says so."""
    answer = in_file(tmp_path, IN_FLOAT64.replace("FACTOR", factor))
    assert not answer.exact, "claimed to be exact"
    assert answer.verdict == verdict, answer.text()
    assert "audited in float64" in answer.text()
    assert "evidence, not proof" in answer.text()


BUILT_IN = IN_FLOAT64.replace("gamma, eps)", "gamma)").replace("FACTOR", "1")


def test_float64_code_with_an_eps_of_its_own_is_not_accused(tmp_path: Path) -> None:
    """A typed eps is used in float64 too; one that cannot be read must be said, else unknown."""
    answer = in_file(tmp_path, BUILT_IN.replace("+ eps", "+ 1e-3"))
    assert (answer.exact, answer.verdict) == (False, "equal"), answer.text()
    hidden = BUILT_IN.replace("+ eps", "+ float('1e-3')")
    answer = in_file(tmp_path, hidden)
    assert answer.verdict == "unknown", answer.text()
    assert "say --eps" in answer.text()
    assert in_file(tmp_path, hidden, eps=1e-3).verdict == "equal", "told its eps"


def test_rounded_float_is_never_called_not_equal(tmp_path: Path) -> None:
    """A helper file's 1/3 is a rounded float: the audit becomes float64 instead of accusing."""
    (tmp_path / "helper.py").write_text("THIRD = 1/3\ndef times(v): return v * (3 * THIRD)\n")
    source = """
    from helper import times
    def f(dy, x, gamma, eps, rstd, xhat):
        return times(gamma * rstd * (dy - dy.mean(0) - xhat * (dy * xhat).mean(0)))
    """
    answer = in_file(tmp_path, source)
    assert answer.verdict == "equal", answer.text()
    helper = "import math\ndef times(v): return v * math.sqrt(2.0) * math.sqrt(0.5)\n"
    (tmp_path / "other.py").write_text(helper, encoding="utf-8")
    answer = in_file(tmp_path, source.replace("helper", "other"))
    assert not answer.exact, "a rounded float took part in an exact verdict"


def test_code_that_branches_is_covered_only_where_it_went(tmp_path: Path) -> None:
    """A comparison of data is noted, and the verdict still comes with a probability."""
    source = """
    def f(dy, x, gamma, rstd, xhat):
        r = rstd if rstd[0] > 0 else -rstd
        return gamma * r * (dy - dy.mean(0) - xhat * (dy * xhat).mean(0))
    """
    answer = in_file(tmp_path, source)
    assert answer.verdict == "equal", answer.text()
    assert answer.log2_probability is not None, "no probability"
    assert "only the branches taken are covered" in answer.text()


WRONG_CODE = {
    "wrong axis": ("dy.mean(axis=1)", "it raises ValueError|shape="),
    "a sum without an axis": ("dy.mean()", ""),
    "one row forgotten": ("dy[:-1].sum(0) / len(dy)", ""),
    "only right for two rows": ("dy.sum(0) / 2", ""),
    "wrong from n = 9 on": ("dy[:8].sum(0) / len(dy)", ""),
}


@pytest.mark.parametrize(("mean", "message"), WRONG_CODE.values(), ids=WRONG_CODE)
def test_wrong_code_is_not_equal(mean: str, message: str, tmp_path: Path) -> None:
    """Mistakes of axis and size are seen, also those that show at a larger n only."""
    source = f"""
    def f(dy, x, gamma, xhat, rstd):
        return gamma * rstd * (dy - {mean} - xhat * np.mean(dy * xhat, axis=0))
    """
    answer = in_file(tmp_path, source, explain=False)
    assert answer.verdict == "not equal", answer.text()
    assert re.search(message, answer.text()), answer.text()


def test_arrays_made_by_numpy_hold_exact_numbers(tmp_path: Path) -> None:
    """np.zeros and np.eye, filled in a loop or multiplied, do not make the audit float64."""
    source = """
    def f(dy, x, gamma, xhat, rstd):
        n, c = x.shape
        centre = np.eye(n) - np.ones((n, n)) / n
        dx = np.zeros((n, c))
        for j in range(c):
            along = xhat[:, j] * (dy * xhat).mean(0)[j]
            dx[:, j] = gamma[j] * rstd[j] * (centre @ dy[:, j] - along)
        return dx
    """
    answer = in_file(tmp_path, source)
    assert answer.exact, answer.text()
    assert answer.verdict == "equal", answer.text()


def test_layer_whose_inference_runs_is_audited_there_too(tmp_path: Path) -> None:
    """A layer class with a working forward(x, False) gives a second answer, of y alone."""
    repaired = SEED_LAYER.replace("sn = sc", "xn = xc")
    path = tmp_path / "layer.py"
    path.write_text("import numpy as np\n" + textwrap.dedent(repaired), encoding="utf-8")
    answers = [audit(formula, seed=SEED) for formula in from_file(path, None)]
    assert [(r.mode, r.verdict) for r in answers] == [("train", "equal"), ("eval", "equal")]
    assert [result.quantity for result in answers[1].results] == ["y"]


def test_results_must_be_known_quantities(tmp_path: Path) -> None:
    """A mapping with an unknown name, or an empty one, is refused."""
    for result, words in (("{'dz': dy}", "returned dz"), ("{}", "returned nothing")):
        with pytest.raises(NotAFormula, match=words):
            in_file(tmp_path, f"def f(dy, x): return {result}")


def test_torch_code_is_float64_and_equal(tmp_path: Path) -> None:
    """PyTorch's own backward passes in float64, and the answer says that it is evidence."""
    pytest.importorskip("torch")
    source = """
    import torch
    def f(dy, x, gamma, eps):
        x = torch.tensor(x, requires_grad=True)
        y = torch.nn.functional.batch_norm(x, None, None, torch.tensor(gamma), None, True, 0, eps)
        y.backward(torch.tensor(dy))
        return x.grad
    """
    answer = in_file(tmp_path, source)
    assert not answer.exact, "PyTorch cannot be exact"
    assert answer.verdict == "equal", answer.text()


@pytest.mark.parametrize("bug", [None, *planted.BUGS])
def test_planted_backward_bugs_are_seen(bug: str | None, tmp_path: Path) -> None:
    """The benchmark's 19 bugs are not equal, and the formula they are planted in is."""
    path = tmp_path / "planted.py"
    path.write_text(planted.source_of(bug), encoding="utf-8")
    (formula,) = from_file(path, "backward")
    answer = audit(formula, seed=SEED, explain=False)
    assert answer.verdict == ("not equal" if bug else "equal"), answer.text()


def test_there_are_nineteen_planted_bugs() -> None:
    """The number that the README names."""
    assert len(planted.BUGS) == 19, f"{len(planted.BUGS)} bugs"
