"""Own labelled photos: imported consistently, with every mistake told, and never in part."""

import json
import pathlib
import sys

import cv2
import numpy as np
import pytest

from metro_tf import skeleton
from metro_tf.geometry import camera
from training import evaluate, export, import_folder, pipeline, train
from training.augment import crop_view
from training.config import AugmentConfig, TrainConfig
from training.datasets import folder as folder_lib
from training.datasets import records, window

SIZE = (1000, 800)  # width and height of the photos
K = [[1500.0, 0.0, 510.0], [0.0, 1400.0, 390.0], [0.0, 0.0, 1.0]]


def make_joints(seed, n_joints=17):
    """Camera-frame joints of a person of about 0.6 m, 4 m away."""
    rng = np.random.default_rng(seed)
    return rng.uniform([-200, -600, -200], [200, 600, 200], [n_joints, 3]) + [0, 0, 4000]


def project(coords3d, intrinsics=K):
    homogeneous = coords3d @ np.transpose(intrinsics)
    return homogeneous[:, :2] / homogeneous[:, 2:]


def box_of(coords2d, margin=10):
    low, high = np.nanmin(coords2d, axis=0) - margin, np.nanmax(coords2d, axis=0) + margin
    return [*low, *(high - low)]


def make_row(seed=0, image='a.jpg', n_joints=17, **changes):
    """A row with both kinds of labels; a change to None leaves the key out."""
    coords3d = make_joints(seed, n_joints)
    coords2d = project(coords3d)
    row = {
        'image': image, 'box': box_of(coords2d), 'intrinsics': K, 'camera_up': [0, -2, 0.2],
        'coords3d_cam': coords3d.tolist(), 'coords2d': coords2d.tolist(), **changes}
    return {key: value for key, value in row.items() if value is not None}


def row_2d(seed=0, **changes):
    return make_row(seed, **{
        'intrinsics': None, 'camera_up': None, 'coords3d_cam': None, **changes})


def write_annotations(folder, rows, **top):
    text = json.dumps({'skeleton': 'h36m_17', **top, 'people': rows}, indent=1)
    (folder / 'annotations.json').write_text(text)


@pytest.fixture
def folder(tmp_path):
    """A folder with two photos, dark with a soft light spot on each joint of `make_joints(0)`."""
    folder = tmp_path / 'photos'
    (folder / 'sub').mkdir(parents=True)
    x, y = np.meshgrid(*map(np.arange, SIZE))
    spots = [np.exp(-((x - u) ** 2 + (y - v) ** 2) / 200) for u, v in project(make_joints(0))[:1]]
    image = np.uint8(np.round(20 + 200 * sum(spots)))
    for name in ('a.jpg', 'sub/b.png'):
        cv2.imwrite(str(folder / name), image)
    return folder


@pytest.fixture
def mistakes(folder, tmp_path, capsys):
    """Function from rows to the lines of mistakes; checks exit code and that nothing is left."""
    def run(rows, **top):
        if rows is not None:
            write_annotations(folder, rows, **top)
        out = tmp_path / 'records'
        assert import_folder.main([str(folder), '--out', str(out)]) == 2
        assert sorted(path.name for path in tmp_path.iterdir()) == ['photos']
        lines = capsys.readouterr().err.splitlines()
        lines = [line for line in lines if not line.startswith('check: ')]  # the progress bar
        assert lines[-1] == 'Nothing was written.'
        return [line for line in lines[:-1] if line.strip()]
    return run


def imported(folder, out, kind):
    assert import_folder.main([str(folder), '--out', str(out)]) == 0
    return list(records.read_dataset(out / kind).as_numpy_iterator())


