"""An adapter for bncheck: a Keras layer, its forward; bncheck run THIS_FILE.py checks it.

Edit what is marked. Most layers run without an adapter, gradients included: bncheck run
YOUR_FILE.py:BatchNorm. The gradients here are the backend's: see bncheck new pytorch, new jax.
"""

import keras
import numpy as np
from keras import ops

# --- yours


class BatchNorm(keras.layers.Layer):
    def __init__(self, momentum=0.99, epsilon=1e-3, **options):
        super().__init__(**options)
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        kept = {"shape": shape, "initializer": "zeros", "trainable": False}
        self.moving_mean = self.add_weight(name="moving_mean", **kept)
        self.moving_variance = self.add_weight(name="moving_variance", **kept)

    def call(self, x, training=False):
        mean, var = self.moving_mean, self.moving_variance
        if training:
            m, axes = self.momentum, list(range(len(x.shape) - 1))
            mean = ops.mean(x, axis=axes)
            var = ops.mean(ops.square(x - mean), axis=axes)
            self.moving_mean.assign(m * self.moving_mean + (1 - m) * mean)
            self.moving_variance.assign(m * self.moving_variance + (1 - m) * var)
        return self.gamma * (x - mean) / ops.sqrt(var + self.epsilon) + self.beta


# --- the adapter
CONVENTIONS = {"ndim": [2], "dtypes": ["float32"]}  # what it takes; may be left out


def run(training, x, gamma, beta, running_mean, running_var, eps, momentum):
    if gamma is None or running_mean is None:
        raise NotImplementedError("without gamma and beta, or without running statistics")
    layer = BatchNorm(momentum=momentum, epsilon=eps, dtype="float32")  # edit: how yours is made
    layer.build(x.shape)
    layer.gamma.assign(gamma)  # edit: what yours calls them
    layer.beta.assign(beta)
    layer.moving_mean.assign(running_mean)
    layer.moving_variance.assign(running_var)
    y = layer(ops.convert_to_tensor(np.ascontiguousarray(x)), training=training)
    arrays = y, layer.moving_mean, layer.moving_variance
    return tuple(np.array(ops.convert_to_numpy(a)) for a in arrays)


def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    return *run(True, x, gamma, beta, running_mean, running_var, eps, momentum), None


def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
    return run(False, x, gamma, beta, running_mean, running_var, eps, 0.9)[0], None
