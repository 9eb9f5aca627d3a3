"""Wrong layers: when their state moves, who shares it, and how they count."""

from __future__ import annotations

from ..plants.layers import AveragesInBackward, ForgetsItsCount
from ..plants.planted import PLANTED
from ..plants.textbook import Pieces

WRONG_LAYERS: dict[str, Pieces] = {
    "layer_recomputes_in_backward": PLANTED["layer_recomputes_in_backward"],
    "layer_shares_its_state": PLANTED["layer_shares_its_state"],
    "layer_averages_in_backward": Pieces(layer=AveragesInBackward),
    "layer_forgets_its_count": Pieces(layer=ForgetsItsCount),
}
