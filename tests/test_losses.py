import numpy as np
import pytest
import tensorflow as tf

from metro_tf import losses
from tests import helpers

ALL = np.ones([1, 2], bool)
KAPPA = 2200 / 256 / 1000
FOV = losses.FieldOfView(crop_side_px=256, stride_px=32)
# Focal length 120, principal point (128, 128).
INTRINSICS = np.float32([[[120, 0, 128], [0, 120, 128], [0, 0, 1]]])
NAN = float('nan')


def test_centered_on_the_valid_mean_or_on_a_root():
    coords = np.float32([[[1, 2], [3, 6], [80, 80]]])
    mask = np.array([[True, True, False]])
    np.testing.assert_allclose(losses.centered(coords, mask)[0], [[-1, -2], [1, 2], [78, 76]])
    np.testing.assert_allclose(
        losses.centered(coords, mask, i_root=-1)[0], [[-79, -78], [-77, -74], [0, 0]])


def test_root_relative_loss_ignores_translation_and_is_in_metres():
    true = np.float32([[[0, 0, 0], [100, 0, 0]]])
    pred = true + np.float32([5000, -300, 70])
    pred[0, 1, 0] += 60  # centring spreads it as -30 and +30 mm over the two joints
    loss = losses.root_relative_loss(true, pred, ALL)
    np.testing.assert_allclose(loss, (30 + 30) / 6 / 1000, rtol=1e-4)


def test_root_relative_loss_leaves_out_invalid_joints():
    true = np.float32([[[0, 0, 0], [100, 0, 0], [7, 7, 7]]])
    pred = np.float32([[[0, 0, 0], [100, 0, 0], [9999, 0, 0]]])
    mask = np.array([[True, True, False]])
    np.testing.assert_allclose(losses.root_relative_loss(true, pred, mask), 0, atol=1e-7)


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_root_relative_loss_counts_every_axis(axis):
    pred = np.zeros([1, 2, 3], np.float32)
    pred[0, 1, axis] = 60
    loss = losses.root_relative_loss(np.zeros_like(pred), pred, ALL)
    np.testing.assert_allclose(loss, (30 + 30) / 6 / 1000, rtol=1e-5)


@pytest.mark.parametrize('i_root', [-1, 1])
def test_root_relative_loss_to_a_root_joint(i_root):
    true = np.float32([[[100, 0, 0], [0, 0, 0]], [[0, 0, 0], [NAN, NAN, NAN]]])
    pred = np.float32([[[1130, -10, 5], [1000, 0, 0]], [[7, 8, 9], [500, 600, 700]]])
    mask = np.array([[True, True], [True, False]])  # the second example has no root
    loss = losses.root_relative_loss(true, pred, mask, i_root)
    np.testing.assert_allclose(loss, (30 + 10 + 5) / 6 / 1000, rtol=1e-5)


def test_root_relative_loss_of_one_joint_is_zero():
    mask = np.ones([1, 1], bool)
    pred = np.float32([[[10, 20, 30]]])
    np.testing.assert_array_equal(losses.root_relative_loss(0 * pred, pred, mask), 0)


def test_absolute_loss_weights_far_depth_and_drops_near_joints():
    true = np.float32([[[0, 0, 20000], [0, 0, 200]]])
    pred = np.float32([[[30, 0, 20600], [500, 500, 500]]])
    # One joint counts: (30 + 0 + 0.5 * 600) / 3 mm.
    np.testing.assert_allclose(losses.absolute_loss(true, pred, ALL), 0.11, rtol=1e-5)


@pytest.mark.parametrize(
    'offset, expected_mm', [((30, 0, 0), 10), ((0, -30, 0), 10), ((0, 0, 30), 5)])
def test_absolute_loss_scales_only_the_depth_error(offset, expected_mm):
    true = np.float32([[[0, 0, 20000]]])
    loss = losses.absolute_loss(true, true + np.float32(offset), np.ones([1, 1], bool))
    np.testing.assert_allclose(loss, expected_mm / 1000, rtol=1e-5)


