"""Batch norm as the seed flattens it: a mean and a variance for each place of each channel.

The functions are those of bn with x (n, c, *spatial) seen as (n, c * s); gamma, beta and the
statistics are (c * s,).
"""

from functools import partial

from . import functional, synchronised
from .functional import backward_eval as backward_eval
from .functional import backward_train as backward_train
from .second_order import double_backward_train as double_backward_train
from .second_order import jvp_train as jvp_train
from .statistics import initial_state as initial_state
from .statistics import merge_gradients as merge_gradients
from .statistics import merge_statistics as merge_statistics
from .synchronised import sync_backward_train as sync_backward_train

CONVENTIONS = functional.CONVENTIONS | {"statistics": "per_activation"}

forward_train = partial(functional.forward_train, per_activation=True)
forward_eval = partial(functional.forward_eval, per_activation=True)
sync_forward_train = partial(synchronised.sync_forward_train, per_activation=True)
