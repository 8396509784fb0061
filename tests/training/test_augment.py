import numpy as np
import pytest
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.cropping import people
from metro_tf.geometry import camera
from tests.helpers import over_seeds
from training.augment import appearance, background, crop_view, flip, labels, occlusion
from training.config import R23_AUGMENTATION, AugmentConfig

SIDE = 64
MIRROR = skeleton.METRO_24.mirror_mapping
SEED = tf.constant([3, 4], tf.int64)


def make_example(seed=0, shape=(90, 120)):
    """A person of 24 random joints 3 m in front of a camera, over a smooth picture."""
    rng = np.random.default_rng(seed)
    coords3d = rng.normal(size=[24, 3]) * [250, 400, 200] + [200, -100, 3000]
    intrinsics = np.float32([[110, 0, 61], [0, 110, 43], [0, 0, 1]])
    coords2d = camera.project(coords3d.astype(np.float32), intrinsics).numpy()
    low, high = coords2d.min(axis=0), coords2d.max(axis=0)
    y, x = np.mgrid[:shape[0], :shape[1]]
    image = np.stack([128 + 100 * np.sin(x / 17), 2 * y, x + y], axis=-1)
    valid = np.ones(24, bool)
    return {
        'image': tf.constant(np.clip(image, 0, 255).astype(np.uint8)),
        'alpha': tf.constant(np.full([*shape, 1], 255, np.uint8)),
        'has_alpha': tf.constant(True),
        'name': tf.constant('x'),
        'box': tf.constant(np.concatenate([low, high - low]).astype(np.float32)),
        'frame': tf.constant([0.0, 0.0, shape[1], shape[0]]),
        'intrinsics': tf.constant(intrinsics),
        'has_3d': tf.constant(True),
        'camera_up': tf.constant([0.0, -1.0, 0.0]),
        'coords3d_cam': tf.constant(coords3d.astype(np.float32)),
        'joint_validity_mask_3d': tf.constant(valid),
        'coords2d': tf.constant(coords2d.astype(np.float32)),
        'joint_validity_mask_2d': tf.constant(valid),
        'visibility': tf.ones([24])}


def run(step, example, seed=SEED, in_dataset=False):
    """Applies a step eagerly, or as tf.data does."""
    def in_graph():
        dataset = tf.data.Dataset.from_tensors(example).map(lambda ex: step(ex, seed))
        return next(iter(dataset))
    return in_graph() if in_dataset else step(example, seed)


JITTERED = crop_view.RandomCropView(SIDE, MIRROR, 0.25, 20.0, 0.1, 0.5, 0.3)


@pytest.mark.parametrize('in_dataset', [False, True])
@pytest.mark.parametrize('seed', range(4))
def test_crop_view_keeps_projection_consistent(seed, in_dataset):
    example = make_example(seed)
    result = run(JITTERED, example, tf.constant([seed, 1], tf.int64), in_dataset)
    projected = camera.project(result['coords3d_cam'], result['intrinsics'])
    np.testing.assert_allclose(result['coords2d'], projected, atol=1e-2)
    homogeneous = np.concatenate([projected, np.ones([24, 1])], axis=1)
    back = homogeneous @ result['crop_to_image'].numpy().T
    in_source = back[:, :2] / back[:, 2:]
    joint_by_joint = np.sort(in_source, axis=0)  # mirroring may have changed the order
    np.testing.assert_allclose(joint_by_joint, np.sort(example['coords2d'], axis=0), atol=2e-2)


def test_crop_view_without_jitter_centres_the_box():
    example = make_example()
    result = crop_view.RandomCropView(SIDE, MIRROR)(example, SEED)
    assert result['intrinsics'][0, 2] == SIDE / 2
    center = result['crop_to_image'] @ [[SIDE / 2], [SIDE / 2], [1.0]]
    expected = example['box'][:2] + example['box'][2:] / 2
    np.testing.assert_allclose((center[:2] / center[2])[:, 0], expected, atol=1e-2)
    distances_before = np.linalg.norm(example['coords3d_cam'], axis=-1)
    distances_after = np.linalg.norm(result['coords3d_cam'], axis=-1)
    np.testing.assert_allclose(distances_after, distances_before, rtol=1e-5)


