"""TensorFlow: tf.nn.batch_normalization with tf.nn.moments, and the fused kernel.

tf.nn has no running statistics; beside its functions they are averaged here as Keras does.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from .from_tensorflow import target


def plain(
    training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    """Return y and the new running statistics."""
    if not training:
        return tf.nn.batch_normalization(x, mean, var, beta, gamma, eps), mean, var
    batch = tf.nn.moments(x, list(range(x.shape.rank - 1)))
    y = tf.nn.batch_normalization(x, *batch, beta, gamma, eps)
    if mean is None:
        return y, None, None
    return y, *(
        old * momentum + tf.cast(new, old.dtype) * (1.0 - momentum)
        for old, new in zip((mean, var), batch, strict=True)
    )


def fused(
    training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    """Return y and the new running statistics of tf.raw_ops.FusedBatchNormV3."""
    y, mean, var, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=var,
        epsilon=eps,
        exponential_avg_factor=momentum if training else 1.0,
        data_format={4: "NHWC", 5: "NDHWC"}[x.shape.rank],
        is_training=training,
    )
    return y, mean, var


LAST = {"statistics": "per_channel", "channel_axis": -1}
PLAIN = target(plain, CONVENTIONS={**LAST, "momentum": "keep", "running_var": "biased"})
FUSED = target(fused, CONVENTIONS={**LAST, "ndim": [4, 5]})
