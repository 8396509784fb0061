import numpy as np
import pytest
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.geometry import camera
from training.augment import appearance, background, crop_view, occlusion

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


def test_mirroring_swaps_left_and_right():
    example = make_example()
    upright, mirrored = [
        crop_view.crop_view(example, example['box'], 1.0, 0.0, is_mirrored, SIDE, MIRROR)
        for is_mirrored in (tf.constant(False), tf.constant(True))]
    expected = upright['coords2d'].numpy()[list(MIRROR)] * [-1, 1] + [SIDE, 0]
    np.testing.assert_allclose(mirrored['coords2d'], expected, atol=1e-2)


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
