"""Right: the statistics of a channel in one program."""

from kernels import CONVENTIONS, contract

__all__ = ["CONVENTIONS", "backward_train", "forward_eval", "forward_train"]

forward_train, backward_train, forward_eval = contract()