def test_window_by_hand():
    """A box of 424 px is halved; the square window reaches twice as far, or to the border."""
    image = np.zeros([1600, 2000, 3], np.uint8)
    pixels, photo_to_window, frame = window.cut_photo(image, [599.5, 99.5, 424, 200])
    # Halved: x 300 to 512, y 50 to 150 from the corner, middle (406, 100), +- 212 px.
    assert pixels.shape == (313, 425, 3)
    np.testing.assert_allclose(frame, [-194, 0, 1000, 800])
    # The centre of the first pixel is at 0.25 - 0.5 of a pixel of the halved photo.
    np.testing.assert_allclose(photo_to_window, [[0.5, 0, -194.25], [0, 0.5, -0.25], [0, 0, 1]])


def test_training_crops_stay_within_the_window(tmp_path):
    """No black border from cutting, whatever the augmentation draws."""
    cv2.imwrite(str(tmp_path / 'white.png'), np.full([1600, 2000, 3], 255, np.uint8))
    person = folder_lib.Person(
        'white', tmp_path / 'white.png', np.array([900.0, 600.0, 100.0, 360.0]),
        np.full([24, 2], np.nan), np.array([[9e3, 0, 1e3], [0, 9e3, 800], [0, 0, 1]]), None, None,
        skeleton.METRO_24.joint_names)
    example = records.parse(records.serialize(folder_lib.to_example(person)))
    augment = AugmentConfig()
    policy = crop_view.RandomCropView(
        64, skeleton.METRO_24.mirror_mapping, augment.max_zoom_change,
        augment.max_rotation_degrees, augment.max_shift)
    for i in range(20):
        crop = crop_view.WarpToCrop(64)(policy(example, [i, 1]), [i, 1])
        assert crop['image'].numpy().min() > 0.99


@pytest.mark.parametrize('zoom', [1, 4])
def test_stored_projection_equals_stored_joints(folder, tmp_path, zoom):
    intrinsics = np.diag([1 / zoom, 1 / zoom, 1]) @ K
    coords2d = project(make_joints(0), intrinsics)
    row = make_row(intrinsics=intrinsics.tolist(), coords2d=coords2d.tolist(), box=box_of(coords2d))
    write_annotations(folder, [row])
    example, = imported(folder, tmp_path / 'records', '3d')
    assert example['has_3d'] and not example['has_alpha']
    mask = example['joint_validity_mask_3d']
    assert mask.sum() == 17 and (example['joint_validity_mask_2d'] == mask).all()
    projected = camera.project(example['coords3d_cam'], example['intrinsics']).numpy()
    np.testing.assert_allclose(projected[mask], example['coords2d'][mask], atol=0.01)
    np.testing.assert_allclose(example['camera_up'], np.array([0, -2, 0.2]) / 2.01, atol=1e-3)
    np.testing.assert_allclose(
        example['coords3d_cam'][skeleton.METRO_24.index('pelv')], make_joints(0)[0], atol=0.01)
    larger = max(example['box'][2:])
    assert 211 < larger < 213 if zoom == 1 else larger == pytest.approx(max(row['box'][2:]))
    assert max(example['image'].shape) <= 2 * 213 + 2


def test_joints_stay_on_their_pixels(folder, tmp_path):
    """The light spot of the first joint is found at the stored joint after the downscaling."""
    write_annotations(folder, [row_2d(image='sub/b.png')])
    example, = imported(folder, tmp_path / 'records', '2d')
    light = np.maximum(example['image'][..., 0].astype(float) - 60, 0)
    y, x = [(light * axis).sum() / light.sum() for axis in np.indices(light.shape)]
    joint = example['coords2d'][skeleton.METRO_24.index('pelv')]
    np.testing.assert_allclose([x, y], joint, atol=0.05)


def test_2d_labels_get_the_pseudo_camera_of_the_whole_photo(folder, tmp_path):
    coords2d = make_row()['coords2d']
    coords2d[3], coords2d[4] = None, [None, 5.0]
    write_annotations(folder, [row_2d(coords2d=coords2d)])
    example, = imported(folder, tmp_path / 'records', '2d')
    assert not example['has_3d'] and not example['joint_validity_mask_3d'].any()
    assert example['joint_validity_mask_2d'].sum() == 15
    scale = example['frame'][2:] / SIZE
    focal = 500 / np.tan(np.radians(4.0))
    np.testing.assert_allclose(np.diag(example['intrinsics'])[:2], focal * scale, rtol=1e-5)
    middle = example['frame'][:2] + example['frame'][2:] / 2  # half a pixel of the photo apart
    np.testing.assert_allclose(example['intrinsics'][:2, 2], middle, atol=0.5)


