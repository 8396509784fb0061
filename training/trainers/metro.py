"""Training of MeTRo."""

from metro_tf import losses
from training.trainers import base, volume_targets


class MetroTrainer(base.PoseTrainer):
    """Wraps a `metro_tf.models.Metro` for training on mixed batches.

    Both generations compare poses up to a translation, R23 relative to the mean joint and R20 to
    the pelvis; 2D labels are compared after moving and scaling the prediction onto them.

    Args:
        crop_model: `Metro`.
        loss_config: `training.config.LossConfig`.
    """

    TERMS = dict.fromkeys(('R23', 'R20'), ('heatmap3d', 'relative', 'aligned_2d_only'))
    POSE_OUTPUT = 'coords3d_rel'

    def loss_terms(self, inputs, labels, outputs):
        """See `PoseTrainer`."""
        labels = base.finite_labels(labels)
        coords3d, mask3d = labels['coords3d_cam'], labels['joint_validity_mask_3d']

        def heatmap3d():
            """Cross-entropy of the heatmaps."""
            placed = volume_targets.place_in_volume(
                coords3d, labels['coords2d'], mask3d, self.heatmap)
            return volume_targets.cross_entropy(
                outputs['logits3d'], placed, mask3d, self.heatmap, self.loss_config)

        return {
            'heatmap3d': heatmap3d,
            'relative': lambda: losses.root_relative_loss(
                coords3d, outputs['coords3d_rel'], mask3d, self.i_root,
                reduction=self.loss_config.reduction),
            'aligned_2d_only': lambda: self.aligned_2d_only_loss(labels, outputs)}
