"""An adapter for bncheck: a forward that hands a cache to a backward; bncheck run THIS_FILE.py.

Edit what is marked.
"""

import numpy as np

# --- yours


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = x.dtype.type(bn_param["eps"]), x.dtype.type(bn_param.get("momentum", 0.9))
    mean, var = bn_param["running_mean"], bn_param["running_var"]
    if bn_param["mode"] == "train":
        mean, var = x.mean(axis=0), x.var(axis=0)
        for name, new in (("running_mean", mean), ("running_var", var)):
            bn_param[name] = momentum * bn_param[name] + (1 - momentum) * new
    std = np.sqrt(var + eps)
    xhat = (x - mean) / std
    return gamma * xhat + beta, (xhat, std, gamma)


def batchnorm_backward(dout, cache):
    xhat, std, gamma = cache
    dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
    dx = gamma / std * (dout - dbeta / len(dout) - xhat * dgamma / len(dout))
    return dx, dgamma, dbeta


# --- the adapter
CONVENTIONS = {"ndim": [2], "dtypes": ["float32", "float64"]}  # what it takes; may be left out


def called(mode, x, gamma, beta, running_mean, running_var, **options):
    if gamma is None or running_mean is None:
        raise NotImplementedError("without gamma and beta, or without running statistics")
    state = {"running_mean": running_mean.copy(), "running_var": running_var.copy()}
    bn_param = {"mode": mode, **state, **options}  # edit: the keys that your code reads
    y, cache = batchnorm_forward(x, gamma, beta, bn_param)
    return y, bn_param["running_mean"], bn_param["running_var"], cache


def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    return called("train", x, gamma, beta, running_mean, running_var, eps=eps, momentum=momentum)


def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
    return called("test", x, gamma, beta, running_mean, running_var, eps=eps)[0], None


def backward_train(dy, saved):
    return batchnorm_backward(dy, saved)
