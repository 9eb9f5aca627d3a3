"""NumPy code under audit: functions, layers, contract implementations, code for floats alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from audit_cases import SEED, answers_in, in_file, with_mean

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


MEANS = {
    "integers divided": "dy.sum(0) * (1 / x.shape[0])",
    "einsum": "np.einsum('nc->c', dy) / len(dy)",
    "matrix product": "np.ones(len(dy)) @ dy / len(dy)",
    "np.divide": "np.divide(dy.sum(0), dy.shape[0])",
    "keepdims": "dy.mean(axis=0, keepdims=True)",
    "a float count": "dy.sum(0) / float(len(dy))",
    "stacked": "np.stack([row for row in dy]).mean(0)",
    "negative power": "dy.sum(0) * len(dy) ** -1",
}
TYPED_EPS = """
    EPS = 1e-8
    def rstd_of(xc, eps=1e-5): return 1 / np.sqrt((xc**2).mean(0) + 1e-5)
    def h(xc): return xc / np.sqrt((xc**2).mean(0) + EPS)
    def f(dy, x, gamma):
        xc = x - x.mean(0)
        return xc*gamma*0 + gamma*rstd_of(xc)*(dy - dy.mean(0) - h(xc)*(dy*h(xc)).mean(0))
    """
BRANCH = """
    def f(dy, x, gamma, rstd, xhat):
        r = rstd if rstd[0] > 0 else -rstd
        return gamma * r * (dy - dy.mean(0) - xhat * (dy * xhat).mean(0))
    """
NEW_ARRAYS = """
    def f(dy, x, gamma, xhat, rstd):
        n, c = x.shape
        centre = np.eye(n) - np.ones((n, n)) / n
        dx = np.zeros((n, c))
        for j in range(c):
            along = xhat[:, j] * (dy * xhat).mean(0)[j]
            dx[:, j] = gamma[j] * rstd[j] * (centre @ dy[:, j] - along)
        return dx
    """
RIGHT_CODE = {
    name: (with_mean(mean), "a wrong formula passes with") for name, mean in MEANS.items()
} | {
    "2.0/n and 0.5*dstd are not rounded": (FUNCTION, "dgamma: equal"),
    "an eps typed as literal or constant": (TYPED_EPS, "1e-8 in line 3 was read as eps"),
    "branches that compare data": (BRANCH, "only the branches taken are covered"),
    "np.zeros and np.eye, filled in a loop": (NEW_ARRAYS, "a wrong formula passes with"),
}


@pytest.mark.parametrize(("source", "words"), RIGHT_CODE.values(), ids=RIGHT_CODE)
def test_right_code_is_equal_and_stays_exact(source: str, words: str, tmp_path: Path) -> None:
    """Plain NumPy as people write it is audited over rationals, with a probability."""
    answer = in_file(tmp_path, source)
    assert answer.exact, answer.text()
    assert answer.verdict == "equal", answer.text()
    assert answer.log2_probability is not None, "no probability"
    assert words in answer.text(), answer.text()


def test_wrong_line_of_a_function_is_named(tmp_path: Path) -> None:
    """A lost 1/2 is found in the line where it was lost, though the direct path is right."""
    answer = in_file(tmp_path, FUNCTION.replace("0.5 * dstd / std", "dstd / std"))
    wrong_line = answer.results[0].wrong_line
    assert "dvar = dstd / std  (line 10) is 2 times" in wrong_line, wrong_line
    found = [(r.quantity, r.verdict) for r in answer.results]
    assert found == [("dx", "not equal"), ("dgamma", "equal"), ("dbeta", "equal")], answer.text()


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


WHOLE = {  # the verdict and quantities by mode, and what is said
    "the layer of the seed, whose inference crashes": (
        SEED_LAYER, {"train": "y dx dgamma dbeta new_running_mean new_running_var"},
        ("10e-7 in line 20 was read as eps",
         "forward(x, False) raises NameError: name 'sc' is not defined")),
    "the same with its inference mended": (
        SEED_LAYER.replace("sn = sc", "xn = xc"),
        {"train": "y dx dgamma dbeta new_running_mean new_running_var", "eval": "y"}, ()),
    "the functions of the contract": (
        CONTRACT, {"train": "y dx dgamma dbeta new_running_mean new_running_var",
                   "eval": "y dx dgamma dbeta"}, ()),
}  # fmt: skip


@pytest.mark.parametrize(("source", "quantities", "words"), WHOLE.values(), ids=WHOLE)
def test_a_whole_layer_is_equal_in_all_its_quantities(
    source: str, quantities: dict[str, str], words: tuple[str, ...], tmp_path: Path
) -> None:
    """A layer or an implementation gives an answer per mode, of all that it computes there."""
    answers = answers_in(tmp_path, source)
    found = {a.mode: {r.quantity for r in a.results} for a in answers}
    assert found == {mode: set(names.split()) for mode, names in quantities.items()}
    assert {answer.verdict for answer in answers} == {"equal"}, answers[0].text()
    assert all(each in answers[0].text() for each in words), answers[0].text()


IN_FLOAT64 = """
def f(dy, x, gamma, eps):
    x = np.asarray(x, dtype=np.float64)
    xc = x - x.mean(0)
    r = 1 / np.sqrt((xc ** 2).mean(0) + eps)
    dx = gamma * r * (dy - dy.mean(0) - xc * r * (dy * xc * r).mean(0))
    return dx * FACTOR, (dy * xc * r).sum(0), dy.sum(0)