@pytest.mark.parametrize('seed', range(4))
def test_crop_view_tells_how_the_camera_was_turned(seed):
    example = make_example()
    result = JITTERED(example, tf.constant([seed, 1], tf.int64))
    turn = result['camera_to_crop'].numpy()
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
    is_mirrored = np.linalg.det(turn) < 0
    order = np.where(is_mirrored, MIRROR, range(24))
    np.testing.assert_allclose(
        result['coords3d_cam'], example['coords3d_cam'].numpy()[order] @ turn.T, atol=0.01)
    homography = result['crop_to_image'] @ result['intrinsics'] @ turn
    homography /= homography[2, 2]
    np.testing.assert_allclose(homography, example['intrinsics'], rtol=1e-3, atol=0.02)


def test_mirroring_swaps_left_and_right():
    example = make_example()
    upright, mirrored = [
        crop_view.crop_view(example, example['box'], 1.0, 0.0, is_mirrored, SIDE, MIRROR)
        for is_mirrored in (tf.constant(False), tf.constant(True))]
    expected = upright['coords2d'].numpy()[list(MIRROR)] * [-1, 1] + [SIDE, 0]
    np.testing.assert_allclose(mirrored['coords2d'], expected, atol=1e-2)


def test_zooming_and_rolling_leave_depths_alone():
    """As in the publication of coarse-to-fine, whose depth targets are in mm."""
    example = make_example()
    plain, changed = [
        crop_view.crop_view(example, example['box'], zoom, angle, tf.constant(False), SIDE, MIRROR)
        for zoom, angle in ((1.0, 0.0), (1.25, 0.5))]
    np.testing.assert_allclose(
        changed['coords3d_cam'][:, 2], plain['coords3d_cam'][:, 2], rtol=1e-6)
    radii = [
        np.linalg.norm(result['coords2d'].numpy() - SIDE / 2, axis=-1)
        for result in (plain, changed)]
    np.testing.assert_allclose(radii[1], 1.25 * radii[0], rtol=1e-3)


def test_labels_in_2d_only_follow_the_homography():
    example = make_example()
    flat = {**example, 'joint_validity_mask_3d': tf.zeros([24], tf.bool)}
    expected = JITTERED(example, SEED)['coords2d']
    np.testing.assert_allclose(JITTERED(flat, SEED)['coords2d'], expected, atol=1e-2)


@pytest.mark.parametrize('in_dataset', [False, True])
def test_warp_samples_the_picture_where_the_homography_says(in_dataset):
    example = JITTERED(make_example(), SEED)
    result = run(crop_view.WarpToCrop(SIDE), example, in_dataset=in_dataset)
    pixel = np.float32([20, 33, 1])
    source = example['crop_to_image'].numpy() @ pixel
    x, y = source[:2] / source[2]
    expected = 128 + 100 * np.sin(x / 17)
    np.testing.assert_allclose(result['image'][33, 20, 0] * 255, expected, atol=2)
    assert result['frame'][33, 20, 0] == 1
    np.testing.assert_allclose(y, np.clip(y, 0, 89))


def test_outside_the_photo_nothing_is_in_frame():
    example = make_example()
    example['box'] = tf.constant([-200.0, 0.0, 40.0, 40.0])
    result = crop_view.WarpToCrop(SIDE)(crop_view.RandomCropView(SIDE, MIRROR)(example, SEED), SEED)
    assert tf.reduce_max(result['frame']) == 0
    assert tf.reduce_max(result['image']) == 0


def composited(has_alpha):
    example = {
        'image': tf.ones([SIDE, SIDE, 3]), 'has_alpha': tf.constant(has_alpha),
        'alpha': tf.concat([tf.ones([SIDE, 32, 1]), tf.zeros([SIDE, 32, 1])], axis=1),
        'frame': tf.concat([tf.ones([40, SIDE, 1]), tf.zeros([24, SIDE, 1])], axis=0)}
    bank = tf.constant(np.full([2, 30, 30, 3], 51, np.uint8))
    return background.RandomBackground(bank, SIDE)(example, SEED)['image'].numpy()


