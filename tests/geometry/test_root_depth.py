import numpy as np
import pytest
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.geometry import camera, root_depth
from tests import helpers

INTRINSICS = np.array([[900, 0, 128], [0, 900, 128], [0, 0, 1]], np.float32)
EDGES = skeleton.METRO_24.edges
N_JOINTS = skeleton.METRO_24.n_joints
LENGTHS = np.random.default_rng(9).uniform(80, 420, len(EDGES))


def make_people(n_people=6, depth_mm=3000.0, noise=0.0, seed=0, dtype=np.float32):
    """Poses with bones of the right length, and their noisy pixels and depths (other origin)."""
    rng = np.random.default_rng(seed)
    coords3d = np.zeros((n_people, N_JOINTS, 3))
    for (parent, child), length in zip(EDGES, LENGTHS):
        direction = rng.normal(size=(n_people, 3))
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        coords3d[:, child] = coords3d[:, parent] + length * direction
    coords3d += rng.normal([0, 0, depth_mm], [150, 150, 0.1 * depth_mm], (n_people, 1, 3))
    coords2d = camera.project(coords3d, INTRINSICS).numpy()
    depths = coords3d[..., 2:] - coords3d[..., 2:].min(axis=1, keepdims=True)
    coords25d = np.concatenate([coords2d, depths], axis=-1)
    coords25d += noise * rng.normal(0, [2, 2, 40], coords25d.shape)
    return coords3d, coords25d.astype(dtype)


def everything_in_fov(coords25d):
    return np.ones(coords25d.shape[:-1], bool)


def solve(coords25d, lengths_mm=LENGTHS, is_in_fov=None, intrinsics=INTRINSICS, **kwargs):
    if is_in_fov is None:
        is_in_fov = everything_in_fov(coords25d)
    return root_depth.from_bone_lengths(
        coords25d, intrinsics, EDGES, lengths_mm, is_in_fov, **kwargs)


def objective(coords25d, depth, lengths_mm, weights):
    """Sum over bones for one person at each of the depths `[n]`, from the joints themselves."""
    points_norm = (coords25d[:, :2] - INTRINSICS[:2, 2]) / 900
    joints_z = coords25d[:, 2] - coords25d[:, 2].mean() + depth[:, np.newaxis]
    joints = np.stack(
        [points_norm[:, 0] * joints_z, points_norm[:, 1] * joints_z, joints_z], axis=-1)
    parents, children = np.transpose(EDGES)
    lengths = np.linalg.norm(joints[:, parents] - joints[:, children], axis=-1)
    return (weights ** 2 * (lengths - lengths_mm) ** 2).sum(-1)


def search(coords25d, lengths_mm=LENGTHS, weights=1.0):
    """Best depth of one person among 2000 that refine four times around the best one."""
    low, high = 1.0, 40000.0
    for _ in range(4):
        grid = np.linspace(low, high, 2000)
        i_best = np.argmin(objective(coords25d, grid, lengths_mm, weights))
        low, high = grid[max(i_best - 1, 0)], grid[min(i_best + 1, 1999)]
    return grid[i_best]


@pytest.mark.parametrize('i_root_joint, expected', [(None, 2200), (0, 2000), (1, 2400), (-1, 2400)])
def test_root_depth_by_hand(i_root_joint, expected):
    """A bone of 500 mm from (0, 0, 2000) to (300, 0, 2400), which falls on n = 0 and n = 1 / 8."""
    coords25d = [[[128, 128, 70], [128 + 900 / 8, 128, 470]]]
    depth = root_depth.from_bone_lengths(
        np.float32(coords25d), INTRINSICS, [(0, 1)], [500], [[True, True]],
        i_root_joint=i_root_joint)
    assert depth.dtype == tf.float32 and depth.shape == (1,)
    np.testing.assert_allclose(depth, [expected], atol=1e-3)


