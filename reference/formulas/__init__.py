"""Published formulas, each with its source, each audited in the tests.

Every function is plain NumPy and returns what `Published.returns` names. They are here to be
audited and compared, not to be used: none of them minds rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import closed_form, ioffe_szegedy, node_by_node, running, second_order, synchronised

GRADIENTS = ("dx", "dgamma", "dbeta")
SECOND = ("grad_x", "grad_gamma", "grad_dy")
RUNNING = ("new_running_mean", "new_running_var")


@dataclass(frozen=True)
class Published:
    """A formula from the literature.

    Attributes:
        returns: the quantities in order.
        source: where it was published, in one line.
        mode, momentum, running_var: what it is a formula for.
    """

    function: Callable[..., Any]
    returns: tuple[str, ...]
    source: str
    mode: str = "train"
    momentum: str = "keep"
    running_var: str = "biased"

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def path(self) -> Path:
        return Path(self.function.__code__.co_filename)


CATALOGUE = (
    Published(ioffe_szegedy.ioffe_szegedy, GRADIENTS, "Ioffe, Szegedy 2015, arXiv:1502.03167"),
    Published(
        ioffe_szegedy.ioffe_szegedy_without_zero_term, GRADIENTS,
        "as above; argued about in mxnet #1053, mlpack #2474, caffe #4110, darknet #1723",
    ),
    Published(node_by_node.saito, GRADIENTS, "Saito 2016, Deep Learning from Scratch (the seed)"),
    Published(node_by_node.kratzert, GRADIENTS, "Kratzert 2016, kratzert.github.io"),
    Published(closed_form.closed_form, GRADIENTS, "derivation.md, equation (15)"),
    Published(closed_form.thorey, ("dx",), "Thorey 2016, cthorey.github.io"),
    Published(closed_form.from_saved_statistics, GRADIENTS, "PyTorch, Normalization.cpp"),
    Published(closed_form.from_output, GRADIENTS, "Rota Bulò et al. 2018, arXiv:1712.02616"),
    Published(
        closed_form.frozen_statistics, GRADIENTS, "derivation.md, equation (17)", mode="eval"
    ),
    Published(synchronised.synchronised, GRADIENTS, "Chan et al. 1982; PyTorch, SyncBatchNorm"),
    Published(second_order.forward_mode, ("ty",), "derivation.md, equation (21)"),
    Published(second_order.double_backward, SECOND, "derivation.md, equations (22) to (24)"),
    Published(second_order.double_backward_from_sums, SECOND, "PyTorch, FunctionsManual.cpp"),
    Published(running.running_statistics_kept, RUNNING, "Saito 2016 (the seed)"),
    Published(
        running.running_statistics_updated, RUNNING, "PyTorch, torch.nn.BatchNorm1d",
        momentum="update", running_var="unbiased",
    ),
)  # fmt: skip
