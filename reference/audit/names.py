"""What a formula may name, what it may be a formula of, and what people call these."""

from __future__ import annotations

ROWS = {"x", "dy", "xc", "xhat", "y", "dxhat", "dxc", "dx", "ddx", "tx", "ty", "grad_x", "grad_dy"}
GIVEN = (
    "x", "xc", "xhat", "mean", "var", "std", "rstd", "y", "dy", "gamma", "beta", "eps", "n",
    "momentum", "running_mean", "running_var", "ddx", "ddgamma", "ddbeta", "tx", "tgamma", "tbeta",
)  # fmt: skip
QUANTITIES = {
    "train": (
        "dx", "dgamma", "dbeta", "dxhat", "dstd", "dvar", "dxc", "dmean", "y", "xhat", "xc", "mean",
        "var", "std", "rstd", "ty", "grad_x", "grad_gamma", "grad_dy", "new_running_mean",
        "new_running_var",
    ),
    "eval": ("dx", "dgamma", "dbeta", "dxhat", "y", "xhat", "xc", "std", "rstd"),
}  # fmt: skip


def _by_alias(table: dict[str, str]) -> dict[str, str]:
    return {alias: name for name, others in table.items() for alias in [name, *others.split()]}


ALIASES = _by_alias(
    {
        "dy": "dout grad grad_output grad_out grad_y dL_dy dLdy upstream dY delta",
        "x": "X input inputs inp",
        "gamma": "weight w scale",
        "beta": "bias shift",
        "eps": "epsilon",
        "mean": "mu batch_mean sample_mean save_mean saved_mean",
        "var": "variance sigma2 batch_var sample_var save_var",
        "std": "sigma",
        "rstd": "invstd inv_std istd ivar save_invstd save_rstd inv_var",
        "xhat": "x_hat xn x_norm xnorm normalized x_normalized",
        "xc": "xmu x_centered centered",
        "y": "out output z",
        "n": "N m M batch_size",
    }
) | {name: name for name in GIVEN}

GRADIENTS = _by_alias(
    {
        "dx": "grad_input",
        "dxhat": "dxn dx_hat dxnorm dx_norm dx_normalized",
        "dstd": "dsigma",
        "dvar": "dsigma2 dvariance d_var",
        "dmean": "dmu d_mean",
        "dxc": "dxmu dx_centered",
        "dgamma": "dweight",
        "dbeta": "dbias",
    }
)