def test_flat_pose_by_hand():
    """Bones of 0.2 and 0.1 in the normalised image: 400 and 100 mm want 2000 and 1000 mm.

    The best depth is `(0.2 * 400 + 0.1 * 100) / (0.2^2 + 0.1^2) = 1800`.
    """
    coords25d = [[128, 128, 5], [128 + 180, 128, 5], [128, 128 + 90, 5]]
    depth = root_depth.from_bone_lengths(
        coords25d, INTRINSICS, [(0, 1), (2, 0)], [400, 100], [True] * 3)
    np.testing.assert_allclose(depth, 1800, atol=1e-3)


def test_bone_that_is_too_long_at_any_depth_gets_as_short_as_it_can():
    """From n = 0 to n = 0.5 and 200 mm deeper, a bone is the vector (0.5 (Z + 200), 0, 200).

    It is shortest at Z = -200, behind the camera, so the limit of the depth comes closest.
    """
    arguments = [[[128, 128, 0], [578, 128, 200]], INTRINSICS, [(0, 1)], [150], [True, True]]
    depth = root_depth.from_bone_lengths(*arguments, i_root_joint=0)
    np.testing.assert_allclose(depth, root_depth.MIN_DEPTH_MM)
    # With its far end 200 mm nearer instead, it is shortest at Z = 200.
    arguments[0][1][2] = -200
    np.testing.assert_allclose(
        root_depth.from_bone_lengths(*arguments, i_root_joint=0), 200, atol=0.01)


@pytest.mark.parametrize('depth_mm', [1800.0, 3000.0, 10000.0])
@pytest.mark.parametrize('in_graph', [False, True])
def test_exact_input_gives_the_true_pose(in_graph, depth_mm):
    coords3d, coords25d = make_people(depth_mm=depth_mm, dtype=np.float64)
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)

    def absolute(coords25d, intrinsics, is_in_fov):
        depth = solve(coords25d, is_in_fov=is_in_fov, intrinsics=intrinsics)
        return root_depth.to_camera_frame(coords25d, intrinsics, depth)

    actual = call(absolute, coords25d, INTRINSICS, everything_in_fov(coords25d))
    np.testing.assert_allclose(actual, coords3d, atol=1e-3)


@pytest.mark.parametrize('depth_mm', [1300.0, 3000.0, 8000.0])
@pytest.mark.parametrize('noise', [1.0, 3.0])
def test_the_optimum_is_reached(depth_mm, noise):
    _, coords25d = make_people(20, depth_mm, noise, dtype=np.float64)
    lengths_mm = LENGTHS * np.random.default_rng(2).uniform(0.9, 1.1, (20, len(EDGES)))
    expected = [search(person, lengths) for person, lengths in zip(coords25d, lengths_mm)]
    np.testing.assert_allclose(solve(coords25d, lengths_mm), expected, atol=0.01)


def test_the_optimum_is_not_where_the_first_published_derivative_vanishes():
    """With 2 a.b in place of a.b the sum of the derivatives is zero elsewhere."""
    _, coords25d = make_people(6, 3000.0, 2.0, dtype=np.float64)
    depth = solve(coords25d).numpy()[:, np.newaxis]
    x = np.concatenate([(coords25d[..., :2] - 128) / 900, np.ones((6, N_JOINTS, 1))], axis=-1)
    rel = coords25d[..., 2:] - coords25d[..., 2:].mean(axis=1, keepdims=True)
    parents, children = np.transpose(EDGES)
    a = x[:, parents] - x[:, children]
    b = (x * rel)[:, parents] - (x * rel)[:, children]
    lengths = np.linalg.norm(a * depth[..., np.newaxis] + b, axis=-1)
    squared, product = (a * a).sum(-1), (a * b).sum(-1)

    def newton_step(factor):
        slopes = (depth * squared + factor * product) / lengths
        return ((lengths - LENGTHS) * slopes).sum(-1) / (slopes ** 2).sum(-1)

    assert np.abs(newton_step(1)).max() < 1e-3
    assert np.abs(newton_step(2)).min() > 0.1


def test_more_iterations_change_nothing():
    _, coords25d = make_people(200, 3000.0, 2.0, dtype=np.float64)
    np.testing.assert_allclose(solve(coords25d), solve(coords25d, n_iterations=60), atol=1e-3)
    assert np.abs(solve(coords25d, n_iterations=1) - solve(coords25d)).max() > 10


