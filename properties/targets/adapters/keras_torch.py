"""Keras on PyTorch."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...model.living import living
from . import keras_layer

keras_layer.choose("torch")
from .from_torch import target  # noqa: E402  the backend is chosen first
from .living_keras import module  # noqa: E402
from .living_torch import Living  # noqa: E402


def pure(*given: Any) -> Any:
    """Return y in training."""
    return keras_layer.run(True, *given)[0]


TARGET = target(
    keras_layer.run,
    pure,
    masks=True,
    CONVENTIONS=keras_layer.CONVENTIONS,
    **living(partial(Living, module)),
)
