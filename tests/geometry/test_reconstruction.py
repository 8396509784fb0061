import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import camera, reconstruction
from tests import helpers

INTRINSICS = np.float32([[900, 0, 128], [0, 900, 128], [0, 0, 1]])


def make_people(n_people=4, n_joints=24, depth_mm=5000.0, seed=0):
    """Camera-frame poses, their pixels, the relative poses (box origin) and a mixed mask."""
    rng = np.random.default_rng(seed)
    centers = rng.normal([0, 0, depth_mm], [150, 150, 0.05 * depth_mm], (n_people, 1, 3))
    coords3d = (centers + rng.normal(0, 300, (n_people, n_joints, 3))).astype(np.float32)
    coords3d_rel = coords3d - coords3d.min(axis=1, keepdims=True)
    coords2d = camera.project(coords3d, INTRINSICS).numpy()
    mask = rng.random((n_people, n_joints)) < 0.8
    return coords3d, coords2d, coords3d_rel, mask


def add_noise(coords2d, seed=1):
    return coords2d + np.random.default_rng(seed).normal(0, 2, coords2d.shape).astype(np.float32)


def intrinsics_of(coords):
    return np.tile(INTRINSICS, (len(coords), 1, 1))


def solve_by_lstsq(n, c, mask, shared_scales=False):
    """The published system of 2 equations per joint, stacked with the regulariser, in float64."""
    n, c = n.astype(np.float64), c.astype(np.float64)
    b = n * c[..., 2:] - c[..., :2]
    results = []
    for i in range(len(n)):
        chosen = slice(None) if shared_scales else slice(i, i + 1)
        scale_2d = np.sqrt(np.mean(n[chosen] ** 2))
        scale_b = np.sqrt(np.mean(b[chosen] ** 2))
        weight = np.repeat(mask[i] + 1e-4, 2)
        identity = np.tile(np.eye(2), (n.shape[1], 1))
        matrix = np.concatenate([identity, -n[i].reshape(-1, 1) / scale_2d], axis=1)
        matrix = np.concatenate([matrix * weight[:, None], 0.1 * np.eye(3)])
        right_side = np.concatenate([b[i].reshape(-1) / scale_b * weight, np.zeros(3)])
        solution = np.linalg.lstsq(matrix, right_side, rcond=None)[0]
        results.append(scale_b * solution / [1, 1, scale_2d])
    return np.array(results)


@pytest.mark.parametrize('shared_scales', [False, True])
@pytest.mark.parametrize('depth_mm', [2000.0, 5000.0, 10000.0])
def test_full_perspective_agrees_with_least_squares(depth_mm, shared_scales):
    _, coords2d, coords3d_rel, mask = make_people(depth_mm=depth_mm, n_people=8)
    n = camera.normalize(add_noise(coords2d), INTRINSICS).numpy()
    actual = reconstruction.reference_point_full_perspective(
        n, coords3d_rel, mask, shared_scales=shared_scales)
    expected = solve_by_lstsq(n, coords3d_rel, mask, shared_scales)
    np.testing.assert_allclose(actual, expected, atol=0.01)


def test_float32_suffices_far_from_the_principal_point():
    """A small person at normalised x = 2, where the mean of n is 30 times its spread."""
    coords3d, _, _, mask = make_people(n_people=8)
    coords3d = coords3d + np.float32([10000, 0, 0])
    coords3d_rel = coords3d - coords3d.min(axis=1, keepdims=True)
    n = coords3d[..., :2] / coords3d[..., 2:]
    actual = reconstruction.reference_point_full_perspective(n, coords3d_rel, mask)
    np.testing.assert_allclose(actual, solve_by_lstsq(n, coords3d_rel, mask), atol=0.3)


