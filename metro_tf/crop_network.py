"""A crop model as the estimator sees it: one graph function, its joints and joint conventions."""

import keras
import numpy as np
import tensorflow as tf

from metro_tf import skeleton


class CropNetwork(tf.Module):
    """Wraps a crop model for inference.

    Args:
        crop_model: A `keras.Model` that is called with `(image, intrinsics)` as one input, such as
            `models.Metrabs`, or any other callable that is called with the two as arguments. It
            takes float32 images `[n, side, side, 3]` in [0, 1] and crop intrinsics `[n, 3, 3]`,
            gives `[n, joints, 3]` in mm in the crop camera's frame, and has the attributes
            `input_resolution`, `joint_names`, `joint_edges` and `mirror_mapping`.
        uncertainty: Whether to predict uncertainties besides. Then `crop_model` needs the method
            `predict_with_uncertainty`, which takes what a call takes and gives besides the poses
            `[n, joints]`, mm.

    Attributes:
        input_resolution: Int, side of the crops in px.
        joint_names: Tuple of strings.
        joint_edges: Tuple of pairs of joint indices.
        mirror_mapping: Tuple of ints, see `skeleton.Skeleton`.
        predict: `tf.function` from float32 crops in [0, 1] and their intrinsics to a dict of
            float32 tensors: `poses` and, only if asked for, `uncertainty`.
        output_shapes: Dict from the names of these to their shapes behind the axis of the crops.

    Raises:
        ValueError: If `crop_model` lacks an attribute, or offers no uncertainty that is asked for.
    """

    def __init__(self, crop_model, uncertainty=False):
        super().__init__(name='crop_network')
        for name in ('input_resolution', 'joint_names', 'joint_edges', 'mirror_mapping'):
            if not hasattr(crop_model, name):
                raise ValueError(
                    f'`crop_model` must have the attribute `{name}`. '
                    f'Received: {type(crop_model).__name__}')
        self.crop_model = crop_model
        self.input_resolution = int(crop_model.input_resolution)
        self.joint_names = tuple(crop_model.joint_names)
        self.joint_edges = tuple((int(i), int(j)) for i, j in crop_model.joint_edges)
        self.mirror_mapping = tuple(int(i) for i in crop_model.mirror_mapping)
        self.output_shapes = {'poses': (len(self.joint_names), 3)}
        if uncertainty:
            _check_offers_uncertainty(crop_model)
            self.output_shapes['uncertainty'] = (len(self.joint_names),)
        self.predict = tf.function(
            self._predict, input_signature=self.tensor_specs(), autograph=False)

    def tensor_specs(self, image_dtype=tf.float32):
        """`tf.TensorSpec` of the image and of the intrinsics."""
        side = self.input_resolution
        return [tf.TensorSpec([None, side, side, 3], image_dtype, 'image'),
                tf.TensorSpec([None, 3, 3], tf.float32, 'intrinsic_matrix')]

    def predict_multi(self, image, intrinsic_matrix):
        """Predicts people in ready-made crops (see `cropping` for how to make them).

        Args:
            image: `[n, side, side, 3]`, RGB, gamma-encoded: float16 or float32 in [0, 1], or uint8
                in [0, 255].
            intrinsic_matrix: `[n, 3, 3]` of the crops, px, principal point (side / 2, side / 2).

        Returns:
            Float32 tensor `[n, joints, 3]`, crop camera frame, mm.

        Raises:
            ValueError: If a type or a shape does not fit.
        """
        image = tf.convert_to_tensor(image)
        intrinsic_matrix = tf.convert_to_tensor(intrinsic_matrix)
        specs = self.tensor_specs(image.dtype)
        if image.dtype not in IMAGE_DTYPES or not specs[0].is_compatible_with(image):
            raise ValueError(
                f'`image` must be float16, float32 or uint8 with shape {specs[0].shape}. '
                f'Received: {image.dtype.name} with shape {image.shape}')
        if not intrinsic_matrix.shape.is_compatible_with(specs[1].shape):
            raise ValueError(
                f'`intrinsic_matrix` must have the shape {specs[1].shape}. '
                f'Received: {intrinsic_matrix.shape}')
        return self.predict(to_unit_range(image), tf.cast(intrinsic_matrix, tf.float32))['poses']

    def _predict(self, image, intrinsic_matrix):
        outputs = self._call_model(image, intrinsic_matrix)
        return {
            name: tf.ensure_shape(tf.cast(output, tf.float32), [None, *shape])
            for (name, shape), output in zip(self.output_shapes.items(), outputs)}

    def _call_model(self, image, intrinsic_matrix):
        """Sequence of an output for each of `output_shapes`."""
        is_keras = isinstance(self.crop_model, keras.Model)
        inputs = [(image, intrinsic_matrix)] if is_keras else [image, intrinsic_matrix]
        if 'uncertainty' in self.output_shapes:
            return self.crop_model.predict_with_uncertainty(*inputs)
        return [self.crop_model(*inputs, training=False) if is_keras else self.crop_model(*inputs)]


IMAGE_DTYPES = (tf.float16, tf.float32, tf.uint8)


def _check_offers_uncertainty(crop_model):
    has_method = hasattr(crop_model, 'predict_with_uncertainty')
    if not getattr(crop_model, 'has_uncertainty', has_method):
        raise ValueError(
            '`crop_model` must have the method `predict_with_uncertainty`, as Metrabs and '
            f'MargiPose have, for `uncertainty`. Received: {type(crop_model).__name__}')


def to_unit_range(image):
    """Float32 image in [0, 1] from a float one in [0, 1] or a uint8 one."""
    is_integer = image.dtype.is_integer
    image = tf.cast(image, tf.float32)
    return image / 255.0 if is_integer else image


class JointSelections:
    """What a model offers of every joint convention, for lookup by name inside a graph.

    Args:
        joint_names: Sequence of the model's joint names.
        joint_edges: Sequence of pairs of joint indices.

    Attributes:
        skeletons: Dict from name to `skeleton.Skeleton`, '' being all joints.
        indices: Dict from name to tuple of the model's joint indices.
    """

    def __init__(self, joint_names, joint_edges):
        n_joints = len(joint_names)
        self.skeletons = {'': skeleton.Skeleton(tuple(joint_names), tuple(joint_edges))}
        self.indices = {'': tuple(range(n_joints))}
        for name in sorted(skeleton.CONVENTIONS):
            selected, indices = _selection(joint_names, name)
            if indices:
                self.skeletons[name], self.indices[name] = selected, indices
        self._padded = np.array([
            [*indices, *([0] * (n_joints - len(indices)))] for indices in self.indices.values()],
            np.int32)

    @property
    def names(self):
        """Tuple of the known names, with '' first."""
        return tuple(self.indices)

    def matches(self, name):
        """Which of the known names equals a string scalar: boolean tensor `[n_names]`."""
        return tf.equal(tf.constant(self.names), name)

    def select(self, poses, name):
        """Joints of a convention.

        Args:
            poses: Float tensor `[..., model joints, coords]`.
            name: String scalar, one of the known names.

        Returns:
            Float tensor `[..., joints, coords]`.
        """
        i_name = tf.argmax(self.matches(name), output_type=tf.int32)
        lengths = tf.constant([len(indices) for indices in self.indices.values()])
        return tf.gather(poses, tf.constant(self._padded)[i_name, :lengths[i_name]], axis=-2)


def _selection(joint_names, convention):
    if not set(skeleton.vocabulary_names(convention)) & set(joint_names):
        return None, ()
    return skeleton.convention_selection(joint_names, convention)
