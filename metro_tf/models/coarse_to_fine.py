"""Coarse-to-fine: a volume of scores per joint in every stage, with more and more depth."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.backbones import hourglass
from metro_tf.geometry import voxels
from metro_tf.layers import root_depth_reconstruction, volumetric_heatmaps
from metro_tf.models import crop_model

ROOT_JOINT = 'pelv'
# The joints of the published models, those of the released Human3.6M annotations.
JOINTS = skeleton.Skeleton(
    ('pelv', 'lhip', 'lkne', 'lank', 'rhip', 'rkne', 'rank', 'spin', 'neck', 'head', 'htop',
     'lsho', 'lelb', 'lwri', 'rsho', 'relb', 'rwri'),
    ((0, 1), (0, 4), (0, 7), (1, 2), (2, 3), (4, 5), (5, 6), (7, 8), (8, 9), (8, 11), (8, 14),
     (9, 10), (11, 12), (12, 13), (14, 15), (15, 16)))
# Their mean over the five training subjects, in the order of the edges.
BONE_LENGTHS_MM = (
    134.05, 134.05, 238.38, 449.20, 445.58, 449.21, 445.58, 255.34, 116.08, 148.84, 148.83,
    115.00, 279.76, 249.52, 279.76, 249.52)


class VolumeModel(crop_model.CropModel):
    """What models of volumes share: decoding, reconstruction and saving. Not a model by itself.

    Subclasses define `predict_heatmaps`.

    Args:
        backbone, joint_names, edges, crop_side_px, stride_px: See `CoarseToFine`.
        depths, depth_range_mm, decoding, bone_lengths_mm: See `CoarseToFine`.
        **kwargs: Arguments of `keras.Model`.

    Attributes:
        depths: Tuple of ints, the number of cells in depth of every stage.
        i_root_joint: Index of the joint that depths are relative to; None without depth.
        reconstruction: Layer from pixels and relative depths to the camera frame; None without
            depth.
    """

    def __init__(
            self, backbone, joint_names, edges, crop_side_px, stride_px, *, depths,
            depth_range_mm, decoding, bone_lengths_mm, **kwargs):
        if joint_names is None and bone_lengths_mm is None:
            bone_lengths_mm = BONE_LENGTHS_MM
        joint_names, edges = crop_model.joints_or_published(joint_names, edges, JOINTS)
        depths = checked_depths(depths)
        near, far = voxels.checked_depth_range(depth_range_mm)
        super().__init__(
            backbone, joint_names, edges, crop_side_px, stride_px, max(depths[-1], 2),
            far - near, **kwargs)
        self.depths, self.decoding, self.depth_range_mm = depths, decoding, (near, far)
        self.volume_decoding = volumetric_heatmaps.VolumeDecoding(
            crop_side_px, depths[-1], self.depth_range_mm, decoding, name='volume_decoding')
        self.bone_lengths_mm = None if bone_lengths_mm is None else tuple(
            float(length) for length in bone_lengths_mm)
        self.i_root_joint = root_index(self.joint_names) if self.is_absolute else None
        self.reconstruction = self._make_reconstruction() if self.is_absolute else None

    @property
    def is_absolute(self):
        """Whether the last stage has depth, so that poses lie in the crop camera's frame."""
        return self.depths[-1] > 1

    def build(self, input_shape=None):
        self.built = True

    def call(self, inputs, training=False):
        return self._result(self.predict_heatmaps(inputs, training))

    def predict_heatmaps(self, inputs, training=False):
        """Like `call`, with everything on the way, for losses on volumes."""
        raise NotImplementedError

    def decode(self, volumes, intrinsics=None, root_depth_mm=None):
        """Coordinates out of the volumes of the last stage.

        Args:
            volumes: Float tensor `[batch, y, x, joints * depth]`.
            intrinsics: `[batch, 3, 3]` of the crop, px. Needed with depth only.
            root_depth_mm: `[batch]`, the true depth of the root, or None. As published, the root
                itself lies behind it by the depth that was decoded for it.

        Returns:
            Dict of float32 tensors: coords25d `[batch, joints, 3]`, x and y in px of the crop and
            z in mm relative to the root, and with depth coords3d_cam `[batch, joints, 3]` in mm in
            the camera frame.
        """
        coords25d = self.volume_decoding(volumes)
        if not self.is_absolute:
            return {'coords25d': coords25d}
        if root_depth_mm is None:
            coords3d_cam = self.reconstruction(coords25d, intrinsics)
        else:
            coords3d_cam = voxels.to_camera_frame(coords25d, intrinsics, root_depth_mm)
        return {'coords25d': coords25d, 'coords3d_cam': coords3d_cam}

    def predict_with_flip(self, inputs):
        """Like a call out of training, from the mean volumes of crop and mirror image.

        As published, volumes are averaged and not poses, so that two different opinions do not
        lead to a joint in between.

        Args:
            inputs: See the class.

        Returns:
            What a call returns.

        Raises:
            ValueError: If the intrinsics are missing or a static size does not fit.
        """
        image, *others = self._split_inputs(inputs)
        straight, mirrored = (
            tf.nest.flatten(self.predict_logits(view))[-1] for view in (image, image[:, :, ::-1]))
        outputs = self.decode((straight + self._unmirrored(mirrored)) / 2, *others)
        return self._result(outputs)

    def _unmirrored(self, volumes):
        """Volumes of a mirror image as those of the crop: columns reversed, sides swapped."""
        split = voxels.split_joints(volumes, self.depths[-1])[:, :, ::-1]
        return tf.reshape(tf.gather(split, self.mirror_mapping, axis=3), tf.shape(volumes))

    def _result(self, outputs):
        return outputs['coords3d_cam'] if self.is_absolute else outputs['coords25d'][..., :2]

    def _split_inputs(self, inputs):
        """Tuple of image, intrinsics and root depth, as far as they are needed or given."""
        split = (
            crop_model.split_calibrated_inputs if self.is_absolute else crop_model.split_inputs)
        root_depth_mm = inputs.get('root_depth_mm') if isinstance(inputs, Mapping) else None
        return (*split(inputs), root_depth_mm)

    def _make_reconstruction(self):
        if self.bone_lengths_mm is None:
            raise ValueError(
                '`bone_lengths_mm` must be given for joints that are not the published ones. '
                'Received: bone_lengths_mm=None')
        return root_depth_reconstruction.RootDepthReconstruction(
            self.heatmap_config.crop_side_px, self.heatmap_config.stride_px, self.joint_edges,
            self.bone_lengths_mm, self.i_root_joint, name='reconstruction')

    def get_config(self):
        config = {
            **super().get_config(), 'depths': list(self.depths),
            'depth_range_mm': list(self.depth_range_mm), 'decoding': self.decoding,
            'bone_lengths_mm': self.bone_lengths_mm and list(self.bone_lengths_mm)}
        # These follow from the others.
        for name in ('n_depth_cells', 'box_size_mm', 'centered', 'test_stride_px'):
            del config[name]
        return config