def test_both_kinds_and_shards(folder, tmp_path, capsys):
    rows = [make_row(i) for i in range(5)] + [row_2d(7, skeleton='lsp_14', n_joints=14)]
    write_annotations(folder, rows)
    out = tmp_path / 'deep/er/records'
    assert import_folder.main([str(folder), '--out', str(out), '--images-per-shard', '2']) == 0
    assert [path.name for path in sorted((out / '3d').iterdir())] == [
        'people-00000.tfrecord', 'people-00001.tfrecord', 'people-00002.tfrecord']
    names = [example['name'].numpy() for example in records.read_dataset(out / '3d')]
    assert names == [b'a.jpg row 1', b'a.jpg row 2', b'a.jpg row 3', b'a.jpg row 4', b'a.jpg row 5']
    assert len(list(records.read_dataset(out / '2d'))) == 1
    assert '5 people to' in capsys.readouterr().out
    assert import_folder.main([str(folder), '--out', str(out)]) == 2
    assert '`out` must be a new or empty folder' in capsys.readouterr().err


def test_given_joints_complete_the_projected_ones(folder):
    coords3d, coords2d = make_row()['coords3d_cam'], make_row()['coords2d']
    coords3d[0] = None
    coords2d[1][0] += 3.0  # within the tolerance: the projection counts
    write_annotations(folder, [make_row(coords3d_cam=coords3d, coords2d=coords2d)])
    person, = folder_lib.read_people(folder)
    index = skeleton.CONVENTIONS['h36m_17'].index
    np.testing.assert_allclose(person.coords2d[index('pelv')], coords2d[0])
    np.testing.assert_allclose(person.coords2d[index('rhip')], project(make_joints(0))[1])
    assert np.isnan(person.coords3d_cam[index('pelv')]).all()


def test_joints_outside_of_the_photo_are_not_visible(folder, tmp_path):
    coords2d = make_row()['coords2d']
    coords2d[5] = [500.0, 900.0]
    write_annotations(folder, [row_2d(coords2d=coords2d, box=[300, 100, 400, 900])])
    example, = imported(folder, tmp_path / 'records', '2d')
    hidden = example['joint_validity_mask_2d'] & (example['visibility'] == 0)
    assert [skeleton.METRO_24.joint_names[i] for i in np.flatnonzero(hidden)] == ['lkne']
    # The box is cut to the photo, as are those of rendered people.
    np.testing.assert_allclose(
        example['box'][1] + example['box'][3], example['frame'][1] + example['frame'][3] - 0.5,
        atol=1e-3)