def test_full_perspective_by_hand():
    """Two joints at (+-100, 0) mm and depth 1000 mm; the solution is worked out on paper.

    n = (+-0.1, 0), b = (-+100, 0), so s2 = sqrt(0.005), sb = sqrt(5000), scaled n = +-sqrt(2)
    and b = -+sqrt(2). With v = (1 + 1e-4)^2, x_z = 4 v / (4 v + 0.01) and r_z = 1000 x_z.
    """
    v = (1 + 1e-4) ** 2
    actual = reconstruction.reference_point_full_perspective(
        [[[0.1, 0], [-0.1, 0]]], [[[100.0, 0, 0], [-100, 0, 0]]], [[True, True]])
    np.testing.assert_allclose(actual, [[0, 0, 1000 * 4 * v / (4 * v + 0.01)]], atol=1e-3)


def test_weak_perspective_by_hand():
    """A square of side 200 mm whose image has side 0.1: depth 2000 mm, centred on (0.2, 0.1)."""
    square = np.float32([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    depth = [[20], [80], [20], [80]]  # has no influence on the size seen
    coords3d_rel = np.concatenate([100 * square + 500, depth], axis=-1)[None]
    actual = reconstruction.reference_point_weak_perspective(
        [0.05 * square + [0.2, 0.1]], np.float32(coords3d_rel), [[True] * 4])
    np.testing.assert_allclose(actual, [[-100, -300, 1950]], atol=0.01)


@pytest.mark.parametrize('mix', [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize('in_graph', [False, True])
def test_exact_input_gives_the_true_position(in_graph, mix):
    coords3d, coords2d, coords3d_rel, _ = make_people(depth_mm=3000.0)
    mask = np.ones(coords3d.shape[:2], bool)
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    actual = call(
        lambda *args: reconstruction.reconstruct_absolute(*args, mix_3d_inside_fov=mix),
        coords2d, coords3d_rel, intrinsics_of(coords2d), mask)
    # The regulariser moves the person by a fraction of a percent.
    np.testing.assert_allclose(actual, coords3d, atol=6)


def test_weak_perspective_is_exact_for_a_flat_pose():
    coords3d, _, _, _ = make_people(n_people=2)
    coords3d[..., 2] = np.float32([[4000], [6000]])
    coords2d = camera.project(coords3d, INTRINSICS)
    actual = reconstruction.reconstruct_absolute(
        coords2d, coords3d - coords3d[:, :1], intrinsics_of(coords3d),
        np.ones(coords3d.shape[:2], bool), weak_perspective=True)
    np.testing.assert_allclose(actual, coords3d, atol=0.05)


def test_combination_inside_and_outside_of_the_field_of_view():
    _, coords2d, coords3d_rel, mask = make_people()
    coords2d, intrinsics = add_noise(coords2d), intrinsics_of(coords2d)
    n = camera.normalize(coords2d, intrinsics).numpy()
    reference_point = reconstruction.reference_point_full_perspective(
        n, coords3d_rel, mask).numpy()
    from_3d = coords3d_rel + reference_point[:, None]
    from_2d = np.concatenate([n, np.ones_like(n[..., :1])], axis=-1) * from_3d[..., 2:]
    for mix, share in [(None, 0), (0.0, 0), (0.3, 0.3), (1, 1)]:
        expected = np.where(mask[..., None], share * from_3d + (1 - share) * from_2d, from_3d)
        actual = reconstruction.reconstruct_absolute(
            coords2d, coords3d_rel, intrinsics, mask, mix_3d_inside_fov=mix)
        np.testing.assert_allclose(actual, expected, atol=0.01)


def test_mix_may_differ_per_example():
    _, coords2d, coords3d_rel, mask = make_people(n_people=2)
    coords2d, intrinsics = add_noise(coords2d), intrinsics_of(coords2d)
    together = reconstruction.reconstruct_absolute(
        coords2d, coords3d_rel, intrinsics, mask,
        mix_3d_inside_fov=tf.constant([0.25, 1.0])[:, tf.newaxis, tf.newaxis])
    for i, mix in enumerate([0.25, 1.0]):
        alone = reconstruction.reconstruct_absolute(
            coords2d, coords3d_rel, intrinsics, mask, mix_3d_inside_fov=mix)
        np.testing.assert_allclose(together[i], alone[i], atol=0.01)


@pytest.mark.parametrize('weak_perspective', [False, True])
def test_mean_pixel_of_inside_joints_follows_the_2d_input(weak_perspective):
    """Without mixing, joints inside project exactly to their 2D input."""
    _, coords2d, coords3d_rel, mask = make_people()
    coords2d = add_noise(coords2d)
    absolute = reconstruction.reconstruct_absolute(
        coords2d, coords3d_rel, intrinsics_of(coords2d), mask,
        weak_perspective=weak_perspective)
    pixels = camera.project(absolute, INTRINSICS).numpy()
    np.testing.assert_allclose(pixels[mask], coords2d[mask], atol=1e-3)


def reconstruct(coords2d, coords3d_rel, mask, **kwargs):
    return reconstruction.reconstruct_absolute(
        coords2d, coords3d_rel, intrinsics_of(coords2d), mask, **kwargs).numpy()


@pytest.mark.parametrize('weak_perspective', [False, True])
def test_result_does_not_depend_on_the_rest_of_the_batch(weak_perspective):
    _, coords2d, coords3d_rel, mask = make_people()
    coords2d = add_noise(coords2d)
    coords2d[1:] = 3 * coords2d[1:]
    together = reconstruct(coords2d, coords3d_rel, mask, weak_perspective=weak_perspective)
    alone = reconstruct(
        coords2d[:1], coords3d_rel[:1], mask[:1], weak_perspective=weak_perspective)
    np.testing.assert_allclose(together[:1], alone, atol=0.005)


def test_published_scales_depend_on_the_rest_of_the_batch():
    _, coords2d, coords3d_rel, mask = make_people()
    coords2d[1:] = 3 * coords2d[1:]
    together = reconstruct(coords2d, coords3d_rel, mask, shared_scales=True)
    alone = reconstruct(coords2d[:1], coords3d_rel[:1], mask[:1], shared_scales=True)
    assert np.max(np.abs(together[:1] - alone)) > 0.5
    np.testing.assert_allclose(
        alone, reconstruct(coords2d[:1], coords3d_rel[:1], mask[:1]), atol=0.005)


def test_origin_of_the_relative_pose_hardly_matters():
    _, coords2d, coords3d_rel, mask = make_people(depth_mm=3000.0)
    moved = reconstruct(coords2d, coords3d_rel + np.float32([100, -50, 30]), mask)
    np.testing.assert_allclose(moved, reconstruct(coords2d, coords3d_rel, mask), atol=3)


def test_without_valid_joints():
    _, coords2d, coords3d_rel, mask = make_people()
    mask[0] = False
    weak = reconstruct(coords2d, coords3d_rel, mask, weak_perspective=True)
    np.testing.assert_allclose(
        weak[0], coords3d_rel[0] + [0, 0, 1], atol=1e-3)
    full = reconstruct(coords2d, coords3d_rel, mask)
    np.testing.assert_allclose(full[0], coords3d_rel[0], atol=1.0)


@pytest.mark.parametrize('weak_perspective', [False, True])
@pytest.mark.parametrize('case', ['ordinary', 'no_valid', 'one_valid', 'one_point', 'on_axis'])
def test_values_and_gradients_are_finite(case, weak_perspective):
    _, coords2d, coords3d_rel, mask = make_people(n_people=1)
    mask = mask & {'no_valid': False, 'one_valid': np.arange(24) == 0}.get(case, True)
    coords2d = {'one_point': 0 * coords2d + 50, 'on_axis': 0 * coords2d + 128}.get(case, coords2d)
    coords3d_rel = {'on_axis': 0 * coords3d_rel}.get(case, coords3d_rel)
    inputs = [tf.constant(coords2d), tf.constant(coords3d_rel), tf.constant(INTRINSICS[None])]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        absolute = reconstruction.reconstruct_absolute(
            *inputs, mask, 0.5, weak_perspective=weak_perspective)
    assert np.all(np.isfinite(absolute))
    for gradient in tape.gradient(absolute, inputs):
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize('weak_perspective', [False, True])
def test_gradient_agrees_with_finite_differences(weak_perspective):
    _, coords2d, coords3d_rel, mask = make_people(n_people=2, n_joints=6)
    inputs = [tf.constant(x, tf.float64) for x in (add_noise(coords2d), coords3d_rel)]
    rng = np.random.default_rng(3)
    directions = [rng.normal(size=x.shape) for x in inputs]

    def loss(coords2d, coords3d_rel):
        absolute = reconstruction.reconstruct_absolute(
            coords2d, coords3d_rel, intrinsics_of(coords2d), mask, 0.3,
            weak_perspective=weak_perspective)
        return tf.reduce_sum(tf.sin(absolute / 1000))

    def moved_loss(step):
        return loss(*[x + step * d for x, d in zip(inputs, directions)])

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(*inputs)
    gradients = tape.gradient(value, inputs)
    analytic = sum(np.sum(g * d) for g, d in zip(gradients, directions))
    numeric = (moved_loss(1e-4) - moved_loss(-1e-4)) / 2e-4
    np.testing.assert_allclose(analytic, numeric, rtol=1e-5)


def test_weak_perspective_may_change_within_a_graph():
    _, coords2d, coords3d_rel, mask = make_people()
    intrinsics = intrinsics_of(coords2d)

    @tf.function
    def at_step(step):
        return reconstruction.reconstruct_absolute(
            coords2d, coords3d_rel, intrinsics, mask, weak_perspective=step < 500)

    for step, is_weak in [(499, True), (500, False)]:
        np.testing.assert_allclose(
            at_step(tf.constant(step)),
            reconstruct(coords2d, coords3d_rel, mask, weak_perspective=is_weak), atol=0.01)


def test_half_precision_masks_and_empty_batches_are_accepted():
    _, coords2d, coords3d_rel, mask = make_people()
    np.testing.assert_allclose(
        reconstruct(coords2d, coords3d_rel, mask.astype(np.float16)),
        reconstruct(coords2d, coords3d_rel, mask), atol=1e-6)
    for weak_perspective in (False, True):
        assert reconstruction.reconstruct_absolute(
            coords2d[:0], coords3d_rel[:0], intrinsics_of(coords2d[:0]), mask[:0],
            weak_perspective=weak_perspective).shape == (0, 24, 3)


def test_wrong_arguments_are_refused():
    _, coords2d, coords3d_rel, mask = make_people()
    intrinsics = intrinsics_of(coords2d)
    with pytest.raises(ValueError, match=r'`coords2d` must have a shape that ends in \(24, 2\)'):
        reconstruction.reconstruct_absolute(coords2d[:, :5], coords3d_rel, intrinsics, mask)
    with pytest.raises(ValueError, match=r'`coords3d_rel` must .* \(any, 3\)'):
        reconstruction.reconstruct_absolute(coords2d, coords2d, intrinsics, mask)
    with pytest.raises(ValueError, match=r'`is_in_fov` must have .*\(24\).* shape=\(4, 23\)'):
        reconstruction.reconstruct_absolute(coords2d, coords3d_rel, intrinsics, mask[:, 1:])
    with pytest.raises(ValueError, match='`intrinsics` must'):
        reconstruction.reconstruct_absolute(coords2d, coords3d_rel, intrinsics[:, :2], mask)
    with pytest.raises(ValueError, match=r'`mix_3d_inside_fov` must lie within \[0, 1\]. Rec'):
        reconstruction.reconstruct_absolute(
            coords2d, coords3d_rel, intrinsics, mask, mix_3d_inside_fov=1.5)
    with pytest.raises(ValueError, match='`validity_mask` must'):
        reconstruction.reference_point_weak_perspective(coords2d, coords3d_rel, True)