@keras.utils.register_keras_serializable(package='metro_tf')
class CoarseToFine(VolumeModel):
    """Predicts volumes in stages, and from the last one pixels and depths relative to the root.

    Every voxel's score is trained to be high where the joint is. The first stages have few cells
    in depth, the last one has many. How far the person is from the camera follows from the true
    depth of the root, if it is given; else from the typical lengths of bones.

    With a single cell in depth in the last stage, this is a network of 2D heatmaps, whose calls
    need no intrinsics and give `[batch, joints, 2]` in px of the crop.

    Source: Pavlakos et al., CVPR 2017.

    Args:
        backbone: Keras model from images `[batch, side, side, 3]` in `[0, 1]` to the volumes of
            every stage, `[batch, y, x, joints * depth]` of stride `stride_px` (see
            `backbones.hourglass`). None stands for the published network with new weights.
        joint_names: Sequence of names out of the vocabulary of `skeleton`; with depth, the pelvis
            is one of them.
        edges: Sequence of pairs of joint indices, the bones; with depth, at least one. None for
            both stands for the published 17 joints.
        crop_side_px: Side of the square crop. It is part of the model and cannot change after
            training.
        stride_px: Stride of the volumes.
        depths: Sequence with the number of cells in depth of every stage, each one of
            `geometry.voxels.DEPTHS`.
        depth_range_mm: Pair of floats, the depths relative to the root that volumes cover.
        decoding: How joints are found in volumes, one of `volumetric_heatmaps.METHODS`.
        bone_lengths_mm: Sequence of floats, the typical length of each of `edges`. None stands for
            the published ones of the published joints, and is enough without depth.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: Dict with 'image' `[batch, side, side, 3]` (RGB, floats in `[0, 1]` or integers in
            `[0, 255]`), 'intrinsics' `[batch, 3, 3]` of the crop in px and, where the true depth
            of the root shall replace the one from bone lengths, 'root_depth_mm' `[batch]`; or a
            tuple of the first two.
        training: Boolean.

    Returns:
        Float32 tensor `[batch, joints, 3]`, camera frame, mm.
    """

    def __init__(
            self, backbone=None, joint_names=None, edges=None, crop_side_px=256, stride_px=4, *,
            depths=(1, 2, 4, 64), depth_range_mm=voxels.DEPTH_RANGE_MM,
            decoding='argmax', bone_lengths_mm=None, **kwargs):
        if backbone is None:
            n_joints = JOINTS.n_joints if joint_names is None else len(joint_names)
            backbone = hourglass.build_stacked_hourglass(n_joints, depths, crop_side_px)
        super().__init__(
            backbone, joint_names, edges, crop_side_px, stride_px, depths=depths,
            depth_range_mm=depth_range_mm, decoding=decoding, bone_lengths_mm=bone_lengths_mm,
            **kwargs)
        check_stages(backbone, self.skeleton.n_joints, self.depths, 'backbone')
        self.build()

    def predict_volumes(self, image, training=False):
        """Runs the network, for losses on all stages and where there are no intrinsics.

        Args:
            image: See `predict_logits`.
            training: Boolean.

        Returns:
            Tuple with the float32 volumes `[batch, y, x, joints * depth]` of every stage. The last
            one is the prediction.

        Raises:
            ValueError: If a static size does not fit.
        """
        return self.predict_logits(image, training)

    def predict_heatmaps(self, inputs, training=False):
        """Like `call`, with everything on the way, for losses on volumes.

        Args:
            inputs: See the class.
            training: Boolean.

        Returns:
            Dict: `volumes`, see `predict_volumes`, and what `decode` gives for the last stage.

        Raises:
            ValueError: If the intrinsics are missing or a static size does not fit.
        """
        image, intrinsics, root_depth_mm = self._split_inputs(inputs)
        volumes = self.predict_volumes(image, training)
        return {'volumes': volumes, **self.decode(volumes[-1], intrinsics, root_depth_mm)}

    def _head_logits(self, features, training):
        return tuple(tf.nest.flatten(features))


