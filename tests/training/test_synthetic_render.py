"""Rendering: pixel-exact geometry of hand-made surfaces and of the real body."""

import cv2
import numpy as np
import pytest
from scipy import sparse, spatial

from training.synthetic import body, meshes, person, render, textures

FOCAL, CENTER = 100.0, (30.0, 20.0)
INTRINSICS = np.array([[FOCAL, 0, CENTER[0]], [0, FOCAL, CENTER[1]], [0, 0, 1]])
SIZE = (64, 48)
AMBIENT = render.Lighting(
    directions=np.eye(3), colors=np.zeros([3, 3]), up=np.array([0, -1.0, 0]),
    ambient_above=np.ones(3), ambient_below=np.ones(3), specular=0.0)


def make_quads(quads, cut=None):
    """A person of rectangles; one layer each, with a distinct plain colour.

    Args:
        quads: List of (left, top, right, bottom in px, depth in mm).
        cut: Values at the corners of the first rectangle.
    """
    positions, triangles = [], []
    for left, top, right, bottom, depth in quads:
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        triangles += [[len(positions) + i for i in face] for face in ((0, 1, 2), (0, 2, 3))]
        positions += [
            [(u - CENTER[0]) * depth / FOCAL, (v - CENTER[1]) * depth / FOCAL, depth]
            for u, v in corners]
    n = len(positions)
    colors = np.array([[200, 100, 50], [20, 40, 220]], np.uint8)[:len(quads)]
    layers = np.broadcast_to(colors[:, np.newaxis, np.newaxis], (len(quads), 8, 8, 3))
    return person.Person(
        positions=np.float32(positions), normals=np.tile(np.float32([0, 0, -1]), [n, 1]),
        weights=sparse.csr_matrix(np.ones([n, 1])), triangles=np.int32(triangles),
        uvs=np.tile(np.float32([[0, 0], [1, 0], [1, 1], [0, 1]]), [len(quads), 1]),
        cut=np.ones(n, np.float32) if cut is None else np.float32(cut),
        layers=np.repeat(np.arange(len(quads)), 4).astype(np.float32),
        textures=np.concatenate([layers, np.full_like(layers[..., :1], 255)], axis=-1),
        heads=np.zeros([1, 3]), joint_points=np.zeros([24, 3]),
        joint_weights=sparse.csr_matrix(np.ones([24, 1])))


def draw(renderer, surface, size=SIZE, intrinsics=INTRINSICS, lighting=AMBIENT):
    renderer.load(surface)
    return renderer.draw(surface.positions, surface.normals, intrinsics, size, lighting)


def test_pixel_centres_are_integers(renderer):
    _, alpha, _ = draw(renderer, make_quads([(19.5, 9.5, 39.5, 29.5, 2000)]))
    expected = np.zeros([48, 64])
    expected[10:30, 20:40] = 255
    np.testing.assert_array_equal(alpha, expected)


def test_half_covered_pixels(renderer):
    _, alpha, _ = draw(renderer, make_quads([(20, 10, 41, 30, 2000)]))
    coverage = alpha / 255
    np.testing.assert_allclose(coverage[20, [19, 20, 30, 41, 42]], [0, 0.5, 1, 0.5, 0], atol=0.01)
    np.testing.assert_allclose(coverage[[9, 10, 20, 30, 31], 30], [0, 0.5, 1, 0.5, 0], atol=0.01)
    np.testing.assert_allclose(centroid(coverage), [30.5, 20], atol=0.05)


def test_colour_is_that_of_the_texture_and_continues_outwards(renderer):
    color, alpha, _ = draw(renderer, make_quads([(20, 10, 41, 30, 2000)]))
    assert alpha.min() == 0
    np.testing.assert_allclose(color.reshape(-1, 3).astype(int), [[200, 100, 50]] * 48 * 64, atol=4)