@pytest.mark.parametrize('depth, expected_mm', [
    (300.0, 0), (-5000.0, 0), (300.5, 4), (10000.0, 4), (40000.0, 2 + 1 / 4)])
def test_absolute_loss_at_its_limits(depth, expected_mm):
    true = np.float32([[[0, 0, depth]]])
    pred = true + np.float32([6, 0, 0])
    pred[..., 2] += np.float32([6 if depth <= 10000 else 3])
    loss = losses.absolute_loss(true, pred, np.ones([1, 1], bool))
    np.testing.assert_allclose(loss, expected_mm / 1000, rtol=1e-4)


def test_absolute_loss_without_limits_takes_every_valid_joint_alike():
    true = np.float32([[[0, 0, 20000], [0, 0, -200]]])
    pred = np.float32([[[30, 0, 20600], [500, 500, 500]]])
    loss = losses.absolute_loss(true, pred, ALL, near_limit_mm=None, far_limit_mm=None)
    np.testing.assert_allclose(loss, (30 + 600 + 500 + 500 + 700) / 6 / 1000, rtol=1e-5)


# The second joint of a pair and whether the first alone remains: true, predicted, px of error.
PROJECTION_CASES = {
    'counts': ((0, 0, 1200), (0, 400, 1200), 40),
    'true_depth_just_enough': ((0, 0, 300.5), (0, 0, 1200), 0),
    'pred_depth_just_enough': ((0, 0, 1200), (0, 0, 1.5), 0),
    'pred_on_the_border': ((0, 0, 1200), (-1040, 0, 1200), 104),
    'label_on_the_far_border': ((7680, 0, 1200), (0, 0, 1200), 768)}
PROJECTION_DROPS = {
    'true_too_near': ((0, 0, 300), (0, 400, 1200)),
    'true_behind': ((0, 0, -1200), (0, 400, 1200)),
    'pred_too_near': ((0, 0, 1200), (0, 0, 1)),
    'pred_behind': ((0, 0, 1200), (0, 0, -500)),
    'pred_left_of_view': ((0, 0, 1200), (-1041, 0, 1200)),
    'pred_below_view': ((0, 0, 1200), (0, 1041, 1200)),
    'label_far_outside': ((7690, 0, 1200), (0, 0, 1200)),
    'label_far_above': ((0, -7690, 1200), (0, 0, 1200)),
    'label_is_nan': ((NAN, NAN, NAN), (0, 0, 1200))}


def projection_loss_with(true, pred):
    """One joint that is 10 px off along x, and another one."""
    true, pred = np.float32([[(0, 0, 1200), true]]), np.float32([[(100, 0, 1200), pred]])
    return losses.projection_loss(true, pred, INTRINSICS, ALL, KAPPA, fov=FOV)


@pytest.mark.parametrize('case', PROJECTION_CASES)
def test_projection_loss_takes_joints_in_view(case):
    true, pred, error_px = PROJECTION_CASES[case]
    expected = KAPPA * (10 + error_px) / 4
    np.testing.assert_allclose(projection_loss_with(true, pred), expected, rtol=1e-5)


@pytest.mark.parametrize('case', PROJECTION_DROPS)
def test_projection_loss_drops_joints_that_are_not_in_view(case):
    loss = projection_loss_with(*PROJECTION_DROPS[case])
    np.testing.assert_allclose(loss, KAPPA * 10 / 2, rtol=1e-5)


def test_projection_loss_drops_masked_joints():
    true = np.float32([[(0, 0, 1200), (0, 0, 1200)]])
    pred = np.float32([[(0, 100, 1200), (50, 300, 1200)]])
    mask = np.array([[False, True]])
    loss = losses.projection_loss(true, pred, INTRINSICS, mask, KAPPA, fov=FOV)
    np.testing.assert_allclose(loss, KAPPA * (5 + 30) / 2, rtol=1e-5)


