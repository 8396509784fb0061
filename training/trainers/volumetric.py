"""Training of coarse-to-fine prediction, and of what it is compared with."""

import keras
import tensorflow as tf

from metro_tf import losses, metrics
from metro_tf.geometry import camera, voxels
from metro_tf.layers import volumetric_heatmaps
from metro_tf.losses import selection
from training.trainers import base

# Published for volumes of 64 voxels along each axis: 3.2 voxels.
_ACCURATE_FRACTION = 0.05


class CoarseToFineTrainer(base.AbsolutePoseTrainer):
    """Wraps a `metro_tf.models.CoarseToFine` for training on mixed batches.

    As published, the volumes of every stage are compared with blobs around the true joints, by
    their mean squared error, and the errors of all stages are added. Depths are relative to the
    true one of the pelvis. A joint outside the crop has what its blob reaches into the volume, or
    zeros, as its target and counts like the others.

    Labels are never missing in the publication. Here, joints without a label or behind the camera
    do not count. Where the depth of the joint or of the pelvis is not known, as in examples with
    2D labels only, a joint counts in stages of depth 1 alone.

    Besides the scores of poses there is `voxel_accuracy`: the share of joints whose voxel in the
    last stage is off by at most 0.05 of the volume's extent, among those with labels inside the
    crop. A network of 2D heatmaps has no poses; it is scored by it and by the PCK of all 2D labels.

    Args:
        crop_model: `CoarseToFine`.
        loss_config: `training.config.LossConfig`. The published weight of `volumes` is 1.
    """

    TERMS = {'R23': ('volumes',)}
    # Whether stages of depth 1 learn from joints without depth.
    LEARNS_FROM_2D = True

    def __init__(self, crop_model, loss_config, **kwargs):
        super().__init__(crop_model, loss_config, **kwargs)
        self.i_pelvis = crop_model.i_root_joint
        self.n_cells = self.heatmap.crop_side_px // self.heatmap.stride_px
        self.drawings = [self._make_drawing(depth) for depth in crop_model.depths]
        self.voxel_accuracy = keras.metrics.Mean(name='voxel_accuracy')
        self.has_depth = crop_model.is_absolute
        self.image_pck = metrics.TorsoPCK(crop_model.joint_names, name='pck_2d') if (
            not self.has_depth and metrics.has_torso(crop_model.joint_names)) else None

    def _make_drawing(self, n_depth_cells):
        return volumetric_heatmaps.VolumetricTargets(
            self.heatmap.crop_side_px, self.n_cells, n_depth_cells,
            self.crop_model.depth_range_mm)

    @property
    def scores(self):
        """The running means that are no losses."""
        if self.has_depth:
            return [*super().scores, self.voxel_accuracy]
        return [self.voxel_accuracy, *([] if self.image_pck is None else [self.image_pck])]

    def loss_terms(self, inputs, labels, outputs):
        """See `PoseTrainer`."""

        def volumes():
            """Sum over the stages."""
            coords25d, *masks = self.labels25d(base.finite_labels(labels))
            return tf.add_n([
                self._stage_loss(volume, drawing, coords25d, *masks)
                for volume, drawing in zip(outputs['volumes'], self.drawings, strict=True)])

        return {'volumes': volumes}

    def _stage_loss(self, volume, drawing, coords25d, image_mask, depth_mask):
        needs_depth = drawing.n_depth_cells > 1 or not self.LEARNS_FROM_2D
        mask = depth_mask if needs_depth else image_mask
        return losses.volumetric_loss(
            volume, drawing.profiles(coords25d, mask), mask, reduction=self.loss_config.reduction)

    def labels25d(self, labels):
        """The true pose in the volume.

        Args:
            labels: Dict of the batch's labels, finite.

        Returns:
            Tuple of coordinates `[batch, joints, 3]`, x and y in px of the crop and z in mm
            relative to the pelvis, and of boolean tensors `[batch, joints]` that tell where x and
            y are known, and where z is too.
        """
        depth, mask3d = labels['coords3d_cam'][..., 2], labels['joint_validity_mask_3d']
        is_behind = mask3d & (depth <= base.MIN_DEPTH_MM)
        image_mask = labels['joint_validity_mask_2d'] & ~is_behind
        if not self.has_depth:
            coords25d = tf.pad(labels['coords2d'], [[0, 0], [0, 0], [0, 1]])
            return coords25d, image_mask, tf.zeros_like(image_mask)
        depth_mask = image_mask & mask3d & mask3d[:, self.i_pelvis, tf.newaxis]
        z = depth - depth[:, self.i_pelvis, tf.newaxis]
        coords25d = tf.concat([labels['coords2d'], z[..., tf.newaxis]], axis=-1)
        return coords25d, image_mask, depth_mask

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates the scores and returns all running means; a hook of both Keras versions."""
        labels = base.finite_labels(y)
        self._update_voxel_accuracy(labels, y_pred['coords25d'])
        if self.has_depth:
            return super().compute_metrics(x, y, y_pred, sample_weight)
        if self.image_pck is not None:
            self.image_pck.update_state(
                labels['coords2d'], y_pred['coords25d'][..., :2],
                labels['joint_validity_mask_2d'])
        return {metric.name: metric.result() for metric in self.metrics}

    def _update_voxel_accuracy(self, labels, coords25d):
        true_coords25d, image_mask, depth_mask = self.labels25d(labels)
        is_inside = camera.is_within_image(labels['coords2d'], self.heatmap.crop_side_px)
        distances = tf.norm(
            self._volume_fractions(true_coords25d) - self._volume_fractions(coords25d), axis=-1)
        self.voxel_accuracy.update_state(
            tf.cast(distances <= _ACCURATE_FRACTION, tf.float32),
            tf.cast(is_inside & (depth_mask if self.has_depth else image_mask), tf.float32))

    def _volume_fractions(self, coords25d):
        """Voxels of the last stage, each axis in units of the volume's extent."""
        cells = voxels.to_voxels(
            coords25d, self.heatmap.crop_side_px, self.n_cells, self.crop_model.depth_range_mm)
        n_depth_cells = self.crop_model.depths[-1]
        planes = voxels.to_planes(cells[..., 2:], n_depth_cells)
        return tf.concat([
            tf.cast(cells[..., :2], tf.float32) / self.n_cells,
            tf.cast(planes, tf.float32) / n_depth_cells], axis=-1)


