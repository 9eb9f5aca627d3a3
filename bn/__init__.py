"""Batch normalization in NumPy: compact, accurate, tested. The module itself is a target.

Begin with functional.py, the equations; blocks.py is how they go through memory. Every function
refuses a wrong argument with a TypeError or a ValueError of one line, see arguments.py.
"""

from . import per_activation as per_activation
from .folding import fold as fold
from .functional import CONVENTIONS as CONVENTIONS
from .functional import backward_eval as backward_eval
from .functional import backward_train as backward_train
from .functional import forward_eval as forward_eval
from .functional import forward_train as forward_train
from .layer import BatchNormalization as BatchNormalization
from .second_order import double_backward_train as double_backward_train
from .second_order import jvp_train as jvp_train
from .statistics import initial_state as initial_state
from .statistics import merge_gradients as merge_gradients
from .statistics import merge_statistics as merge_statistics
from .synchronised import sync_backward_train as sync_backward_train
from .synchronised import sync_forward_train as sync_forward_train