@pytest.mark.parametrize('n_iterations', [1, 2, 10])
def test_person_alone_and_in_a_batch(n_iterations):
    _, people = make_people(8, noise=2.0)
    _, strange = make_people(8, 1000.0, noise=10.0, seed=5)  # some first steps make these worse
    nobody = 0 * people[:1]
    batch = np.concatenate([people, strange, nobody])
    together = solve(batch, n_iterations=n_iterations).numpy()
    for i in range(len(batch)):
        alone = solve(batch[i:i + 1], n_iterations=n_iterations)
        np.testing.assert_allclose(alone[0], together[i], atol=1e-3)


@pytest.mark.parametrize('factor', [0.5, 1.5])
def test_larger_people_are_farther_away(factor):
    _, coords25d = make_people(noise=1.0, dtype=np.float64)
    scaled = coords25d * [1, 1, factor]
    np.testing.assert_allclose(
        solve(scaled, LENGTHS * factor), factor * solve(coords25d), atol=1e-3)


def test_zoomed_camera_gives_the_same_depth():
    _, coords25d = make_people(noise=1.0, dtype=np.float64)
    zoomed = coords25d * [1.7, 1.7, 1]
    intrinsics = np.diag([1.7, 1.7, 1]) @ INTRINSICS
    np.testing.assert_allclose(
        solve(zoomed, intrinsics=intrinsics), solve(coords25d), atol=1e-3)


@pytest.mark.parametrize('i_root_joint', [0, 5, -1])
def test_choice_of_the_root_and_origin_of_depths_have_no_influence_on_the_joints(i_root_joint):
    _, coords25d = make_people(noise=1.0, dtype=np.float64)
    expected = root_depth.to_camera_frame(coords25d, INTRINSICS, solve(coords25d)).numpy()
    depth = solve(coords25d + [0, 0, 345], i_root_joint=i_root_joint)
    actual = root_depth.to_camera_frame(
        coords25d, INTRINSICS, depth, i_root_joint=i_root_joint).numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-3)
    np.testing.assert_allclose(actual[:, i_root_joint, 2], depth)


def test_bones_with_an_end_outside_the_field_of_view_do_not_count():
    _, coords25d = make_people(noise=2.0, dtype=np.float64)
    is_in_fov = everything_in_fov(coords25d)
    is_in_fov[:, -4:] = False
    weights = np.array([is_in_fov[0, i] and is_in_fov[0, j] for i, j in EDGES]) + 1e-8
    expected = [search(person, weights=weights) for person in coords25d]
    actual = solve(coords25d, is_in_fov=is_in_fov)
    np.testing.assert_allclose(actual, expected, atol=0.01)
    assert np.abs(actual - solve(coords25d)).min() > 1
    other_lengths = np.where(weights > 0.5, LENGTHS, 3000)
    np.testing.assert_allclose(
        solve(coords25d, other_lengths, is_in_fov), actual, atol=1e-3)


def test_all_bones_count_if_none_is_inside():
    _, coords25d = make_people(noise=2.0)
    outside = ~everything_in_fov(coords25d)
    np.testing.assert_allclose(solve(coords25d, is_in_fov=outside), solve(coords25d), atol=1e-3)


def make_degenerate(case):
    _, coords25d = make_people(1)
    is_in_fov = everything_in_fov(coords25d)
    lengths_mm = LENGTHS
    if case == 'zero_extent':
        coords25d[..., :2] = 100
    elif case == 'one_point':
        coords25d[:] = 0
    elif case == 'tiny_extent':
        coords25d[..., :2] = 100 + 1e-4 * coords25d[..., :2]
    elif case == 'huge':
        coords25d *= 1e9
    elif case == 'none_inside':
        is_in_fov[:] = False
    elif case == 'one_bone_inside':
        is_in_fov[:, 2:] = False
    elif case == 'bones_inside_have_no_length':
        is_in_fov[:, 2:] = False
        coords25d[:, :2] = coords25d[:, :1]
    elif case == 'lengths_of_zero':
        lengths_mm = 0 * LENGTHS
    return coords25d, lengths_mm, is_in_fov