def check_stages(network, n_joints, depths, name):
    """Checks that a functional model puts out the volumes of the given stages.

    Raises:
        ValueError: If the number of stages or of channels differs.
    """
    wanted = [n_joints * depth for depth in depths]
    n_channels = [output.shape[-1] for output in network.outputs]
    if n_channels != wanted:
        raise ValueError(
            f'`{name}` must put out the volumes of {n_joints} joints with the `depths` {depths}, '
            f'thus {wanted} channels. Received: {n_channels} channels')


def root_index(joint_names):
    """Index of the root joint, the pelvis.

    Raises:
        ValueError: If it is missing.
    """
    if ROOT_JOINT not in joint_names:
        raise ValueError(
            f'`joint_names` must contain the root {ROOT_JOINT!r}. '
            f'Received: joint_names={joint_names}')
    return joint_names.index(ROOT_JOINT)


def checked_depths(depths):
    """Tuple of the number of cells in depth of every stage.

    Raises:
        ValueError: If there is none, or one that is not possible.
    """
    depths = tuple(depths)
    if not depths or not set(depths) <= set(voxels.DEPTHS):
        raise ValueError(
            '`depths` must be the cells in depth of at least one stage, out of '
            f'{voxels.DEPTHS}. Received: depths={depths}')
    return tuple(int(depth) for depth in depths)