@pytest.mark.parametrize('row, message', [
    (row_2d(image='none.jpg'), 'none.jpg: there is no such file'),
    (row_2d(image='empty.jpg'), 'empty.jpg: the file is empty'),
    (row_2d(image='text.jpg'), 'text.jpg: not an image'),
    (row_2d(image='cut.jpg'), 'cut.jpg: the image cannot be decoded'),
    (row_2d(image='../a.jpg'), "`image` must not lead out of the folder. Received: image='../a.j"),
    (row_2d(image='sub/../../a.jpg'), '`image` must not lead out of the folder'),
    (row_2d(image='/tmp/a.jpg'), '`image` must not lead out of the folder'),
    (row_2d(image=3), '`image` must be a path relative to the folder. Received: image=3'),
    (row_2d(box=None), '`box` must be four finite numbers'),
    (row_2d(box=[1, 2, 3]), '`box` must be four finite numbers'),
    (row_2d(box=[1, 2, float('nan'), 3]), '`box` must be four finite numbers'),
    (row_2d(box=[1, 2, 1e300, 3]), '`box` must be four finite numbers'),
    (row_2d(box=[1, 2, 0, 3]), '`box` must have positive width and height'),
    (row_2d(box=[1200, 2, 30, 30]), '`box` must overlap the photo.*photo of 1000 x 800 px'),
    (row_2d(box=[0.1, 0.2, 0.3, 0.4]), '`box` must overlap the photo by at least 1 px'),
    (row_2d(box=[1, 2, 3, 4]), '`box` must surround the person'),
    (row_2d(n_joints=16), "`coords2d` must be 2 numbers for each of the 17 joints of 'h36m.*16"),
    (row_2d(coords2d=[[1, 2], 3]), '`coords2d` must be 2 numbers for each.*3'),
    (row_2d(coords2d=[[float('inf'), 2]] * 17), '`coords2d` must be finite.*pelv .inf, 2.0.'),
    (row_2d(coords2d=None), '`coords2d` or `coords3d_cam` must have a labelled joint'),
    (row_2d(coords2d=[None] * 17), '`coords2d` or `coords3d_cam` must have a labelled joint'),
    (row_2d(skeleton='h36m'), '`skeleton` must be one of.*metro_24.*h36m'),
    (row_2d(skeleton=['h36m']), '`skeleton` must be one of'),
    (make_row(intrinsics=None), '`intrinsics` must be given with `coords3d_cam`'),
    (make_row(intrinsics=K[:2]), '`intrinsics` must be finite numbers'),
    (make_row(intrinsics=np.transpose(K).tolist()), '`intrinsics` must be finite numbers'),
    (make_row(intrinsics=[[float('nan'), 0, 1], *K[1:]]), '`intrinsics` must be finite numbers'),
    (make_row(intrinsics=[[-1500, 0, 1], *K[1:]]), 'with positive fx and fy'),
    (make_row(camera_up=[0, 0, 0]), '`camera_up` must be three finite numbers, not all zero'),
    (make_row(coords3d_cam=[[1, 2, -3]] + [None] * 16), 'in front of the camera.*pelv .*-3.0'),
    (make_row(coords3d_cam=(make_joints(0) / 1000).tolist()), '`coords3d_cam` must be in mm.*1.0'),
    (make_row(coords3d_cam=(make_joints(0) + [100, 0, 0]).tolist()),
     '`coords2d` must agree with the projection of `coords3d_cam` within .* is 3'),
    (make_row(joints=[1]), "keys must be among .*Received: .'joints'."),
    ([1, 2], 'a row must be an object'),
])
def test_each_mistake_is_told(folder, mistakes, row, message):
    (folder / 'empty.jpg').write_bytes(b'')
    (folder / 'text.jpg').write_text('no photo')
    (folder / 'cut.jpg').write_bytes((folder / 'a.jpg').read_bytes()[:-900])
    lines = mistakes([row_2d(9), row])
    assert len(lines) == 1
    assert lines[0].startswith('annotations.json, row 2: ')
    assert_matches(lines[0], message)


def assert_matches(text, pattern):
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(text)


def test_all_mistakes_are_listed_together(mistakes):
    lines = mistakes([
        make_row(0), make_row(1, image='none.jpg', box=[1, 2, 3, -4], intrinsics=None),
        row_2d(2, n_joints=3), make_row(0, _comment='own keys have an underscore')])
    starts = [line.split(': ')[0] for line in lines]
    assert starts == [f'annotations.json, row {number}' for number in (2, 2, 2, 3, 4)]
    for line, text in zip(lines, ('none.jpg', '`box`', '`intrinsics`', '3, 2', 'repeats row 1')):
        assert text in line


