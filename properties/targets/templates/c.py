"""An adapter for bncheck: a kernel in C through ctypes; bncheck run THIS_FILE.py checks it.

Edit what is marked. It is compiled by cc when this file is loaded.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np

# --- yours
SOURCE = r"""
#include <math.h>

void batch_norm(const double *x, const double *gamma, const double *beta, double *running_mean,
                double *running_var, double *y, int n, int c, double eps, double momentum)
{
    for (int j = 0; j < c && n > 0; j++) {
        double mean = 0, var = 0;
        for (int i = 0; i < n; i++) mean += x[i * c + j] / n;
        for (int i = 0; i < n; i++) var += (x[i * c + j] - mean) * (x[i * c + j] - mean) / n;
        for (int i = 0; i < n; i++)
            y[i * c + j] = gamma[j] * (x[i * c + j] - mean) / sqrt(var + eps) + beta[j];
        running_mean[j] = momentum * running_mean[j] + (1 - momentum) * mean;
        running_var[j] = momentum * running_var[j] + (1 - momentum) * var;
    }
}
"""
NAME = "batch_norm"
# --- the adapter
CONVENTIONS = {"ndim": [2], "dtypes": ["float64"]}  # what it takes; may be left out


def compiled(source):
    with tempfile.TemporaryDirectory() as folder:
        code, library = Path(folder, "kernel.c"), Path(folder, "kernel.so")
        code.write_text(source, encoding="utf-8")
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(code), "-lm"]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(library))


kernel = compiled(SOURCE)[NAME]
array, size, number = np.ctypeslib.ndpointer("float64", flags="C"), ctypes.c_int, ctypes.c_double
kernel.argtypes = [array] * 6 + [size] * 2 + [number] * 2  # edit: what yours takes
kernel.restype = None


def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    if gamma is None or running_mean is None:
        raise NotImplementedError("without gamma and beta, or without running statistics")
    x = np.ascontiguousarray(x)
    y, mean, var = np.empty(x.shape), running_mean.copy(), running_var.copy()
    kernel(x, gamma, beta, mean, var, y, *x.shape, eps, momentum)
    return y, mean, var, None