@pytest.mark.parametrize('label, pred, expected', [
    ((128, 128), (24, 232), 104), ((-640, 896), (128, 128), 768),
    ((128, 128), (23.9, 128), 0), ((128, 128), (128, 232.1), 0), ((-640.5, 128), (128, 128), 0),
    ((128, 896.5), (128, 128), 0), ((NAN, 128), (128, 128), 0)])
def test_weak_projection_loss_and_its_borders(label, pred, expected):
    label, pred = np.float32([[label]]), np.float32([[pred]])
    loss = losses.weak_projection_loss(label, pred, np.ones([1, 1], bool), KAPPA, fov=FOV)
    np.testing.assert_allclose(loss, KAPPA * expected, rtol=1e-5)


def test_field_of_view_of_r20_and_of_grids_that_are_not_centred():
    pred = np.float32([[[31, 128], [33, 128], [223, 128], [225, 128]]])
    label = np.full_like(pred, 128)
    r20 = losses.FieldOfView(256, 32, border_factor=1.0)
    np.testing.assert_array_equal(r20.contains(label, pred), [[False, True, True, False]])
    # From 8 to 216 px.
    off_centre = losses.FieldOfView(256, 32, centered=False)
    np.testing.assert_array_equal(off_centre.contains(label, pred), [[True, True, False, False]])


def test_labels_of_another_dataset_select_and_average_joints():
    groups = losses.matching_joints(
        ['lank', 'neck'], ['neck', 'lank_h36m', 'pelv', 'lank_3dhp'])
    assert groups == ((1, 3), (0,))
    coords = np.float32([[[5, 6], [10, 0], [0, 0], [20, 8]]])
    expected = [[[15, 4], [5, 6]]]
    np.testing.assert_allclose(losses.group_means(coords, groups), expected)
    np.testing.assert_allclose(
        helpers.run_in_graph(lambda x: losses.group_means(x, groups), coords), expected)


@pytest.mark.parametrize('pelvis', [2, -1])
def test_lower_hips_moves_away_from_the_neck(pelvis):
    coords = np.float32([[[0, -600, 30], [100, 0, 0], [0, 0, 0]]])
    expected = [[[0, -600, 30], [100, 100, -5], [0, 100, -5]]]  # a sixth of (0, -600, 30)
    for run in (lambda function, x: function(x), helpers.run_in_graph):
        moved = run(lambda x: losses.lower_hips(x, [1, pelvis], pelvis, 0), coords)
        np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_image_loss_scale():
    true, pred = np.float32([[[0, 0], [10, 10]]]), np.float32([[[4, 0], [10, 8]]])
    np.testing.assert_allclose(losses.image_loss(true, pred, ALL, KAPPA), 1.5 * KAPPA, rtol=1e-6)


def test_aligned_image_loss_is_invariant_to_scale_and_shift():
    true = np.float32([[[0, 0], [10, 4], [3, 9]]])
    mask = np.ones([1, 3], bool)
    loss = losses.aligned_image_loss(true, 13.75 * true + np.float32([200, -70]), mask, 1.0)
    np.testing.assert_allclose(loss, 0, atol=1e-4)
    assert losses.aligned_image_loss(true, true[..., ::-1], mask, 1.0) > 1


def test_aligned_image_loss_by_hand():
    true = np.float32([[[0, 0], [10, 0], [NAN, NAN]]])  # mean (5, 0), spread 5
    pred = np.float32([[[50, 70], [50, 72], [900, 900]]])  # mean (50, 71), spread 1
    mask = np.array([[True, True, False]])
    # Aligned: (5, -5) and (5, 5); every coordinate is 5 px off.
    loss = losses.aligned_image_loss(true, pred, mask, KAPPA)
    np.testing.assert_allclose(loss, 5 * KAPPA, rtol=1e-5)


