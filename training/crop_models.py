"""The crop model that a config describes."""

import dataclasses
import pathlib

import keras
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.backbones import builder, top_down
from metro_tf.models import AffineAutoencoder, LatentMetrabs, Metrabs, Metro, Pose25D
from training.datasets import bone_lengths


def build_crop_model(config, adapt_backbone=None):
    """Builds the crop model with its weights.

    Args:
        config: `ModelConfig`.
        adapt_backbone: Function from the backbone to the one to use, or None.

    Returns:
        `Metrabs`, `Metro`, `Pose25D` or, for latent points, `LatentMetrabs` with the joints of
        `skeleton.METRO_24`.

    Raises:
        ValueError: If bone lengths are needed and missing, or the backbone does not offer the
            strides.
    """
    autoencoder = load_autoencoder(config)
    model_class, kwargs = _class_and_kwargs(config, autoencoder)
    backbone = _build_backbone(config)
    if adapt_backbone is not None:
        backbone = adapt_backbone(backbone)
    joints = skeleton.METRO_24
    model = model_class(
        backbone, joints.joint_names, joints.edges, **dataclasses.asdict(config.heatmap), **kwargs)
    side = config.heatmap.crop_side_px
    model({'image': tf.zeros([1, side, side, 3]), 'intrinsics': tf.eye(3, batch_shape=[1])})
    if isinstance(model, LatentMetrabs):
        model.set_decoder(autoencoder)
    return model


def load_autoencoder(config):
    """Loads the `AffineAutoencoder` that a config names.

    Args:
        config: `ModelConfig`.

    Returns:
        The model, or None if the config has no latent points.

    Raises:
        ValueError: If the file is missing or holds something else or other joints.
    """
    if config.autoencoder is None:
        return None
    if not pathlib.Path(config.autoencoder).is_file():
        raise ValueError(
            '`autoencoder` must be a .keras file of training.latents. '
            f'Received: {config.autoencoder} does not exist')
    model = keras.models.load_model(str(config.autoencoder), compile=False)
    joint_names = getattr(model, 'joint_names', None)
    if not isinstance(model, AffineAutoencoder) or joint_names != skeleton.METRO_24.joint_names:
        raise ValueError(
            '`autoencoder` must be an AffineAutoencoder of the joints of METRO_24. '
            f'Received: a {type(model).__name__} of {joint_names}')
    return model


def with_bone_lengths(config, record_dirs):
    """Measures the bone lengths where the model needs them and the config does not give them.

    Args:
        config: `TrainConfig`.
        record_dirs: Folders of the records with 3D labels, each a path or None.

    Returns:
        `TrainConfig`, complete.

    Raises:
        ValueError: If no example has both ends of a bone.
    """
    if config.model.kind != 'pose25d' or config.model.bone_lengths_mm is not None:
        return config
    lengths = bone_lengths.mean_bone_lengths(
        [folder for folder in record_dirs if folder], skeleton.METRO_24)
    return dataclasses.replace(
        config, model=dataclasses.replace(config.model, bone_lengths_mm=lengths))


def _build_backbone(config):
    heatmap = config.heatmap
    if config.top_down_channels:
        if heatmap.test_stride_px is not None:
            raise ValueError(
                '`test_stride_px` must be None with a top-down path, whose stride is fixed. '
                f'Received: test_stride_px={heatmap.test_stride_px}, '
                f'top_down_channels={config.top_down_channels}')
        return top_down.build_top_down(
            config.backbone, heatmap.stride_px, config.top_down_channels, config.backbone_weights,
            n_blocks=config.top_down_blocks, bn_momentum=config.bn_momentum,
            centered=heatmap.centered)
    return builder.build_backbone(
        config.backbone, heatmap.stride_px, config.backbone_weights,
        bn_momentum=config.bn_momentum, centred_stride=None if heatmap.centered else 0,
        test_stride=heatmap.test_stride_px)


def _class_and_kwargs(config, autoencoder):
    """The class of a crop model and the arguments that are its own."""
    if config.kind == 'metro':
        return Metro, {}
    if config.kind == 'metrabs':
        kwargs = {
            'weak_perspective': config.weak_perspective,
            'mix_3d_inside_fov': config.mix_3d_inside_fov}
        if config.latent_mode in (None, 'regularized'):
            return Metrabs, kwargs
        return LatentMetrabs, {
            **kwargs, 'n_latents': autoencoder.n_latents,
            'is_hybrid': config.latent_mode == 'hybrid'}
    if config.bone_lengths_mm is None:
        raise ValueError(
            "`bone_lengths_mm` must be given where `kind` is 'pose25d'; "
            '`with_bone_lengths` measures them. Received: None')
    return Pose25D, {'bone_lengths_mm': config.bone_lengths_mm}