def test_depth_is_in_mm_and_the_nearest_wins(renderer):
    quads = [(10, 10, 40, 40, 3000), (30, 20, 50, 30, 1500)]
    color, alpha, depth = draw(renderer, make_quads(quads))
    assert depth[15, 15] == pytest.approx(3000, rel=1e-3)
    assert depth[25, 35] == pytest.approx(1500, rel=1e-3)
    assert np.isinf(depth[5, 5]) and alpha[5, 5] == 0
    np.testing.assert_allclose(color[25, 35].astype(int), [20, 40, 220], atol=1)
    np.testing.assert_allclose(color[35, 35].astype(int), [200, 100, 50], atol=1)


def test_surface_ends_where_the_cut_falls_below_zero(renderer):
    surface = make_quads([(9.5, 9.5, 49.5, 29.5, 2000)], cut=[1, -1, -1, 1])
    _, alpha, _ = draw(renderer, surface)
    np.testing.assert_array_equal(alpha[20, 10:29], 255)
    np.testing.assert_array_equal(alpha[20, 31:], 0)


def test_light_comes_from_its_direction(renderer):
    lighting = render.Lighting(
        directions=np.array([[0, 0, -1.0], [1, 0, 0], [1, 0, 0]]),
        colors=np.array([[0.5, 0.5, 0.5], [9, 9, 9], [0, 0, 0]]), up=np.array([0, -1.0, 0]),
        ambient_above=np.full(3, 0.2), ambient_below=np.full(3, 0.2), specular=0.0)
    color, _, _ = draw(renderer, make_quads([(10, 10, 40, 30, 2000)]), lighting=lighting)
    np.testing.assert_allclose(color[20, 20], [140, 70, 35], atol=1)


def test_too_large_images_are_an_error(renderer):
    with pytest.raises(ValueError, match='`image_size` must be within 1 and 320 px.*321'):
        draw(renderer, make_quads([(1, 1, 5, 5, 1000)]), size=(64, 321))


def test_errors_of_the_drawing_process_are_passed_on(renderer):
    surface = make_quads([(1, 1, 5, 5, 1000)])
    renderer.load(surface)
    with pytest.raises(RuntimeError, match="KeyError: 'ambient_above'"):
        renderer._request(
            'draw', np.hstack([surface.positions, surface.normals]), INTRINSICS, SIZE,
            {'directions': np.eye(3), 'colors': np.eye(3), 'up': np.ones(3)})
    _, alpha, _ = draw(renderer, surface)  # and it goes on
    assert alpha[3, 3] == 255


def test_a_drawing_process_ends_with_its_renderer(renderer):
    del renderer  # skips where there is none
    other = render.Renderer()
    process = other._process
    assert process.poll() is None
    del other
    assert process.wait(10) == 0
    ended = render.Renderer()
    ended._process.kill()
    ended._process.wait(10)
    with pytest.raises(RuntimeError, match='The drawing process has ended'):
        draw(ended, make_quads([(1, 1, 5, 5, 1000)]))


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setattr(render.sys, 'executable', '/bin/false')
    with pytest.raises(RuntimeError, match=r'needs moderngl and EGL \(Debian packages libegl1'):
        render.Renderer()


def test_bleeding_keeps_colours_without_dark_seams():
    rgba = np.zeros([1, 6, 4], np.uint8)
    rgba[0, 2] = 100, 50, 0, 128  # premultiplied: (199, 100, 0)
    rgba[0, 3] = 10, 20, 30, 255
    rgba[0, 4] = 5, 5, 5, 10  # too thin to tell a colour
    bled = render.bleed(rgba)[0]
    np.testing.assert_array_equal(
        bled, [[199, 100, 0]] * 3 + [[10, 20, 30]] * 3)
    np.testing.assert_array_equal(render.bleed(rgba[:, :1]), np.zeros([1, 1, 3]))


def test_textures_have_their_first_row_at_the_bottom(renderer, tmp_path):
    image = np.zeros([4, 4, 3], np.uint8)
    image[:2] = 0, 0, 255  # upper half red, in OpenCV's channel order
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    texture = textures.load(tmp_path / 'a.png')
    assert texture.shape == (textures.SIDE_PX, textures.SIDE_PX, 4)
    np.testing.assert_array_equal(texture[-1, 0], [255, 0, 0, 255])
    np.testing.assert_array_equal(texture[0, 0], [0, 0, 0, 255])
    with pytest.raises(ValueError, match='`path` must be an image file'):
        textures.load(tmp_path / 'missing.png')