def test_aligned_image_loss_of_one_joint_is_zero():
    true, pred = np.float32([[[3, 4], [0, 0]]]), np.float32([[[50, 60], [7, 7]]])
    mask = np.array([[True, False]])
    np.testing.assert_array_equal(losses.aligned_image_loss(true, pred, mask, 1.0), 0)


POSE_TRUE = np.float32([[[0, 0, 2000], [400, 0, 2400]]])  # projected: (128, 128) and (148, 128)


@pytest.mark.parametrize('pred, i_root, expected', [
    ([[131, 128, 900], [148, 122, 1300]], None, 2 / 3 * KAPPA * (3 + 6) / 4),
    ([[128, 128, 900], [148, 128, 1400]], None, 1 / 3 * (0 + 100) / 2 / 1000),
    ([[128, 128, 900], [148, 128, 1400]], -1, 1 / 3 * (200 + 300) / 2 / 1000),
    ([[131, 128, 700], [148, 122, 1130]], 1, 2 / 3 * KAPPA * 9 / 4 + 1 / 3 * 15 / 1000)])
def test_pose25d_loss_by_hand(pred, i_root, expected):
    loss = losses.pose25d_loss(
        POSE_TRUE, np.float32([pred]), INTRINSICS, ALL, KAPPA, i_root=i_root)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_pose25d_loss_puts_the_reference_in_the_middle_of_the_volume():
    pred = np.float32([[[128, 128, 800], [148, 128, 1200]]])
    loss = losses.pose25d_loss(POSE_TRUE, pred, INTRINSICS, ALL, KAPPA, box_size_mm=2000.0)
    np.testing.assert_allclose(loss, 0, atol=1e-6)


@pytest.mark.parametrize('coords2d, coords3d, expected', [
    ([[131, 128], [148, 122]], [[-400, 0, -400], [0, 0, 0]], KAPPA * 9 / 4),
    ([[128, 128], [148, 128]], [[-370, 6, -400], [0, 0, 0]], 36 / 6 / 1000),
    ([[131, 128], [148, 122]], [[630, 6, 600], [1000, 0, 1000]], KAPPA * 9 / 4 + 36 / 6 / 1000)])
def test_head_loss_by_hand(coords2d, coords3d, expected):
    loss = losses.head_loss(
        POSE_TRUE, np.float32([coords2d]), np.float32([coords3d]), INTRINSICS, ALL,
        meters_per_px=KAPPA)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.parametrize('coords2d, coords3d, expected_px', [
    ([[2, 0], [10, 4]], [[-500, 0, 7], [500, 0, 9]], 6 / 4),
    ([[0, 0], [10, 0]], [[50, 70, 7], [50, 72, 9]], 5),
    ([[2, 0], [10, 4]], [[50, 70, 7], [50, 72, 9]], 5 + 6 / 4)])
def test_weak_head_loss_by_hand(coords2d, coords3d, expected_px):
    true = np.float32([[[0, 0], [10, 0]]])
    loss = losses.weak_head_loss(
        true, np.float32([coords2d]), np.float32([coords3d]), ALL, meters_per_px=KAPPA)
    np.testing.assert_allclose(loss, KAPPA * expected_px, rtol=1e-4)


# Each loss as a function of labels [batch, joints, 3], predictions of that shape, mask, reduction.
def tiled_intrinsics(coords):
    return tf.tile(INTRINSICS, [tf.shape(coords)[0], 1, 1])


def logits_from(coords, n_axes):
    """Logits of grids with 3 cells along each axis, each dependent on the predictions."""
    shape = tf.concat([tf.shape(coords)[:1], [1] * n_axes, tf.shape(coords)[1:2]], axis=0)
    cells = tf.reshape(tf.range(3.0 ** n_axes), [1] + [3] * n_axes + [1])
    return tf.sin(cells * tf.reshape(coords[..., 0], shape) / 100)


