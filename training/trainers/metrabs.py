"""Training of MeTRAbs, in both published generations."""

import functools

import tensorflow as tf

from metro_tf import losses
from metro_tf.geometry import camera, reconstruction
from metro_tf.layers import heatmap_coords
from training import config as config_lib
from training import randomness
from training.trainers import base, volume_targets


class MetrabsTrainer(base.AbsolutePoseTrainer):
    """Wraps a `metro_tf.models.Metrabs` for training on mixed batches.

    R23 supervises the heads through the absolute reconstruction alone, with weak perspective in
    the first steps. R20 supervises each head itself, the 3D one relative to the pelvis, and
    reconstructs for the absolute loss only: not before it starts, which covers the first 50 steps
    that the published code leaves out. Whether R20 goes on with weak perspective, as published,
    is the model's `weak_perspective`.

    `divergence` is the regulariser of MargiPose, not published for MeTRAbs: that of the 2D
    heatmaps plus those of the three marginals of the volume, of the same joints and with Gaussians
    at the same places as in `heatmap2d` and `heatmap3d`.

    Args:
        crop_model: `Metrabs`.
        loss_config: `training.config.LossConfig`.
    """

    START_STEPS = config_lib.START_STEPS
    TERMS = {
        'R23': (
            'heatmap2d', 'heatmap3d', 'relative', 'projection', 'absolute', 'projection_2d_only',
            'aligned_2d_only', 'divergence'),
        'R20': (
            'heatmap2d', 'heatmap3d', 'image', 'relative', 'absolute', 'image_2d_only',
            'aligned_2d_only', 'divergence')}

    def __init__(self, crop_model, loss_config, **kwargs):
        super().__init__(crop_model, loss_config, **kwargs)
        self.fov = losses.FieldOfView(
            self.heatmap.crop_side_px, self.heatmap.stride_px,
            border_factor=1.0 if self.is_r20 else 0.75, centered=self.heatmap.centered)

    def call(self, inputs, training=False):
        outputs = super().call(inputs, training=training)
        return {**outputs, 'coords3d_cam': self._scored_poses(outputs, inputs['intrinsics'])}

    def _scored_poses(self, outputs, intrinsics):
        """Poses like in inference. The model's own draw of the mix would not resume."""
        return self.crop_model.reconstruction(
            outputs['coords2d'], outputs['coords3d_rel'], intrinsics, training=False)

    def loss_terms(self, inputs, labels, outputs):
        """See `PoseTrainer`."""
        if self.is_r20:
            return self._r20_terms(inputs, base.finite_labels(labels), outputs)
        poses = self._reconstruct(outputs, inputs['intrinsics'])
        return self._r23_terms(inputs, base.finite_labels(labels), outputs, poses)

    def weight(self, name):
        """Weight of a term at the current step, 0 for the absolute one before it starts."""
        weight = super().weight(name)
        if name == 'absolute':
            weight *= tf.cast(self._is_absolute_started(), tf.float32)
        return weight

    def _is_absolute_started(self):
        return self.step() >= self.loss_config.absolute_start_step

    def _reconstruct(self, outputs, intrinsics):
        """Absolute poses as in training: weak perspective at first, or always if the model's.

        R23 mixes the 2D-based and the 3D-based joints at random, R20 takes the 2D-based ones.
        """
        step, coords2d = self.step(), outputs['coords2d']
        is_in_fov = camera.is_within_fov(
            coords2d, self.fov.crop_side_px, self.fov.stride_px, self.fov.border_factor,
            self.fov.centered)
        mix = None if self.is_r20 else 0.5 if self.is_batch_norm_frozen else (
            randomness.uniform_of_step([tf.shape(coords2d)[0], 1, 1], self.seed, step))
        weak, full = [
            reconstruction.reconstruct_absolute(
                coords2d, outputs['coords3d_rel'], intrinsics, is_in_fov, mix,
                weak_perspective=is_weak)
            for is_weak in (True, False)]
        if self.crop_model.reconstruction.weak_perspective:
            return weak
        return tf.where(step < self.loss_config.full_perspective_start_step, weak, full)

    def _heatmap_terms(self, labels, outputs):
        config, heatmap = self.loss_config, self.heatmap
        coords2d, mask3d = labels['coords2d'], labels['joint_validity_mask_3d']
        in_crop = labels['joint_validity_mask_2d'] & camera.is_within_image(
            coords2d, heatmap.crop_side_px)
        settings = {
            'sigma_cells': config.heatmap_sigma_cells, 'reduction': config.reduction}

        @functools.cache
        def cells2d():
            """True positions in the 2D heatmaps."""
            n_cells = outputs['logits2d'].shape[1]  # follows the stride in use
            return (n_cells - 1.0) * heatmap_coords.image_to_heatmap(
                coords2d, heatmap.crop_side_px, heatmap.crop_side_px // n_cells,
                centered=heatmap.centered)

        @functools.cache
        def cells3d():
            """True positions in the volume."""
            placed = volume_targets.place_in_volume(
                labels['coords3d_cam'], coords2d, mask3d, heatmap)
            return volume_targets.to_cells(placed, outputs['logits3d'], heatmap)

        return {
            'heatmap2d': lambda: losses.heatmap_cross_entropy(
                outputs['logits2d'], cells2d(), in_crop, **settings),
            'heatmap3d': lambda: losses.volume_cross_entropy(
                outputs['logits3d'], cells3d(), mask3d, **settings),
            'divergence': lambda: losses.heatmap_divergence(
                outputs['logits2d'], cells2d(), in_crop, **settings) + losses.volume_divergence(
                outputs['logits3d'], cells3d(), mask3d, **settings)}

    def _r23_terms(self, inputs, labels, outputs, poses):
        return {
            **self._heatmap_terms(labels, outputs),
            **self._pose_terms(inputs['intrinsics'], labels, poses),
            'aligned_2d_only': lambda: self.aligned_2d_only_loss(labels, outputs)}

    def _pose_terms(self, intrinsics, labels, poses):
        """The terms of R23 that compare absolute poses with labels."""
        coords3d, reduction = labels['coords3d_cam'], self.loss_config.reduction
        mask3d, mask2d = base.label_masks(labels)
        # Published without the limit on predicted depth, which guards against joints behind the
        # camera.
        is_in_front = poses[..., 2] > base.MIN_DEPTH_MM
        return {
            'relative': lambda: losses.root_relative_loss(
                coords3d, poses, mask3d, reduction=reduction),
            'projection': lambda: losses.projection_loss(
                coords3d, poses, intrinsics, mask3d, self.meters_per_px, fov=self.fov,
                reduction=reduction),
            'absolute': lambda: losses.absolute_loss(
                coords3d, poses, mask3d, reduction=reduction),
            'projection_2d_only': lambda: losses.weak_projection_loss(
                labels['coords2d'], camera.project(poses, intrinsics), mask2d & is_in_front,
                self.meters_per_px, fov=self.fov, reduction=reduction)}

    def _r20_terms(self, inputs, labels, outputs):
        coords3d, intrinsics = labels['coords3d_cam'], inputs['intrinsics']
        mask3d, reduction = labels['joint_validity_mask_3d'], self.loss_config.reduction

        def absolute():
            """The absolute loss, 0 before it starts."""
            return tf.cond(
                self._is_absolute_started(),
                lambda: losses.absolute_loss(
                    coords3d, self._reconstruct(outputs, intrinsics), mask3d,
                    near_limit_mm=None, far_limit_mm=None, reduction=reduction),
                lambda: tf.zeros([]))

        return {
            **self._heatmap_terms(labels, outputs),
            'image': lambda: losses.image_loss(
                camera.project(coords3d, intrinsics), outputs['coords2d'],
                mask3d & (coords3d[..., 2] > base.MIN_DEPTH_MM), self.meters_per_px,
                reduction=reduction),
            'relative': lambda: losses.root_relative_loss(
                coords3d, outputs['coords3d_rel'], mask3d, self.i_root, reduction=reduction),
            'absolute': absolute,
            'image_2d_only': lambda: self.image_2d_only_loss(labels, outputs['coords2d']),
            'aligned_2d_only': lambda: self.aligned_2d_only_loss(labels, outputs)}
