"""What is core and what an author may declare out of scope: one table, with the reasons.

Core: on ordinary arrays (native, aligned, any strides) some user gets a wrong number. Edge: a
deviation is a remark, and a clear error is a refusal. What is not named here is core. Two known
bugs are killed at an edge alone: sonnet-empty-batch, which is one, and ttnn-update-before-read,
which needs one array in two roles.
"""

from __future__ import annotations

from ..model.cases import Case
from ..model.layouts import layouts_of

EDGE = {
    "empty_batch_leaves_the_state": "an empty batch has no statistics; many layers never see one",
    "batch_that_is_all_masked_leaves_the_state": "it is like an empty batch",
    "nan_stays_visible_in_its_channel": "what NaN gives is left open by most documentations",
    "arguments_may_share_memory": "few callers pass one array in two roles",
    "results_have_the_given_dtypes": "the numbers are judged all the same, in their own dtype",
    "gradients_have_the_given_dtypes": "the numbers are judged all the same, in their own dtype",
}

EDGE_LAYOUTS = {
    "misaligned": "no framework makes an array off its alignment",
    "byte-swapped": "no framework computes on a foreign byte order",
    "read-only": "a wrapper may insist on memory that can be written to",
}


def edge(invariant: str, case: Case) -> str:
    """Return why a deviation of this invariant on this case is a remark, "" where it fails."""
    if invariant == "memory_layout_does_not_matter":
        return next(
            (EDGE_LAYOUTS[k] for k in layouts_of(case.recipe.option) if k in EDGE_LAYOUTS), ""
        )
    return EDGE.get(invariant, "")
