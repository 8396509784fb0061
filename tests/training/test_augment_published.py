"""Colours in HSV, erasing, and the choice between erasing and objects, as published."""

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers import over_seeds
from training.augment import appearance, occlusion

SIDE = 64
SEED = tf.constant([3, 4], tf.int64)


@pytest.mark.parametrize('in_dataset', [False, True])
def test_hsv_colour_of_zero_is_the_identity(in_dataset):
    image = tf.random.stateless_uniform([SIDE, SIDE, 3], [1, 2])
    step = appearance.RandomHsvColor(0, 0, 0, 0)
    dataset = tf.data.Dataset.from_tensors({'image': image}).map(lambda ex: step(ex, SEED))
    same = next(iter(dataset)) if in_dataset else step({'image': image}, SEED)
    np.testing.assert_allclose(same['image'], image, atol=1e-5)


def test_hsv_hue_turns_by_up_to_72_degrees_both_ways():
    red = {'image': tf.tile(tf.constant([[[0.8, 0.2, 0.2]]]), [2, 2, 1])}
    step = appearance.RandomHsvColor(0, 0, 0, 72.0)
    hues = 360 * over_seeds(
        lambda seed: tf.image.rgb_to_hsv(step(red, seed)['image'])[0, 0, 0], 150)
    hues = np.where(hues > 180, hues - 360, hues)
    assert -72.1 < hues.min() < -65 and 65 < hues.max() < 72.1


def test_hsv_changes_have_their_limits_and_come_in_random_order():
    image = {'image': tf.tile(tf.constant([[[0.3, 0.4, 0.5]]]), [2, 2, 1])}
    brightness, contrast, saturation = [
        over_seeds(lambda seed: step(image, seed)['image'][0, 0], 150)
        for step in (appearance.RandomHsvColor(*limits, 0.0) for limits in (
            (0.125, 0, 0), (0, 0.5, 0), (0, 0, 0.5)))]
    np.testing.assert_allclose(np.ptp(brightness[:, 0]), 0.25, atol=0.02)
    np.testing.assert_allclose(np.ptp(contrast[:, 0]), 0.2, atol=0.02)
    np.testing.assert_allclose(np.ptp(saturation[:, 0]), 0.2, atol=0.02)
    np.testing.assert_allclose(saturation[:, 2], 0.5, atol=1e-5)
    # Brightness b before contrast c gives 0.5 + c (g - 0.5 + b), after it 0.5 + c (g - 0.5) + b.
    policy = appearance.RandomHsvColor(0.125, 0.5, 0.0, 0.0)

    def change_and_grey(seed):
        change_seed = tf.random.experimental.stateless_split(seed, 2)[0]
        change = tf.random.stateless_uniform([4], change_seed, -1.0, 1.0)
        grey = policy({'image': tf.fill([1, 1, 3], 0.4)}, seed)['image'][0, 0, :1]
        return tf.concat([change[:2], grey], axis=0)
    change, contrast_change, grey = over_seeds(change_and_grey, 100).T
    added, factor = 0.125 * change, 1 + 0.5 * contrast_change
    is_after = np.abs(grey - (0.5 - factor * 0.1 + added)) < 1e-5
    is_before = np.abs(grey - (0.5 + factor * (added - 0.1))) < 1e-5
    assert np.all(is_after | is_before)
    assert 30 < is_after.sum() < 70 and 30 < is_before.sum() < 70


def erased(n):
    image = tf.fill([SIDE, SIDE, 3], -1.0)
    return over_seeds(lambda seed: occlusion.erase(image, seed), n)


def test_erased_rectangles_are_those_of_random_erasing():
    areas, aspects = [], []
    for is_covered in erased(300)[..., 0] >= 0:
        rows, columns = is_covered.any(axis=1), is_covered.any(axis=0)
        np.testing.assert_array_equal(is_covered, rows[:, None] & columns[None])
        areas.append(is_covered.mean())
        aspects.append(rows.sum() / max(columns.sum(), 1))
    assert 0.2 < max(areas) < 1 / 3 + 0.02
    large = np.array(areas) > 0.05
    assert 0.25 < np.array(aspects)[large].min() < 0.5
    assert 2.5 < np.array(aspects)[large].max() < 3.8
    assert 1.0 < np.median(np.array(aspects)[large]) < 2.2  # uniform, so mostly tall


def test_erasing_noise_has_all_256_values():
    noise = erased(30)
    values = np.unique(np.round(noise[noise >= 0] * 255, 3))
    np.testing.assert_array_equal(values, np.arange(256))


def test_objects_come_before_colour_and_erasing_after_it():
    def paste(example, seed):
        return {**example, 'image': tf.fill([SIDE, SIDE, 3], 0.25)}

    def halve(example, seed):
        return {**example, 'image': example['image'] / 2}
    step = occlusion.ObjectsOrErase(paste, halve, 0.5)
    image = {'image': tf.ones([SIDE, SIDE, 3]), 'name': tf.constant('x')}
    assert step(image, SEED)['name'] == b'x'
    images = over_seeds(lambda seed: step(image, seed)['image'], 200)
    has_objects = np.all(images == 0.125, axis=(1, 2, 3))
    is_plain = np.all(images == 0.5, axis=(1, 2, 3))
    has_noise = images.max(axis=(1, 2, 3)) > 0.9  # noise is not halved
    assert 0.18 < has_objects.mean() < 0.32
    assert 0.42 < is_plain.mean() < 0.6
    assert 0.15 < has_noise.mean() < 0.32
    assert not np.any(has_noise & has_objects)
