"""Keras on TensorFlow."""

from __future__ import annotations

from . import keras_layer

keras_layer.choose("tensorflow")
from .from_tensorflow import target  # noqa: E402  the backend is chosen first

TARGET = target(keras_layer.run, masks=True, CONVENTIONS=keras_layer.CONVENTIONS)
