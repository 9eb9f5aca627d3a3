"""An adapter for bncheck: a NumPy layer with forward and backward; bncheck run THIS_FILE.py.

Edit what is marked.
"""

import numpy as np

# --- yours


class BatchNorm:
    def __init__(self, num_features, eps=1e-5, momentum=0.9):
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)
        self.eps, self.momentum = eps, momentum

    def forward(self, x, training=True):
        t = x.dtype.type
        mean, var, m = self.running_mean, self.running_var, t(self.momentum)
        if training:
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = m * self.running_mean + (1 - m) * mean
            self.running_var = m * self.running_var + (1 - m) * var
        self.std = np.sqrt(var + t(self.eps))
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        n = len(dy)
        return self.gamma / self.std * (dy - self.dbeta / n - self.xhat * self.dgamma / n)


# --- the adapter
CONVENTIONS = {"ndim": [2], "dtypes": ["float32", "float64"]}  # what it takes; may be left out


def made(gamma, beta, running_mean, running_var, eps, momentum):
    """Return a layer with copies of these parameters and statistics."""
    if gamma is None or running_mean is None:
        raise NotImplementedError("without gamma and beta, or without running statistics")
    layer = BatchNorm(len(gamma), eps, momentum)  # edit: how yours is made
    layer.gamma, layer.beta = gamma.copy(), beta.copy()  # edit: what yours calls them
    layer.running_mean, layer.running_var = running_mean.copy(), running_var.copy()
    return layer


def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    layer = made(gamma, beta, running_mean, running_var, eps, momentum)
    y = layer.forward(x, training=True)
    return y, layer.running_mean, layer.running_var, layer


def backward_train(dy, saved):
    dx = saved.backward(dy)
    return dx, saved.dgamma, saved.dbeta


def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
    layer = made(gamma, beta, running_mean, running_var, eps, 0.9)
    return layer.forward(x, training=False), None