@pytest.mark.parametrize('case', [
    'zero_extent', 'one_point', 'tiny_extent', 'huge', 'none_inside', 'one_bone_inside',
    'bones_inside_have_no_length', 'lengths_of_zero'])
def test_values_and_gradients_are_finite(case):
    coords25d, lengths_mm, is_in_fov = make_degenerate(case)
    inputs = [tf.constant(x, tf.float32) for x in (coords25d, INTRINSICS, lengths_mm)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        depth = solve(inputs[0], inputs[2], is_in_fov, inputs[1])
        coords3d = root_depth.to_camera_frame(inputs[0], inputs[1], depth)
    assert np.all((depth >= root_depth.MIN_DEPTH_MM) & (depth <= root_depth.MAX_DEPTH_MM))
    assert np.all(np.isfinite(coords3d))
    for gradient in tape.gradient(coords3d, inputs):
        assert np.all(np.isfinite(gradient))


def test_coinciding_points_give_the_largest_depth_without_gradient():
    coords25d, _, _ = make_degenerate('zero_extent')
    coords25d = tf.constant(coords25d)
    with tf.GradientTape() as tape:
        tape.watch(coords25d)
        depth = solve(coords25d)
    np.testing.assert_allclose(depth, [root_depth.MAX_DEPTH_MM])
    np.testing.assert_array_equal(tape.gradient(depth, coords25d), np.zeros([1, N_JOINTS, 3]))


def test_no_gradient_at_the_limit():
    coords25d = tf.constant([[128.0, 128, 0], [578, 128, 200]])  # shortest behind the camera
    with tf.GradientTape() as tape:
        tape.watch(coords25d)
        depth = root_depth.from_bone_lengths(
            coords25d, INTRINSICS, [(0, 1)], [150], [True, True], i_root_joint=0)
    np.testing.assert_array_equal(depth, root_depth.MIN_DEPTH_MM)
    np.testing.assert_array_equal(tape.gradient(depth, coords25d), np.zeros([2, 3]))


@pytest.mark.parametrize('noise', [0.0, 2.0])
def test_gradient_agrees_with_finite_differences(noise):
    _, coords25d = make_people(4, noise=noise)
    rng = np.random.default_rng(3)
    is_in_fov = rng.random((4, N_JOINTS)) < 0.8
    inputs = [tf.constant(x, tf.float64) for x in (coords25d, INTRINSICS, LENGTHS)]
    directions = [rng.normal(size=x.shape) for x in inputs]
    directions[1][2] = 0

    def loss(coords25d, intrinsics, lengths_mm):
        depth = solve(coords25d, lengths_mm, is_in_fov, intrinsics)
        coords3d = root_depth.to_camera_frame(coords25d, intrinsics, depth)
        return tf.reduce_sum(tf.sin(coords3d / 1000)) + tf.reduce_sum(tf.sin(depth / 500))

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(*inputs)
    for i, (gradient, direction) in enumerate(zip(tape.gradient(value, inputs), directions)):
        forth, back = (
            loss(*inputs[:i], inputs[i] + step * direction, *inputs[i + 1:])
            for step in (1e-3, -1e-3))
        np.testing.assert_allclose(
            np.sum(gradient * direction), (forth - back) / 2e-3, rtol=1e-4)


def test_gradient_in_a_graph():
    _, coords25d = make_people(noise=2.0)

    def gradient(coords25d):
        with tf.GradientTape() as tape:
            tape.watch(coords25d)
            depth = solve(coords25d, is_in_fov=tf.ones(tf.shape(coords25d)[:-1], tf.bool))
        return tape.gradient(depth, coords25d)

    expected = gradient(tf.constant(coords25d))
    assert np.all(np.abs(expected).max(axis=(1, 2)) > 0.1)
    np.testing.assert_allclose(
        helpers.run_in_graph(gradient, coords25d), expected, rtol=1e-4, atol=1e-4)


def test_leading_axes_types_and_no_people():
    _, coords25d = make_people(6, noise=1.0)
    expected = solve(coords25d).numpy()
    nested = coords25d.reshape(2, 3, N_JOINTS, 3)
    cameras = np.stack([INTRINSICS] * 2)[:, np.newaxis]
    np.testing.assert_allclose(
        solve(nested, intrinsics=cameras), expected.reshape(2, 3), atol=1e-3)
    per_person = np.stack([LENGTHS, 1.1 * LENGTHS])
    np.testing.assert_allclose(
        solve(coords25d[0], per_person)[0], expected[0], atol=1e-3)
    assert solve(coords25d.astype(np.float64)).dtype == tf.float64
    half = tf.cast(coords25d, tf.float16)
    assert root_depth.to_camera_frame(half, INTRINSICS, expected).dtype == tf.float16
    np.testing.assert_allclose(solve(coords25d[0]), expected[0], atol=1e-3)
    assert solve(coords25d[:0]).shape == (0,)
    assert root_depth.to_camera_frame(coords25d[:0], INTRINSICS, expected[:0]).shape == (
        0, N_JOINTS, 3)


def test_given_root_depth_by_hand():
    """n = (0.1, 0.2) and (-0.1, 0) at 2000 and 3000 mm: 500 mm before and behind the mean."""
    coords25d = [[218.0, 308, 40], [38, 128, 1040]]
    np.testing.assert_allclose(
        root_depth.to_camera_frame(coords25d, INTRINSICS, 2500.0),
        [[200, 400, 2000], [-300, 0, 3000]], atol=1e-3)
    np.testing.assert_allclose(
        root_depth.to_camera_frame(coords25d, INTRINSICS, 2500.0, i_root_joint=0),
        [[250, 500, 2500], [-350, 0, 3500]], atol=1e-3)


def test_one_joint_with_given_root_depth():
    intrinsics = np.float32([[100, 0, 50], [0, 100, 40], [0, 0, 1]])
    np.testing.assert_allclose(
        root_depth.to_camera_frame([[60.0, 60, 123]], intrinsics, 10.0), [[1, 2, 10]], atol=1e-6)


def test_refusals():
    _, coords25d = make_people(2)
    fov = everything_in_fov(coords25d)
    calls = [
        ((coords25d[..., :2], INTRINSICS, EDGES, LENGTHS, fov), {}, '`coords25d` must have a'),
        ((coords25d, INTRINSICS[:2], EDGES, LENGTHS, fov), {}, '`intrinsics` must have a'),
        ((coords25d, INTRINSICS, [], LENGTHS, fov), {}, '`edges` must hold at least one pair'),
        ((coords25d, INTRINSICS, [(0, 24)], [1], fov), {}, '`edges` must hold .*, below 24. Rec'),
        ((coords25d, INTRINSICS, [(0, -1)], [1], fov), {}, '`edges` must hold .*, below 24. Rec'),
        ((coords25d, INTRINSICS, EDGES, LENGTHS[1:], fov), {}, r'`bone_lengths_mm` .* \(23\). Rec'),
        ((coords25d, INTRINSICS, EDGES, LENGTHS, fov[:, 1:]), {}, r'`is_in_fov` .* \(24\). Rec'),
        ((coords25d, INTRINSICS, EDGES, LENGTHS, fov), {'n_iterations': 0}, '`n_iterations` must'),
        ((coords25d, INTRINSICS, EDGES, LENGTHS, fov), {'i_root_joint': 24},
         '`i_root_joint` must be None or the index of one of 24 joints. Received: i_root_joint=24')]
    for arguments, kwargs, message in calls:
        with pytest.raises(ValueError, match=message):
            root_depth.from_bone_lengths(*arguments, **kwargs)
    with pytest.raises(ValueError, match='`i_root_joint` must be None or the index'):
        root_depth.to_camera_frame(coords25d, INTRINSICS, [1.0, 2], i_root_joint=-25)