LOSSES = {
    'root_relative': lambda t, p, m, r: losses.root_relative_loss(t, p, m, reduction=r),
    'relative_to_last': lambda t, p, m, r: losses.root_relative_loss(t, p, m, -1, reduction=r),
    'absolute': lambda t, p, m, r: losses.absolute_loss(t, p, m, reduction=r),
    'absolute_r20': lambda t, p, m, r: losses.absolute_loss(t, p, m, None, None, reduction=r),
    'projection': lambda t, p, m, r: losses.projection_loss(
        t, p, tiled_intrinsics(p), m, KAPPA, fov=FOV, reduction=r),
    'weak_projection': lambda t, p, m, r: losses.weak_projection_loss(
        t[..., :2], p[..., :2], m, KAPPA, fov=FOV, reduction=r),
    'image': lambda t, p, m, r: losses.image_loss(t[..., :2], p[..., :2], m, KAPPA, reduction=r),
    'aligned_image': lambda t, p, m, r: losses.aligned_image_loss(
        t[..., :2], p[..., :2], m, KAPPA, reduction=r),
    'pose25d': lambda t, p, m, r: losses.pose25d_loss(
        t, p, tiled_intrinsics(p), m, KAPPA, reduction=r),
    'head': lambda t, p, m, r: losses.head_loss(
        t, p[..., :2], p, tiled_intrinsics(p), m, meters_per_px=KAPPA, reduction=r),
    'weak_head': lambda t, p, m, r: losses.weak_head_loss(
        t[..., :2], p[..., :2], p, m, meters_per_px=KAPPA, reduction=r),
    'heatmap': lambda t, p, m, r: losses.heatmap_cross_entropy(
        logits_from(p, 2), t[..., :2] / 100, m, 1.0, reduction=r),
    'volume': lambda t, p, m, r: losses.volume_cross_entropy(
        logits_from(p, 3), t / 1000, m, 1.0, reduction=r)}


def make_poses(n_joints=4, seed=0):
    """Labels and predictions of 3 examples, 100 to 200 along x and y and 1000 to 1100 along z."""
    rng = np.random.default_rng(seed)
    shape = [3, n_joints, 3]
    offset = [100, 100, 1000]
    return [(rng.uniform(0, 100, shape) + offset).astype(np.float32) for _ in range(2)]


def value_and_gradient(name, true, pred, mask, reduction='joints'):
    pred = tf.Variable(pred)
    with tf.GradientTape() as tape:
        loss = LOSSES[name](tf.constant(true), pred, tf.constant(mask), reduction)
    return loss.numpy(), tape.gradient(loss, pred).numpy()


@pytest.mark.parametrize('reduction', losses.REDUCTIONS)
@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('label', [0.0, NAN])
def test_no_valid_joint_gives_zero_with_zero_gradient(name, reduction, label):
    true, pred = make_poses()
    loss, gradient = value_and_gradient(
        name, np.full_like(true, label), pred, np.zeros([3, 4], bool), reduction)
    np.testing.assert_array_equal(loss, 0)
    np.testing.assert_array_equal(gradient, np.zeros_like(pred))


@pytest.mark.parametrize('reduction', losses.REDUCTIONS)
@pytest.mark.parametrize('name', LOSSES)
def test_masked_labels_have_no_effect(name, reduction):
    true, pred = make_poses()
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]], bool)
    results = [
        value_and_gradient(
            name, np.where(mask[..., np.newaxis], true, np.float32(label)), pred, mask, reduction)
        for label in (0, NAN)]
    assert results[0][0] > 0
    assert np.abs(results[0][1]).max() > 0
    assert np.isfinite(results[0][1]).all()
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_array_equal(results[0][1][1], np.zeros([4, 3]))


