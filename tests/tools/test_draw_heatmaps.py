import dataclasses
import io

from PIL import Image
from matplotlib.figure import Figure
import numpy as np
import pytest

from metro_tf.tools import draw_heatmaps, heatmaps

SIDE = 64


def make_person(n_joints=2, crop_value=0.5):
    """Spots at (column, row) 2, 1 of the planes along the image, 1, 3 of the others."""
    shapes = {'2D head': (4, 4), 'xy': (4, 4), 'zy': (4, 5), 'xz': (5, 4)}
    planes = []
    for title, (n_rows, n_columns) in shapes.items():
        column, row = (2, 1) if title in ('2D head', 'xy') else (1, 3)
        plane = np.zeros([n_rows, n_columns, n_joints])
        plane[row, column] = 1
        planes.append(heatmaps.Plane(
            title, ('x', 'y') if title == '2D head' else tuple(title), title == '2D head', plane,
            np.tile([column, row + 0.25], (n_joints, 1))))
    return heatmaps.PersonHeatmaps(
        crop=np.full([SIDE, SIDE, 3], crop_value), crop_span=(-0.53125, 3.46875),
        joint_names=tuple(f'joint{i}' for i in range(n_joints)),
        uncertainty_mm=np.arange(100.0, 100 + n_joints), planes=tuple(planes))


def picture(person):
    content = draw_heatmaps.draw_picture(person, 'a.jpg')
    assert content.startswith(b'\x89PNG\r\n\x1a\n')
    return np.asarray(Image.open(io.BytesIO(content)).convert('RGB')).astype(int)


def drawn_axes(plane_index, person):
    axes = Figure().add_subplot()
    draw_heatmaps.draw_plane(axes, person, person.planes[plane_index], 0)
    return axes


@pytest.mark.parametrize('plane_index, position', [(0, (2, 1.25)), (2, (1, 3.25)), (3, (1, 3.25))])
def test_crosshairs_are_at_the_position(plane_index, position):
    vertical, horizontal = drawn_axes(plane_index, make_person()).lines
    np.testing.assert_allclose(vertical.get_xdata(), [position[0]] * 2)
    np.testing.assert_allclose(horizontal.get_ydata(), [position[1]] * 2)


def test_crop_lies_under_the_plane_of_the_image_only():
    under, over = drawn_axes(0, make_person()).images
    np.testing.assert_allclose(under.get_extent(), [-0.53125, 3.46875, 3.46875, -0.53125])
    assert under.get_array().shape == (SIDE, SIDE)
    np.testing.assert_allclose(over.get_extent(), [-0.5, 3.5, 3.5, -0.5])
    alpha = np.asarray(over.get_array())[..., 3]
    assert alpha[1, 2] == 1 and alpha.sum() == 1  # clear but for the spot
    for plane_index in (1, 2, 3):
        only, = drawn_axes(plane_index, make_person()).images
        assert np.all(np.asarray(only.get_array())[..., 3] == 1)


def test_rows_go_downwards_and_planes_fill_their_axes():
    xy, zy, xz = (drawn_axes(i, make_person()) for i in (0, 2, 3))
    assert xy.get_ylim() == (3.46875, -0.53125) and xy.get_xlim() == (-0.53125, 3.46875)
    assert zy.get_xlim() == (-0.5, 4.5) and zy.get_ylim() == (3.5, -0.5)
    assert xz.get_xlim() == (-0.5, 3.5) and xz.get_ylim() == (4.5, -0.5)


def test_the_spot_is_bright_where_it_belongs():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    figure = Figure(figsize=(4, 4), dpi=100)
    axes = figure.add_axes([0, 0, 1, 1])
    draw_heatmaps.draw_plane(axes, make_person(), make_person().planes[3], 0)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].sum(axis=-1)
    # Five rows of 80 px, four columns of 100 px; the spot is in row 3, column 1.
    assert pixels[245:255, 105:130].min() > 600
    assert pixels[165:235, 105:130].max() < 30 and pixels[245:255, 5:90].max() < 30


def test_every_joint_has_a_row():
    height, width = picture(make_person(1)).shape[:2]
    taller = picture(make_person(3)).shape
    assert taller[0] - height == pytest.approx(2 * 170, abs=2) and taller[1] == width


def test_many_joints_are_in_blocks_beside_each_other():
    one_block, two_blocks = (picture(make_person(n)).shape for n in (7, 13))
    assert two_blocks[0] == one_block[0]  # 7 rows, the last one of the second block empty
    assert two_blocks[1] == 2 * one_block[1]


def test_the_photo_is_in_the_picture():
    assert (picture(make_person(crop_value=0.5)) == 128).all(axis=-1).sum() > 10_000


def test_scores_need_not_be_positive():
    plane = make_person().planes[0]
    alphas = []
    for scores in (plane.heatmaps - 0.5, np.full_like(plane.heatmaps, -0.5)):
        person = dataclasses.replace(
            make_person(), planes=(dataclasses.replace(plane, heatmaps=scores),))
        alphas.append(np.asarray(drawn_axes(0, person).images[1].get_array())[..., 3])
    assert alphas[0][1, 2] == 1 and alphas[0].sum() == 1
    np.testing.assert_array_equal(alphas[1], np.zeros([4, 4]))


def test_without_uncertainty_the_name_stands_alone():
    person = make_person(1)
    labels = []
    for uncertainty in (person.uncertainty_mm, None):
        figure = Figure(figsize=draw_heatmaps.size_inches(person))
        draw_heatmaps.draw_rows(
            figure, dataclasses.replace(person, uncertainty_mm=uncertainty), 2.5)
        labels.append(figure.subfigs[0].axes[0].get_ylabel())
    assert labels == ['joint0\n± 100 mm', 'joint0']


def test_rows_keep_their_height_in_a_taller_figure():
    person, boxes = make_person(2), []
    for height in (draw_heatmaps.size_inches(person)[1], 10):
        figure = Figure(figsize=(draw_heatmaps.size_inches(person)[0], height))
        draw_heatmaps.draw_rows(figure, person, height)
        boxes.append(figure.subfigs[0].axes[0].get_position().bounds)
    exact, taller = np.array(boxes)
    assert taller[3] * 10 == pytest.approx(exact[3] * 4.2)  # 0.8 and twice 1.7 inches
    assert (1 - taller[1]) * 10 == pytest.approx((1 - exact[1]) * 4.2)


def test_missing_matplotlib_is_explained(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'matplotlib', None)
    with pytest.raises(ValueError, match=r'pip install "metro-tf\[viz\]"`\.'):
        draw_heatmaps.draw_picture(make_person(), 'a.jpg')
