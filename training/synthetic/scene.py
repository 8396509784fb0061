"""Scenes: a random person in a random pose before a random camera, as an `Example`."""

from pathlib import Path

import numpy as np

from metro_tf import checks, skeleton
from training.datasets import example as example_lib
from training.synthetic import body as body_lib
from training.synthetic import poses, render, view, wardrobe

VIEWS_PER_PERSON = 5
# How far a joint may lie behind the surface that is seen in front of it: a limb's radius, or half
# the thickness of a trunk.
_OCCLUSION_DEPTHS_MM = np.array([
    180.0 if name in ('pelv', 'spin', 'lhip', 'rhip') else 120.0
    for name in skeleton.METRO_24.joint_names])
_MIN_BOX_SIDE_PX = 40
_MIN_COVERED_PX = 400
_SURFACE_STRIDE = 7


class SceneSampler:
    """Draws examples at random. Holds an OpenGL context: use it in one process and thread.

    Args:
        data_dir: Folder with `makehuman/` and `motions/`.
        cache_dir: Folder for parsed morph targets.
        subject: What photos show, one of `view.SUBJECTS`.

    Raises:
        ValueError: If a data folder is missing, or the subject is unknown.
        RuntimeError: If rendering is not possible.
    """

    def __init__(self, data_dir, cache_dir, subject='people'):
        check_data_dir(data_dir)
        self._subject = checks.one_of(subject, view.SUBJECTS, 'subject')
        data_dir = Path(data_dir)
        self._body = body_lib.BodyModel(data_dir / 'makehuman', cache_dir)
        self._wardrobe = wardrobe.Wardrobe(self._body)
        self._poses = poses.PoseSampler(
            data_dir / 'motions/deepmimic', data_dir / 'makehuman/poses', self._body,
            self._body.morph(body_lib.BodyShape()))
        self._renderer = render.Renderer()

    def sample(self, rng, n_examples, name_prefix):
        """Yields `n_examples` examples; a few in a row share the person, not pose or camera.

        Args:
            rng: Random generator.
            n_examples: Number of examples.
            name_prefix: Start of the examples' names; their number follows.
        """
        for i_example in range(n_examples):
            if i_example % VIEWS_PER_PERSON == 0:
                person = self._wardrobe.sample(rng)
                self._renderer.load(person)
            example = None
            while example is None:
                example = self._render(rng, person, f'{name_prefix}-{i_example:04d}')
            yield example

    def _render(self, rng, person, name):
        """One example, or None if hardly anything of the person shows."""
        transforms = self._body.bone_transforms(person.heads, self._poses.sample(rng))
        positions, normals, joints = person.pose(transforms)
        positions, joints = (body_lib.MM_PER_UNIT * points for points in (positions, joints))
        camera = view.sample_view(
            rng, positions[::_SURFACE_STRIDE], joints, self._subject)
        positions, joints = camera.to_camera(positions), camera.to_camera(joints)
        window = view.cut_window(camera, positions, rng)
        camera_up = camera.rotation @ np.array([0.0, 1.0, 0.0])
        image, alpha, depth = self._renderer.draw(
            positions, normals @ camera.rotation.T, window.intrinsics, window.size,
            sample_lighting(rng, camera_up))
        box = coverage_box(alpha)
        if box is None or (alpha > 127).sum() < _MIN_COVERED_PX or max(box[2:]) < _MIN_BOX_SIDE_PX:
            return None
        coords2d = project(joints, window.intrinsics)
        return example_lib.Example(
            image=image, alpha=alpha, name=name, box=box, frame=window.frame,
            intrinsics=window.intrinsics, camera_up=camera_up.astype(np.float32),
            coords3d_cam=joints.astype(np.float32), coords2d=coords2d,
            visibility=find_visible(joints[:, 2] - _OCCLUSION_DEPTHS_MM, coords2d, depth))


def check_data_dir(data_dir):
    """Checks that a folder has what rendering needs.

    Raises:
        ValueError: If something is missing; the message names it.
    """
    for name in ('makehuman/base.obj', 'makehuman/rigs/default.mhskel', 'makehuman/targets',
                 'makehuman/clothes', 'makehuman/poses', 'motions/deepmimic'):
        if not (Path(data_dir) / name).exists():
            raise ValueError(
                '`data_dir` must hold the body and motion data (makehuman/ and motions/). '
                f'Received: data_dir={str(data_dir)!r}, which has no {name}')


def project(points_cam, intrinsics):
    """Camera-frame points `[points, 3]` to pixels, float32 `[points, 2]`."""
    rays = points_cam / points_cam[:, 2:]
    return (rays @ intrinsics.T)[:, :2].astype(np.float32)


def coverage_box(alpha):
    """Box of the pixels with more than half coverage: left, top, width, height; or None.

    Edges lie between pixels, so a single pixel at (3, 5) has the box (2.5, 4.5, 1, 1).
    """
    rows, columns = np.nonzero(alpha > 127)
    if not len(rows):
        return None
    left, top = columns.min() - 0.5, rows.min() - 0.5
    return np.array(
        [left, top, columns.max() + 0.5 - left, rows.max() + 0.5 - top], np.float32)


def find_visible(front_depths, coords2d, depth):
    """Which joints show: inside the window, with no surface in front of the body around them.

    Args:
        front_depths: float array `[joints]`, z in mm: where the surface may be that covers the
            joint itself. Anything nearer occludes it.
        coords2d: float array `[joints, 2]`, px.
        depth: float array `[height, width]`, z of the nearest surface in mm, inf for none.

    Returns:
        float32 array `[joints]`: 1 visible, 0 occluded or outside.
    """
    columns, rows = np.round(coords2d).astype(int).T
    height, width = depth.shape
    is_inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    surface = depth[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    return (is_inside & (front_depths < surface)).astype(np.float32)


def sample_lighting(rng, up):
    """Ambient light and one to three directional lights, mostly from above.

    Args:
        rng: Random generator.
        up: The world's up in the camera frame.
    """
    n_lights = rng.integers(1, 4)
    directions = rng.normal(size=[3, 3]) + rng.uniform(0, 1.2, [3, 1]) * up
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    tints = 1 + rng.uniform(0, 0.15) * rng.uniform(-1, 1, [3, 3])
    strengths = rng.uniform(0.15, 1.0, [3, 1]) * (np.arange(3) < n_lights)[:, np.newaxis]
    ambient = rng.uniform(0.25, 0.6)
    # Keep the overall exposure in a sensible range, whatever the number of lights.
    exposure = rng.uniform(0.75, 1.25) / (ambient + 0.5 * strengths.sum())
    ambient_tints = 1 + rng.uniform(-0.08, 0.08, [2, 3])
    return render.Lighting(
        directions=directions, colors=exposure * strengths * tints, up=up,
        ambient_above=exposure * ambient * 1.15 * ambient_tints[0],
        ambient_below=exposure * ambient * rng.uniform(0.6, 1.0) * ambient_tints[1],
        specular=rng.choice([0.0, rng.uniform(0, 0.15)]))