def test_background_shows_where_alpha_is_zero_and_only_in_the_photo():
    image = composited(True)
    np.testing.assert_allclose(image[:40, :32], 1)
    np.testing.assert_allclose(image[:40, 32:], 0.2, atol=1e-6)
    np.testing.assert_allclose(image[40:], 0)
    np.testing.assert_allclose(composited(False), 1)


def test_bank_reads_central_squares(tmp_path):
    picture = np.zeros([20, 60, 3], np.uint8)
    picture[:, 20:40] = 200
    tf.io.write_file(str(tmp_path / 'a.jpg'), tf.io.encode_jpeg(picture, quality=100))
    bank = background.load_bank([tmp_path], bank_side_px=8)
    assert bank.shape == (1, 8, 8, 3)
    np.testing.assert_allclose(bank[0, :, 2:6].astype(int), 200, atol=6)
    with pytest.raises(ValueError, match='`folders` must hold .jpg files'):
        background.load_bank([tmp_path / 'none'])


def test_occlusion_covers_a_part_at_the_asked_rate():
    bank = tf.constant(np.full([1, 30, 30, 3], 255, np.uint8))
    step = tf.function(occlusion.RandomOcclusion(bank, SIDE, probability=0.5))
    shares = []
    for i in range(60):
        image = step({'image': tf.zeros([SIDE, SIDE, 3])}, tf.constant([i, 5], tf.int64))['image']
        shares.append(float(tf.reduce_mean(tf.cast(image > 0, tf.float32))))
    assert 0.3 < np.mean(np.array(shares) > 0) < 0.7
    assert 0.1 < np.max(shares) < 0.9


def test_colour_change_of_zero_is_the_identity_and_grey_stays_grey():
    image = tf.random.stateless_uniform([SIDE, SIDE, 3], [1, 2])
    same = appearance.RandomColor(0, 0, 0, 0)({'image': image}, SEED)['image']
    np.testing.assert_allclose(same, image, atol=1e-5)
    grey = tf.fill([4, 4, 3], 0.4)
    changed = appearance.RandomColor()({'image': grey}, SEED)['image'].numpy()
    np.testing.assert_allclose(changed, changed[..., :1].repeat(3, axis=-1), atol=1e-2)
    assert abs(changed[0, 0, 0] - 0.4) > 1e-3


def test_blur_keeps_a_constant_and_spreads_an_impulse():
    step = appearance.RandomBlurAndNoise(probability=1.0, max_noise=0.0)
    constant = tf.fill([16, 16, 3], 0.3)
    np.testing.assert_allclose(step({'image': constant}, SEED)['image'], constant, atol=1e-5)
    impulse = tf.pad(tf.ones([1, 1, 3]), [[8, 7], [8, 7], [0, 0]])
    blurred = step({'image': impulse}, SEED)['image'].numpy()
    np.testing.assert_allclose(blurred.sum(), 3, rtol=1e-4)
    assert 0 < blurred[8, 9, 0] < blurred[8, 8, 0] < 1


def test_steps_are_reproducible_and_differ_between_seeds():
    step = appearance.RandomColor()
    image = {'image': tf.random.stateless_uniform([4, 4, 3], [1, 2])}
    first, again = step(image, SEED)['image'], step(image, SEED)['image']
    other = step(image, SEED + 1)['image']
    np.testing.assert_array_equal(first, again)
    assert tf.reduce_max(tf.abs(first - other)) > 1e-3


def test_published_part_has_the_distribution_of_rejection_sampling():
    rng = np.random.default_rng(0)
    x1, x2, y2 = rng.uniform(0, 0.5, 400000), *rng.uniform(0.5, 1, [2, 400000])
    side = x2 - x1
    is_accepted = (side > 0.5) & (side < y2)
    expected = np.quantile(side[is_accepted], [0.1, 0.5, 0.9])
    fractions = np.float32([0.1, 0.5, 0.9])
    np.testing.assert_allclose(
        crop_view.published_part_side(fractions), expected, atol=3e-3)
    np.testing.assert_allclose(
        crop_view.published_part_side(np.float32([0, 0.875, 1])), [0.5, 0.75, 1], atol=1e-6)
    left, top = x1[is_accepted], (y2 - side)[is_accepted]
    for corner in (left, top):  # uniform where the part fits
        np.testing.assert_allclose(np.mean(corner / (1 - side[is_accepted])), 0.5, atol=5e-3)