def test_mistakes_of_the_file(folder, mistakes, tmp_path):
    lines = mistakes([row_2d()], skeleton='coco', author='me')
    assert len(lines) == 2
    assert_matches(lines[0], "annotations.json: keys must be among.*'author'")
    assert_matches(lines[1], 'annotations.json: `skeleton` must be one of.*coco')
    assert_matches(
        mistakes([row_2d()], skeleton=None)[0],
        'row 1: `skeleton`, one of .*, or `joint_names` must be given in the row or .*: neither')
    assert_matches(mistakes([])[0], 'annotations.json: `people` must have a row for every person')
    path = folder / 'annotations.json'
    path.write_text('{"people": [\n{"image": "a.jpg",}\n]}')
    assert_matches(mistakes(None)[0], 'annotations.json, line 2, column 19: not valid JSON')
    path.write_text('[]')
    assert_matches(mistakes(None)[0], 'annotations.json: .*object with a list `people`')
    path.write_bytes(b'\xff\xfe{}')
    assert_matches(mistakes(None)[0], 'annotations.json: the file must be UTF-8')
    (folder / 'annotations.parquet').write_bytes(b'')
    assert_matches(mistakes(None)[0], '`folder` must hold .* or .*and annotations.parquet')
    path.unlink()
    (folder / 'annotations.parquet').unlink()
    assert_matches(mistakes(None)[0], '`folder` must hold .*with neither')


def test_annotations_elsewhere(folder, tmp_path):
    write_annotations(tmp_path, [make_row()])
    path = tmp_path / 'annotations.json'
    [person] = folder_lib.read_people(folder, annotations=path)
    assert person.coords3d_cam is not None
    assert import_folder.main([str(folder), '--annotations', str(path), '--check-only']) == 0
    with pytest.raises(ValueError, match='`annotations` must be a .json or .*none.json'):
        folder_lib.read_people(folder, annotations=tmp_path / 'none.json')


def test_a_failure_while_writing_leaves_nothing(folder, tmp_path, monkeypatch, capsys):
    write_annotations(folder, [make_row(0), make_row(1)])

    def fail(person):
        raise OSError('disk full')
    monkeypatch.setattr(folder_lib, 'to_example', fail)
    assert import_folder.main([str(folder), '--out', str(tmp_path / 'records')]) == 2
    assert 'disk full' in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ['photos']


def test_arguments(folder, tmp_path, capsys):
    write_annotations(folder, [make_row(0)])
    assert import_folder.main([str(folder), '--check-only']) == 0
    assert 'No mistakes in 1 rows' in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ['photos']
    assert import_folder.main([str(folder), '--out', 'x', '--images-per-shard', '0']) == 2
    assert '`images_per_shard` must be a positive' in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        import_folder.main([str(folder)])
    assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        import_folder.main(['--help'])
    assert stop.value.code == 0 and '"coords2d": [[' in capsys.readouterr().out


NAMES = ['nose', 'lfoo', 'rfoo', 'lkne', 'pelv']


def test_all_joints_are_kept_under_their_names(folder, tmp_path):
    """Of its own list, of a convention (whose spi2 is our spin), and of the list at the top."""
    rows = [
        row_2d(0, n_joints=5), row_2d(1, n_joints=24, skeleton='smpl_24'),
        row_2d(2, n_joints=2, joint_names=['lhan', 'nose'])]
    write_annotations(folder, rows, skeleton=None, joint_names=NAMES)
    people = folder_lib.read_people(folder)
    assert [len(person.joint_names) for person in people] == [5, 24, 2]
    assert people[0].joint_names == tuple(NAMES)
    assert {'spin', 'lcla', 'rhan'} < set(people[1].joint_names)
    assert import_folder.main([str(folder), '--out', str(tmp_path / 'records')]) == 0
    wanted = ('rfoo', 'lhan', 'spin', 'nose')
    examples = list(records.read_dataset(tmp_path / 'records/2d', wanted))
    np.testing.assert_array_equal(
        [example['joint_validity_mask_2d'] for example in examples],
        [[True, False, False, True], [False, True, True, False], [False, True, False, True]])
    smpl = records.read_dataset(tmp_path / 'records/2d', people[1].joint_names)
    joints, scale = people[1].coords2d, examples[1]['frame'].numpy()[2:] / SIZE
    expected = joints * scale - joints[0] * scale
    stored = list(smpl)[1]['coords2d'].numpy()
    np.testing.assert_allclose(stored - stored[0], expected, atol=0.01)