"""
BUILT_IN = IN_FLOAT64.replace("gamma, eps)", "gamma)").replace("FACTOR", "1")
HIDDEN_EPS = BUILT_IN.replace("+ eps", "+ float('1e-3')")
TORCH = """
    import torch
    def f(dy, x, gamma, eps):
        x = torch.tensor(x, requires_grad=True)
        y = torch.nn.functional.batch_norm(x, None, None, torch.tensor(gamma), None, True, 0, eps)
        y.backward(torch.tensor(dy))
        return x.grad
    """
FOR_FLOATS = {
    "right": (IN_FLOAT64.replace("FACTOR", "1"), None, "equal", "audited in float64 because"),
    "off by a millionth": (
        IN_FLOAT64.replace("FACTOR", "1.000001"),
        None,
        "not equal",
        "times what is",
    ),
    "an eps that it types": (BUILT_IN.replace("+ eps", "+ 1e-3"), None, "equal", "evidence"),
    "an eps that cannot be read": (HIDDEN_EPS, None, "unknown", "say --eps"),
    "such an eps, told": (HIDDEN_EPS, 1e-3, "equal", "evidence, not proof"),
    "PyTorch's own backward": (TORCH, None, "equal", "evidence, not proof"),
}


@pytest.mark.parametrize(("source", "eps", "verdict", "words"), FOR_FLOATS.values(), ids=FOR_FLOATS)
def test_code_for_floats_alone_is_judged_in_float64(
    source: str, eps: float | None, verdict: str, words: str, tmp_path: Path
) -> None:
    """What turns values into floats is judged within the radius, and the answer says so."""
    if "torch" in source:
        pytest.importorskip("torch")
    answer = in_file(tmp_path, source, eps=eps)
    assert not answer.exact, "claimed to be exact"
    assert answer.verdict == verdict, answer.text()
    assert words in answer.text(), answer.text()


def test_rounded_float_is_never_called_not_equal(tmp_path: Path) -> None:
    """A helper file's 1/3 is a rounded float: the audit goes on in float64 and does not accuse."""
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
    answer = in_file(tmp_path, with_mean(mean), explain=False)
    assert answer.verdict == "not equal", answer.text()
    assert re.search(message, answer.text()), answer.text()


def test_results_must_be_known_quantities(tmp_path: Path) -> None:
    """A mapping with an unknown name, or an empty one, is refused."""
    for result, words in (("{'dz': dy}", "returned dz"), ("{}", "returned nothing")):
        with pytest.raises(NotAFormula, match=words):
            in_file(tmp_path, f"def f(dy, x): return {result}")


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
