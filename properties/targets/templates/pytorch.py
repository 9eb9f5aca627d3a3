"""An adapter for bncheck: a PyTorch module; bncheck run THIS_FILE.py checks it.

Edit what is marked. Most modules run without an adapter: bncheck run YOUR_FILE.py:BatchNorm.
"""

import torch

# --- yours


class BatchNorm(torch.nn.Module):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = torch.nn.Parameter(torch.ones(num_features))
        self.bias = torch.nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(0), x.var(0, unbiased=False)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var, self.momentum)
        return self.weight * (x - mean) / torch.sqrt(var + self.eps) + self.bias


# --- the adapter
CONVENTIONS = {"ndim": [2], "dtypes": ["float32", "float64"]}  # what it takes; may be left out


def run(training, x, gamma, beta, running_mean, running_var, eps, momentum):
    if gamma is None or running_mean is None:
        raise NotImplementedError("without gamma and beta, or without running statistics")
    x = torch.tensor(x.copy(), requires_grad=True)
    layer = BatchNorm(len(gamma), eps, momentum).to(x.dtype)  # edit: how yours is made
    with torch.no_grad():  # edit: what yours calls them
        layer.weight.copy_(torch.tensor(gamma))
        layer.bias.copy_(torch.tensor(beta))
        layer.running_mean.copy_(torch.tensor(running_mean))
        layer.running_var.copy_(torch.tensor(running_var))
    y = layer.train(training)(x)
    new = layer.running_mean.numpy(), layer.running_var.numpy()
    return y.detach().numpy(), *new, (y, (x, layer.weight, layer.bias))


def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    return run(True, x, gamma, beta, running_mean, running_var, eps, momentum)


def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
    y, _, _, saved = run(False, x, gamma, beta, running_mean, running_var, eps, 0.1)
    return y, saved


def backward_train(dy, saved):
    y, leaves = saved
    found = torch.autograd.grad(y, leaves, torch.tensor(dy.copy()), retain_graph=True)
    return tuple(t.numpy() for t in found)


backward_eval = backward_train
