"""MargiPose: poses from marginal heatmaps, in stages."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from metro_tf import checks, skeleton
from metro_tf.backbones import truncated
from metro_tf.geometry import cuboid
from metro_tf.layers import (
    absolute_reconstruction, cuboid_reconstruction, heatmap_variance, marginal_heads)
from metro_tf.models import crop_model

# The joints of the published models, which are those of this convention.
JOINTS = skeleton.CONVENTIONS['mpi_inf_3dhp_17']
# The published height, knee to neck: thigh, pelvis to spine, spine to neck.
_HEIGHT_BONES = (('lhip', 'lkne'), ('pelv', 'spin'), ('spin', 'neck'))


class _MarginalModel(crop_model.CropModel):
    """What both models share: backbone, stages and saving. Subclasses define `predict_heatmaps`."""

    has_uncertainty = True

    def __init__(
            self, backbone, joint_names, edges, crop_side_px, stride_px, *, n_stages,
            axis_permutation, n_inner_channels, box_size_mm=2200.0, **kwargs):
        if backbone is None:
            backbone = truncated.build_truncated('inception_v4')
        joint_names, edges = crop_model.joints_or_published(joint_names, edges, JOINTS)
        n_cells = crop_side_px // checks.positive(stride_px, 'stride_px')
        super().__init__(
            backbone, joint_names, edges, crop_side_px, stride_px, max(n_cells, 2), box_size_mm,
            **kwargs)
        _check_cells(n_cells, axis_permutation, n_inner_channels)
        self.heads = marginal_heads.MarginalHeads(
            len(joint_names), n_stages, axis_permutation, backbone.output_shape[-1],
            n_inner_channels, name='heads')

    def call(self, inputs, training=False):
        return self.predict_heatmaps(inputs, training)['coords3d_cam']

    def predict_stages(self, image, training=False):
        """Runs backbone and stages, for losses on all of them and where there are no intrinsics.

        Args:
            image: See `predict_logits`.
            training: Boolean.

        Returns:
            Tuple with the dict of `MarginalHeatmaps` of every stage. The last one is the
            prediction.

        Raises:
            ValueError: If a static size does not fit.
        """
        return self.heads.decode(self.predict_logits(image, training))

    def predict_heatmaps(self, inputs, training=False):
        """Like `call`, with everything on the way, for losses on heatmaps."""
        raise NotImplementedError

    def _head_logits(self, features, training):
        return self.heads.logits(features, training)

    def _plane_variances(self, outputs):
        """As `plane_variances`, of the last stage, where the heatmaps span [-1, 1]."""
        heatmaps = outputs['stages'][-1]['heatmaps']
        n_cells = self.heatmap_config.crop_side_px // self.heatmap_config.stride_px
        return heatmap_variance.plane_variances(heatmaps) * (2 / n_cells) ** 2

    def get_config(self):
        config = {
            **super().get_config(), 'n_stages': self.heads.n_stages,
            'axis_permutation': self.heads.axis_permutation,
            'n_inner_channels': self.heads.n_inner_channels}
        # These follow from the others.
        for name in ('n_depth_cells', 'centered', 'test_stride_px'):
            del config[name]
        return config


@keras.utils.register_keras_serializable(package='metro_tf')
class MargiPose(_MarginalModel):
    """Predicts joints in the normalised cuboid, and their absolute position by depth or scale.

    x and y of the cuboid are image coordinates, z is a depth relative to the root (see
    `geometry.cuboid`). How far away, and thus how large, the person is follows from the true depth
    of the root, if it is given; else from the universal scale, as if all people measured 920 mm
    from knee to neck.

    Source: Nibali et al., WACV 2019.

    Args:
        backbone: Keras model from images `[batch, side, side, 3]` in `[0, 1]` to features of
            stride `stride_px` (see `backbones.truncated`), whose number of channels is that of the
            stages. None stands for the published Inception-v4 with new weights.
        joint_names: Sequence of names out of the vocabulary of `skeleton`.
        edges: Sequence of pairs of joint indices, the bones. None for both stands for the
            published 17 joints.
        crop_side_px: Side of the square crop, an even multiple of `stride_px`. It is part of the
            model and cannot change after training: the cuboid is given by the whole crop.
        stride_px: Stride of the features; heatmaps have as many cells along each axis.
        n_stages: Number of stages.
        axis_permutation: Whether the columns of the planes zy and xz permute axes.
        n_inner_channels: Number of channels of the stages at half resolution. With axis
            permutation, half the number of cells along an axis must divide it.
        height_edges: Sequence of pairs of joint indices, the bones that make up the height. None
            stands for the published left thigh, pelvis to spine, and spine to neck.
        height_mm: The universal scale, the summed length of `height_edges`.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: Dict with 'image' `[batch, side, side, 3]` (RGB, floats in `[0, 1]` or integers in
            `[0, 255]`), 'intrinsics' `[batch, 3, 3]` of the crop in px and, where the true depth
            of the root shall replace the one from the scale, 'root_depth_mm' `[batch]`; or a
            tuple of the first two.
        training: Boolean.

    Returns:
        Float32 tensor `[batch, joints, 3]`, camera frame, mm.
    """

    def __init__(
            self, backbone=None, joint_names=None, edges=None, crop_side_px=256, stride_px=8, *,
            n_stages=4, axis_permutation=True, n_inner_channels=192, height_edges=None,
            height_mm=cuboid.HEIGHT_MM, **kwargs):
        super().__init__(
            backbone, joint_names, edges, crop_side_px, stride_px, n_stages=n_stages,
            axis_permutation=axis_permutation, n_inner_channels=n_inner_channels, **kwargs)
        if height_edges is None:
            height_edges = _published_height_edges(self.joint_names)
        self.reconstruction = cuboid_reconstruction.CuboidReconstruction(
            crop_side_px, height_edges, height_mm, name='reconstruction')
        self.build()

    def predict_heatmaps(self, inputs, training=False):
        """Like `call`, with everything on the way, for losses on heatmaps.

        Args:
            inputs: See the class.
            training: Boolean.

        Returns:
            Dict: `stages`, see `predict_stages`, and float32 tensors of the last stage: coords
            `[batch, joints, 3]` in the cuboid, coords2d `[batch, joints, 2]` in px of the crop and
            coords3d_cam `[batch, joints, 3]` in mm in the camera frame.

        Raises:
            ValueError: If the intrinsics are missing or a static size does not fit.
        """
        image, intrinsics = crop_model.split_calibrated_inputs(inputs)
        root_depth_mm = inputs.get('root_depth_mm') if isinstance(inputs, Mapping) else None
        stages = self.predict_stages(image, training)
        coords = stages[-1]['coords']
        return {
            'stages': stages, 'coords': coords,
            'coords2d': cuboid.to_pixels(coords, intrinsics),
            'coords3d_cam': self.reconstruction(coords, intrinsics, root_depth_mm)}

    def _joint_variances(self, outputs, inputs):
        _, intrinsics = crop_model.split_calibrated_inputs(inputs)
        xy, zy, xz = tf.unstack(self._plane_variances(outputs), num=3, axis=1)
        variances = tf.concat([xy, (zy[..., :1] + xz[..., 1:]) / 2], axis=-1)
        return cuboid.variances_in_camera_frame(
            variances, outputs['coords'], outputs['coords3d_cam'], intrinsics,
            self.input_resolution)

    def get_config(self):
        config = {
            **super().get_config(),
            'height_edges': [list(edge) for edge in self.reconstruction.height_edges],
            'height_mm': self.reconstruction.height_mm}
        del config['box_size_mm']
        return config


@keras.utils.register_keras_serializable(package='metro_tf')
class AbsoluteMargiPose(_MarginalModel):
    """Marginal heatmaps for the absolute reconstruction of MeTRAbs, which needs no scale.

    The plane xy gives the 2D pose in the image. The other two planes are marginals of the metric
    volume of MeTRAbs, a box that the crop fills in x and y: xz gives the metric x, zy the metric
    y, and both the metric z. The absolute position follows from the agreement of the 2D and the
    metric pose.

    Source: Nibali et al., WACV 2019; Sarandi et al., T-BIOM 2021.

    Args:
        backbone, joint_names, edges, crop_side_px, stride_px: See `MargiPose`. Joints closer than
            0.75 strides to the crop's border count as outside the field of view.
        box_size_mm: Side of the metric box that the volume stands for.
        n_stages, axis_permutation, n_inner_channels: See `MargiPose`.
        weak_perspective, mix_3d_inside_fov: See `AbsoluteReconstruction`.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: Dict with 'image' `[batch, side, side, 3]` (RGB, floats in `[0, 1]` or integers in
            `[0, 255]`) and 'intrinsics' `[batch, 3, 3]` of the crop in px; or a tuple of both.
        training: Boolean.

    Returns:
        Float32 tensor `[batch, joints, 3]`, camera frame, mm.
    """

    def __init__(
            self, backbone=None, joint_names=None, edges=None, crop_side_px=256, stride_px=8,
            box_size_mm=2200.0, *, n_stages=4, axis_permutation=True, n_inner_channels=192,
            weak_perspective=False, mix_3d_inside_fov=0.5, **kwargs):
        super().__init__(
            backbone, joint_names, edges, crop_side_px, stride_px, box_size_mm=box_size_mm,
            n_stages=n_stages, axis_permutation=axis_permutation,
            n_inner_channels=n_inner_channels, **kwargs)
        self.reconstruction = absolute_reconstruction.AbsoluteReconstruction(
            crop_side_px, stride_px, weak_perspective, mix_3d_inside_fov, name='reconstruction')
        self.build()

    def predict_heatmaps(self, inputs, training=False):
        """Like `call`, with everything on the way, for losses on heatmaps.

        Args:
            inputs: See the class.
            training: Boolean.

        Returns:
            Dict: `stages`, see `predict_stages`, and float32 tensors of the last stage: coords2d
            `[batch, joints, 2]` in px of the crop, coords3d_rel `[batch, joints, 3]` in mm from a
            corner of the metric box, and coords3d_cam `[batch, joints, 3]` in mm in the camera
            frame.

        Raises:
            ValueError: If the intrinsics are missing or a static size does not fit.
        """
        image, intrinsics = crop_model.split_calibrated_inputs(inputs)
        stages = self.predict_stages(image, training)
        coords2d, coords3d_rel = self.decode_stage(stages[-1])
        coords3d_cam = self.reconstruction(
            coords2d, coords3d_rel, intrinsics, training=training)
        return {
            'stages': stages, 'coords2d': coords2d, 'coords3d_rel': coords3d_rel,
            'coords3d_cam': coords3d_cam}

    def decode_stage(self, stage):
        """What the planes of a stage stand for.

        Args:
            stage: Dict of `MarginalHeatmaps`.

        Returns:
            Tuple of coords2d and coords3d_rel, see `predict_heatmaps`.
        """
        xy, zy, xz = tf.unstack(stage['plane_coords'], num=3, axis=1)
        metric = tf.stack([xz[..., 0], zy[..., 1], stage['coords'][..., 2]], axis=-1)
        half_side, half_box = (
            size / 2 for size in (self.input_resolution, self.heatmap_config.box_size_mm))
        return (xy + 1) * half_side, (metric + 1) * half_box

    def _joint_variances(self, outputs, inputs):
        _, zy, xz = tf.unstack(self._plane_variances(outputs), num=3, axis=1)
        variances = tf.stack(
            [xz[..., 0], zy[..., 1], (zy[..., 0] + xz[..., 1]) / 2], axis=-1)
        return variances * (self.heatmap_config.box_size_mm / 2) ** 2

    def get_config(self):
        return {
            **super().get_config(),
            'weak_perspective': self.reconstruction.weak_perspective,
            'mix_3d_inside_fov': self.reconstruction.mix_3d_inside_fov}


def _check_cells(n_cells, axis_permutation, n_inner_channels):
    """Refuses sides that the stages cannot halve, or that their groups of channels do not fit."""
    if n_cells < 2 or n_cells % 2:
        raise ValueError(
            '`crop_side_px` must be an even multiple of `stride_px`. '
            f'Received: {n_cells} times `stride_px`')
    if axis_permutation and n_inner_channels % (n_cells // 2):
        raise ValueError(
            f'`n_inner_channels` must be a multiple of {n_cells // 2}, half the cells along an '
            f'axis, for `axis_permutation`. Received: n_inner_channels={n_inner_channels}')


def _published_height_edges(joint_names):
    missing = {name for bone in _HEIGHT_BONES for name in bone} - set(joint_names)
    if missing:
        raise ValueError(
            '`height_edges` must be given where the published ones do not exist. '
            f'Received: joint_names without {sorted(missing)}')
    return tuple(tuple(list(joint_names).index(name) for name in bone) for bone in _HEIGHT_BONES)