@pytest.mark.parametrize('row, message', [
    (row_2d(n_joints=4), '`coords2d` must be 2 numbers for each of the 5 joints of `joint_names`'),
    (row_2d(joint_names=['nose', 'heel']), "`joint_names` must be among .*'nose'.*: .'heel'.$"),
    (row_2d(joint_names=['nose', 3]), '`joint_names` must be among .*Received: .3.$'),
    (row_2d(joint_names=['nose', 'lkne', 'nose']), "must be distinct. Received: .'nose'. more"),
    (row_2d(joint_names=[]), '`joint_names` must be a list of names, not empty.*joint_names=..$'),
    (row_2d(joint_names='nose lkne'), "`joint_names` must be a list .*joint_names='nose lkne'"),
    (row_2d(joint_names=NAMES, skeleton='h36m_17'),
     "`skeleton` and `joint_names` must not both be given. Received: skeleton='h36m_17', join"),
    (make_row(n_joints=5, coords3d_cam=(make_joints(0, 5) + [100, 0, 0]).tolist()),
     '`coords2d` must agree with the projection of `coords3d_cam` .*: (nose|.foo|lkne|pelv) is 3'),
    (make_row(n_joints=5, coords3d_cam=[None, [1, 2, -3]] + [None] * 3),
     'in front of the camera.*: lfoo .*-3.0')])
def test_mistakes_with_own_joint_names_are_told(mistakes, row, message):
    lines = mistakes([row_2d(9, n_joints=5), row], skeleton=None, joint_names=NAMES)
    assert len(lines) == 1
    assert lines[0].startswith('annotations.json, row 2: ')
    assert_matches(lines[0], message)


def test_wrong_joint_names_at_the_top_are_told_once(mistakes):
    rows = [row_2d(0), row_2d(1), row_2d(2, skeleton='h36m_17')]
    line, = mistakes(rows, skeleton=None, joint_names=['nose', 'heel'])
    assert_matches(line, "annotations.json: `joint_names` must be among .*Received: .'heel'.")
    line, = mistakes(rows, joint_names=['nose'])
    assert_matches(line, 'annotations.json: `skeleton` and `joint_names` must not both be given')


