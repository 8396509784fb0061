import keras
import numpy as np
import tensorflow as tf

from metro_tf.detection import center_net

SMALL = {'n_channels': 4, 'trunk_channels': (3, 3, 4, 4, 4), 'n_blocks': (0, 0, 0, 0, 0)}


def small_net():
    keras.utils.set_random_seed(0)
    return center_net.build_center_net(**SMALL)


def image(seed=0):
    return tf.random.stateless_uniform([2, 64, 96, 3], [seed, 0])


def test_outputs():
    outputs = small_net()(image())
    shapes = {name: value.shape.as_list() for name, value in outputs.items()}
    assert shapes == {
        'logits': [2, 8, 12, 1], 'offset': [2, 8, 12, 2], 'log_size': [2, 8, 12, 2]}
    assert {value.dtype for value in outputs.values()} == {tf.float32}


def test_a_new_network_finds_nobody():
    scores = tf.sigmoid(small_net()(image())['logits']).numpy()
    assert 0.01 < scores.mean() < 0.04


def test_float32_from_the_logits_on():
    keras.mixed_precision.set_global_policy('mixed_bfloat16')
    try:
        outputs = small_net()(image())
    finally:
        keras.mixed_precision.set_global_policy('float32')
    assert {value.dtype for value in outputs.values()} == {tf.float32}


def test_shift_adds_to_all_logits_and_to_nothing_else():
    net = small_net()
    before = {name: value.numpy() for name, value in net(image()).items()}
    center_net.shift_logits(net, 1.5)
    after = net(image())
    np.testing.assert_allclose(after['logits'], before['logits'] + 1.5, atol=1e-5)
    np.testing.assert_array_equal(after['offset'], before['offset'])
    np.testing.assert_array_equal(after['log_size'], before['log_size'])


def test_keras_file_revives_the_network(tmp_path):
    net = small_net()
    net.save(str(tmp_path / 'net.keras'))
    revived = keras.models.load_model(str(tmp_path / 'net.keras'), compile=False)
    for name, value in net(image()).items():
        np.testing.assert_allclose(revived(image())[name], value, atol=1e-6)
