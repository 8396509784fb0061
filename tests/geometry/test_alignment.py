import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import alignment, rotation
from tests import helpers


def make_poses(n_poses=3, n_joints=9, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 300, (n_poses, n_joints, 3)).astype(np.float32)
    matrix = rotation.from_axis_angle(
        rng.normal(size=(n_poses, 3)).astype(np.float32),
        rng.uniform(-3, 3, n_poses).astype(np.float32)).numpy()
    offset = rng.normal(0, 3000, (n_poses, 1, 3)).astype(np.float32)
    return points, matrix, offset


def sum_of_squares(a, b, mask):
    return np.sum(np.square(np.asarray(a) - b) * mask[..., None])


@pytest.mark.parametrize('in_graph', [False, True])
def test_similarity_is_undone(in_graph):
    points, matrix, offset = make_poses()
    reference = 1.7 * np.einsum('bij,bkj->bki', matrix, points) + offset
    mask = np.ones(points.shape[:2], bool)
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    np.testing.assert_allclose(
        call(alignment.procrustes, points, reference, mask), reference, atol=0.02)


def test_by_hand_in_two_dimensions():
    # A quarter turn, doubled, moved by (10, 20).
    points = np.float32([[0, 0], [2, 0], [0, 1]])
    reference = np.float32([[10, 20], [10, 24], [8, 20]])
    np.testing.assert_allclose(alignment.procrustes(points, reference), reference, atol=1e-4)


def test_rigid_alignment_keeps_the_size():
    points, matrix, offset = make_poses()
    moved = np.einsum('bij,bkj->bki', matrix, points) + offset
    centroid = moved.mean(axis=1, keepdims=True)
    aligned = alignment.procrustes(points, 1.7 * moved, allow_scaling=False)
    np.testing.assert_allclose(aligned, moved - centroid + 1.7 * centroid, atol=0.03)


def test_mirroring_needs_allow_reflection():
    points, matrix, offset = make_poses()
    reference = np.einsum('bij,bkj->bki', matrix, points) * np.float32([-1, 1, 1]) + offset
    np.testing.assert_allclose(
        alignment.procrustes(points, reference, allow_reflection=True), reference, atol=0.02)
    rotated = alignment.procrustes(points, reference, allow_scaling=False).numpy()
    assert np.max(np.abs(rotated - reference)) > 50
    # The chirality stays that of the input: the first three bones span the same signed volume.
    np.testing.assert_allclose(
        np.linalg.det(np.diff(rotated[:, :4], axis=1)),
        np.linalg.det(np.diff(points[:, :4], axis=1)), rtol=1e-3)


@pytest.mark.parametrize('allow_scaling', [True, False])
def test_alignment_is_a_minimum(allow_scaling):
    points, _, _ = make_poses(seed=1)
    reference, _, _ = make_poses(seed=2)
    mask = np.random.default_rng(0).random(points.shape[:2]) < 0.7
    aligned = alignment.procrustes(points, reference, mask, allow_scaling).numpy()
    best = sum_of_squares(aligned, reference, mask)
    center = (aligned * mask[..., None]).sum(1, keepdims=True) / mask.sum(1)[:, None, None]
    scales = [1.02, 0.98] if allow_scaling else []
    worse = [aligned + 5, aligned - 5] + [center + (aligned - center) * s for s in scales]
    for axis in np.eye(3, dtype=np.float32):
        for angle in (0.02, -0.02):
            turn = rotation.from_axis_angle(axis, angle)
            worse.append(center + rotation.rotate(aligned - center, turn).numpy())
    assert all(sum_of_squares(other, reference, mask) > best for other in worse)


def test_invalid_joints_do_not_count_but_move_along():
    points, matrix, offset = make_poses()
    reference = 0.8 * np.einsum('bij,bkj->bki', matrix, points) + offset
    mask = np.ones(points.shape[:2], bool)
    mask[:, 2] = False
    disturbed = reference.copy()
    disturbed[:, 2] = np.nan
    np.testing.assert_allclose(
        alignment.procrustes(points, disturbed, mask), reference, atol=0.02)


def test_degenerate_selections():
    points, _, _ = make_poses(n_poses=1)
    reference, _, _ = make_poses(n_poses=1, seed=1)
    none = np.zeros((1, 9), bool)
    one = np.arange(9)[None] == 4
    np.testing.assert_allclose(alignment.procrustes(points, reference, none), points, atol=1e-3)
    aligned = alignment.procrustes(points, reference, one).numpy()
    np.testing.assert_allclose(aligned[:, 4], reference[:, 4], atol=1e-3)
    np.testing.assert_allclose(
        np.linalg.norm(aligned - aligned[:, 4:5], axis=-1),
        np.linalg.norm(points - points[:, 4:5], axis=-1), atol=1e-2)


@pytest.mark.parametrize('selection', ['all', 'one', 'none', 'line', 'equal'])
def test_gradients_are_finite(selection):
    points, _, _ = make_poses(n_poses=1)
    reference, _, _ = make_poses(n_poses=1, seed=1)
    mask = np.isin(np.arange(9), {'one': [3], 'none': []}.get(selection, range(9)))[None]
    points = {'line': points[:, :, :1] * np.ones(3, np.float32), 'equal': np.ones_like(points)
              }.get(selection, points)
    points, reference = tf.constant(points), tf.constant(reference)
    with tf.GradientTape() as tape:
        tape.watch([points, reference])
        loss = tf.reduce_sum(tf.abs(alignment.procrustes(points, reference, mask) - reference))
    for gradient in tape.gradient(loss, [points, reference]):
        assert np.all(np.isfinite(gradient))


def test_gradient_agrees_with_finite_differences():
    points, _, _ = make_poses(n_poses=1, n_joints=5)
    reference, _, _ = make_poses(n_poses=1, n_joints=5, seed=1)
    points = tf.constant(points[0], tf.float64)

    def loss(p):
        return tf.reduce_sum(tf.sin(alignment.procrustes(p, reference[0]) / 500))

    with tf.GradientTape() as tape:
        tape.watch(points)
        value = loss(points)
    direction = np.random.default_rng(2).normal(size=(5, 3))
    numeric = (loss(points + 1e-3 * direction) - loss(points - 1e-3 * direction)) / 2e-3
    np.testing.assert_allclose(
        np.sum(tape.gradient(value, points) * direction), numeric, rtol=1e-5)


def test_batch_of_none():
    assert alignment.procrustes(tf.zeros([0, 5, 3]), tf.zeros([0, 5, 3])).shape == (0, 5, 3)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r'`reference` must have a shape that ends in \(5, 3\)'):
        alignment.procrustes(tf.zeros([5, 3]), tf.zeros([4, 3]))
    with pytest.raises(ValueError, match='`points` must'):
        alignment.procrustes(tf.zeros([3]), tf.zeros([3]))
    with pytest.raises(ValueError, match='`mask` must broadcast'):
        alignment.procrustes(tf.zeros([5, 3]), tf.zeros([5, 3]), [True, False])
