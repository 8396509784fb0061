"""Frozen settings from which `builder` makes a crop model."""

import dataclasses
from typing import Optional

from metro_tf import checks
from metro_tf import skeleton as skeleton_lib
from metro_tf.backbones import hourglass, truncated
from metro_tf.config import HeatmapConfig
from metro_tf.geometry import cuboid
from metro_tf.layers import volumetric_heatmaps
from metro_tf.models import coarse_to_fine, coordinate_regression

# Those with heatmaps in one volume, those with marginal heatmaps, in stages, and those of
# coarse-to-fine prediction, which bring their own network.
VOLUME_KINDS = ('metrabs', 'metro', 'pose25d')
MARGINAL_KINDS = ('margipose', 'absolute_margipose')
SCORE_KINDS = ('coarse_to_fine', 'decoupled')
HOURGLASS_KINDS = (*SCORE_KINDS, 'coordinate_regression')
MODEL_KINDS = (*VOLUME_KINDS, *MARGINAL_KINDS, *HOURGLASS_KINDS)
HOURGLASS = 'hourglass'
LATENT_MODES = ('regularized', 'direct', 'hybrid')
# Kinds that a field of `ModelConfig`, or of its `heatmap`, belongs to, if not to all of them.
_KINDS_OF_FIELDS = {
    **dict.fromkeys(('weak_perspective', 'mix_3d_inside_fov'), ('metrabs', 'absolute_margipose')),
    **dict.fromkeys(('n_stages', 'axis_permutation', 'n_inner_channels'), MARGINAL_KINDS),
    **dict.fromkeys(('height_edges', 'height_mm'), ('margipose',)),
    **dict.fromkeys(('n_channels', 'n_levels'), HOURGLASS_KINDS),
    **dict.fromkeys(('depths', 'decoding'), SCORE_KINDS),
    'bone_lengths_mm': ('pose25d', *SCORE_KINDS), 'latent_mode': ('metrabs',),
    'hourglass_variant': ('coarse_to_fine',), 'relative_to': ('coordinate_regression',),
    'heatmap_network': ('decoupled',)}
