"""Checks that many tests share."""

import inspect
import json

import numpy as np
import tensorflow as tf


def check_layer(layer_cls, init_kwargs, inputs, rtol=1e-5, atol=1e-6):
    """Config is complete and revives the layer; unknown dimensions give the same output.

    Args:
        layer_cls: The layer's class.
        init_kwargs: Constructor arguments.
        inputs: One float array, or a list of arrays that `call` takes in this order.
    """
    inputs = inputs if isinstance(inputs, list) else [inputs]
    layer = layer_cls(**init_kwargs)
    config = json.loads(json.dumps(layer.get_config()))
    declared = set(inspect.signature(layer_cls.__init__).parameters) - {'self', 'kwargs'}
    assert declared <= set(config), f'Missing from get_config: {declared - set(config)}'
    for name, value in init_kwargs.items():
        np.testing.assert_equal(json.loads(json.dumps(config[name])), json.loads(json.dumps(value)))
    expected = layer(*inputs)
    revived = layer_cls.from_config(config)
    revived(*inputs)  # creates the weights
    revived.set_weights(layer.get_weights())
    spec = [tf.TensorSpec([None] * (x.ndim - 1) + [x.shape[-1]], x.dtype) for x in inputs]
    actual = tf.function(
        lambda *args: revived(*args), input_signature=spec, autograph=False)(*inputs)
    tf.nest.map_structure(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=rtol, atol=atol), actual, expected)


def run_in_graph(function, *arrays):
    """Calls `function` inside a tf.function whose inputs have unknown sizes on every axis.

    Without AutoGraph, on which the library must not rely; converting takes longer than tracing.
    """
    tensors = [tf.convert_to_tensor(array) for array in arrays]
    spec = [tf.TensorSpec([None] * tensor.shape.rank, tensor.dtype) for tensor in tensors]
    return tf.function(function, input_signature=spec, autograph=False)(*tensors)


def over_seeds(function, n):
    """Array of a random function's results, tensors of equal shape, for `n` seeds."""
    dataset = tf.data.Dataset.range(n).map(
        lambda i: function(tf.stack([i, tf.constant(9, tf.int64)])), tf.data.AUTOTUNE)
    return next(iter(dataset.batch(n))).numpy()
