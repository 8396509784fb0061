import io

from PIL import Image
import numpy as np
import pytest

from metro_tf.tools import draw, writers
from tests.tools import fakes


def make_poses(n_people, image, fov_degrees=55.0):
    model = fakes.FakeModel(n_people)
    results = model.detect_poses(image, default_fov_degrees=fov_degrees, skeleton='')
    height, width = image.shape[:2]
    focal = max(height, width) / 2 / np.tan(np.radians(fov_degrees / 2))
    return writers.PhotoPoses(
        file_name='a.jpg', image_shape=(height, width),
        **{key: value.numpy() for key, value in results.items()},
        joint_names=tuple(name.decode() for name in model.joint_names.numpy()),
        joint_edges=tuple(map(tuple, model.joint_edges.numpy())), fov_degrees=fov_degrees,
        intrinsics=np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]))


def picture(image, n_people):
    content = draw.draw_picture(image, make_poses(n_people, image))
    return np.asarray(Image.open(io.BytesIO(content)).convert('RGB')).astype(int)


def has_color(pixels, color, tolerance=12):
    rgb = [int(color[i:i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(pixels - rgb).max(axis=-1) <= tolerance).sum() > 30


def test_both_halves_show_each_person_in_own_colors():
    pixels = picture(np.full([300, 400, 3], 90, np.uint8), n_people=2)
    middle = pixels.shape[1] * 55 // 100
    for half in (pixels[:, :middle], pixels[:, middle:]):
        for person in (0, 1):
            for color in draw.PERSON_COLORS[person]:
                assert has_color(half, color), (person, color)
        assert not has_color(half, draw.PERSON_COLORS[2][1])


def test_the_photo_is_shown_unchanged_beside_the_people():
    pixels = picture(np.full([300, 400, 3], (200, 30, 60), np.uint8), n_people=0)
    assert (pixels == (200, 30, 60)).all(axis=-1).mean() > 0.3


def test_left_is_lighter_than_right_for_every_person():
    for left, middle, right in draw.PERSON_COLORS:
        sums = [sum(int(color[i:i + 2], 16) for i in (1, 3, 5)) for color in (left, middle, right)]
        assert sums[0] > sums[1] > sums[2]


@pytest.mark.parametrize('shape', [(1, 1), (1, 300), (300, 1), (2500, 1200)])
def test_any_size(shape):
    pixels = picture(np.full([*shape, 3], (200, 30, 60), np.uint8), n_people=0)
    assert (pixels == (200, 30, 60)).all(axis=-1).any()


def test_more_people_than_colors():
    n_people = len(draw.PERSON_COLORS) + 1
    pixels = picture(np.zeros([300, 1200, 3], np.uint8), n_people)
    assert all(has_color(pixels, colors[1]) for colors in draw.PERSON_COLORS)


@pytest.mark.parametrize('edge, side', [
    ((0, 1), 0), ((1, 2), 1), ((3, 4), 2), ((0, 3), 1), ((1, 3), 2), ((0, ), 0), ((2,), 1)])
def test_bone_side(edge, side):
    assert draw.bone_side(('lsho', 'neck', 'head', 'rsho', 'relb'), edge) == side


def test_view_holds_camera_and_all_joints_with_room():
    points = np.array([[[0.5, 4.0, -1.0], [0.5, 4.0, 1.0]]])
    lowest, highest = draw._view_limits(points)
    assert (lowest < 0).all() and (highest > 0).all()
    np.testing.assert_allclose(lowest, [-0.45, -0.1, -1.1])
    np.testing.assert_allclose(highest, [0.95, 4.1, 1.1])


def test_axes_are_equally_scaled_and_in_metres():
    from matplotlib.figure import Figure
    axes = Figure().add_subplot(projection='3d')
    draw._draw_space(axes, make_poses(3, np.zeros([48, 64, 3], np.uint8)))
    ranges = np.ptp([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()], axis=1)
    scales = np.array(axes._box_aspect) / ranges
    np.testing.assert_allclose(scales / scales[0], 1, rtol=1e-6)
    # The third person stands 4 m away (its knee, nearest to the camera, a little less).
    assert axes.get_ylim()[1] == pytest.approx(4.13, abs=0.01)


def test_missing_matplotlib_is_explained(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'matplotlib', None)
    with pytest.raises(ValueError, match=r'pip install "metro-tf\[viz\]"`\.$'):
        draw.check_available()
    with pytest.raises(ValueError, match=r'\[viz\]"`, or cook\.$'):
        draw.check_available(', or cook')