_KINDS_OF_HEATMAP_FIELDS = {
    **dict.fromkeys(('n_depth_cells', 'centered', 'test_stride_px'), VOLUME_KINDS),
    'box_size_mm': (*VOLUME_KINDS, 'absolute_margipose')}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The crop model.

    Args:
        backbone: Name of a backbone in `metro_tf.backbones.builder`; for the kinds of MargiPose
            and without a top-down path, those in `metro_tf.backbones.truncated` come first.
        top_down_channels: Channels of the top-down path to `heatmap.stride_px`; 0 takes the
            dilated or truncated backbone without such a path.
        top_down_blocks: Residual blocks at the end of the top-down path.
        heatmap: Input crop and output volume. MargiPose has as many cells in depth as in x and y,
            and no `box_size_mm` unless it is absolute.
        backbone_weights: Path of a weights file to start from, or None.
        bn_momentum: Momentum of the running batch statistics of the backbone. Truncated backbones
            have their published ones.
        kind: 'metrabs', 'metro', 'pose25d', 'margipose' or 'absolute_margipose', a class of
            `metro_tf.models`.
        weak_perspective, mix_3d_inside_fov: See `metro_tf.models.Metrabs`; of 'metrabs' and
            'absolute_margipose'.
        bone_lengths_mm: Typical length of each bone of the skeleton for 'pose25d', and for no
            other kind. None measures them in the 3D records that the training is given.
        latent_mode: How latent points are used in 'metrabs' (WACV 2023): 'regularized' (output
            regularisation), 'direct' or 'hybrid', see `training.trainers.latent`; or None.
        autoencoder: Path of the `.keras` file of `training.latents` for the latent points.
        skeleton: `metro_tf.skeleton.Skeleton` of the predicted joints, with both joints of every
            left-right pair.
        n_stages, axis_permutation, n_inner_channels: See `metro_tf.models.MargiPose`; of the
            kinds of MargiPose.
        height_edges: Pairs of joint names for the universal scale of 'margipose'; None for the
            published ones (see `metro_tf.models.MargiPose`).
        height_mm: The universal scale of 'margipose'.
        depths: Cells in depth of each stage; of 'coarse_to_fine', where 1 everywhere makes a
            network of 2D heatmaps, and of the second network of 'decoupled'.
        n_channels: Width of the hourglasses; of 'coarse_to_fine', 'decoupled' and
            'coordinate_regression'.
        n_levels: How often an hourglass halves its features; of the same kinds.
        hourglass_variant: 'paper' or 'uniform', see `metro_tf.backbones.hourglass`; of
            'coarse_to_fine'.
        decoding: How joints are found in the last volume, see
            `metro_tf.layers.volumetric_heatmaps.VolumeDecoding`; of 'coarse_to_fine' and
            'decoupled'.
        relative_to: Whether the outputs of 'coordinate_regression' are relative to the 'root' or
            to the 'parent' of each joint.
        heatmap_network: Path of the `.keras` file of a trained network of 2D heatmaps, the first
            network of 'decoupled', which needs it.
    """
    backbone: str = 'mobilenet_v3_small'
    top_down_channels: int = 128
    top_down_blocks: int = 0
    heatmap: HeatmapConfig = HeatmapConfig(crop_side_px=160, stride_px=8)
    backbone_weights: str = None
    bn_momentum: float = 0.98
    kind: str = 'metrabs'
    weak_perspective: bool = False
    mix_3d_inside_fov: float = 0.5
    bone_lengths_mm: Optional[tuple] = None
    latent_mode: Optional[str] = None
    autoencoder: Optional[str] = None
    skeleton: skeleton_lib.Skeleton = skeleton_lib.METRO_24
    n_stages: int = 4
    axis_permutation: bool = True
    n_inner_channels: int = 192
    height_edges: Optional[tuple] = None
    height_mm: float = cuboid.HEIGHT_MM
    depths: tuple = (1, 2, 4, 64)
    n_channels: int = 256
    n_levels: int = 4
    hourglass_variant: str = 'paper'
    decoding: str = 'argmax'
    relative_to: str = 'root'
    heatmap_network: Optional[str] = None

    def __post_init__(self):
        checks.one_of(self.kind, MODEL_KINDS, 'kind')
        check_skeleton(self.skeleton)
        if self.top_down_blocks and not self.top_down_channels:
            raise ValueError(
                '`top_down_blocks` must be 0 where `top_down_channels` is. '
                f'Received: top_down_blocks={self.top_down_blocks}')
        if self.latent_mode is not None:
            checks.one_of(self.latent_mode, LATENT_MODES, 'latent_mode')
        if (self.latent_mode is None) != (self.autoencoder is None):
            raise ValueError(
                '`latent_mode` and `autoencoder` must be given together. Received: '
                f'latent_mode={self.latent_mode!r}, autoencoder={self.autoencoder!r}')
        self._check_hourglass()
        self._check_unread()

    def _check_hourglass(self):
        """Checks what belongs to the kinds that bring their own network."""
        coarse_to_fine.checked_depths(self.depths)
        checks.one_of(self.hourglass_variant, hourglass.VARIANTS, 'hourglass_variant')
        checks.one_of(self.decoding, volumetric_heatmaps.METHODS, 'decoding')
        checks.one_of(self.relative_to, coordinate_regression.REFERENCES, 'relative_to')
        if (self.backbone == HOURGLASS) != (self.kind in HOURGLASS_KINDS):
            raise ValueError(
                f'`backbone` must be {HOURGLASS!r} for the kinds {HOURGLASS_KINDS}, and for no '
                f'other. Received: backbone={self.backbone!r}, kind={self.kind!r}')
        if self.kind == 'decoupled' and self.heatmap_network is None:
            raise ValueError(
                "`heatmap_network` must be given where `kind` is 'decoupled'. "
                'Received: heatmap_network=None')
        if not self.has_depth:
            _check_left_alone(
                self, 'bone_lengths_mm', 'the last of `depths` is 1', f'depths={self.depths}')

    @classmethod
    def from_json(cls, settings):
        """Makes the config whose fields were written as JSON.

        Args:
            settings: Dict of JSON types like `dataclasses.asdict` of a config. Fields that are
                missing have their defaults.

        Raises:
            ValueError: If there are other keys, or a value is out of its range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise ValueError(
                f'`settings` must have the fields of a ModelConfig alone. Received: {unknown}')
        values = {name: _with_tuples(value) for name, value in settings.items()}
        for name, field_class in (('heatmap', HeatmapConfig), ('skeleton', skeleton_lib.Skeleton)):
            if name in values:
                values[name] = field_class(**values[name])
        return cls(**values)

    @property
    def has_depth(self):
        """Whether the model predicts depths: all do but a network of 2D heatmaps."""
        return self.kind != 'coarse_to_fine' or self.depths[-1] > 1

    @property
    def is_truncated(self):
        """Whether the backbone is one of `metro_tf.backbones.truncated`."""
        return (
            self.kind in MARGINAL_KINDS and not self.top_down_channels
            and self.backbone in truncated.FAMILIES)

    def _check_unread(self):
        """Refuses settings that this kind of model, or its backbone, does not have."""
        for owner, table in (
                (self, _KINDS_OF_FIELDS), (self.heatmap, _KINDS_OF_HEATMAP_FIELDS)):
            for name, kinds in table.items():
                if self.kind not in kinds:
                    _check_left_alone(
                        owner, name, f'`kind` is not {" or ".join(map(repr, kinds))}',
                        f'kind={self.kind!r}')
        if self.is_truncated:
            _check_left_alone(
                self, 'bn_momentum', 'the backbone is a truncated one',
                f'backbone={self.backbone!r}')
        if self.kind in HOURGLASS_KINDS:
            for name in (
                    'top_down_channels', 'top_down_blocks', 'backbone_weights', 'bn_momentum'):
                _check_left_alone(
                    self, name, f'the backbone is {HOURGLASS!r}', f'kind={self.kind!r}')


def _with_tuples(value):
    """JSON value with tuples in place of lists."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _check_left_alone(owner, name, condition, received):
    [default] = [field.default for field in dataclasses.fields(owner) if field.name == name]
    if getattr(owner, name) != default:
        raise ValueError(
            f'`{name}` must be left alone where {condition}. '
            f'Received: {name}={getattr(owner, name)}, {received}')


def check_skeleton(skeleton):
    """Checks that a model can have the joints of a skeleton.

    Args:
        skeleton: `metro_tf.skeleton.Skeleton`.

    Raises:
        ValueError: If it is something else, a name is not in the vocabulary, or a joint has no
            partner on the other side.
    """
    if not isinstance(skeleton, skeleton_lib.Skeleton):
        raise ValueError(
            f'`skeleton` must be a metro_tf.skeleton.Skeleton. Received: skeleton={skeleton!r}')
    names = skeleton.joint_names
    lonely = [name for name in names if skeleton_lib.mirror_name(name) not in names]
    if lonely:
        raise ValueError(
            '`skeleton` must have the joints of both sides, since people are mirrored in '
            f'training. Received: {lonely} without their partners')