class DecoupledTrainer(CoarseToFineTrainer):
    """Wraps a `metro_tf.models.Decoupled` for training its second network on drawn heatmaps.

    Its input are the targets of a 2D network, drawn from the 2D labels, so images are not used and
    poses alone would do. It learns from joints whose depth is known; examples with 2D labels only
    add nothing but to the batch statistics. The first network stays as it is.

    The running scores are those of perfect heatmaps.

    Args:
        crop_model: `Decoupled`.
        loss_config: See `CoarseToFineTrainer`.
    """

    LEARNS_FROM_2D = False

    def __init__(self, crop_model, loss_config, **kwargs):
        super().__init__(crop_model, loss_config, **kwargs)
        self.draw_heatmaps = self._make_drawing(1)

    def train_step(self, data):
        """Adds the heatmaps to the inputs, which a call does not get labels for."""
        inputs, labels = data
        return super().train_step((self.with_heatmaps(inputs, labels), labels))

    def with_heatmaps(self, inputs, labels):
        """The inputs with the true heatmaps.

        Args:
            inputs: Dict of the batch's inputs.
            labels: Dict of the batch's labels.

        Returns:
            Dict like `inputs`, and `heatmaps` `[batch, y, x, joints]`.
        """
        coords25d, image_mask, _ = self.labels25d(base.finite_labels(labels))
        return {**inputs, 'heatmaps': self.draw_heatmaps(coords25d, image_mask)}

    def call(self, inputs, training=False):
        return self.crop_model.predict_from_heatmaps(
            inputs['heatmaps'], inputs['intrinsics'],
            training=training and not self.is_batch_norm_frozen)


class CoordinateRegressionTrainer(base.PoseTrainer):
    """Wraps a `metro_tf.models.CoordinateRegression` for training.

    The offsets that the network puts out are compared with the true ones, from the pelvis or from
    the parent of each joint, by the squared distance in m^2. Joints count that are labelled
    together with the one that they are relative to; the pelvis itself does not, and 2D labels
    teach nothing.

    Args:
        crop_model: `CoordinateRegression`.
        loss_config: `training.config.LossConfig`.
    """

    TERMS = {'R23': ('coordinates',)}
    POSE_OUTPUT = 'coords3d_rel'

    def loss_terms(self, inputs, labels, outputs):
        """See `PoseTrainer`."""
        labels = base.finite_labels(labels)
        coords3d, mask3d = labels['coords3d_cam'], labels['joint_validity_mask_3d']
        references = self.crop_model.reference_joints

        def coordinates():
            """Mean squared distance."""
            difference = outputs['offsets'] - self.crop_model.to_offsets(coords3d)
            mask = mask3d & tf.gather(mask3d, references, axis=1)
            mask &= tf.not_equal(references, tf.range(len(references)))  # not the root
            return selection.joint_mean(
                tf.reduce_sum(tf.square(difference), axis=-1), mask,
                self.loss_config.reduction)

        return {'coordinates': coordinates}
