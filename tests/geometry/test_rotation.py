import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import rotation
from tests import helpers

UP = np.float32([0, -1, 0])


def assert_proper_rotation(matrix):
    matrix = np.asarray(matrix, np.float64)
    identity = np.broadcast_to(np.eye(3), matrix.shape)
    np.testing.assert_allclose(matrix @ np.swapaxes(matrix, -1, -2), identity, atol=2e-6)
    np.testing.assert_allclose(np.linalg.det(matrix), np.ones(matrix.shape[:-2]), atol=2e-6)


def test_look_at_by_hand():
    root = np.sqrt(0.5)
    np.testing.assert_allclose(rotation.look_at([0.0, 0, 1], UP), np.eye(3), atol=1e-6)
    np.testing.assert_allclose(
        rotation.look_at([1.0, 0, 1], UP),
        [[root, 0, -root], [0, 1, 0], [root, 0, root]], atol=1e-6)


@pytest.mark.parametrize('in_graph', [False, True])
def test_look_at_puts_ray_forward_and_up_upwards(in_graph):
    rng = np.random.default_rng(0)
    forward, up = rng.normal(size=(2, 50, 3)).astype(np.float32)
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    matrix = call(rotation.look_at, forward, up)
    assert_proper_rotation(matrix)
    forward_seen = rotation.rotate(forward[:, None], matrix)[:, 0]
    up_seen = rotation.rotate(up[:, None], matrix)[:, 0]
    lengths = np.linalg.norm(forward, axis=-1)
    np.testing.assert_allclose(forward_seen, lengths[:, None] * [0, 0, 1], atol=1e-5)
    np.testing.assert_allclose(up_seen[:, 0], np.zeros(50), atol=1e-5)
    assert np.all(up_seen[:, 1] < 0)


def test_look_at_does_not_depend_on_lengths():
    forward = np.float32([0.3, -0.2, 1])
    np.testing.assert_allclose(
        rotation.look_at(5000 * forward, 1e-3 * UP), rotation.look_at(forward, UP), atol=1e-6)


@pytest.mark.parametrize('forward, up, expected_x', [
    ([0, 1, 0], [0, -1, 0], [1, 0, 0]),  # straight down
    ([0, -1, 0], [0, -1, 0], [1, 0, 0]),  # straight up
    ([0, 0, 1], [0, 0, -1], [1, 0, 0]),  # an overhead camera
    ([1, 0, 0], [1, 0, 0], [0, 0, -1]),
    ([0, 0, 1], [0, 0, 0], [1, 0, 0]),  # no up direction
    ([0, 0, 0], [0, -1, 0], [1, 0, 0])])  # no viewing direction
