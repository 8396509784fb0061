"""The crop model that a config describes."""

import dataclasses
import functools
import json
import pathlib
import zipfile

import keras
import tensorflow as tf

from metro_tf.backbones import builder, hourglass, top_down, truncated
from metro_tf.models import (
    AbsoluteMargiPose, AffineAutoencoder, CoarseToFine, CoordinateRegression, Decoupled,
    LatentMetrabs, MargiPose, Metrabs, Metro, Pose25D)
from training import model_config
from training.datasets import bone_lengths


def build_crop_model(config, adapt_backbone=None):
    """Builds the crop model with its weights.

    Args:
        config: `ModelConfig`.
        adapt_backbone: Function from the backbone to the one to use, or None.

    Returns:
        `Metrabs`, `Metro`, `Pose25D`, `MargiPose`, `AbsoluteMargiPose`, `CoarseToFine`,
        `Decoupled`, `CoordinateRegression` or, for latent points, `LatentMetrabs`.

    Raises:
        ValueError: If bone lengths or a file are needed and missing, the backbone does not offer
            the strides, or a setting does not fit the joints or the size of the crop.
    """
    autoencoder = load_autoencoder(config)
    model_class, kwargs = _class_and_kwargs(config, autoencoder)
    backbone = _build_backbone(config)
    if adapt_backbone is not None:
        backbone = adapt_backbone(backbone)
    model = model_class(backbone, config.skeleton.joint_names, config.skeleton.edges, **kwargs)
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
    if not isinstance(model, AffineAutoencoder) or joint_names != config.skeleton.joint_names:
        raise ValueError(
            '`autoencoder` must be an AffineAutoencoder of the joints of the config, '
            f'{config.skeleton.joint_names}. Received: a {type(model).__name__} of {joint_names}')
    return model


def load_heatmap_network(config):
    """Loads the network of 2D heatmaps that a config of a `Decoupled` names.

    Args:
        config: `ModelConfig`.

    Returns:
        The backbone of the `CoarseToFine` in the file.

    Raises:
        ValueError: If the file is missing or holds something else, other joints or another crop.
    """
    path = config.heatmap_network
    if not pathlib.Path(path).is_file():
        raise ValueError(
            '`heatmap_network` must be a .keras file of a network of 2D heatmaps. '
            f'Received: {path} does not exist')
    model = keras.models.load_model(str(path), compile=False)
    if not isinstance(model, CoarseToFine) or model.is_absolute:
        raise ValueError(
            '`heatmap_network` must be a CoarseToFine without depth. '
            f'Received: {path} with a {type(model).__name__}')
    check_joints(model.joint_names, config, 'heatmap_network', path)
    if model.input_resolution != config.heatmap.crop_side_px:
        raise ValueError(
            '`heatmap_network` must be one of crops of the size that the config describes, '
            f'{config.heatmap.crop_side_px} px. Received: {path} of {model.input_resolution} px')
    return model.backbone


def check_joints(joint_names, config, name, source):
    """Checks that a finished model has the joints of a config, in their order.

    Args:
        joint_names: Sequence of the model's joint names.
        config: `ModelConfig`.
        name: The argument's name for the error message.
        source: Text for the error message, where the model is from.

    Raises:
        ValueError: If it has others.
    """
    if tuple(joint_names) != config.skeleton.joint_names:
        raise ValueError(
            f'`{name}` must have the joints that the config describes, '
            f'{config.skeleton.joint_names}. Received: {source} with {tuple(joint_names)}')


def check_joints_of_file(path, config, name):
    """Like `check_joints` for the model in a `.keras` file, which is not loaded.

    Args:
        path: Path of the file.
        config, name: See `check_joints`.

    Raises:
        ValueError: If it has others.
    """
    with zipfile.ZipFile(path) as file:
        settings = json.loads(file.read('config.json'))['config']
    check_joints(settings.get('joint_names', ()), config, name, path)


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
    model = config.model
    is_needed = model.kind in ('pose25d', *model_config.SCORE_KINDS) and model.has_depth
    if not is_needed or model.bone_lengths_mm is not None:
        return config
    lengths = bone_lengths.mean_bone_lengths(
        [folder for folder in record_dirs if folder], model.skeleton)
    return dataclasses.replace(
        config, model=dataclasses.replace(model, bone_lengths_mm=lengths))


