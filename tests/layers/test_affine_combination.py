import json

import numpy as np
import pytest
import tensorflow as tf

from metro_tf.layers import affine_combination
from tests import helpers

# Points in the order left, right, central, left, right; latent points left, right, central.
MIRROR_INPUTS, MIRROR_OUTPUTS = (1, 0, 2, 4, 3), (1, 0, 2)


def make_layer(**kwargs):
    layer = affine_combination.AffineCombination(**{
        'n_inputs': 5, 'n_outputs': 3, 'mirror_inputs': MIRROR_INPUTS,
        'mirror_outputs': MIRROR_OUTPUTS, **kwargs})
    layer.build((None, 5, 3))
    return layer


def random_points(seed=0):
    return np.random.default_rng(seed).normal(0, 300, (2, 5, 3)).astype(np.float32)


def test_layer():
    settings = {'n_inputs': 5, 'n_outputs': 3}
    helpers.check_layer(
        affine_combination.AffineCombination, settings, random_points(), atol=1e-2)
    tied = {**settings, 'mirror_inputs': MIRROR_INPUTS, 'mirror_outputs': MIRROR_OUTPUTS}
    helpers.check_layer(affine_combination.AffineCombination, tied, random_points(), atol=1e-2)
    assert json.loads(json.dumps(make_layer(trainable=False).get_config()))['trainable'] is False


def test_weighted_means_by_hand():
    layer = make_layer(n_inputs=2, n_outputs=2, mirror_inputs=None, mirror_outputs=None)
    layer.set_weights([np.float32([1, 6, 3, -2])])  # columns (1, 3) / 4 and (6, -2) / 4
    np.testing.assert_allclose(layer.matrix(), [[0.25, 1.5], [0.75, -0.5]])
    np.testing.assert_allclose(
        layer(np.float32([[[0, 0, 8], [4, 8, 0]]])), [[[3, 6, 2], [-2, -4, 12]]], atol=1e-5)


def test_columns_sum_to_one():
    np.testing.assert_allclose(np.sum(make_layer().matrix(), axis=0), np.ones(3), rtol=1e-5)


def test_affine_equivariance():
    layer, rng = make_layer(), np.random.default_rng(1)
    matrix, shift = rng.normal(size=(3, 3)).astype(np.float32), np.float32([500, -20, 3000])
    np.testing.assert_allclose(
        layer(random_points() @ matrix + shift), layer(random_points()) @ matrix + shift,
        rtol=1e-3, atol=0.5)


def test_mirrored_points_give_mirrored_outputs():
    layer, flip = make_layer(), np.float32([-1, 1, 1])
    mirrored = layer(random_points()[:, list(MIRROR_INPUTS)] * flip)
    np.testing.assert_allclose(
        mirrored, layer(random_points()).numpy()[:, list(MIRROR_OUTPUTS)] * flip, atol=0.05)


def test_blocks_are_those_of_the_paper():
    """With left, right, central points: [[s, q, x], [q, s, x], [c, c, z]], nothing else tied."""
    layer = make_layer(mirror_inputs=(2, 3, 0, 1, 4), mirror_outputs=MIRROR_OUTPUTS)
    raw = np.arange(1, 9, dtype=np.float32)
    assert layer.get_weights()[0].shape == raw.shape  # s, q, x of two rows; c and z
    layer.set_weights([raw])
    matrix = layer.matrix().numpy()
    s, q, x = matrix[:2, 0], matrix[:2, 1], matrix[:2, 2]
    np.testing.assert_allclose(matrix[2:4], np.stack([q, s, x], 1))
    assert matrix[4, 0] == matrix[4, 1] != matrix[4, 2]
    assert len(set(np.round([*s, *q, *x, *matrix[4, 1:]], 6))) == 8


def test_given_matrix():
    layer = make_layer()
    matrix = make_layer().matrix().numpy()
    layer.set_matrix(matrix)
    np.testing.assert_allclose(layer.matrix(), matrix, rtol=1e-5, atol=1e-6)
    skewed = matrix + np.float32([[0.1, 0, 0], [-0.1, 0, 0], *[[0, 0, 0]] * 3])
    with pytest.raises(ValueError, match='`matrix` must give mirrored outputs .* up to 0.1'):
        layer.set_matrix(skewed)
    with pytest.raises(ValueError, match=r'`matrix` must have the shape \(5, 3\) and columns that'):
        layer.set_matrix(2 * matrix)
    with pytest.raises(ValueError, match='`matrix` must have the shape'):
        layer.set_matrix(matrix.T)


def test_fixed_weights_do_not_learn():
    assert make_layer(trainable=False).trainable_variables == []
    assert len(make_layer().trainable_variables) == 1


@pytest.mark.parametrize('policy', ['mixed_float16', 'mixed_bfloat16'])
def test_float32_under_mixed_precision(policy, dtype_policy):
    dtype_policy(policy)
    output = make_layer()(random_points() + 5000)
    assert output.dtype == tf.float32
    assert np.all(np.isfinite(output))


def test_latent_mirror_mapping():
    assert affine_combination.latent_mirror_mapping(2, 1) == (2, 3, 0, 1, 4)
    assert len(affine_combination.latent_mirror_mapping(20, 8)) == 48


def test_refusals():
    with pytest.raises(ValueError, match='`mirror_inputs` and `mirror_outputs` must be given toge'):
        make_layer(mirror_outputs=None)
    with pytest.raises(ValueError, match='`mirror_inputs` must map each of 5 points to its'):
        make_layer(mirror_inputs=(1, 2, 0, 3, 4))
    with pytest.raises(ValueError, match='`mirror_outputs` must map each of 3 points'):
        make_layer(mirror_outputs=(0, 1))
    with pytest.raises(ValueError, match='`n_outputs` must be a positive'):
        make_layer(n_outputs=0, mirror_inputs=None, mirror_outputs=None)
    with pytest.raises(ValueError, match='`points` must have a shape that ends in'):
        make_layer()(np.zeros((2, 4, 3), np.float32))