@pytest.mark.parametrize('is_published, median', [(False, 0.75), (True, 1 - 0.5 ** (4 / 3))])
def test_part_of_the_box_lies_in_its_square_hull(is_published, median):
    policy = crop_view.RandomCropView(
        SIDE, MIRROR, partial_visibility_probability=1.0, is_published=is_published)
    box = tf.constant([10.0, 20.0, 40.0, 100.0])
    parts = over_seeds(lambda seed: policy._part_of_box(box, seed), 200)
    np.testing.assert_allclose(parts[:, 2], parts[:, 3])
    assert np.all(parts[:, :2] >= [-20, 20])
    assert np.all(parts[:, :2] + parts[:, 2:] <= [80.01, 120.01])
    assert abs(np.median(parts[:, 2]) / 100 - median) < 0.03
    assert np.all(parts[:, 2] >= 50)


def roll_angles(policy):
    example = make_example()
    flat = crop_view.RandomCropView(SIDE, MIRROR)(example, SEED)
    up = flat['coords3d_cam'][0, :2].numpy()
    x, y = over_seeds(lambda seed: policy(example, seed)['coords3d_cam'][0, :2], 60).T
    return np.degrees(np.abs(np.arctan2(up[0] * y - up[1] * x, up[0] * x + up[1] * y)))


def test_full_rotation_has_its_own_probability():
    never, half, always = [
        roll_angles(crop_view.RandomCropView(
            SIDE, MIRROR, max_rotation_degrees=20.0, full_rotation_probability=probability))
        for probability in (0.0, 0.5, 1.0)]
    assert 15 < never.max() < 20.1
    assert 150 < always.max() <= 180 and np.mean(always > 90) > 0.3
    assert 0.25 < np.mean(half > 20.1) < 0.65


def test_background_is_replaced_at_the_asked_rate():
    bank = tf.constant(np.full([2, 30, 30, 3], 255, np.uint8))
    example = {
        'image': tf.zeros([8, 8, 3]), 'has_alpha': tf.constant(True),
        'alpha': tf.zeros([8, 8, 1]), 'frame': tf.ones([8, 8, 1])}
    step = background.RandomBackground(bank, 8, 0.7, is_published=True)
    replaced = over_seeds(lambda seed: step(example, seed)['image'][4, 4, 0], 80)
    assert set(np.round(replaced, 4)) == {0.0, 1.0}
    assert 0.55 < np.mean(replaced) < 0.85


def test_published_background_zooms_and_shifts_within_the_photo():
    ramp = np.arange(0, 250, 2, dtype=np.uint8)
    photo = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 77), axis=-1)
    patches = over_seeds(
        lambda seed: background.published_patch(tf.constant(photo[None]), 50, seed), 150)
    span = patches[:, 0, -1, 1] - patches[:, 0, 0, 1]  # of 248 levels over the photo
    zoom = 248 / 255 / span
    assert 1.19 < zoom.min() < 1.23 and 1.47 < zoom.max() < 1.51
    shifts = (patches[:, 0, 0, :2] + patches[:, -1, -1, :2]) / 2 * 255 / 248 - 0.5
    radii = np.linalg.norm(shifts, axis=1) * zoom  # as fractions of the crop's side
    assert 0.09 < radii.max() < 0.101
    assert abs(np.mean(radii ** 2) / 0.01 - 0.5) < 0.1  # uniform in the disc
    assert np.all(np.abs(patches[..., 2] * 255 - 77) < 0.01)  # no border shows


def test_the_last_photo_is_drawn():
    bank = tf.constant(np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones(
        [3, 4, 4, 3], np.uint8))
    for make_patch in (background.random_patch, background.published_patch):
        values = over_seeds(lambda seed: make_patch(bank, 2, seed)[0, 0, 0] * 255, 40)
        assert set(np.round(values, 3)) == {0, 1, 2}


