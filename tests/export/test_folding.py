"""Frozen networks compute the same with fewer operations."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.export import freeze

SPEC = [tf.TensorSpec([None, 16, 16, 3], tf.float32)]


def randomize(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([
        np.abs(rng.normal(1, 0.3, weights.shape)) if weights.ndim == 1
        else rng.normal(0, 0.3, weights.shape) for weights in model.get_weights()])
    return model


def operations(frozen):
    """Counts of the operations of a frozen function, without those that only pass values on."""
    concrete = tf.function(frozen, input_signature=SPEC).get_concrete_function()
    library = concrete.graph.as_graph_def().library
    counts = collections.Counter(
        node.op for function in library.function for node in function.node_def)
    return {name: count for name, count in counts.items()
            if name not in ('Const', 'Identity', 'NoOp', 'Placeholder')}


def check_same(model, fold=True):
    image = np.random.default_rng(1).uniform(0, 1, [3, 16, 16, 3]).astype(np.float32)
    frozen = freeze.freeze(lambda x: [model(x, training=False)], SPEC, fold)
    np.testing.assert_allclose(
        tf.function(frozen, input_signature=SPEC)(image)[0], model(image, training=False),
        rtol=2e-4, atol=2e-4)
    return operations(frozen)


def sequential(*layers):
    return randomize(keras.Sequential([keras.Input([16, 16, 3]), *layers]))


@pytest.mark.parametrize('use_bias', [False, True])
def test_batch_norm_goes_into_a_convolution(use_bias):
    counts = check_same(sequential(
        keras.layers.Conv2D(5, 3, use_bias=use_bias), keras.layers.BatchNormalization()))
    assert counts == {'Conv2D': 1, 'BiasAdd': 1}


def test_batch_norm_goes_into_a_depthwise_convolution_with_multiplier():
    counts = check_same(sequential(
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
        keras.layers.BatchNormalization()))
    assert counts == {'DepthwiseConv2dNative': 1, 'BiasAdd': 1}


def test_operations_before_and_nonlinear_ones_stay():
    counts = check_same(sequential(
        keras.layers.Rescaling(2.0, -1.0), keras.layers.Conv2D(5, 3, padding='same'),
        keras.layers.ReLU(), keras.layers.BatchNormalization(),
        keras.layers.Conv2D(4, 1), keras.layers.BatchNormalization()))
    assert counts['Conv2D'] == counts['BiasAdd'] == 2
    assert counts['Relu'] == 1


def test_a_convolution_with_two_users_is_left_alone():
    image = keras.Input([16, 16, 3])
    features = keras.layers.Conv2D(4, 3, use_bias=False)(image)
    normalized = keras.layers.BatchNormalization()(features)
    counts = check_same(randomize(keras.Model(image, keras.layers.Add()([features, normalized]))))
    assert counts['Conv2D'] == 1
    assert len(counts) > 2


def test_an_inner_result_that_is_wanted_stays():
    convolution = keras.layers.Conv2D(4, 3)
    norm = keras.layers.BatchNormalization()
    image = np.ones([1, 16, 16, 3], np.float32)
    norm.build([None, 14, 14, 4])
    convolution(image)
    norm.set_weights([np.full([4], value, np.float32) for value in (2, 1, 0.5, 3)])

    def function(x):
        features = convolution(x)
        return [features, norm(features, training=False)]

    frozen = freeze.freeze(function, SPEC)
    for actual, expected in zip(frozen(tf.constant(image)), function(tf.constant(image))):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_without_folding_the_operations_stay():
    counts = check_same(sequential(
        keras.layers.Conv2D(5, 3), keras.layers.BatchNormalization()), fold=False)
    assert len(counts) > 2


def test_weights_are_those_at_the_time_of_freezing():
    model = sequential(keras.layers.Conv2D(5, 3))
    image = tf.ones([1, 16, 16, 3])
    expected = model(image).numpy()
    frozen = freeze.freeze(lambda x: [model(x)], SPEC)
    randomize(model, seed=5)
    np.testing.assert_allclose(frozen(image)[0], expected, rtol=1e-5)
