"""Other clothes: the texture by hand, where it lies, how often, and that nothing else changes."""

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers import over_seeds
from tests.training.test_augment import SEED, make_example, run
from training import pipeline
from training.augment import clothing
from training.config import AugmentConfig, TrainConfig

BANK = tf.constant(
    np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3)).astype(np.uint8))
SHAPE = (90, 120)


def make_dressed_example():
    """A person whose upper clothes are on the left and whose lower ones are on the right."""
    masks = np.zeros([*SHAPE, 2], np.uint8)
    masks[:, :30, 0] = 255
    masks[:, 80:, 1] = 255
    return {**make_example(), 'clothing_masks': tf.constant(masks)}


def test_dress_by_hand():
    """Grey of 102 dims the texture to 0.4; half a mask mixes, and no mask keeps the image."""
    image = np.full([1, 3, 3], 102, np.uint8)
    image[0, 0] = [6, 102, 198]  # as bright
    mask = np.uint8([[[255], [51], [0]]])
    texture = np.broadcast_to(np.float32([200, 100, 50]), [1, 3, 3])
    result = clothing.dress(image, mask, texture)
    np.testing.assert_array_equal(
        result, [[[80, 40, 20], [round(0.2 * 80 + 0.8 * 102), round(0.2 * 40 + 0.8 * 102),
                                 round(0.2 * 20 + 0.8 * 102)], [102, 102, 102]]])
    assert result.dtype == tf.uint8


@pytest.mark.parametrize('in_dataset', [False, True])
@pytest.mark.parametrize('probabilities', [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)])
def test_each_kind_of_clothes_changes_by_itself(probabilities, in_dataset):
    example = make_dressed_example()
    step = clothing.RandomClothing(BANK, *probabilities)
    result = run(step, example, in_dataset=in_dataset)
    changed = np.any(result['image'] != example['image'], axis=-1)
    assert result['image'].dtype == tf.uint8
    for part, probability in ((changed[:, :30], probabilities[0]),
                              (changed[:, 80:], probabilities[1])):
        assert abs(part.mean() - probability) < 0.1
    assert not np.any(changed[:, 30:80])


def test_the_texture_is_tinted_in_one_colour_no_brighter_than_the_image():
    example = make_dressed_example()
    example['image'] = tf.fill([*SHAPE, 3], tf.constant(255, tf.uint8))
    result = clothing.RandomClothing(BANK, 1.0, 0.0)(example, SEED)['image'][:, :30].numpy()
    flat = result.reshape(-1, 3).astype(float)
    brightest = flat[flat.sum(axis=1).argmax()]
    np.testing.assert_allclose(  # all proportional to one colour, up to rounding
        flat, flat.mean(axis=1, keepdims=True) * brightest / brightest.mean(), atol=2)
    assert flat.std(axis=0).min() > 3


def test_probabilities():
    example = make_dressed_example()
    step = clothing.RandomClothing(BANK, 0.2, 0.5)

    def changes(seed):
        image = step(example, seed)['image']
        return tf.stack([
            tf.reduce_any(image[:, part] != example['image'][:, part])
            for part in (slice(0, 30), slice(80, None))])

    shares = np.mean(over_seeds(changes, 400), axis=0)
    np.testing.assert_allclose(shares, [0.2, 0.5], atol=0.08)


def steps_of(**changes):
    config = TrainConfig('tiny', augment=AugmentConfig(**changes))
    return pipeline.augmentation_steps(config, BANK)


def test_the_step_is_there_only_where_clothes_change():
    default, with_clothes = steps_of(), steps_of(lower_clothing_probability=0.5)
    assert not any(isinstance(step, clothing.RandomClothing) for step in default)
    assert len(with_clothes) == len(default) + 1
    step = with_clothes[0]  # before the crop
    assert (step.upper_probability, step.lower_probability) == (0.0, 0.5)
    with pytest.raises(ValueError, match='`upper_clothing_probability` must be in .0, 1.. .*1.2'):
        AugmentConfig(upper_clothing_probability=1.2)
