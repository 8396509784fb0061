"""Training of MargiPose, in the normalised cuboid and with the absolute reconstruction."""

import tensorflow as tf

from metro_tf import losses
from metro_tf.geometry import camera, cuboid
from training.trainers import base, metrabs, volume_targets


class MargiPoseTrainer(base.AbsolutePoseTrainer):
    """Wraps a `metro_tf.models.MargiPose` for training on mixed batches.

    As published, all stages are compared with the truth in the cuboid, whose root is the pelvis
    at its true depth, and their losses are added. Of examples without a 3D label of the pelvis,
    the 2D labels count: x and y, and the heatmaps of the plane xy, of joints inside the crop.
    Joints of 3D labels may lie outside; behind the camera they do not count. Each term is a mean
    over the joints of both kinds of examples together.

    The running scores are those of the universal scale, since the network is not told depths.

    Args:
        crop_model: `MargiPose` with a pelvis among its joints.
        loss_config: `training.config.LossConfig`. Published weights of `marginal` and
            `divergence` are 1.

    Raises:
        ValueError: See `PoseTrainer`, or if there is no pelvis.
    """

    TERMS = {'R23': ('marginal', 'divergence')}

    def __init__(self, crop_model, loss_config, **kwargs):
        super().__init__(crop_model, loss_config, **kwargs)
        if 'pelv' not in crop_model.joint_names:
            raise ValueError(
                '`crop_model` must predict the joint `pelv`, the root of the cuboid. '
                f'Received: joints {crop_model.joint_names}')
        self.i_pelvis = crop_model.joint_names.index('pelv')

    def loss_terms(self, inputs, labels, outputs):
        """See `PoseTrainer`."""
        config, stages = self.loss_config, outputs['stages']
        coords, mask, depth_mask = self.cuboid_labels(
            inputs['intrinsics'], base.finite_labels(labels))
        return {
            'marginal': lambda: losses.marginal_distance(
                coords, stages, mask, depth_mask, reduction=config.reduction),
            'divergence': lambda: losses.marginal_divergence(
                cuboid.plane_coords(coords), stages, mask, depth_mask,
                sigma_cells=config.heatmap_sigma_cells, reduction=config.reduction)}

    def cuboid_labels(self, intrinsics, labels):
        """The true pose in the cuboid.

        Args:
            intrinsics: Float tensor `[batch, 3, 3]` of the crops, px.
            labels: Dict of the batch's labels, finite.

        Returns:
            Tuple of coordinates `[batch, joints, 3]`, and of boolean tensors `[batch, joints]`
            that tell where x and y are known, and where z is too.
        """
        coords3d = labels['coords3d_cam']
        mask3d, mask2d = labels['joint_validity_mask_3d'], labels['joint_validity_mask_2d']
        mask3d &= coords3d[..., 2] > base.MIN_DEPTH_MM
        has_depth = mask3d[:, self.i_pelvis, tf.newaxis]
        with_depth = cuboid.from_camera_frame(
            coords3d, intrinsics, coords3d[:, self.i_pelvis, 2], self.heatmap.crop_side_px)
        without_depth = cuboid.from_pixels(labels['coords2d'], intrinsics)
        mask2d &= tf.reduce_all(tf.abs(without_depth) < 1, axis=-1)
        return (
            tf.where(has_depth[..., tf.newaxis], with_depth, without_depth),
            tf.where(has_depth, mask3d, mask2d), mask3d & has_depth)


class AbsoluteMargiPoseTrainer(metrabs.MetrabsTrainer):
    """Wraps a `metro_tf.models.AbsoluteMargiPose` for training on mixed batches.

    Every stage is reconstructed and gets the terms of MeTRAbs (R23), which are added over the
    stages; no publication has this combination. `divergence` compares the plane xy with the
    image, of joints inside the crop. The other two planes belong to a metric volume whose origin
    is arbitrary: they are compared with 3D labels at the place that `place_in_volume` gives them.

    Args:
        crop_model: `AbsoluteMargiPose`.
        loss_config: `training.config.LossConfig`.
    """

    TERMS = {'R23': ('relative', 'projection', 'absolute', 'projection_2d_only', 'divergence')}

    def loss_terms(self, inputs, labels, outputs):
        """See `PoseTrainer`."""
        labels, intrinsics = base.finite_labels(labels), inputs['intrinsics']
        of_stages = [
            self._pose_terms(intrinsics, labels, self._reconstruct(stage, intrinsics))
            for stage in (*map(self._decoded, outputs['stages'][:-1]), outputs)]

        def summed(name):
            """Sum of a term over the stages, as a function."""
            return lambda: tf.add_n([terms[name]() for terms in of_stages])

        return {
            **{name: summed(name) for name in of_stages[0]},
            'divergence': lambda: self._divergence(labels, outputs['stages'])}

    def _decoded(self, stage):
        coords2d, coords3d_rel = self.crop_model.decode_stage(stage)
        return {'coords2d': coords2d, 'coords3d_rel': coords3d_rel}

    def _divergence(self, labels, stages):
        config, heatmap = self.loss_config, self.heatmap
        coords2d, mask3d = labels['coords2d'], labels['joint_validity_mask_3d']
        is_in_crop = camera.is_within_image(coords2d, heatmap.crop_side_px)
        placed = volume_targets.place_in_volume(
            labels['coords3d_cam'], coords2d, mask3d, heatmap)
        metric_planes = cuboid.plane_coords(placed / (heatmap.box_size_mm / 2) - 1)[:, 1:]
        image_plane = coords2d[:, tf.newaxis] / (heatmap.crop_side_px / 2) - 1
        return losses.marginal_divergence(
            tf.concat([image_plane, metric_planes], axis=1), stages,
            labels['joint_validity_mask_2d'] & is_in_crop, mask3d,
            sigma_cells=config.heatmap_sigma_cells, reduction=config.reduction)