@pytest.mark.parametrize('name', LOSSES)
def test_gradients_are_finite_for_one_joint_at_its_label(name):
    true, _ = make_poses(n_joints=1)
    loss, gradient = value_and_gradient(name, true, true, np.ones([3, 1], bool))
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize('name', ['root_relative', 'absolute', 'projection', 'head'])
def test_gradients_are_finite_for_predictions_at_and_behind_the_camera(name):
    true, pred = make_poses()
    pred[:, 0, 2], pred[:, 1, 2], pred[:, 2, 2] = 0, 1, -1000
    loss, gradient = value_and_gradient(name, true, pred, np.ones([3, 4], bool))
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize('name', ['projection', 'weak_projection'])
def test_predictions_out_of_view_give_zero_with_zero_gradient(name):
    true, pred = make_poses()
    pred[..., 0] -= 1e5
    loss, gradient = value_and_gradient(name, true, pred, np.ones([3, 4], bool))
    np.testing.assert_array_equal(loss, 0)
    np.testing.assert_array_equal(gradient, np.zeros_like(pred))


@pytest.mark.parametrize('name', LOSSES)
def test_reductions_weigh_joints_or_examples(name):
    true, pred = make_poses(seed=1)
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 1]], bool)
    first, last = [
        value_and_gradient(name, true[i:i + 1], pred[i:i + 1], mask[i:i + 1])[0] for i in (0, 2)]
    assert abs(first - last) > 1e-4
    per_joint, per_example = [
        value_and_gradient(name, true, pred, mask, reduction)[0]
        for reduction in losses.REDUCTIONS]
    np.testing.assert_allclose(per_joint, (3 * first + 2 * last) / 5, rtol=1e-4)
    np.testing.assert_allclose(per_example, (first + last) / 2, rtol=1e-4)


@pytest.mark.parametrize('name', LOSSES)
def test_losses_work_with_unknown_dimensions(name):
    true, pred = make_poses()
    mask = np.random.default_rng(2).random([3, 4]) < 0.7
    expected = value_and_gradient(name, true, pred, mask)[0]
    actual = helpers.run_in_graph(
        lambda t, p, m: LOSSES[name](
            tf.ensure_shape(t, [None, None, 3]), tf.ensure_shape(p, [None, None, 3]), m, 'joints'),
        true, pred, mask)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize('name', LOSSES)
def test_unknown_reduction_is_named(name):
    true, pred = make_poses()
    with pytest.raises(ValueError, match='`reduction` must be one of.*median'):
        LOSSES[name](true, pred, np.ones([3, 4], bool), 'median')


def test_error_texts():
    pose, flat = np.zeros([1, 2, 3], np.float32), np.zeros([1, 2, 2], np.float32)
    for call, message in [
            (lambda: losses.root_relative_loss(pose, flat, ALL), '`coords3d_pred` must have.*2, 2'),
            (lambda: losses.root_relative_loss(pose[:, :1], pose, ALL), '`coords3d_true` must'),
            (lambda: losses.root_relative_loss(pose, pose, ALL[0]), '`mask` must have a shape'),
            (lambda: losses.root_relative_loss(pose, pose, ALL, 2), '`i_root` must be an index.*2'),
            (lambda: losses.absolute_loss(flat, pose, ALL), '`coords3d_true` must have a shape'),
            (lambda: losses.image_loss(flat, pose, ALL, 1.0), '`coords2d_pred` must have a shape'),
            (lambda: losses.projection_loss(pose, pose, flat, ALL, 1.0, fov=FOV), '`intrinsics`'),
            (lambda: losses.aligned_image_loss(flat, pose, ALL, 1.0), '`coords_pred` must'),
            (lambda: losses.pose25d_loss(pose, flat, INTRINSICS, ALL, 1.0), '`coords25d_pred`'),
            (lambda: losses.head_loss(pose, flat, flat, INTRINSICS, ALL, meters_per_px=1.0),
             '`coords3d_rel_pred` must have a shape'),
            (lambda: losses.weak_head_loss(flat, flat, flat, ALL, meters_per_px=1.0),
             '`coords3d_rel_pred` must have a shape'),
            (lambda: losses.heatmap_cross_entropy(np.zeros([1, 4, 4, 3]), flat, ALL, 1.0),
             '`logits` must have a shape'),
            (lambda: losses.volume_cross_entropy(np.zeros([1, 4, 4, 2]), pose, ALL, 1.0),
             '`logits` must have a shape'),
            (lambda: losses.matching_joints(['neck', 'nose'], ['neck']),
             "`label_names` must be beginnings.*Received: .'nose'"),
            (lambda: losses.group_means(flat, [(0,), ()]), '`joint_groups` must be non-empty'),
            (lambda: losses.group_means(flat, [(0, 2)]), '`joint_groups` must be .*below 2'),
            (lambda: losses.lower_hips(pose, [0, 2], 0, 1), '`lowered_joints` must be an index'),
            (lambda: losses.lower_hips(pose, [0], -3, 1), '`i_pelvis` must be an index.*-3'),
            (lambda: losses.lower_hips(pose, [0], 0, 5), '`i_neck` must be an index.*5'),
            (lambda: losses.FieldOfView(0, 32), '`crop_side_px` must be a positive'),
            (lambda: losses.FieldOfView(256, -1), '`stride_px` must be a positive')]:
        with pytest.raises(ValueError, match=message):
            call()


