"""A right batch norm in Triton, one program per channel; the targets beside it change a part.

On the CPU the kernels are run by Triton's interpreter, with TORCH_DEVICE=cuda on a GPU.
"""

import os

DEVICE = os.environ.get("TORCH_DEVICE", "cpu")
if DEVICE == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")  # it is read when Triton is imported

import torch  # noqa: E402
import triton  # noqa: E402
import triton.language as tl  # noqa: E402

BLOCK = 64
CONVENTIONS = {
    "momentum": "update", "running_var": "unbiased", "dtypes": ["float32"], "compiled": "per shape",
}  # fmt: skip


@triton.jit
def moments(x, mean, var, count, c, m, block: tl.constexpr):
    """Store mean and biased variance of channel program_id; x is (n, c, m), count is n * m."""
    channel = tl.program_id(0)
    total = tl.zeros((block,), tl.float32)
    for start in range(0, count, block):
        k = start + tl.arange(0, block)
        total += tl.load(x + (k // m) * c * m + channel * m + k % m, mask=k < count, other=0.0)
    mu = tl.sum(total, axis=0) / count
    square = tl.zeros((block,), tl.float32)
    for start in range(0, count, block):
        k = start + tl.arange(0, block)
        at = (k // m) * c * m + channel * m + k % m
        xc = tl.where(k < count, tl.load(x + at, mask=k < count, other=0.0) - mu, 0.0)
        square += xc * xc
    tl.store(mean + channel, mu)
    tl.store(var + channel, tl.sum(square, axis=0) / count)


@triton.jit
def affine(x, y, mean, rstd, gamma, beta, size, c, m, block: tl.constexpr):
    """Store gamma * (x - mean) * rstd + beta of a block of values."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < size
    channel = (at // m) % c
    xc = tl.load(x + at, mask=inside) - tl.load(mean + channel, mask=inside)
    scale = tl.load(gamma + channel, mask=inside) * tl.load(rstd + channel, mask=inside)
    tl.store(y + at, scale * xc + tl.load(beta + channel, mask=inside), mask=inside)


@triton.jit
def sums(dy, x, mean, rstd, dgamma, dbeta, count, c, m, block: tl.constexpr):
    """Store sum(dy * xhat) and sum(dy) of channel program_id."""
    channel = tl.program_id(0)
    mu, scale = tl.load(mean + channel), tl.load(rstd + channel)
    by_gamma, by_beta = tl.zeros((block,), tl.float32), tl.zeros((block,), tl.float32)
    for start in range(0, count, block):
        k = start + tl.arange(0, block)
        at = (k // m) * c * m + channel * m + k % m
        g = tl.load(dy + at, mask=k < count, other=0.0)
        by_gamma += g * (tl.load(x + at, mask=k < count, other=0.0) - mu) * scale
        by_beta += g
    tl.store(dgamma + channel, tl.sum(by_gamma, axis=0))
    tl.store(dbeta + channel, tl.sum(by_beta, axis=0))


def on_device(*arrays):
    """Return arrays as contiguous tensors of their own."""
    return [None if a is None else torch.tensor(a.copy("C"), device=DEVICE) for a in arrays]


def sizes(x):
    """Return count, channels and places of x (n, c, ...)."""
    c = x.shape[1]
    m = x[0, 0].numel() if x.shape[0] else 1
    return x.shape[0] * m, c, m


def statistics(x, moments=moments):
    """Return mean and biased variance of each channel, by this kernel."""
    mean, var = (torch.empty(x.shape[1], device=DEVICE) for _ in range(2))
    count, c, m = sizes(x)
    moments[(c,)](x, mean, var, count, c, m, BLOCK)
    return mean, var


def normalized(x, mean, rstd, gamma, beta):
    """Return gamma * (x - mean) * rstd + beta."""
    y = torch.empty_like(x)
    _, c, m = sizes(x)
    affine[(triton.cdiv(x.numel(), BLOCK),)](x, y, mean, rstd, gamma, beta, x.numel(), c, m, BLOCK)
    return y


def contract(statistics=statistics, normalized=normalized):
    """Return forward_train, backward_train and forward_eval over two steps."""

    def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
        x, gamma, beta, rm, rv = on_device(x, gamma, beta, running_mean, running_var)
        mean, var = statistics(x)
        rstd = 1 / torch.sqrt(var + eps)
        y = normalized(x, mean, rstd, gamma, beta)
        n = sizes(x)[0]
        rm = (1 - momentum) * rm + momentum * mean
        rv = (1 - momentum) * rv + momentum * var * (n / max(n - 1, 1))
        return y.cpu().numpy(), rm.cpu().numpy(), rv.cpu().numpy(), (x, mean, rstd, gamma)

    def backward_train(dy, saved):
        x, mean, rstd, gamma = saved
        (dy,) = on_device(dy)
        dgamma, dbeta = torch.empty_like(mean), torch.empty_like(mean)
        count, c, m = sizes(x)
        sums[(c,)](dy, x, mean, rstd, dgamma, dbeta, count, c, m, BLOCK)
        wide = (1, -1) + (1,) * (x.ndim - 2)
        xhat = (x - mean.reshape(wide)) * rstd.reshape(wide)
        paths = dbeta.reshape(wide) / count + xhat * dgamma.reshape(wide) / count
        dx = (gamma * rstd).reshape(wide) * (dy - paths)
        return dx.cpu().numpy(), dgamma.cpu().numpy(), dbeta.cpu().numpy()

    def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
        x, gamma, beta, rm, rv = on_device(x, gamma, beta, running_mean, running_var)
        return normalized(x, rm, 1 / torch.sqrt(rv + eps), gamma, beta).cpu().numpy(), None

    return forward_train, backward_train, forward_eval
