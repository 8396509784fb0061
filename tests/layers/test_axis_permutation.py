import numpy as np
import pytest
import tensorflow as tf

from metro_tf.layers import axis_permutation
from tests import helpers


def random_features(side=3, n_groups=2):
    shape = (2, side, side, side * n_groups)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('plane, source', [
    ('xy', lambda h, w, c: (h, w, c)),
    ('zy', lambda h, w, c: (h, c, w)),
    ('xz', lambda h, w, c: (c, w, h))])
def test_exchanges_within_groups_of_channels(plane, source):
    features = random_features()
    permuted = axis_permutation.AxisPermutation(plane)(features).numpy()
    expected = np.zeros_like(features)
    for group in range(2):
        for h, w, c in np.ndindex(3, 3, 3):
            from_h, from_w, from_c = source(h, w, c)
            expected[:, h, w, 3 * group + c] = features[:, from_h, from_w, 3 * group + from_c]
    np.testing.assert_array_equal(permuted, expected)


@pytest.mark.parametrize('plane', ['xy', 'zy', 'xz'])
def test_twice_is_nothing(plane):
    layer, features = axis_permutation.AxisPermutation(plane), random_features(4, 3)
    np.testing.assert_array_equal(layer(layer(features)), features)


@pytest.mark.parametrize('plane', ['xy', 'zy', 'xz'])
def test_layer(plane):
    helpers.check_layer(axis_permutation.AxisPermutation, {'plane': plane}, random_features())


def test_unknown_sizes():
    features = random_features(4, 3)
    layer = axis_permutation.AxisPermutation('zy')
    np.testing.assert_array_equal(helpers.run_in_graph(layer, features), layer(features))


def test_no_examples():
    assert axis_permutation.AxisPermutation('xz')(tf.zeros([0, 4, 4, 8])).shape == (0, 4, 4, 8)


def test_refusals():
    with pytest.raises(ValueError, match=r"`plane` must be one of .* Received: plane='yx'"):
        axis_permutation.AxisPermutation('yx')
    for shape in ((1, 4, 4, 6), (1, 4, 2, 4)):
        with pytest.raises(ValueError, match='`features` must be .* where side divides channels'):
            axis_permutation.AxisPermutation('zy')(tf.zeros(shape))