def test_low_labels_of_2d_examples_are_discarded():
    example = make_example()
    coords2d = example['coords2d'].numpy()
    coords2d[:3, 1] = [85.5, 85.6, 86.0]  # 95 % of 90 px is 85.5
    coords2d[3:, 1] = 10
    example = {**example, 'coords2d': tf.constant(coords2d)}
    step = labels.DropLowLabels(0.95)
    np.testing.assert_array_equal(step(example, SEED)['coords2d'], coords2d)
    flat = step({**example, 'has_3d': tf.constant(False)}, SEED)
    np.testing.assert_array_equal(
        flat['joint_validity_mask_2d'], [True, False, False] + 21 * [True])
    np.testing.assert_array_equal(flat['coords2d'][1:3], np.zeros([2, 2]))
    shifted = {
        **example, 'has_3d': tf.constant(False), 'frame': tf.constant([0.0, 5.0, 120.0, 90.0])}
    assert bool(tf.reduce_all(step(shifted, SEED)['joint_validity_mask_2d']))


def test_flip_testing_averages_mirrored_predictions():
    mapping = (1, 0, 2)
    poses = tf.constant([[[100.0, 1, 2000], [-50, 2, 2000], [7, 3, 2100]]])
    intrinsics = tf.constant([[[50.0, 0, 4], [0, 50, 4], [0, 0, 1]]])
    image = tf.reshape(tf.range(64.0), [1, 8, 8, 1]) * tf.ones([3])
    seen = []

    def predict(inputs):
        seen.append(inputs)
        return poses

    result = flip.predict_with_flip(predict, {'image': image, 'intrinsics': intrinsics}, mapping)
    np.testing.assert_allclose(
        result, [[[75, 1.5, 2000], [-75, 1.5, 2000], [0, 3, 2100]]])
    np.testing.assert_array_equal(seen[0]['image'], image[:, :, ::-1])
    np.testing.assert_allclose(seen[0]['intrinsics'], [[[50, 0, 3], [0, 50, 4], [0, 0, 1]]])


def test_flip_testing_of_an_exact_model_changes_nothing():
    pose = np.float32([[[-300, 100, 3000], [200, 150, 3100]]])
    intrinsics = np.float32([[[90, 0, 32], [0, 90, 32], [0, 0, 1]]])
    image = np.zeros([1, 64, 64, 3], np.float32)
    pixels = np.round(camera.project(pose, intrinsics).numpy()[0]).astype(int)
    for channel, (x, y) in enumerate(pixels):
        image[0, y, x, channel] = 1

    @tf.function
    def predict(inputs):  # finds the red and the green pixel
        places = [tf.where(inputs['image'][0, ..., channel] > 0)[0] for channel in (0, 1)]
        points = tf.cast(tf.stack(places), tf.float32)[:, ::-1]
        rays = tf.concat([points, tf.ones([2, 1])], axis=1) @ tf.transpose(
            tf.linalg.inv(inputs['intrinsics'][0]))
        return (rays * 3000.0)[tf.newaxis]

    inputs = {'image': image, 'intrinsics': intrinsics}
    np.testing.assert_allclose(
        flip.predict_with_flip(predict, inputs, (0, 1)), predict(inputs), atol=0.01)


def test_augment_config_errors_and_published_numbers():
    with pytest.raises(ValueError, match='`background_probability` must be in .0, 1..*1.5'):
        AugmentConfig(background_probability=1.5)
    with pytest.raises(ValueError, match='`max_label_height_2d` must be in'):
        AugmentConfig(max_label_height_2d=95)
    assert not AugmentConfig().is_published and AugmentConfig().max_label_height_2d is None
    assert R23_AUGMENTATION.hue_degrees == 72 and R23_AUGMENTATION.occlusion_probability == 0.5


def test_evaluation_crops_are_those_of_the_estimator():
    example = make_example()
    steps = (crop_view.RandomCropView(64, MIRROR), crop_view.WarpToCrop(64))
    cropped = run(steps[1], run(steps[0], example))
    expected = people.crop_people(
        example['image'], example['box'][tf.newaxis], example['intrinsics'], crop_side_px=64)
    np.testing.assert_allclose(cropped['intrinsics'], expected.intrinsics[0], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(
        cropped['coords3d_cam'],
        tf.linalg.matvec(expected.rotations[0], example['coords3d_cam']), atol=1e-2)
    # One samples display values, the other linear light; at the photo's border one fades out.
    difference = np.abs(cropped['image'] - expected.crops[0]) * 255
    assert np.mean(difference) < 1.5 and np.median(difference) < 0.5
