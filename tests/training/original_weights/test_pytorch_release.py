import numpy as np
import pytest

from tests.training.original_weights import released_files
from training.original_weights import layouts, pytorch_release

TENSORS = {
    'backbone.1.0.0.weight': np.ones([8, 3, 3, 3], np.float32),
    'backbone.1.0.1.num_batches_tracked': np.array(7, np.int64),
    'heatmap_heads.conv_final.bias': np.zeros(6, np.float32)}
WEIGHTS = ['backbone.1.0.0.weight', 'heatmap_heads.conv_final.bias']


def test_everything_is_read(tmp_path):
    folder = tmp_path / 'model'
    released_files.write_torch_folder(
        folder, TENSORS, ['lhip', 'rhip'], [[0, 1]], {'turned': (['rhip', 'lhip'], [1, 0])})
    for path in (folder, folder / 'ckpt.pt'):
        found = pytorch_release.read(path)
        assert found.naming == layouts.PYTORCH and list(found.tensors) == WEIGHTS
        np.testing.assert_array_equal(
            found.tensors['backbone.1.0.0.weight'], TENSORS['backbone.1.0.0.weight'])
        assert found.others == ('backbone.1.0.1.num_batches_tracked',)
        assert found.joint_names == ('lhip', 'rhip') and found.joint_edges == ((0, 1),)
        assert found.skeletons == {'turned': (('rhip', 'lhip'), (1, 0))}
        assert found.crop_side_px is None


@pytest.mark.parametrize('outer', ['', 'module.', 'crop_model.', 'module.crop_model.'])
def test_a_state_dict_alone(outer, tmp_path):
    folder = tmp_path / 'model'
    released_files.write_torch_folder(
        folder, {outer + name: value for name, value in TENSORS.items()})
    found = pytorch_release.read(folder)
    assert list(found.tensors) == WEIGHTS
    assert found.joint_names is None and found.joint_edges is None and found.skeletons == {}


def test_refuses_missing_and_damaged_files(tmp_path):
    with pytest.raises(ValueError, match=rf'Received: {tmp_path}/ckpt.pt: .*No such file'):
        pytorch_release.read(tmp_path)
    folder = tmp_path / 'model'
    released_files.write_torch_folder(folder, TENSORS, ['lhip'], [[0, 0]])
    np.savez(folder / 'joint_info.npz', joint_names=np.array(['lhip']))
    with pytest.raises(ValueError, match=r"joint_info.npz with \['joint_names'\]"):
        pytorch_release.read(folder)


def test_refuses_other_tables_of_skeletons(tmp_path):
    folder = tmp_path / 'model'
    released_files.write_torch_folder(folder, TENSORS, skeletons={})
    for content, reason in ((b'N.', 'AttributeError'), (b'}X\x01\x00\x00\x00a}s.', "KeyError 'n")):
        (folder / 'skeleton_infos.pkl').write_bytes(content)
        with pytest.raises(ValueError, match=f'must be a dict of skeletons .*: {reason}'):
            pytorch_release.read(folder)
    (folder / 'skeleton_infos.pkl').write_bytes(b'cos\nsystem\n.')
    with pytest.raises(ValueError, match='os.system is refused'):
        pytorch_release.read(folder)
