"""The decoupled architecture: 2D heatmaps from the image, and volumes from the heatmaps alone."""

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import voxels
from metro_tf.models import coarse_to_fine


@keras.utils.register_keras_serializable(package='metro_tf')
class Decoupled(coarse_to_fine.VolumeModel):
    """Predicts 2D heatmaps, and from nothing but them volumes like those of `CoarseToFine`.

    So the second network can learn from motion capture without images, and the first one from
    images without depth. Here, only the second one is trained: the first one's layers are set to
    be not trainable, and keep to their moving statistics in training.

    Source: Pavlakos et al., CVPR 2017, and its project page.

    Args:
        heatmap_network: Keras model from images `[batch, side, side, 3]` in `[0, 1]` to heatmaps
            `[batch, y, x, joints]` of stride `stride_px`, the last of its outputs; the backbone of
            a `CoarseToFine` without depth.
        volume_network: Keras model from these heatmaps to the volumes of every stage (see
            `backbones.hourglass.build_volume_network`).
        joint_names, edges, crop_side_px, stride_px: See `CoarseToFine`.
        depths: Sequence with the number of cells in depth of every stage of `volume_network`.
        depth_range_mm, decoding, bone_lengths_mm: See `CoarseToFine`.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs, training: See `CoarseToFine`.

    Returns:
        Float32 tensor `[batch, joints, 3]`, camera frame, mm.
    """

    def __init__(
            self, heatmap_network, volume_network, joint_names=None, edges=None, crop_side_px=256,
            stride_px=4, *, depths=(1, 64), depth_range_mm=voxels.DEPTH_RANGE_MM,
            decoding='argmax', bone_lengths_mm=None, **kwargs):
        super().__init__(
            heatmap_network, joint_names, edges, crop_side_px, stride_px, depths=depths,
            depth_range_mm=depth_range_mm, decoding=decoding, bone_lengths_mm=bone_lengths_mm,
            **kwargs)
        self.volume_network = volume_network
        heatmap_network.trainable = False
        n_joints = self.skeleton.n_joints
        _check_heatmaps(heatmap_network, volume_network, n_joints)
        coarse_to_fine.check_stages(volume_network, n_joints, self.depths, 'volume_network')
        self.build()

    @property
    def heatmap_network(self):
        """The first network."""
        return self.backbone

    def predict_heatmaps(self, inputs, training=False):
        """Like `call`, with everything on the way, for losses on volumes.

        Args:
            inputs: See the class.
            training: Boolean.

        Returns:
            Dict: `heatmaps`, float32 `[batch, y, x, joints]`, and the same as in `CoarseToFine`.

        Raises:
            ValueError: If the intrinsics are missing or a static size does not fit.
        """
        image, intrinsics, root_depth_mm = self._split_inputs(inputs)
        heatmaps, volumes = self.predict_logits(image, training)
        return {
            'heatmaps': heatmaps, 'volumes': volumes,
            **self.decode(volumes[-1], intrinsics, root_depth_mm)}

    def predict_from_heatmaps(
            self, heatmaps, intrinsics=None, root_depth_mm=None, *, training=False):
        """Runs the second network alone, to train it on heatmaps that were drawn.

        Args:
            heatmaps: Float tensor `[batch, y, x, joints]`, such as those of
                `layers.volumetric_heatmaps.VolumetricTargets` with one cell in depth.
            intrinsics, root_depth_mm: See the class. Without intrinsics there are no coordinates.
            training: Boolean.

        Returns:
            Dict like that of `predict_heatmaps`, without `coords25d` and `coords3d_cam` if there
            are no intrinsics.

        Raises:
            ValueError: If a static size does not fit.
        """
        heatmaps = checks.last_axes(
            heatmaps, self.volume_network.inputs[0].shape[1:], 'heatmaps', tf.float32)
        volumes = self._volumes(heatmaps, training)
        outputs = {'heatmaps': heatmaps, 'volumes': volumes}
        if intrinsics is None:
            return outputs
        return {**outputs, **self.decode(volumes[-1], intrinsics, root_depth_mm)}

    def _head_logits(self, features, training):
        heatmaps = tf.nest.flatten(features)[-1]
        return heatmaps, self._volumes(heatmaps, training)

    def _volumes(self, heatmaps, training):
        return tuple(tf.nest.flatten(self.volume_network(heatmaps, training=training)))

    def get_config(self):
        config = super().get_config()
        config['heatmap_network'] = config.pop('backbone')
        config['volume_network'] = keras.saving.serialize_keras_object(self.volume_network)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the model that `get_config` describes, with new weights."""
        networks = {
            name: keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects)
            for name in ('heatmap_network', 'volume_network')}
        return cls(**{**config, **networks})


def _check_heatmaps(heatmap_network, volume_network, n_joints):
    shapes = {
        'heatmap_network': heatmap_network.outputs[-1].shape,
        'volume_network': volume_network.inputs[0].shape}
    if any(shape[-1] != n_joints for shape in shapes.values()) or (
            shapes['heatmap_network'][1:] != shapes['volume_network'][1:]):
        raise ValueError(
            f'`volume_network` must take the heatmaps of {n_joints} joints that '
            '`heatmap_network` puts out last. Received: '
            + ', '.join(f'{name} with {tuple(shape)}' for name, shape in shapes.items()))
