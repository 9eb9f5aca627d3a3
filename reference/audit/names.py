"""What people call the quantities of the derivation."""

from __future__ import annotations

from .points import GIVEN


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
