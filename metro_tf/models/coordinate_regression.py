"""Coordinate regression: poses of unknown position by fully connected layers, the baseline."""

import keras
import numpy as np
import tensorflow as tf

from metro_tf import checks
from metro_tf.backbones import hourglass
from metro_tf.models import coarse_to_fine, crop_model

MM_PER_M = 1000.0
REFERENCES = ('root', 'parent')


@keras.utils.register_keras_serializable(package='metro_tf')
class CoordinateRegression(crop_model.CropModel):
    """Predicts three numbers per joint, without any heatmap: its offset from another joint.

    Two hidden layers of `n_hidden` units follow the features. The other joint is the root, or the
    parent on the way to the root along the bones. The root's own offset does not count.

    Source: the baseline of Pavlakos et al., CVPR 2017, section 3.1. The paper leaves the layers
    open; these are our choice.

    Args:
        backbone: Keras model from images `[batch, side, side, 3]` in `[0, 1]` to features of
            stride `stride_px` (see `backbones.hourglass.build_encoder`). None stands for the
            encoder of the published hourglass with new weights.
        joint_names: Sequence of names out of the vocabulary of `skeleton`, the pelvis, which is
            the root, among them.
        edges: Sequence of pairs of joint indices, the bones. Relative to parents, they must lead
            from the root to every joint in one way. None for both stands for the published 17
            joints.
        crop_side_px: Side of the square crop. It is part of the model and cannot change after
            training.
        stride_px: Stride of the features.
        relative_to: 'root' or 'parent'.
        n_hidden: Number of units of the hidden layers.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: The image `[batch, side, side, 3]` (RGB, floats in `[0, 1]` or integers in
            `[0, 255]`); or the inputs of `CoarseToFine`, of which only the image is used.
        training: Boolean.

    Returns:
        Float32 tensor `[batch, joints, 3]`, mm relative to the root, axes as in the camera frame.
    """

    is_absolute = False

    def __init__(
            self, backbone=None, joint_names=None, edges=None, crop_side_px=256, stride_px=64, *,
            relative_to='root', n_hidden=1024, **kwargs):
        checks.one_of(relative_to, REFERENCES, 'relative_to')
        checks.positive(n_hidden, 'n_hidden')
        joint_names, edges = crop_model.joints_or_published(
            joint_names, edges, coarse_to_fine.JOINTS)
        if backbone is None:
            backbone = hourglass.build_encoder(crop_side_px)
        super().__init__(backbone, joint_names, edges, crop_side_px, stride_px, **kwargs)
        self.relative_to, self.n_hidden = relative_to, n_hidden
        self.reference_joints = _reference_joints(self.skeleton, relative_to)
        self.heads = _fully_connected(n_hidden, self.skeleton.n_joints)
        self.build()

    def call(self, inputs, training=False):
        return self.predict_heatmaps(inputs, training)['coords3d_rel']

    def predict_heatmaps(self, inputs, training=False):
        """Like `call`, with the network's outputs, for losses. There are no heatmaps.

        Args:
            inputs: See the class.
            training: Boolean.

        Returns:
            Dict of float32 tensors: offsets `[batch, joints, 3]` in metres from the joints
            `reference_joints`, and coords3d_rel `[batch, joints, 3]` in mm relative to the root.

        Raises:
            ValueError: If a static size does not fit.
        """
        image, _ = crop_model.split_inputs(inputs)
        offsets = self.predict_logits(image, training)
        return {'offsets': offsets, 'coords3d_rel': self.from_offsets(offsets)}

    def from_offsets(self, offsets):
        """Sums of the offsets on the way from the root to every joint.

        Args:
            offsets: Float tensor `[..., joints, 3]`, metres. Those of the root are not used.

        Returns:
            Float tensor `[..., joints, 3]`, mm relative to the root, which is at 0.
        """
        paths = tf.constant(_paths(self.reference_joints), offsets.dtype)
        return MM_PER_M * tf.einsum('jk,...kc->...jc', paths, offsets)

    def to_offsets(self, coords3d):
        """Inverse of `from_offsets`, for labels.

        Args:
            coords3d: Float tensor `[..., joints, 3]`, mm from any origin.

        Returns:
            Float tensor `[..., joints, 3]`, metres. Those of the root are 0.
        """
        return (coords3d - tf.gather(coords3d, self.reference_joints, axis=-2)) / MM_PER_M

    def _head_logits(self, features, training):
        outputs = self.heads(features, training=training)
        return tf.reshape(outputs, [-1, self.skeleton.n_joints, 3])

    def get_config(self):
        config = {
            **super().get_config(), 'relative_to': self.relative_to, 'n_hidden': self.n_hidden}
        # There are no heatmaps.
        for name in ('n_depth_cells', 'box_size_mm', 'centered', 'test_stride_px'):
            del config[name]
        return config


def _fully_connected(n_hidden, n_joints):
    # The hourglass ends without a normalisation; those that follow begin with one.
    return keras.Sequential([
        keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name='norm'),
        keras.layers.ReLU(name='relu'),
        keras.layers.Flatten(name='flatten'),
        keras.layers.Dense(n_hidden, activation='relu', name='hidden_0'),
        keras.layers.Dense(n_hidden, activation='relu', name='hidden_1'),
        keras.layers.Dense(3 * n_joints, dtype='float32', name='offsets')], name='heads')


def _reference_joints(joints, relative_to):
    """Tuple with the index of the joint that each joint is relative to; the root is to itself."""
    i_root = coarse_to_fine.root_index(joints.joint_names)
    if relative_to == 'root':
        return (i_root,) * joints.n_joints
    parents = {i_root: i_root}
    neighbours = [*joints.edges, *((child, parent) for parent, child in joints.edges)]
    for _ in joints.joint_names:
        for near, far in neighbours:
            if near in parents:
                parents.setdefault(far, near)
    if len(parents) != joints.n_joints or len(joints.edges) != joints.n_joints - 1:
        raise ValueError(
            '`edges` must form a tree of all joints. '
            f'Received: edges={joints.edges} of {joints.n_joints} joints')
    return tuple(parents[i] for i in range(joints.n_joints))


def _paths(reference_joints):
    """Matrix `[joints, joints]`: 1 where the column's offset is on the way to the row's joint."""
    paths = np.zeros([len(reference_joints)] * 2)
    for i_joint in range(len(reference_joints)):
        i = i_joint
        while reference_joints[i] != i:
            paths[i_joint, i] = 1
            i = reference_joints[i]
    return paths
