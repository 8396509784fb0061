"""Random cameras and the windows cut from their photos."""

import numpy as np
import pytest

from metro_tf import skeleton
from training.synthetic import render, view


@pytest.fixture(scope='module')
def figure():
    """A crude standing person in mm, y up: surface points and joints."""
    rng = np.random.default_rng(0)
    surface = rng.uniform(-1, 1, [400, 3]) * [300, 880, 150]
    joints = rng.uniform(-0.9, 0.9, [24, 3]) * [300, 800, 100]
    for name, height in (('head', 800), ('neck', 600), ('spin', 200)):
        joints[skeleton.METRO_24.index(name)] = 0, height, 0
    return surface, joints


def test_projection_by_hand():
    camera = view.View(np.diag([1.0, -1, -1]), np.array([0.0, 0, 3000]), 2.0, np.array([1, 0.75]))
    point = camera.to_camera(np.array([300.0, 150, 0]))  # the person's left, and up
    np.testing.assert_allclose(point, [300, -150, 3000])
    np.testing.assert_allclose(camera.project(point), [0.5 + 0.2, 0.375 - 0.1])


def test_sampled_views_show_the_person_upright(figure):
    surface, joints = figure
    fractions, roll = [], []
    for seed in range(60):
        camera = view.sample_view(np.random.default_rng(seed), surface, joints)
        np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(camera.rotation) == pytest.approx(1)
        assert camera.photo_size.max() == 1
        surface_cam = camera.to_camera(surface)
        assert surface_cam[:, 2].min() >= 250
        projected = camera.project(surface_cam)
        fractions.append(
            np.all((projected > 0) & (projected < camera.photo_size), axis=-1).mean())
        roll.append((camera.rotation @ [0, 1, 0])[1])
    fractions = np.array(fractions)
    assert fractions.min() >= 0.12
    assert 0.5 < (fractions == 1).mean() < 0.95  # mostly whole, some cut off
    assert np.max(roll) < 0 and np.mean(roll) < -0.85  # up in the world is up in the photo


@pytest.mark.parametrize('facing', [(0, 0, 1), (1, 0, 0), (0, 0, -1)])
def test_busts_show_heads_close_and_mostly_from_the_front(figure, facing):
    surface, joints = figure
    index, joints = skeleton.METRO_24.index, joints.copy()
    ears = joints[index('head')] + np.array([[70], [-70]]) * np.cross([0, 1, 0], facing)
    joints[[index('lear'), index('rear')]] = ears
    joints[index('nose')] = joints[index('head')] + 120 * np.array(facing)
    is_frontal = []
    for seed in range(40):
        camera = view.sample_view(np.random.default_rng(seed), surface, joints, 'busts')
        head, neck, nose = (
            camera.to_camera(joints[index(name)]) for name in ('head', 'neck', 'nose'))
        assert np.all((camera.project(head) > 0) & (camera.project(head) < camera.photo_size))
        width_mm = camera.photo_size.min() * np.linalg.norm(neck) / camera.focal
        assert 350 < width_mm < 1600
        is_frontal.append(nose[2] < head[2])
    assert np.mean(is_frontal) > 0.8


def test_views_are_seeded(figure):
    first, again, other = (
        view.sample_view(np.random.default_rng(seed), *figure) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.translation, again.translation)
    assert not np.array_equal(first.translation, other.translation)


def test_impossible_surfaces_are_an_error(figure):
    surface, joints = figure
    with pytest.raises(ValueError, match='`surface` must be finite and of human size'):
        view.sample_view(np.random.default_rng(0), np.full_like(surface, np.nan), joints)


@pytest.mark.parametrize('seed', range(5))
def test_window_is_the_photo_scaled_and_shifted(figure, seed):
    surface, joints = figure
    rng = np.random.default_rng(seed)
    camera = view.sample_view(rng, surface, joints)
    surface_cam = camera.to_camera(surface)
    window = view.cut_window(camera, surface_cam, rng)
    in_window = surface_cam @ window.intrinsics.T
    in_window = in_window[:, :2] / in_window[:, 2:]
    photo_points = camera.project(surface_cam)
    inside = np.all((photo_points >= 0) & (photo_points <= camera.photo_size), axis=-1)
    # One scale, and the photo's middle is the principal point.
    scale = window.intrinsics[0, 0] / camera.focal
    assert window.intrinsics[1, 1] == window.intrinsics[0, 0]
    np.testing.assert_allclose(
        in_window - in_window[0], scale * (photo_points - photo_points[0]), atol=0.01)
    np.testing.assert_allclose(
        window.intrinsics[:2, 2], window.frame[:2] + window.frame[2:] / 2, atol=1e-3)
    box_size = np.ptp(in_window[inside], axis=0)
    assert 159.9 < box_size.max() < 212.1
    assert max(window.size) <= render.MAX_SIDE_PX
    # Within the photo, with a margin around the visible part unless the photo ends there.
    assert window.frame[:2].max() <= 0
    assert np.all(window.size <= window.frame[:2] + window.frame[2:])
    assert in_window[inside].min() >= -0.51
    assert np.all(in_window[inside].max(axis=0) <= np.array(window.size) + 0.51)


def test_window_by_hand():
    camera = view.View(np.eye(3), np.zeros(3), 1.0, np.array([1.0, 0.5]))
    corners = np.array([[-0.1, -0.2, 1], [0.1, 0.2, 1]])  # 0.4 to 0.6 across, 0.05 to 0.45 down

    class Fixed:
        def uniform(self, low, high):
            return 200.0  # px for the larger side, so 500 px for the photo's width
    window = view.cut_window(camera, corners, Fixed())
    # Across: 250 +- 75. Down: 125 +- 150, more than the photo's 250 rows.
    assert window.size == (151, 250)
    np.testing.assert_allclose(window.frame, [-175, 0, 500, 250])
    np.testing.assert_allclose(
        window.intrinsics, [[500, 0, 75], [0, 500, 125], [0, 0, 1]], atol=1e-4)
