"""The crop model that a config, or a file, describes."""

import dataclasses
import json
import pathlib

import tensorflow as tf

from metro_tf import weights
from metro_tf.backbones import builder as backbone_builder
from metro_tf.backbones import hourglass, top_down, truncated
from metro_tf.models import config as config_lib
from metro_tf.models.affine_autoencoder import AffineAutoencoder
from metro_tf.models.coarse_to_fine import CoarseToFine
from metro_tf.models.coordinate_regression import CoordinateRegression
from metro_tf.models.crop_model import CropModel
from metro_tf.models.decoupled import Decoupled
from metro_tf.models.latent_metrabs import LatentMetrabs
from metro_tf.models.margipose import AbsoluteMargiPose, MargiPose
from metro_tf.models.metrabs import Metrabs
from metro_tf.models.metro import Metro
from metro_tf.models.pose25d import Pose25D

# What differs in the configs of two equal models: their networks, with names of layers.
_NETWORKS = ('name', 'backbone', 'heatmap_network', 'volume_network')


def build_crop_model(config, adapt_backbone=None):
    """Builds the crop model with its first weights.

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
    model = _build(
        config, autoencoder.n_latents if autoencoder else None,
        load_heatmap_network(config) if config.kind == 'decoupled' else None, adapt_backbone)
    if isinstance(model, LatentMetrabs):
        model.set_decoder(autoencoder)
    return model


def describe(model, config):
    """What `build_described` needs to build the like of a model without any other file.

    Args:
        model: Crop model that was built from `config`, e.g. before its training.
        config: `ModelConfig`.

    Returns:
        Dict of JSON types. Of paths in the config, the names of the files are left.

    Raises:
        ValueError: If the model is another one than the config describes.
    """
    changes = {'backbone_weights': None}
    if config.bone_lengths_mm is None:  # a training measures them
        changes['bone_lengths_mm'] = getattr(model, 'bone_lengths_mm', None)
    if not isinstance(model, LatentMetrabs):  # the others do not need it after their training
        changes.update(latent_mode=None, autoencoder=None)
    for name in ('autoencoder', 'heatmap_network'):
        path = changes.get(name, getattr(config, name))
        changes[name] = path and pathlib.Path(path).name
    description = {
        'model': dataclasses.asdict(dataclasses.replace(config, **changes)),
        'n_latents': getattr(model, 'n_latents', None)}
    if isinstance(model, Decoupled):
        description['heatmap_network'] = dataclasses.asdict(
            _config_of_heatmap_network(model.heatmap_network, config))
    description = json.loads(json.dumps(description))
    _check_described(model, build_described(description))
    return description


def build_described(description):
    """Builds the crop model of a description, with new weights.

    Args:
        description: Result of `describe`.

    Returns:
        See `build_crop_model`.

    Raises:
        ValueError: If it does not describe a crop model that this version knows.
    """
    try:
        config = config_lib.ModelConfig.from_json(description['model'])
        first = description.get('heatmap_network')
        heatmap_network = first and _build_backbone(config_lib.ModelConfig.from_json(first))
        return _build(config, description.get('n_latents'), heatmap_network)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            '`description` must describe a crop model of this version of the package. '
            f'Received: {str(description)[:200]} ({type(error).__name__}: {error})') from error


def load_file(path):
    """Loads the crop model in a file.

    Args:
        path: Path of an NPZ file of weights, or of a `.keras` file of this Keras version.

    Returns:
        See `build_crop_model`.

    Raises:
        ValueError: If the file is missing, damaged, does not fit or holds something else.
    """
    if pathlib.Path(path).suffix == '.npz':
        description, arrays = weights.read(path)
        model = build_described(description)
        weights.assign(model, arrays, path)
        return model
    model = weights.load_keras_file(path)
    if not isinstance(model, CropModel):
        raise ValueError(
            '`name_or_path` must hold a crop model. '
            f'Received: {path} with a {type(model).__name__}')
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
    model = weights.load_keras_file(config.autoencoder)
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
            '`heatmap_network` must be a .keras or NPZ file of a network of 2D heatmaps. '
            f'Received: {path} does not exist')
    model = load_file(path)
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


def _build(config, n_latents=None, heatmap_network=None, adapt_backbone=None):
    """See `build_crop_model`; what that reads from files is given, the first network as a model."""
    model_class, kwargs = _class_and_kwargs(config, n_latents)
    backbone = _build_backbone(config)
    if adapt_backbone is not None:
        backbone = adapt_backbone(backbone)
    networks = (backbone,) if heatmap_network is None else (heatmap_network, backbone)
    model = model_class(*networks, config.skeleton.joint_names, config.skeleton.edges, **kwargs)
    side = config.heatmap.crop_side_px
    model({'image': tf.zeros([1, side, side, 3]), 'intrinsics': tf.eye(3, batch_shape=[1])})
    return model


def _config_of_heatmap_network(network, config):
    """`ModelConfig` that describes the first network of a `Decoupled`."""
    sizes = hourglass.settings_of(network)
    return config_lib.ModelConfig(
        kind='coarse_to_fine', backbone=config_lib.HOURGLASS,
        skeleton=config.skeleton, heatmap=config.heatmap, depths=(1,) * sizes['n_stages'],
        n_channels=sizes['n_channels'], n_levels=sizes['n_levels'],
        hourglass_variant=sizes['variant'])


def _check_described(model, described):
    """Checks that a model is like the one of its description, but for the values of its weights."""
    settings, wanted = model.get_config(), described.get_config()
    same = type(model) is type(described)
    differing = [] if same else ['class']
    differing += [
        name for name in wanted
        if name not in _NETWORKS and same and settings.get(name) != wanted[name]]
    if differing:
        raise ValueError(
            f'`config` must describe the model. Received: another {differing[0]}, '
            f'{settings.get(differing[0], type(model).__name__)} instead of '
            f'{wanted.get(differing[0], type(described).__name__)}')
    shapes = [
        {name: tuple(variable.shape) for name, variable in weights.variables(network).items()}
        for network in (described, model)]
    weights.check_fit(*shapes, 'another model than `config` describes')


def _build_backbone(config):
    heatmap = config.heatmap
    if config.kind in config_lib.HOURGLASS_KINDS:
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
    return backbone_builder.build_backbone(
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


def _class_and_kwargs(config, n_latents):
    """The class of a crop model and its arguments besides backbone and joints."""
    if config.kind in config_lib.MARGINAL_KINDS:
        return _marginal_class_and_kwargs(config)
    if config.kind in config_lib.HOURGLASS_KINDS:
        return _hourglass_class_and_kwargs(config)
    sizes = dataclasses.asdict(config.heatmap)
    if config.kind == 'metro':
        return Metro, sizes
    if config.kind == 'metrabs':
        kwargs = {**sizes, **_mixing(config)}
        if config.latent_mode in (None, 'regularized'):
            return Metrabs, kwargs
        return LatentMetrabs, {
            **kwargs, 'n_latents': n_latents,
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
    return Decoupled, kwargs


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
