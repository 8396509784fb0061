"""Cards of examples: where things are drawn, what the numbers tell, which examples are shown."""

import cv2
import numpy as np
import pytest

from metro_tf import skeleton
from tests.training import test_records
from tests.training.datasets import fixtures
from training import browse
from training.datasets import example as example_lib
from training.datasets import records

NAMES = skeleton.METRO_24.joint_names
FOCAL = 100.0


def make_person(**changes):
    """A person who faces the camera at 4 m, as a dict like that of a parsed record."""
    # From a world where the person faces +x to the camera's axes.
    coords3d = fixtures.standing(NAMES_WITH_PLACES)[:, [1, 2, 0]] * [1, -1, -1] + [0, 900, 4000]
    intrinsics = np.float32([[FOCAL, 0, 50], [0, FOCAL, 50], [0, 0, 1]])
    coords2d = coords3d[:, :2] / coords3d[:, 2:] * FOCAL + 50
    example = example_lib.Example(
        image=np.full([100, 100, 3], 200, np.uint8), name='person',
        box=np.float32([35, 20, 30, 60]), frame=np.float32([-10, -10, 300, 300]),
        coords2d=np.float32(coords2d), visibility=np.ones(len(coords2d), np.float32),
        intrinsics=intrinsics, camera_up=np.float32([0, -1, 0]), coords3d_cam=np.float32(coords3d),
        joint_names=NAMES_WITH_PLACES)
    parsed = records.parse(records.serialize(example), browse.BODY.joint_names)
    return {**{name: value.numpy() for name, value in parsed.items()}, **changes}


NAMES_WITH_PLACES = tuple(name for name in NAMES if name != 'spin')


@pytest.fixture
def records_dir(tmp_path):
    for shard, numbers in (('a', range(3)), ('b', range(3, 8))):
        records.write_shard(
            str(tmp_path / f'{shard}.tfrecord'),
            [test_records.make_example(f'no. {i}', seed=i) for i in numbers])
    return tmp_path


def names_of(examples):
    return [int(example['name'].decode().split()[1]) for example in examples]


def test_sheet_is_written(records_dir, capsys):
    out = records_dir / 'sheet.png'
    assert browse.main([str(records_dir), '--out', str(out), '--columns', '2', '--n', '3']) == 0
    width, height = browse.CARD_SIZE_PX
    assert cv2.imread(str(out)).shape == (2 * height, 2 * width, 3)
    assert f'3 examples drawn in {out}' in capsys.readouterr().out
    assert browse.main([str(records_dir), '--out', str(out), '--no-labels']) == 0
    assert cv2.imread(str(out)).shape == (2 * 240, 6 * 240, 3)  # all eight of them


def test_which_examples_are_drawn(records_dir):
    drawn = names_of(browse.read_examples(records_dir, 4, seed=1))
    assert drawn == names_of(browse.read_examples(records_dir, 4, seed=1))
    assert drawn == sorted(set(drawn)) and len(drawn) == 4
    assert drawn != names_of(browse.read_examples(records_dir, 4, seed=3))
    assert names_of(browse.read_examples(records_dir, 100)) == list(range(8))
    assert names_of(browse.read_examples(records_dir, 3, first=2)) == [2, 3, 4]
    assert names_of(browse.read_examples(records_dir, 3, first=7)) == [7]


@pytest.mark.parametrize('arguments, text', [
    (['--n', '0'], '`n` must be a positive finite number. Received: n=0'),
    (['--columns', '0'], '`columns` must be a positive finite number. Received: columns=0'),
    (['--first', '8'], '`first` must be from 0 to 7. Received: first=8'),
    (['--first', '-1'], '`first` must be from 0 to 7. Received: first=-1'),
    (['--out', 'sheet.txt'], '`out` must be an image file, e.g. sheet.png. Received: out=sheet.t'),
    (['--out', 'none/sheet.png'], 'No such file or directory')])
def test_wrong_input(records_dir, monkeypatch, capsys, arguments, text):
    monkeypatch.chdir(records_dir)
    assert browse.main([str(records_dir), '--out', 'a.png', *arguments]) == 2
    assert text in capsys.readouterr().err
    assert sorted(path.suffix for path in records_dir.iterdir()) == ['.tfrecord'] * 2


