"""Joint conventions as a graph looks them up; the rest is tested with the estimator."""

import numpy as np
import pytest
import tensorflow as tf

from metro_tf import crop_network, skeleton


@pytest.fixture(scope='module')
def selections():
    return crop_network.JointSelections(
        skeleton.METRO_24.joint_names, skeleton.METRO_24.edges)


def test_the_default_model_offers_every_convention(selections):
    assert selections.names == ('', *sorted(skeleton.CONVENTIONS))
    assert selections.indices[''] == tuple(range(24))
    # thor, lsho and head of HumanEva; nose, neck and rsho of OpenPose.
    assert selections.indices['humaneva_15'][1:3] == (2, 10)
    assert selections.indices['humaneva_15'][14] == skeleton.METRO_24.index('htop')
    assert selections.indices['openpose_18'][:3] == (5, 2, 11)


@pytest.mark.parametrize('in_graph', [False, True])
def test_select(selections, in_graph):
    select = tf.function(selections.select) if in_graph else selections.select
    poses = tf.reshape(tf.range(2 * 24 * 3, dtype=tf.float32), [2, 24, 3])
    for name, indices in selections.indices.items():
        np.testing.assert_array_equal(
            select(poses, tf.constant(name)), poses.numpy()[:, list(indices)])


@pytest.mark.parametrize('joint_names, offered', [
    (('thor',), {'mpii_16'}), (('spi2',), {'mpi_inf_3dhp_28'}), (('spi0',), {'h36m_32'}),
    (('lfi2', 'rfi2'), {'h36m_32'}), (('nose',), {'coco_17', 'coco_19', 'openpose_18'}),
    (('spi1', 'head'), set(skeleton.CONVENTIONS) - {
        'mpii_16', 'coco_17', 'coco_19', 'openpose_18', 'lsp_14', 'humaneva_15'})])
def test_conventions_without_any_joint_of_the_model_are_not_offered(joint_names, offered):
    assert set(crop_network.JointSelections(joint_names, ()).names) == {'', *offered}
