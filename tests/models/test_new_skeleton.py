import numpy as np
import pytest

from metro_tf import models, skeleton
from metro_tf.models import new_skeleton
from tests.models import common

# Three of the four joints of `common`, in another order, and two others.
JOINTS = skeleton.Skeleton(('lkne', 'rsho', 'pelv', 'rkne', 'lsho'), ((0, 2), (2, 3), (1, 4)))
KEPT_OLD, KEPT_NEW = [3, 0, 2], [1, 2, 4]


def test_widened_by_hand():
    """One feature, two blocks: channels (2D a, 2D b, slice a, slice b), the new joint in front."""
    old = [np.float32([[[[1, 2, 3, 4]]]]), np.float32([5, 6, 7, 8])]
    new = [np.float32([[[[10, 20, 30, 40, 50, 60]]]]), np.float32([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])]
    kernel, bias = new_skeleton.widened(old, new, ['a', 'b'], ['new', 'b', 'a'])
    np.testing.assert_allclose(kernel, [[[[10, 2, 1, 40, 4, 3]]]])
    np.testing.assert_allclose(bias, [0.1, 6, 5, 0.4, 8, 7])
    kernel, bias = new_skeleton.widened(new, old, ['new', 'b', 'a'], ['a', 'b'])
    np.testing.assert_allclose(kernel, [[[[30, 20, 60, 50]]]])


def check_kept(new, old, i_new, i_old):
    """What comes before the absolute reconstruction, which couples all joints, is unchanged."""
    outputs_old, outputs_new = (
        model.predict_heatmaps(common.make_inputs()) for model in (old, new))
    compared = [name for name in outputs_old if name != 'coords3d_cam']
    assert len(compared) >= 2
    for name in compared:
        axis = -1 if name.startswith('logits') else 1
        np.testing.assert_allclose(
            np.take(outputs_new[name], i_new, axis), np.take(outputs_old[name], i_old, axis),
            rtol=1e-5, atol=0.01)


@pytest.mark.parametrize('model_cls', [models.Metrabs, models.Metro])
def test_kept_joints_have_their_heatmaps(model_cls):
    old = common.with_random_weights(common.make_model(model_cls))
    new = new_skeleton.with_skeleton(old, JOINTS)
    assert type(new) is model_cls and new.skeleton == JOINTS
    assert new.heatmap_config == old.heatmap_config
    assert new.predict_logits(common.make_inputs()['image'])[-1].shape[-1] == 5
    check_kept(new, old, KEPT_NEW, KEPT_OLD)


def test_lengths_of_kept_bones():
    old = common.with_random_weights(common.make_model(models.Pose25D, i_root_joint=1))
    new = new_skeleton.with_skeleton(
        old, skeleton.Skeleton(('rsho', 'neck', 'lsho', 'nose'), ((1, 2), (0, 1))))
    assert new.bone_lengths_mm == (180.0, 180.0)
    assert new.reconstruction.i_root_joint == 1  # the neck is so in both
    check_kept(new, old, [0, 1, 2], [3, 1, 2])
    with pytest.raises(ValueError, match=r"need.*lengths. Received: \['nose-rsho'\]"):
        new_skeleton.with_skeleton(
            old, skeleton.Skeleton(('rsho', 'neck', 'lsho', 'nose'), ((1, 2), (0, 3))))
    with pytest.raises(ValueError, match='neck'):
        new_skeleton.with_skeleton(old, skeleton.Skeleton(('rsho', 'lsho'), ()))


def test_conventions_by_name():
    old = common.make_model(models.Metro)
    new = new_skeleton.with_skeleton(old, 'coco_17')
    assert new.skeleton == skeleton.CONVENTIONS['coco_17']
    check_kept(new, old, [5, 6], [2, 3])
    # The point that SMPL calls spi2 is the one that models call spin.
    smpl = new_skeleton.with_skeleton(old, 'smpl_24')
    assert 'spin' in smpl.joint_names and 'spi2' not in smpl.joint_names
    assert smpl.joint_edges == skeleton.CONVENTIONS['smpl_24'].edges


@pytest.mark.parametrize('joints, message', [
    ('coco_18', "`convention` must be one of .*'coco_17'.*Received: convention='coco_18'"),
    (('nose',), '`skeleton` must be a metro_tf.skeleton.Skeleton. '),
    (skeleton.Skeleton(('nose', 'lkne'), ()), "joints of both sides.*'lkne'. without their par")])
def test_bad_skeletons_are_refused(joints, message):
    with pytest.raises(ValueError, match=message):
        new_skeleton.with_skeleton(common.make_model(models.Metrabs), joints)


def test_models_with_other_heads_are_refused():
    with pytest.raises(ValueError, match='`skeleton` can be changed of a Metrabs, Metro or Pose25D '
                                         'only. Received: a LatentMetrabs'):
        new_skeleton.with_skeleton(common.make_model(models.LatentMetrabs), JOINTS)