def test_heatmap_cross_entropy_of_the_target_itself_is_its_entropy():
    grid = np.arange(9.0)
    weights = np.exp(-0.5 * (grid - 4) ** 2)
    weights /= weights.sum()
    target = weights[:, np.newaxis] * weights
    entropy = -np.sum(target * np.log(target))
    logits = np.log(target)[np.newaxis, ..., np.newaxis].astype(np.float32)
    cells = np.float32([[[4, 4]]])
    mask = np.ones([1, 1], bool)
    loss = losses.heatmap_cross_entropy(logits, cells, mask, 1.0)
    np.testing.assert_allclose(loss, entropy, rtol=1e-5)
    uniform = losses.heatmap_cross_entropy(np.zeros_like(logits), cells, mask, 1.0)
    np.testing.assert_allclose(uniform, np.log(81), rtol=1e-5)


def test_heatmap_cross_entropy_tells_x_from_y():
    logits = np.zeros([1, 5, 7, 1], np.float32)
    logits[0, 1, 6, 0] = 20
    mask = np.ones([1, 1], bool)
    right = losses.heatmap_cross_entropy(logits, np.float32([[[6, 1]]]), mask, 0.2)
    wrong = losses.heatmap_cross_entropy(logits, np.float32([[[1, 4]]]), mask, 0.2)
    assert right < 0.1 and wrong > 15


def test_volume_cross_entropy_equals_both_marginals_by_hand():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=[2, 4, 5, 3, 2]).astype(np.float32)
    cells = rng.uniform(0, 2, size=[2, 2, 3]).astype(np.float32)
    mask = np.array([[True, False], [True, True]])
    probs = np.exp(logits) / np.exp(logits).sum(axis=(1, 2, 3), keepdims=True)
    expected = []
    for b, j in zip(*np.nonzero(mask)):
        def gaussian(center, n, sigma):
            weights = np.exp(-0.5 * ((np.arange(n) - center) / sigma) ** 2)
            return weights / weights.sum()
        x, y, z = cells[b, j]
        plane = gaussian(y, 4, 1.0)[:, np.newaxis] * gaussian(x, 5, 1.0)
        term_plane = -np.sum(plane * np.log(probs[b, ..., j].sum(axis=2)))
        term_depth = -np.sum(gaussian(z, 3, 0.7) * np.log(probs[b, ..., j].sum(axis=(0, 1))))
        expected.append(term_plane + term_depth)
    actual = helpers.run_in_graph(
        lambda *args: losses.volume_cross_entropy(*args, 1.0), logits, cells, mask)
    np.testing.assert_allclose(actual, np.mean(expected), rtol=1e-5)
