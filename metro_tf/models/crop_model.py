"""What all crop models share: backbone, joints, heatmap settings and saving."""

from collections.abc import Mapping
import dataclasses

import keras
import tensorflow as tf

from metro_tf import config as config_lib
from metro_tf import skeleton
# Registers the layers of our backbones, so that any program can load a saved model.
from metro_tf.backbones import builder  # noqa: F401


class CropModel(keras.Model):
    """Base class of the models on square crops. Subclasses set `self.heads` and define `call`.

    Args:
        backbone: Keras model from images `[batch, side, side, 3]` in `[0, 1]` to features of
            stride `stride_px` (see `backbones.builder`).
        joint_names: Sequence of names out of the vocabulary of `skeleton`.
        edges: Sequence of pairs of joint indices, the bones.
        crop_side_px: Side of the square crop. It is part of the model and cannot change after
            training, because the metric volume stands for the whole crop.
        stride_px: Stride of the features.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Side of the metric box that the volume stands for.
        centered: Whether the cells of the features are centred (see `config.HeatmapConfig`).
        test_stride_px: Stride of the features out of training, if it differs: the one that the
            backbone was built with (see `backbones.builder`).
        **kwargs: Arguments of `keras.Model`.

    Attributes:
        is_absolute: Whether the poses that a model predicts lie in the crop camera's frame, as
            the estimator needs them.
        has_uncertainty: Whether there is `predict_with_uncertainty`.
    """

    is_absolute = True
    has_uncertainty = False

    def __init__(
            self, backbone, joint_names, edges, crop_side_px=256, stride_px=32, n_depth_cells=8,
            box_size_mm=2200.0, *, centered=True, test_stride_px=None, **kwargs):
        # Under a half-precision policy Keras would round intrinsics and depths, too.
        super().__init__(autocast=False, **kwargs)
        self.heatmap_config = config_lib.HeatmapConfig(
            crop_side_px, stride_px, n_depth_cells, box_size_mm, centered, test_stride_px)
        self.skeleton = skeleton.Skeleton(
            tuple(joint_names), tuple(tuple(int(i) for i in edge) for edge in edges))
        self.backbone = backbone

    def build(self, input_shape=None):
        self.heads.build(self.backbone.output_shape)
        self.built = True

    @property
    def joint_names(self):
        """Tuple of the names of the predicted joints."""
        return self.skeleton.joint_names

    @property
    def joint_edges(self):
        """Tuple of pairs of joint indices, the bones."""
        return self.skeleton.edges

    @property
    def mirror_mapping(self):
        """Tuple of ints: joint i of the mirrored person is joint `mirror_mapping[i]` before."""
        return self.skeleton.mirror_mapping

    @property
    def input_resolution(self):
        """Side of the square crop, px."""
        return self.heatmap_config.crop_side_px

    def predict_logits(self, image, training=False):
        """Runs backbone and heads up to the heatmap logits.

        Args:
            image: `[batch, side, side, 3]`, RGB: floats in `[0, 1]`, or integers in `[0, 255]`.
            training: Boolean.

        Returns:
            What `self.heads.logits` returns: float32 tensors `[batch, y, x, ...]`.

        Raises:
            ValueError: If a static size does not fit the settings.
        """
        side = self.heatmap_config.crop_side_px
        image = _to_unit_range(tf.convert_to_tensor(image))
        _check_square(image, side, '`image` must be [batch, crop_side_px, crop_side_px, 3]')
        n_examples = tf.shape(image)[0]
        can_be_empty = not training and not image.shape[0]
        if can_be_empty:
            # Convolutions of an empty batch have the wrong number of channels in TF 2.15 (oneDNN).
            n_missing = tf.cast(n_examples == 0, tf.int32)
            # Not by `tf.pad`, behind which converters do not know the size of the image.
            missing = tf.zeros([n_missing, side, side, 3], image.dtype)
            image = tf.concat([image, missing], axis=0)
        features = self.backbone(image, training=training)
        stride_px = self.heatmap_config.stride_used(training)
        name = 'stride_px' if training or not self.heatmap_config.test_stride_px else (
            'test_stride_px')
        for tensor in tf.nest.flatten(features):
            _check_square(
                tensor, side // stride_px,
                f'`{name}` ({stride_px}) must be the stride of `backbone`')
        logits = self._head_logits(features, training)
        if can_be_empty:
            return tf.nest.map_structure(lambda tensor: tensor[:n_examples], logits)
        return logits

    def predict_with_uncertainty(self, inputs):
        """Like a call out of training, and tells how sure the heatmaps are of every joint.

        Args:
            inputs: See the class.

        Returns:
            Tuple of float32 tensors: the poses `[batch, joints, 3]` in mm, and
            `[batch, joints]`, see `uncertainty_mm`.

        Raises:
            ValueError: If the model offers no uncertainty, or the inputs do not fit.
        """
        self._check_uncertainty()
        outputs = self.predict_heatmaps(inputs)
        return outputs['coords3d_cam'], self.uncertainty_mm(outputs, inputs)

    def uncertainty_mm(self, outputs, inputs):
        """Standard deviation of every joint in space, under the probability of its heatmaps.

        It is the root of the summed variances along x, y and z. It tells how far the heatmap
        spreads, not how far off the joint is, and nothing of the distance of the whole person from
        the camera, which no heatmap shows.

        Args:
            outputs: What `predict_heatmaps` returned, out of training.
            inputs: What it was given.

        Returns:
            Float32 tensor `[batch, joints]`, mm.

        Raises:
            ValueError: If the model offers no uncertainty.
        """
        self._check_uncertainty()
        variances = self._joint_variances(outputs, inputs)
        return tf.sqrt(tf.reduce_sum(variances, axis=-1))

    def _head_logits(self, features, training):
        return self.heads.logits(features)

    def _check_uncertainty(self):
        if not self.has_uncertainty:
            raise ValueError(
                'The model must have metric heatmaps of an absolute pose to tell its uncertainty, '
                f'as Metrabs or MargiPose have. Received: {type(self).__name__}')

    def _joint_variances(self, outputs, inputs):
        """Variances `[batch, joints, 3]` along x, y and z, mm^2."""
        raise NotImplementedError

    def get_config(self):
        return {
            **super().get_config(),
            'name': self.name,
            'backbone': keras.saving.serialize_keras_object(self.backbone),
            'joint_names': list(self.joint_names),
            'edges': [list(edge) for edge in self.joint_edges],
            **dataclasses.asdict(self.heatmap_config)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the model that `get_config` describes, with new weights."""
        backbone = keras.saving.deserialize_keras_object(
            config['backbone'], custom_objects=custom_objects)
        return cls(**{**config, 'backbone': backbone})


def split_inputs(inputs):
    """Takes the image and the intrinsics out of a model's input.

    Args:
        inputs: Dict with 'image' and, where the model needs it, 'intrinsics'; or a tuple in this
            order; or the image alone.

    Returns:
        Tuple of the image and of the intrinsics, which are None if they were not given.

    Raises:
        ValueError: If there is no image.
    """
    if isinstance(inputs, Mapping):
        if 'image' not in inputs:
            raise ValueError(
                f'`inputs` must have the key \'image\'. Received: keys {sorted(inputs)}')
        return inputs['image'], inputs.get('intrinsics')
    if isinstance(inputs, (tuple, list)):
        if not 1 <= len(inputs) <= 2:
            raise ValueError(
                f'`inputs` must be (image, intrinsics). Received: {len(inputs)} elements')
        return inputs[0], inputs[1] if len(inputs) == 2 else None
    return inputs, None


def split_calibrated_inputs(inputs):
    """Like `split_inputs`, for models that need the intrinsics.

    Raises:
        ValueError: If there is no image or no intrinsics.
    """
    image, intrinsics = split_inputs(inputs)
    if intrinsics is None:
        raise ValueError(
            '`inputs` must contain the crop\'s intrinsics, [batch, 3, 3]. Received: image only')
    return image, intrinsics


def joints_or_published(joint_names, edges, published):
    """The given joints and bones; those of a `skeleton.Skeleton` if there are none.

    Raises:
        ValueError: If only joints or only bones are given.
    """
    if (joint_names is None) != (edges is None):
        raise ValueError(
            '`joint_names` and `edges` must be given together. '
            f'Received: joint_names={joint_names}, edges={edges}')
    if joint_names is None:
        return published.joint_names, published.edges
    return joint_names, edges


def _to_unit_range(image):
    if image.dtype.is_integer:
        return tf.cast(image, tf.float32) / 255.0
    return image


def _check_square(tensor, side, rule):
    for size in tensor.shape[1:3]:
        if size is not None and size != side:
            raise ValueError(f'{rule}, so the side must be {side}. Received: {tensor.shape}')
