import dataclasses
import json

import pytest

from metro_tf import skeleton
from metro_tf.config import HeatmapConfig
from metro_tf.models.config import ModelConfig
from tests.models.test_builder import HOURGLASS, LENGTHS, MARGINAL


@pytest.mark.parametrize('changes, message', [
    ({'backbone': 'resnet50'}, "`backbone` must be 'hourglass' for the kinds .*kind='coarse_to_f"),
    ({'kind': 'metrabs', 'depths': ModelConfig.depths, 'n_channels': 256, 'n_levels': 4},
     "`backbone` must be 'hourglass' for .*, and for no other. .*kind='metrabs'"),
    ({'kind': 'decoupled'}, "`heatmap_network` must be given where `kind` is 'decoupled'"),
    ({'heatmap_network': 'a.keras'}, "`heatmap_network` must be left .* not 'decoupled'"),
    ({'kind': 'coordinate_regression'}, '`depths` must be left alone .*depths=.1, 8.'),
    ({'kind': 'decoupled', 'heatmap_network': 'a', 'hourglass_variant': 'uniform'},
     "`hourglass_variant` must be left alone where `kind` is not 'coarse_to_fine'"),
    ({'relative_to': 'parent'}, "`relative_to` must be left .* not 'coordinate_regression'"),
    ({'top_down_channels': 32}, "`top_down_channels` must be left alone where the backbone is 'h"),
    ({'bn_momentum': 0.9}, '`bn_momentum` must be left alone'),
    ({'backbone_weights': 'a.h5'}, '`backbone_weights` must be left alone'),
    ({'depths': (1, 1), 'bone_lengths_mm': LENGTHS}, '`bone_lengths_mm` must be left alone where '
     'the last of `depths` is 1'),
    ({'heatmap': HeatmapConfig(64, 4, 12)}, '`n_depth_cells` must be left alone'),
    ({'heatmap': HeatmapConfig(64, 4, box_size_mm=2000.0)}, '`box_size_mm` must be left alone'),
    ({'depths': ()}, '`depths` must be the cells .*depths=..'),
    ({'depths': (1, 3)}, '`depths` must be the cells .*depths=.1, 3.'),
    ({'decoding': 'mean'}, '`decoding` must be one of .*decoding=.mean.'),
    ({'hourglass_variant': 'wide'}, '`hourglass_variant` must be one of'),
    ({'relative_to': 'neck'}, '`relative_to` must be one of')])
def test_bad_settings_of_hourglasses_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**{**HOURGLASS, **changes})


@pytest.mark.parametrize('make, message', [
    (lambda: ModelConfig(n_stages=2),
     "`n_stages` must be left alone where `kind` is not 'margipose' or 'absolute_margipose'. "
     "Received: n_stages=2, kind='metrabs'"),
    (lambda: ModelConfig(kind='metro', axis_permutation=False), '`axis_permutation` must be left'),
    (lambda: ModelConfig(kind='pose25d', n_inner_channels=48), '`n_inner_channels` must be left'),
    (lambda: ModelConfig(kind='absolute_margipose', height_mm=900.0),
     "`height_mm` must be left alone where `kind` is not 'margipose'. "),
    (lambda: ModelConfig(kind='margipose', mix_3d_inside_fov=0.2), '`mix_3d_inside_fov` must be'),
    (lambda: ModelConfig(kind='margipose', heatmap=HeatmapConfig(64, 8, box_size_mm=2000.0)),
     '`box_size_mm` must be left alone .*box_size_mm=2000.0, kind=.margipose.'),
    (lambda: ModelConfig(kind='absolute_margipose', heatmap=HeatmapConfig(64, 8, 12)),
     '`n_depth_cells` must be left alone .*n_depth_cells=12'),
    (lambda: ModelConfig(kind='margipose', heatmap=HeatmapConfig(64, 8, centered=False)),
     '`centered` must be left alone'),
    (lambda: ModelConfig(**MARGINAL, backbone='inception_v4', bn_momentum=0.9),
     '`bn_momentum` must be left alone where the backbone is a truncated one. '
     "Received: bn_momentum=0.9, backbone='inception_v4'"),
    (lambda: ModelConfig(kind='openpose'), '`kind` must be one of .* Received: kind=.openpose.'),
    (lambda: ModelConfig(kind='metro', weak_perspective=True),
     "`weak_perspective` must be left alone where `kind` is not 'metrabs' or 'absolute_margipose'. "
     "Received: weak_perspective=True, kind='metro'"),
    (lambda: ModelConfig(bone_lengths_mm=LENGTHS), '`bone_lengths_mm` must be left alone'),
    (lambda: ModelConfig(skeleton=('nose',)), '`skeleton` must be a metro_tf.skeleton.Skeleton. '),
    (lambda: ModelConfig(skeleton=skeleton.Skeleton(('nose', 'lkne'), ())),
     "`skeleton` must have the joints of both sides.* Received: .'lkne'. without"),
    (lambda: ModelConfig(skeleton=skeleton.Skeleton(('heel',), ())), "`name` must be .*'heel'")])
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize('config', [
    ModelConfig(), ModelConfig(**MARGINAL, backbone='resnet18', height_edges=(('lhip', 'lkne'),)),
    ModelConfig(**HOURGLASS, bone_lengths_mm=LENGTHS)])
def test_json_and_back(config):
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    assert ModelConfig.from_json(settings) == config


def test_json_of_earlier_and_later_versions():
    settings = {'kind': 'metro', 'skeleton': {'joint_names': ['neck'], 'edges': []}}
    assert ModelConfig.from_json(settings) == ModelConfig(
        kind='metro', skeleton=skeleton.Skeleton(('neck',), ()))
    with pytest.raises(ValueError, match=r"fields of a ModelConfig alone. Received: \['wings'\]"):
        ModelConfig.from_json({'wings': 2})
    with pytest.raises(ValueError, match='`stride_px` must divide `crop_side_px`'):
        ModelConfig.from_json({'heatmap': {'crop_side_px': 100, 'stride_px': 32}})