def test_look_at_is_defined_for_degenerate_input(forward, up, expected_x):
    forward, up = tf.constant(forward, tf.float32), tf.constant(up, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([forward, up])
        matrix = rotation.look_at(forward, up)
    assert_proper_rotation(matrix)
    np.testing.assert_allclose(matrix[0], expected_x, atol=1e-6)
    for gradient in tape.gradient(matrix, [forward, up], unconnected_gradients='zero'):
        assert np.all(np.isfinite(gradient))


def test_look_at_is_proper_and_smooth_around_the_vertical():
    angles = np.concatenate([[0], np.geomspace(1e-9, 0.1, 60)]).astype(np.float32)
    forward = tf.constant(np.stack([np.sin(angles), np.cos(angles), 0 * angles], axis=-1))
    with tf.GradientTape() as tape:
        tape.watch(forward)
        matrix = rotation.look_at(forward, UP)
    assert_proper_rotation(matrix)
    np.testing.assert_allclose(matrix[:, 2], forward / np.linalg.norm(
        forward, axis=-1, keepdims=True), atol=1e-5)
    assert np.max(np.abs(tape.gradient(matrix, forward))) < 1e5
    # Within 1e-4 rad the ray counts as vertical; beyond, `up` decides.
    expected_x = np.where(angles[:, None] < 1e-4, [1, 0, 0], [0, 0, -1])
    np.testing.assert_allclose(matrix[:, 0], expected_x, atol=2e-4)


def test_look_at_broadcasts_up():
    forward = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    together = rotation.look_at(forward, UP)
    assert together.shape == (2, 4, 3, 3)
    np.testing.assert_allclose(together[1, 2], rotation.look_at(forward[1, 2], UP), atol=1e-6)


def test_around_z_turns_content_counter_clockwise_on_the_screen():
    quarter_turn = rotation.around_z(np.float32(np.pi / 2))
    # The right end of a line becomes its top end; y points down.
    np.testing.assert_allclose(
        rotation.rotate([[1.0, 0, 5]], quarter_turn), [[0, -1, 5]], atol=1e-6)


@pytest.mark.parametrize('in_graph', [False, True])
def test_around_z_is_batched_and_proper(in_graph):
    angles = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    matrix = call(rotation.around_z, angles)
    assert matrix.shape == (3, 4, 3, 3)
    assert_proper_rotation(matrix)
    np.testing.assert_allclose(matrix @ rotation.around_z(-angles),
                               np.broadcast_to(np.eye(3), (3, 4, 3, 3)), atol=1e-6)
    np.testing.assert_allclose(
        matrix, rotation.from_axis_angle([0.0, 0, 1], -angles), atol=1e-6)


@pytest.mark.parametrize('in_graph', [False, True])
def test_from_axis_angle_by_hand(in_graph):
    axes = np.float32([[2, 0, 0], [0, 3, 0], [0, 0, 1], [1, 1, 1]])
    angles = np.float32([np.pi / 2, np.pi / 2, np.pi / 2, 2 * np.pi / 3])
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    matrix = call(rotation.from_axis_angle, axes, angles)
    expected = [
        [[1, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 0, 1], [0, 1, 0], [-1, 0, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 1]], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]]
    np.testing.assert_allclose(matrix, expected, atol=1e-6)


def test_from_axis_angle_keeps_the_axis():
    axes = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    matrix = rotation.from_axis_angle(axes, np.linspace(-6, 6, 20, dtype=np.float32))
    assert_proper_rotation(matrix)
    np.testing.assert_allclose(rotation.rotate(axes[:, None], matrix)[:, 0], axes, atol=1e-5)


def test_zero_axis_is_the_identity_with_finite_gradient():
    axis = tf.zeros([3])
    with tf.GradientTape() as tape:
        tape.watch(axis)
        matrix = rotation.from_axis_angle(axis, 1.0)
    np.testing.assert_allclose(matrix, np.eye(3), atol=1e-6)
    assert np.all(np.isfinite(tape.gradient(matrix, axis)))


def test_rotate_broadcasts_over_leading_axes():
    points = np.random.default_rng(0).normal(size=(2, 1, 5, 3)).astype(np.float32)
    matrix = rotation.around_z(np.float32([0.1, 0.2, 0.3]))
    rotated = rotation.rotate(points, matrix)
    assert rotated.shape == (2, 3, 5, 3)
    np.testing.assert_allclose(rotated[1, 2, 4], matrix[2].numpy() @ points[1, 0, 4], atol=1e-6)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r'`forward` must have a shape that ends in \(3\)'):
        rotation.look_at([1.0, 0], UP)
    with pytest.raises(ValueError, match=r'`up` must .* Received: shape=\(4,\)'):
        rotation.look_at(UP, tf.zeros([4]))
    with pytest.raises(ValueError, match='`axis` must'):
        rotation.from_axis_angle([1.0, 0], 0.5)
    with pytest.raises(ValueError, match='`rotation` must'):
        rotation.rotate(tf.zeros([5, 3]), tf.eye(4))
    with pytest.raises(ValueError, match='`points` must'):
        rotation.rotate(tf.zeros([5, 2]), tf.eye(3))
