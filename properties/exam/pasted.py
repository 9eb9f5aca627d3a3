"""The test that was missing: at most twelve lines, in the style of what is tested."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal

import numpy as np

from .questions import ARRAYS, DECISIVE, Witness

LONGEST = 12  # lines

# what each style writes for the words of a program, {module}, {name} and {back} filled in
_IMPORT = {
    "contract": "import {module} as bn",
    "cs231n": "from {module} import {name}, {back}",
    "torch": "import numpy as np, torch, {module}",
}
_TRAIN = {
    "contract": [
        "y, running_mean, running_var, saved = bn.forward_train(",
        "    x, gamma, beta, mean, var, eps={eps}, momentum={momentum})",
    ],
    "cs231n": [
        'p = {{"mode": "train", "eps": {eps}, "momentum": {momentum}, '
        '"running_mean": mean, "running_var": var}}',
        "y, saved = {name}(x, gamma, beta, p)",
    ],
    "torch": ["y = {module}.{name}(x, mean, var, gamma, beta, True, {momentum}, {eps})"],
}
_EVAL = {
    "contract": ["y, saved = bn.forward_eval(x, gamma, beta, mean, var, eps={eps})"],
    "cs231n": [
        'p = {{"mode": "test", "eps": {eps}, "running_mean": mean, "running_var": var}}',
        "y, saved = {name}(x, gamma, beta, p)",
    ],
    "torch": ["y = {module}.{name}(x, mean, var, gamma, beta, False, {momentum}, {eps})"],
}
_BACK = {
    "contract": ["dx, dgamma, dbeta = bn.backward_{mode}(dy, saved)"],
    "cs231n": ["dx, dgamma, dbeta = {back}(dy, saved)"],
    "torch": ["{gradients} = torch.autograd.grad(y, ({inputs}), dy)"],
}
_READ = {
    "cs231n": {"running_mean": 'p["running_mean"]', "running_var": 'p["running_var"]'},
    "torch": {"running_mean": "mean", "running_var": "var"},
}


def shown(style: str) -> bool:
    """Return whether tests can be written in a style."""
    return style in _TRAIN


def test_of(witness: Witness, style: str, module: str, name: str, bug: str) -> str:
    """Return a test that the bug fails and every right implementation passes."""
    q = witness.question
    function = re.sub(r"\W", "_", bug)
    head = _IMPORT[style].format(module=module, name=name, back=name.replace("forward", "backward"))
    head = head if "numpy" in head else f"import numpy as np\n{head}"
    lines = [head, f"def test_{function}():"]
    texts = {key: getattr(q, key) for key in ARRAYS}
    body = [f"x = {texts['x']}"]
    body += [f"dy = {texts['dy']}"] if "back" in witness.program else []
    body += [
        f"gamma, beta = {texts['gamma']}, {texts['beta']}",
        f"mean, var = {texts['mean']}, {texts['var']}",
    ]
    there = [key for key in ("x", "gamma", "beta") if texts[key] != "None"]
    if style == "torch":
        names = [*(["dy"] if "back" in witness.program else []), "x"]
        names += [k for k in ("gamma", "beta", "mean", "var") if texts[k] != "None"]
        body.append(f"{', '.join(names)} = map(torch.from_numpy, ({', '.join(names)}))")
        if "back" in witness.program:
            body.append(f"[a.requires_grad_() for a in ({', '.join(there)})]")
    gradient = {"x": "dx", "gamma": "dgamma", "beta": "dbeta"}
    words = {
        "module": module, "name": name, "back": name.replace("forward", "backward"),
        "eps": q.eps, "momentum": q.momentum, "inputs": ", ".join(there) + "," * (len(there) == 1),
        "mode": "eval" if "eval" in witness.program else "train",
        "gradients": ", ".join(gradient[k] for k in there) + "," * (len(there) == 1),
    }  # fmt: skip
    for word in witness.program.split():
        lines_of = {"train": _TRAIN, "eval": _EVAL, "back": _BACK}[word][style]
        if style == "torch" and word == "train" and "eval" in witness.program:
            lines_of = [line.replace("mean, var", "None, None") for line in lines_of]
        body += [line.format(**words) for line in lines_of]
    quantity = _READ.get(style, {}).get(witness.quantity, witness.quantity)
    at = f"[{', '.join(map(str, witness.index))}]"
    value = f"float({quantity}{at})"
    body.append(f"assert abs({value} - {_number(witness.value)}) <= {_up(witness.radius)}")
    return "\n".join([*lines, *(f"    {line}" for line in body)]) + "\n"


def _number(value: float) -> str:
    return f"({value!r})" if value < 0 else repr(value)


def _up(radius: float) -> str:
    """Return the decisive multiple of a radius to three digits, rounded up."""
    allowed = Decimal(float(np.nextafter(DECISIVE * radius, np.inf)))
    exponent = allowed.adjusted() - 2
    return f"{allowed.quantize(Decimal((0, (1,), exponent)), rounding=ROUND_UP):.2e}"
