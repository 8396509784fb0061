"""Training of the 2.5D baseline."""

from metro_tf import losses, metrics
from metro_tf.geometry import camera
from training.trainers import base, volume_targets


class Pose25DTrainer(base.AbsolutePoseTrainer):
    """Wraps a `metro_tf.models.Pose25D` for training on mixed batches.

    Pixels and relative depths are compared as they are; the root depth, which follows from bone
    lengths, enters the scores only. Depths are relative to the mean joint in R23 and to the pelvis
    in R20. A joint behind the camera has no pixel and does not count.

    The published R20 moves the predicted hips and pelvis before it compares them with the labels
    of MPII (`losses.lower_hips`) where 3D labels come from MPI-INF-3DHP. That is not done here: all
    labels must be in one convention.

    Args:
        crop_model: `Pose25D`.
        loss_config: `training.config.LossConfig`.
    """

    TERMS = dict.fromkeys(('R23', 'R20'), ('heatmap3d', 'pose25d', 'image_2d_only'))

    def loss_terms(self, inputs, labels, outputs):
        """See `PoseTrainer`."""
        labels = base.finite_labels(labels)
        coords3d, coords25d = labels['coords3d_cam'], outputs['coords25d']
        mask3d = labels['joint_validity_mask_3d'] & (coords3d[..., 2] > base.MIN_DEPTH_MM)

        def heatmap3d():
            """Cross-entropy of the heatmaps."""
            mask = metrics.counted_joints(mask3d, self.i_root)
            placed = volume_targets.place_in_25d_volume(
                coords3d, labels['coords2d'], mask, self.heatmap, self.i_root)
            mask &= camera.is_within_image(labels['coords2d'], self.heatmap.crop_side_px)
            return volume_targets.cross_entropy(
                outputs['logits3d'], placed, mask, self.heatmap, self.loss_config)

        return {
            'heatmap3d': heatmap3d,
            'pose25d': lambda: losses.pose25d_loss(
                coords3d, coords25d, inputs['intrinsics'], mask3d, self.meters_per_px,
                box_size_mm=self.heatmap.box_size_mm, i_root=self.i_root,
                reduction=self.loss_config.reduction),
            'image_2d_only': lambda: self.image_2d_only_loss(labels, coords25d[..., :2])}