def _build_backbone(config):
    heatmap = config.heatmap
    if config.kind in model_config.HOURGLASS_KINDS:
        return _build_hourglass(config)
    if config.is_truncated:
        return truncated.build_truncated(config.backbone, weights=config.backbone_weights)
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


def _build_hourglass(config):
    """The network that learns: the second one of a `Decoupled`."""
    n_joints, side = config.skeleton.n_joints, config.heatmap.crop_side_px
    sizes = {'n_channels': config.n_channels, 'n_levels': config.n_levels}
    if config.kind == 'coordinate_regression':
        return hourglass.build_encoder(side, **sizes)
    if config.kind == 'decoupled':
        n_cells = side // config.heatmap.stride_px
        return hourglass.build_volume_network(n_joints, config.depths, n_cells, **sizes)
    return hourglass.build_stacked_hourglass(
        n_joints, config.depths, side, **sizes, variant=config.hourglass_variant)


def _class_and_kwargs(config, autoencoder):
    """The class of a crop model and its arguments besides backbone and joints."""
    if config.kind in model_config.MARGINAL_KINDS:
        return _marginal_class_and_kwargs(config)
    if config.kind in model_config.HOURGLASS_KINDS:
        return _hourglass_class_and_kwargs(config)
    sizes = dataclasses.asdict(config.heatmap)
    if config.kind == 'metro':
        return Metro, sizes
    if config.kind == 'metrabs':
        kwargs = {**sizes, **_mixing(config)}
        if config.latent_mode in (None, 'regularized'):
            return Metrabs, kwargs
        return LatentMetrabs, {
            **kwargs, 'n_latents': autoencoder.n_latents,
            'is_hybrid': config.latent_mode == 'hybrid'}
    if config.bone_lengths_mm is None:
        raise ValueError(
            "`bone_lengths_mm` must be given where `kind` is 'pose25d'; "
            '`with_bone_lengths` measures them. Received: None')
    return Pose25D, {**sizes, 'bone_lengths_mm': config.bone_lengths_mm}


def _marginal_class_and_kwargs(config):
    heatmap = config.heatmap
    kwargs = {
        'crop_side_px': heatmap.crop_side_px, 'stride_px': heatmap.stride_px,
        'n_stages': config.n_stages, 'axis_permutation': config.axis_permutation,
        'n_inner_channels': config.n_inner_channels}
    if config.kind == 'absolute_margipose':
        return AbsoluteMargiPose, {
            **kwargs, 'box_size_mm': heatmap.box_size_mm, **_mixing(config)}
    return MargiPose, {
        **kwargs, 'height_edges': _height_edges(config), 'height_mm': config.height_mm}


def _hourglass_class_and_kwargs(config):
    sizes = {
        'crop_side_px': config.heatmap.crop_side_px, 'stride_px': config.heatmap.stride_px}
    if config.kind == 'coordinate_regression':
        return CoordinateRegression, {**sizes, 'relative_to': config.relative_to}
    kwargs = {
        **sizes, 'depths': config.depths, 'decoding': config.decoding,
        'bone_lengths_mm': config.bone_lengths_mm}
    if config.kind == 'coarse_to_fine':
        return CoarseToFine, kwargs
    return functools.partial(Decoupled, load_heatmap_network(config)), kwargs


def _mixing(config):
    return {
        'weak_perspective': config.weak_perspective,
        'mix_3d_inside_fov': config.mix_3d_inside_fov}


def _height_edges(config):
    """Pairs of joint indices, or None for the published bones."""
    if config.height_edges is None:
        return None
    names = config.skeleton.joint_names
    unknown = sorted({name for edge in config.height_edges for name in edge} - set(names))
    if unknown:
        raise ValueError(
            f'`height_edges` must be pairs of joints of the skeleton. Received: {unknown}')
    return [[names.index(name) for name in edge] for edge in config.height_edges]