def test_missing_records(tmp_path, capsys):
    assert browse.main([str(tmp_path), '--out', str(tmp_path / 'a.png')]) == 2
    assert '`pattern_or_dir` must match record files' in capsys.readouterr().err


def test_bones_of_all_joints_are_those_of_the_default_skeleton_where_it_has_them():
    assert set(browse.BODY.joint_names) == set(skeleton.VOCABULARY)

    def bones(joints):
        return {tuple(joints.joint_names[i] for i in edge) for edge in joints.edges}
    default = skeleton.METRO_24
    assert bones(browse.BODY.restricted_to(default.joint_names)) == bones(default)
    assert len(browse.BODY.edges) == len(skeleton.VOCABULARY) - 1  # one tree


def test_photo_shows_person_outline_and_skeleton():
    n_joints = len(skeleton.VOCABULARY)
    example = {
        'image': np.full([117, 234, 3], 200, np.uint8), 'has_alpha': True,
        'alpha': np.zeros([117, 234, 1], np.uint8), 'frame': np.float32([-10, -10, 900, 900]),
        'box': np.float32([19.5, 9.5, 60, 30]),
        'coords2d': np.tile(np.float32([180, 25]), [n_joints, 1]),
        'joint_validity_mask_2d': np.arange(n_joints) == browse.BODY.index('lsho'),
        'visibility': np.ones(n_joints, np.float32)}
    example['alpha'][:, 100:] = 255
    plain, to_cell = browse.draw_photo(example, has_labels=False)
    assert plain.shape == (240, 240, 3)
    # Around the person, the photo is mixed with grey: 0.4 * 200 + 0.6 * 112.
    np.testing.assert_array_equal(plain[25, [10, 200]], [[147] * 3, [200] * 3])
    np.testing.assert_array_equal(plain[130, 10], [96] * 3)  # below the picture
    drawn, _ = browse.draw_photo(example)
    np.testing.assert_array_equal(drawn[25, 180], browse.LEFT)
    np.testing.assert_array_equal(drawn[25, 19], browse.BOX)
    np.testing.assert_array_equal(drawn[60, 100], browse.OUTLINE)
    np.testing.assert_array_equal(drawn[25, 220], [200] * 3)
    assert to_cell([0, 0]) == (0, 0)
    without = browse.draw_photo({**example, 'has_alpha': False})[0]
    np.testing.assert_array_equal(without[60, 100], [200] * 3)


def test_edges_of_the_whole_photo_are_drawn():
    example = make_person(frame=np.float32([-500, -500, 550, 550]))
    drawn, to_cell = browse.draw_photo(example)
    column, row = to_cell([49.5, 10])
    np.testing.assert_array_equal(drawn[row, column], browse.FRAME)


