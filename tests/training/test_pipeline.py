import numpy as np
import pytest
import tensorflow as tf

from training import pipeline
from training.config import LossConfig, ModelConfig, TrainConfig


def counting_step(example, seed):
    return {**example, 'drawn': tf.random.stateless_uniform([], seed)}


def drawn(first_example, n_examples):
    dataset = tf.data.Dataset.range(first_example, n_examples).map(lambda i: {'i': i})
    dataset = pipeline.run_steps(dataset, [counting_step, counting_step], 5, first_example)
    return [float(example['drawn']) for example in dataset]


def test_randomness_depends_on_the_example_number_alone():
    whole = drawn(0, 20)
    assert drawn(0, 20) == whole
    assert drawn(12, 20) == whole[12:]
    assert len(set(whole)) == 20


def test_each_step_gets_its_own_seed():
    def keep_seed(name):
        return lambda example, seed: {**example, name: seed}
    dataset = tf.data.Dataset.range(1).map(lambda i: {'i': i})
    example = next(iter(pipeline.run_steps(dataset, [keep_seed('a'), keep_seed('b')], 5)))
    assert (example['a'].numpy() != example['b'].numpy()).any()


def test_config_errors():
    with pytest.raises(ValueError, match='`steps_per_epoch` must divide `n_steps`'):
        TrainConfig(name='x', n_steps=100, steps_per_epoch=30)
    with pytest.raises(ValueError, match='`mixed_precision` must be one of'):
        TrainConfig(name='x', mixed_precision='float8')
    with pytest.raises(TypeError):
        LossConfig(heatmaps=1.0)
    assert ModelConfig().heatmap.stride_px == 8


def test_model_format_drops_what_the_model_does_not_need():
    names = ['image', 'intrinsics', 'coords3d_cam', 'coords2d', 'joint_validity_mask_3d',
             'joint_validity_mask_2d', 'frame', 'alpha']
    inputs, labels = pipeline.to_model_format({name: np.zeros(1) for name in names})
    assert sorted(inputs) == ['image', 'intrinsics']
    assert sorted(labels) == sorted(names[2:6])