def test_parquet_says_what_to_install(folder, mistakes, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    (folder / 'annotations.parquet').write_bytes(b'PAR1')
    line, = mistakes(None)
    assert "need pyarrow: pip install 'metro-tf[parquet]'" in line


def test_parquet_is_read_like_json(folder, mistakes):
    pyarrow = pytest.importorskip('pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')
    rows = [make_row(0), row_2d(1, camera_up=None, image='sub/b.png')]
    rows[1]['coords2d'][2] = [float('nan')] * 2
    rows.append(row_2d(2, n_joints=5, joint_names=NAMES))
    write_annotations(folder, rows)
    expected = folder_lib.read_people(folder)
    (folder / 'annotations.json').unlink()
    table = pyarrow.Table.from_pylist([
        {key: None for key in (*rows[0], 'joint_names')} | row
        | {'skeleton': None if 'joint_names' in row else 'h36m_17'} for row in rows])
    parquet.write_table(table, folder / 'annotations.parquet')
    for person, other in zip(folder_lib.read_people(folder), expected, strict=True):
        assert person.name == other.name and person.joint_names == other.joint_names
        np.testing.assert_array_equal(person.coords2d, other.coords2d)
        np.testing.assert_array_equal(person.intrinsics, other.intrinsics)
    (folder / 'annotations.parquet').write_bytes(b'PAR1')
    assert_matches(mistakes(None)[0], 'annotations.parquet: not a readable Parquet file')


@pytest.fixture
def own_records(folder, tmp_path):
    """Records of twelve people with 3D labels and eight with 2D labels only."""
    rows = [make_row(i, n_joints=24) for i in range(12)]
    rows += [row_2d(i, n_joints=24, image='sub/b.png') for i in range(12, 20)]
    write_annotations(folder, rows, skeleton='metro_24')
    assert import_folder.main([str(folder), '--out', str(tmp_path / 'own')]) == 0
    return tmp_path / 'own'


def test_batches_from_own_records(own_records, folder):
    config = TrainConfig(name='x', batch_size_3d=3, batch_size_2d=1)
    arguments = (None, None, [folder])
    dataset = pipeline.training_dataset(
        config, *arguments, records_3d_dir=own_records / '3d', records_2d_dir=own_records / '2d')
    for _, labels in dataset.take(2):
        has_3d = labels['joint_validity_mask_3d'].numpy().any(axis=1)
        np.testing.assert_array_equal(has_3d, [True, True, True, False])
        assert labels['joint_validity_mask_2d'].numpy().all()
    with pytest.raises(ValueError, match='`batch_size_2d` must be 0 without a source of 2D'):
        pipeline.training_dataset(config, *arguments, records_3d_dir=own_records / '3d')


def test_two_sources_take_turns(own_records, folder):
    config = TrainConfig(name='x', batch_size_3d=4, batch_size_2d=0)
    dataset = pipeline.training_dataset(
        config, own_records / '3d', None, [folder], records_3d_dir=own_records / '2d')
    for _, labels in dataset.take(2):
        has_3d = labels['joint_validity_mask_3d'].numpy().any(axis=1)
        np.testing.assert_array_equal(has_3d, [True, False, True, False])


def test_own_share_and_a_late_start(own_records, folder):
    config = TrainConfig(name='x', batch_size_3d=5, batch_size_2d=0, own_share=0.3)

    def batches(first_step):
        dataset = pipeline.training_dataset(
            config, own_records / '3d', None, [folder], first_step,
            records_3d_dir=own_records / '2d')
        return [(inputs['image'].numpy(), labels['joint_validity_mask_3d'].numpy())
                for inputs, labels in dataset.take(4 - first_step)]
    whole = batches(0)
    is_own = np.concatenate([~masks.any(axis=1) for _, masks in whole])
    # Every third of ten, where 0.3 n passes 1, 2, 3.
    np.testing.assert_array_equal(np.flatnonzero(is_own), [3, 6, 9, 13, 16, 19])
    for (image, _), (again, _) in zip(whole[1:], batches(1), strict=True):
        np.testing.assert_array_equal(image, again)


CONFIG = """
from metro_tf.config import HeatmapConfig
from training.config import ModelConfig, TrainConfig


def config():
    return TrainConfig(
        name='own', n_steps=2, steps_per_epoch=2, warmup_steps=1, batch_size_3d=2,
        batch_size_2d=2, model=ModelConfig(top_down_channels=16, heatmap=HeatmapConfig(64, 8)))
"""


@pytest.mark.slow
def test_from_twenty_photos_to_a_saved_model(own_records, folder, tmp_path, monkeypatch):
    """The walk of docs/retraining.md, program by program."""
    def run(program, *arguments):
        monkeypatch.setattr(sys, 'argv', [program.__name__, *map(str, arguments)])
        program.main()
    config, runs, scores = tmp_path / 'own.py', tmp_path / 'runs', tmp_path / 'scores.json'
    config.write_text(CONFIG)
    three, two = own_records / '3d', own_records / '2d'
    run(train, config, '--records-3d-dir', three, '--records-2d-dir', two, '--background-dir',
        folder, '--out-dir', runs)
    model = runs / 'own/crop_model.keras'
    run(evaluate, model, '--config', config, '--records-dir', three, '--records-dir', two,
        '--background-dir', folder, '--out', scores)
    result = json.loads(scores.read_text())
    assert result[str(three)]['n_examples_3d'] == 12 and result[str(two)]['n_examples_2d'] == 8
    out = pathlib.Path(tmp_path / 'own_model/1')
    run(export, model, '--synth-dir', three, '--config', config, '--scores', scores, '--out', out)
    assert (out / 'saved_model.pb').is_file()