def test_world_axes_by_hand():
    right, up, away = browse.world_axes([0, -2, 0])
    np.testing.assert_allclose([right, up, away], [[1, 0, 0], [0, -1, 0], [0, 0, 1]])
    # Looks down by 30 degrees.
    right, up, away = browse.world_axes([0, -np.cos(np.pi / 6), -0.5])
    np.testing.assert_allclose(right, [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(away, [0, -0.5, np.cos(np.pi / 6)], atol=1e-9)
    # Looks straight down: the top of the picture is away.
    right, up, away = browse.world_axes([0, 0, -1])
    np.testing.assert_allclose([right, away], [[1, 0, 0], [0, -1, 0]], atol=1e-9)


def panel_points(card, name, color):
    """Median place (column, row) of the pixels of a colour in a panel."""
    start = {'side': 0, 'above': browse.PANEL_SIDE_PX}[name]
    panel = card[start:start + browse.PANEL_SIDE_PX, browse.PHOTO_SIDE_PX:]
    rows, columns = np.nonzero(np.all(panel == color, axis=2))
    return np.median(columns), np.median(rows)


def test_panels_show_the_body_from_the_side_and_from_above():
    card = browse.draw_card(make_person())
    # From above: the left hand is at the right of somebody who faces the camera.
    assert panel_points(card, 'above', browse.LEFT)[0] > 65
    assert panel_points(card, 'above', browse.RIGHT)[0] < 55
    # From the side, the middle joints are above the pelvis, which is in the middle.
    column, row = panel_points(card, 'side', browse.CENTER)
    assert abs(column - 60) < 8 and row < 50
    # The nose, 110 mm before the pelvis, points to the camera, which is at the left.
    panel = card[:40, browse.PHOTO_SIDE_PX:-1]
    assert np.nonzero(np.all(panel == browse.CENTER, axis=2))[1].min() == 60 - 7


def test_wrong_axis_turns_the_body_in_the_panels():
    card = browse.draw_card(make_person(camera_up=np.float32([0, 1, 0])))
    assert panel_points(card, 'side', browse.CENTER)[1] > 70


def test_arrow_points_up_from_the_pelvis():
    example = make_person()
    card = browse.draw_card(example)
    pelvis = browse.BODY.index('pelv')
    # 250 mm above the pelvis at 4 m; the photo of 100 px is enlarged by 2.34.
    place = example['coords2d'][pelvis] - [0, 250 / 4000 * FOCAL]
    column, row = np.round((place + 0.5) * 2.34 - 0.5).astype(int)
    np.testing.assert_array_equal(card[row, column], browse.ARROW)


def test_findings_of_right_labels():
    shin = np.mean([np.linalg.norm([30, 10, 420]), np.linalg.norm([150, 10, 410])])
    distance = 4 - fixtures.standing(NAMES_WITH_PLACES)[:, 0].mean() / 1000
    assert browse.findings(make_person()) == [
        (f'shin {shin:.0f} mm', True), (f'{distance:.3g} m', True), ('lean 1', True),
        ('2D 0.0 px', True), ('box 100%', True)]


def test_findings_of_wrong_labels():
    right = make_person()
    metres = make_person(coords3d_cam=right['coords3d_cam'] / 1000)
    assert [is_fine for _, is_fine in browse.findings(metres)] == [False, False, True, True, True]
    assert browse.findings(metres)[0][0] == 'shin 0.429 mm'
    centimetres = make_person(coords3d_cam=right['coords3d_cam'] * 10)
    assert [is_fine for _, is_fine in browse.findings(centimetres)][0] is False
    up_is_down = make_person(camera_up=np.float32([0, 1, 0]))
    assert browse.findings(up_is_down)[2] == ('lean 179', False)
    shifted = make_person(coords2d=right['coords2d'] + np.float32([3, 4]))
    assert browse.findings(shifted)[3] == ('2D 5.0 px', False)
    little = make_person(coords2d=right['coords2d'] + np.float32([0, 2.9]))
    assert browse.findings(little)[3] == ('2D 2.9 px', True)  # 5 % of 60 px are allowed
    elsewhere = make_person(box=np.float32([70, 20, 30, 60]))
    assert browse.findings(elsewhere)[4] == ('box 0%', False)


def test_joints_outside_the_photo_do_not_count_for_the_box():
    # The photo ends below the thighs, and the box with it.
    example = make_person(
        frame=np.float32([0, 0, 100, 60]), box=np.float32([35, 20, 30, 39.5]))
    assert browse.findings(example)[4] == ('box 100%', True)


def test_implausible_numbers_are_red():
    def redness(example):
        texts = browse.draw_card(example)[browse.PHOTO_SIDE_PX:].astype(int)
        return (texts[..., 0] - texts[..., 1]).max()
    assert redness(make_person()) == 0
    assert redness(make_person(camera_up=np.float32([0, 1, 0]))) > 100


def test_examples_with_few_labels():
    none = np.zeros(len(browse.BODY.joint_names), bool)
    flat = make_person(has_3d=np.bool_(False), joint_validity_mask_3d=none)
    assert browse.findings(flat) == [('2D only, 23 joints', True), ('box 100%', True)]
    panels = browse.draw_card(flat)[:browse.PHOTO_SIDE_PX, browse.PHOTO_SIDE_PX:]
    assert len(np.unique(panels)) == 1  # empty
    empty = make_person(joint_validity_mask_3d=none, joint_validity_mask_2d=none)
    assert browse.findings(empty) == []
    browse.draw_card(empty)
    one = none.copy()
    one[browse.BODY.index('lkne')] = True
    knee = make_person(joint_validity_mask_3d=one, joint_validity_mask_2d=one)
    assert [text for text, _ in browse.findings(knee)] == ['3.97 m', '2D 0.0 px', 'box 100%']
    browse.draw_card(knee)