def test_vertices_project_to_the_coverage(renderer, body_model):
    positions = body_model.morph(body.BodyShape())
    mesh, skin = body_model.mesh, body_model.mesh.groups['body']
    part = person.make_part(
        positions, body_model.weights, (mesh.triangles[skin], mesh.uv_triangles[skin], mesh.uvs),
        np.full([8, 8, 4], 255, np.uint8))
    surface = person.join([part], body_model, positions)
    # In front of the camera, turned to show the side as well; y down, z away.
    turn = np.array([[0.8, 0, 0.6], [0, -1, 0], [0.6, 0, -0.8]])
    cam = body.MM_PER_UNIT * surface.positions @ turn.T + [150, -80, 4000]
    intrinsics = np.array([[520.0, 0, 130.3], [0, 520, 150.8], [0, 0, 1]])
    renderer.load(surface)
    _, alpha, _ = renderer.draw(cam, surface.normals @ turn.T, intrinsics, (280, 310), AMBIENT)
    pixels = cam @ intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    # No vertex is farther than half a pixel from the square of a covered pixel.
    covered = np.argwhere(alpha)[:, ::-1]
    nearest = covered[spatial.cKDTree(covered).query(pixels)[1]]
    assert np.abs(pixels - nearest).max() <= 0.5 + 0.5
    # No pixel is covered beyond the outermost vertices.
    assert np.all(covered.min(axis=0) >= pixels.min(axis=0) - 0.5)
    assert np.all(covered.max(axis=0) <= pixels.max(axis=0) + 0.5)
    # Coverage is that of the projected triangles, to a small part of a pixel.
    expected = fill_triangles(pixels[surface.triangles], alpha.shape)
    np.testing.assert_allclose(centroid(alpha / 255), centroid(expected), atol=0.1)
    assert np.abs(alpha / 255 - expected).max() <= 0.5
    assert alpha.sum() / 255 == pytest.approx(expected.sum(), rel=0.02)


def fill_triangles(corners, shape):
    """Coverage `[height, width]` of triangles, drawn with OpenCV at eight times the size."""
    mask = np.zeros([8 * shape[0], 8 * shape[1]], np.uint8)
    for triangle in np.round(8 * (corners + 0.5) - 0.5).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 255)
    return cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_AREA) / 255


def centroid(coverage):
    """Mean column and row."""
    rows, columns = np.mgrid[:coverage.shape[0], :coverage.shape[1]]
    return [(coverage * axis).sum() / coverage.sum() for axis in (columns, rows)]


def test_garment_like_parts_are_cut_and_thickened():
    positions = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5], [6, 5, 5], [5, 6, 5]])
    triangles = np.array([[0, 1, 2], [3, 4, 5]])
    weights = sparse.csr_matrix(np.eye(6, dtype=np.float32))
    part = person.make_part(
        positions, weights, (triangles, triangles, positions[:, :2]),
        np.zeros([2, 2, 4], np.uint8), cut=np.array([1, -1, -1, -1, 0, -1.0]), thickness=0.5)
    # Only the first triangle has a corner inside; it moves along its normal, +z.
    np.testing.assert_array_equal(part.triangles, [[0, 1, 2]])
    np.testing.assert_allclose(part.positions, [[0, 0, 0.5], [1, 0, 0.5], [0, 1, 0.5]])
    np.testing.assert_array_equal(part.cut, [1, -1, -1])
    np.testing.assert_array_equal(part.weights.toarray(), np.eye(6)[:3])


def test_normals_of_the_real_body_point_outwards(body_model):
    positions = body_model.mesh.positions
    normals = meshes.vertex_normals(
        positions, body_model.mesh.triangles[body_model.mesh.groups['body']])
    nose, left_ear, right_ear = normals[[5054, 12038, 5439]]
    assert nose[2] > 0.5 and left_ear[0] > 0 and right_ear[0] < 0
