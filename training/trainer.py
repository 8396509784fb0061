"""The crop model with its losses, for Keras' own `compile` and `fit`."""

import keras
import tensorflow as tf

from metro_tf import losses, metrics
from metro_tf.geometry import camera, reconstruction
from metro_tf.layers import heatmap_coords


class PoseTrainer(keras.Model):
    """Wraps a `metro_tf.models.Metrabs` for training on mixed batches.

    Batches hold examples with 3D labels and examples with 2D labels only (see
    `training.pipeline.to_model_format`); which is which follows from the masks. The terms and
    schedules are those of MeTRAbs (R23), plus cross-entropies on the heatmaps, without which a
    network that starts from random weights hardly learns.

    Args:
        crop_model: `Metrabs` model.
        loss_config: `training.config.LossConfig`.
    """

    def __init__(self, crop_model, loss_config, **kwargs):
        # No casting of inputs: intrinsics would lose digits in mixed precision.
        super().__init__(autocast=False, **kwargs)
        self.crop_model = crop_model
        self.loss_config = loss_config
        self.heatmap = crop_model.heatmap_config
        self.meters_per_px = self.heatmap.meters_per_px
        self.fov = losses.FieldOfView(self.heatmap.crop_side_px, self.heatmap.stride_px)
        self.trackers = {
            name: keras.metrics.Mean(name=name) for name in (
                'heatmap2d', 'heatmap3d', 'relative', 'projection', 'absolute',
                'projection_2d_only', 'aligned_2d_only')}
        self.mpjpe = metrics.MPJPE(name='mpjpe_mm')
        self.distance_error = metrics.DistanceError()
        self.torso_pck = metrics.TorsoPCK(crop_model.joint_names, name='pck_2d_only')
        self.total = keras.metrics.Mean(name='total')

    @property
    def metrics(self):
        """All running means; `fit` resets them at the start of every epoch."""
        return [
            self.total, *self.trackers.values(), self.mpjpe, self.distance_error,
            self.torso_pck]

    def call(self, inputs, training=False):
        return self.crop_model.predict_heatmaps(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted sum of all terms that have started; a hook of both Keras versions."""
        step = tf.cast(self.optimizer.iterations, tf.int64)
        poses = self._reconstruct(y_pred, x['intrinsics'], step)
        terms = {
            **self._heatmap_terms(y, y_pred),
            **self._pose_terms(y, y_pred, poses, x['intrinsics'])}
        config = self.loss_config
        has_started = tf.cast(step >= config.absolute_start_step, tf.float32)
        total = tf.add_n([
            getattr(config, name) * (has_started if name == 'absolute' else 1.0) * term
            for name, term in terms.items()])
        for name, term in terms.items():
            self.trackers[name].update_state(term)
        self.total.update_state(total)
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates the scores and returns all running means; a hook of both Keras versions."""
        coords3d = y_pred['coords3d_cam']
        mask3d, mask2d = label_masks(y)
        self.mpjpe.update_state(y['coords3d_cam'], coords3d, mask3d)
        self.distance_error.update_state(y['coords3d_cam'], coords3d, mask3d)
        projected = camera.project(coords3d, x['intrinsics'])
        self.torso_pck.update_state(y['coords2d'], projected, mask2d)
        return {metric.name: metric.result() for metric in self.metrics}

    def _reconstruct(self, y_pred, intrinsics, step):
        """Absolute poses as in training: random mixing, weak perspective at first."""
        coords2d, coords3d = y_pred['coords2d'], y_pred['coords3d_rel']
        is_in_fov = camera.is_within_fov(
            coords2d, self.heatmap.crop_side_px, self.heatmap.stride_px)
        mix = tf.random.uniform([tf.shape(coords2d)[0], 1, 1])
        weak, full = [
            reconstruction.reconstruct_absolute(
                coords2d, coords3d, intrinsics, is_in_fov, mix, weak_perspective=is_weak)
            for is_weak in (True, False)]
        return tf.where(step < self.loss_config.full_perspective_start_step, weak, full)

    def _heatmap_terms(self, y, y_pred):
        side, stride = self.heatmap.crop_side_px, self.heatmap.stride_px
        mask3d = y['joint_validity_mask_3d']
        is_in_crop = tf.reduce_all(
            (y['coords2d'] > -0.5) & (y['coords2d'] < side - 0.5), axis=-1)
        n_cells = side // stride
        cells2d = (n_cells - 1.0) * heatmap_coords.image_to_heatmap(y['coords2d'], side, stride)
        coords3d = place_in_volume(y['coords3d_cam'], y['coords2d'], mask3d, self.heatmap)
        cells3d = heatmap_coords.metric_to_heatmap(
            coords3d, side, stride, self.heatmap.box_size_mm)
        cells3d *= [n_cells - 1.0, n_cells - 1.0, self.heatmap.n_depth_cells - 1.0]
        sigma = self.loss_config.heatmap_sigma_cells
        return {
            'heatmap2d': losses.heatmap_cross_entropy(
                y_pred['logits2d'], cells2d, y['joint_validity_mask_2d'] & is_in_crop, sigma),
            'heatmap3d': losses.volume_cross_entropy(
                y_pred['logits3d'], cells3d, mask3d, sigma)}

    def _pose_terms(self, y, y_pred, poses, intrinsics):
        mask3d, mask2d = label_masks(y)
        # Published without the limit on predicted depth, which guards against joints behind the
        # camera.
        is_in_front = poses[..., 2] > 1.0
        return {
            'relative': losses.root_relative_loss(y['coords3d_cam'], poses, mask3d),
            'projection': losses.projection_loss(
                y['coords3d_cam'], poses, intrinsics, mask3d, self.meters_per_px, fov=self.fov),
            'absolute': losses.absolute_loss(y['coords3d_cam'], poses, mask3d),
            'projection_2d_only': losses.weak_projection_loss(
                y['coords2d'], camera.project(poses, intrinsics), mask2d & is_in_front,
                self.meters_per_px, fov=self.fov),
            'aligned_2d_only': losses.aligned_image_loss(
                y['coords2d'], y_pred['coords3d_rel'][..., :2], mask2d, self.meters_per_px)}


def label_masks(labels):
    """Joints with 3D labels, and joints of the examples with 2D labels only.

    Args:
        labels: Dict of `training.pipeline.to_model_format`, batched.

    Returns:
        Two boolean tensors `[batch, joints]`.
    """
    mask3d = labels['joint_validity_mask_3d']
    is_2d_only = ~tf.reduce_any(mask3d, axis=1, keepdims=True)
    return mask3d, labels['joint_validity_mask_2d'] & is_2d_only


def place_in_volume(coords3d, coords2d, mask, heatmap):
    """Puts a pose into the metric volume, whose origin is arbitrary in MeTRo.

    A target heatmap needs a definite place: here the one where the mean joint lies over its own
    image, moved by as little as is needed to have all joints inside the volume. The mean depth is
    in the middle.

    Args:
        coords3d: Float tensor `[batch, joints, 3]`, mm, frame of the crop's camera.
        coords2d: Float tensor `[batch, joints, 2]`, px in the crop.
        mask: Boolean tensor `[batch, joints]`.
        heatmap: `HeatmapConfig`.

    Returns:
        Float tensor `[batch, joints, 3]`, mm from the corner of the volume; zeros where masked.
    """
    box_size = heatmap.box_size_mm
    relative = tf.where(mask[..., tf.newaxis], losses.centered(coords3d, mask), 0.0)
    mm_per_px = box_size / heatmap.crop_side_px
    weight = tf.cast(mask, tf.float32)[..., tf.newaxis]
    n_valid = tf.maximum(tf.reduce_sum(weight, axis=1, keepdims=True), 1.0)
    place = mm_per_px * tf.reduce_sum(coords2d * weight, axis=1, keepdims=True) / n_valid
    low = -tf.reduce_min(relative[..., :2], axis=1, keepdims=True)
    high = box_size - tf.reduce_max(relative[..., :2], axis=1, keepdims=True)
    place = tf.where(low < high, tf.clip_by_value(place, low, tf.maximum(low, high)),
                     (low + high) / 2)
    depth = tf.fill(tf.shape(place[..., :1]), box_size / 2)
    placed = relative + tf.concat([place, depth], axis=-1)
    return tf.where(mask[..., tf.newaxis], placed, 0.0)
