import dataclasses
import io

from PIL import Image
from matplotlib.figure import Figure
import numpy as np
import pytest

from metro_tf.tools import draw_volumes
from tests.tools import volume_models

PERSON = volume_models.make_person()


def size_of(content):
    assert content.startswith(b'\x89PNG\r\n\x1a\n')
    return Image.open(io.BytesIO(content)).size


def drawn_space(share, person=PERSON):
    axes = Figure().add_subplot(projection='3d')
    draw_volumes.draw_space(axes, person, share)
    return axes


def points_of(collection):
    return np.stack(collection._offsets3d, axis=-1)


def test_voxels_lie_in_the_frame_of_the_photo():
    first, second, joints = drawn_space(0.5).collections
    # The voxels (20, 12, -500) and (28, 12, 500) at (60, 60, 1500) and (100, 300, 2500) mm, drawn
    # as x, depth and height.
    np.testing.assert_allclose(
        points_of(first), [[0.06, 1.5, -0.06], [0.1, 2.5, -0.3]], atol=1e-6)
    np.testing.assert_allclose(points_of(second), [[-0.24, 2, 0.24]], atol=1e-6)
    np.testing.assert_allclose(
        points_of(joints), [[0.06, 1.5, -0.06], [-0.24, 2, 0.24]], atol=1e-6)
    assert not np.allclose(first.get_facecolor()[0, :3], second.get_facecolor()[0, :3])


def test_share_leaves_out_lower_voxels():
    assert [len(points_of(drawn_space(share).collections[0])) for share in (0.74, 0.76)] == [2, 1]


def test_names_and_bones():
    axes = drawn_space(0.5)
    assert [text.get_text().strip() for text in axes.texts] == ['pelv', 'neck']
    bone, = axes.lines
    np.testing.assert_allclose(
        np.stack(bone.get_data_3d(), axis=-1), [[0.06, 1.5, -0.06], [-0.24, 2, 0.24]], atol=1e-6)


def test_picture_has_rows_and_the_view_beside_them():
    width, height = size_of(draw_volumes.draw_picture(PERSON, 'a.jpg'))
    # 1.05 inches of names, three planes of 1.7 inches and 6.5 inches of view.
    assert (width, height) == (1265, 650)


def test_volumes_without_positive_values_can_be_drawn():
    person = dataclasses.replace(PERSON, volumes=np.full_like(PERSON.volumes, -1))
    assert size_of(draw_volumes.draw_picture(person, 'a.jpg')) == (1265, 650)
    assert [len(points_of(cloud)) for cloud in drawn_space(0.5, person).collections] == [0, 0, 2]


def test_missing_matplotlib_is_explained(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'matplotlib', None)
    with pytest.raises(ValueError, match=r'pip install "metro-tf\[viz\]"`\.'):
        draw_volumes.draw_picture(PERSON, 'a.jpg')
