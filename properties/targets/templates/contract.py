"""An adapter for bncheck: any two functions of NumPy arrays; bncheck run THIS_FILE.py checks them.

Edit what is marked; gradients, inference and the rest may be left out.
"""

import numpy as np

# --- yours


def batch_norm(x, gamma, beta, running_mean, running_var, eps, momentum):
    mean, var = x.mean(axis=0), x.var(axis=0)
    keep = x.dtype.type(momentum)
    running_mean = keep * running_mean + (1 - keep) * mean
    running_var = keep * running_var + (1 - keep) * var
    std = np.sqrt(var + x.dtype.type(eps))
    xhat = (x - mean) / std
    return gamma * xhat + beta, running_mean, running_var, (xhat, std, gamma)


def batch_norm_backward(dy, cache):
    xhat, std, gamma = cache
    dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
    dx = gamma / std * (dy - dbeta / len(dy) - xhat * dgamma / len(dy))
    return dx, dgamma, dbeta


# --- the adapter
CONVENTIONS = {"ndim": [2], "dtypes": ["float32", "float64"]}  # what it takes; may be left out


def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    if gamma is None or running_mean is None:
        raise NotImplementedError("without gamma and beta, or without running statistics")
    return batch_norm(x, gamma, beta, running_mean, running_var, eps, momentum)


def backward_train(dy, saved):
    return batch_norm_backward(dy, saved)


def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
    std = np.sqrt(running_var + x.dtype.type(eps))  # edit: your code for inference
    return gamma * ((x - running_mean) / std) + beta, None
