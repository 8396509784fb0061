"""What the readers share: photos, videos and the choice of frames."""

import cv2
import numpy as np
import pytest

from training.datasets import reader


def write_video(path, n_frames, size=(64, 48)):
    """A lossless video; frame i has the grey value 10 i, and is red in its first column."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'FFV1'), 25, size)
    for i_frame in range(n_frames):
        frame = np.full([size[1], size[0], 3], 10 * i_frame, np.uint8)
        frame[:, 0] = [0, 0, 255]
        writer.write(frame)
    writer.release()


def frames_of(path, indices):
    problems = []
    return list(reader.video_frames(path, indices, problems.append)), problems


def test_video_frames_are_exact_and_rgb(tmp_path):
    write_video(tmp_path / 'v.avi', 6)
    frames, problems = frames_of(tmp_path / 'v.avi', [0, 2, 5])
    assert [i_frame for i_frame, _ in frames] == [0, 2, 5]
    np.testing.assert_allclose(
        [frame[20, 30] for _, frame in frames], [[0] * 3, [20] * 3, [50] * 3])
    assert reader.video_length(tmp_path / 'v.avi') == 6
    assert frames[1][1].shape == (48, 64, 3)
    np.testing.assert_allclose(frames[1][1][5, 0], [255, 0, 0], atol=1)
    assert problems == []


def test_short_video_is_reported_once(tmp_path):
    write_video(tmp_path / 'v.avi', 3)
    frames, problems = frames_of(tmp_path / 'v.avi', [0, 4, 5])
    assert [i_frame for i_frame, _ in frames] == [0]
    assert list(map(str, problems)) == [
        f'{tmp_path}/v.avi: frame 3: the video ends before frame 4; the rest is left out']


def test_missing_and_damaged_videos(tmp_path):
    assert frames_of(tmp_path / 'v.mp4', [0]) == (
        [], [reader.Problem(str(tmp_path / 'v.mp4'), '', 'missing')])
    (tmp_path / 'v.mp4').write_bytes(b'no video at all')
    frames, problems = frames_of(tmp_path / 'v.mp4', [0])
    assert frames == [] and 'the video ends before frame 0' in str(problems)
    assert reader.video_length(tmp_path / 'v.mp4') == 0
    assert reader.video_length(tmp_path / 'w.mp4') == 0


def test_photos_keep_their_stored_orientation(tmp_path):
    # A lossless 2 x 3 photo: its only red pixel is in the second row and the third column.
    photo = np.zeros([2, 3, 3], np.uint8)
    photo[1, 2] = [255, 0, 0]
    cv2.imwrite(str(tmp_path / 'a.png'), photo[..., ::-1])
    problems = []
    np.testing.assert_array_equal(reader.read_photo(tmp_path / 'a.png', problems.append), photo)
    cv2.imwrite(str(tmp_path / 'grey.png'), photo[..., 0])
    np.testing.assert_array_equal(
        reader.read_photo(tmp_path / 'grey.png', problems.append), photo[..., :1].repeat(3, -1))
    assert problems == []


@pytest.mark.parametrize('damage', [lambda data: data[:len(data) // 2], lambda data: b'text'])
def test_damaged_photos_are_reported(tmp_path, damage):
    path = tmp_path / 'a.jpg'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, [64, 64, 3], np.uint8))
    path.write_bytes(damage(path.read_bytes()))
    problems = []
    assert reader.read_photo(path, problems.append) is None
    assert reader.read_photo(tmp_path / 'b.jpg', problems.append) is None
    assert str(problems[0]).startswith(f'{path}: damaged, or no photo: ')
    assert str(problems[1]) == f'{tmp_path}/b.jpg: missing'


def test_frames_are_kept_when_one_joint_moved():
    coords = np.zeros([6, 2, 3])
    coords[:, 1, 0] = [0, 60, 99, 100, 100, 1]
    # 100 mm from frame 0 at frame 3; frame 5 lies 99 mm from that one, and 98 mm from frame 2.
    assert reader.moved_frames(coords, 100) == [0, 3]
    assert reader.moved_frames(coords, 98) == [0, 2, 5]
    assert reader.moved_frames(coords, 99, first=3) == [3, 5]
    assert reader.moved_frames(coords, 0) == [0, 1, 2, 3, 4, 5]


def test_missing_joints_do_not_move():
    coords = np.zeros([3, 2, 3])
    coords[1, 0], coords[2, 1] = np.nan, 200
    assert reader.moved_frames(coords, 100) == [0, 2]
    assert reader.moved_frames(coords[:0], 100) == []


def test_source_folder_must_hold_something_of_the_data_set(tmp_path):
    (tmp_path / 'S5').mkdir()
    assert reader.existing_dir(str(tmp_path), ['S1', 'S5']) == tmp_path
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds S1 or S6. R'):
        reader.existing_dir(tmp_path, ['S1', 'S6'])


def test_problems_as_text():
    assert str(reader.Problem('a.mat', 'frame 3', 'missing')) == 'a.mat: frame 3: missing'
    assert str(reader.Problem('a.mat', '', 'missing')) == 'a.mat: missing'


@pytest.mark.parametrize('numbers, text', [
    ([3], 'frame 3'), ([3, 4], 'frames 3-4'), ([3, 7, 8, 9, 12], 'frames 3, 7-9, 12')])
def test_frames_text(numbers, text):
    assert reader.frames_text(numbers) == text


def test_frames_are_reported_only_if_there_are_any():
    problems = []
    reader.report_frames('a.mp4', [], 'bad', problems.append)
    assert not problems
    reader.report_frames('a.mp4', np.array([3, 4, 9]), 'bad', problems.append, is_expected=True)
    assert problems == [reader.Problem('a.mp4', 'frames 3-4, 9', 'bad', is_expected=True)]


def test_sampling_is_checked():
    reader.check_step(1)
    reader.check_min_movement(0.0)
    with pytest.raises(ValueError, match='`step` must be at least 1. Received: step=0'):
        reader.check_step(0)
    with pytest.raises(ValueError, match='`min_movement_mm` must not be negative'):
        reader.check_min_movement(-1.0)
