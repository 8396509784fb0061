"""What is written to disk: the result file of a photo, and writing that leaves no half files."""

import dataclasses
import io
import json
import math
import os
import pathlib
import re

import numpy as np

from metro_tf import version

# Counts up whenever a key of the result file changes its meaning or disappears.
SCHEMA_VERSION = 1

# Lists of numbers, for putting each on one line. Text in JSON has no line breaks of its own.
_NUMBER_LIST = re.compile(r'\[\n[\s\d.,eE+-]*(?:null[\s\d.,eE+-]*)*\]')


@dataclasses.dataclass(frozen=True)
class PhotoPoses:
    """The people found in one photo, as NumPy arrays.

    Args:
        file_name: Name of the photo.
        image_shape: Tuple (height, width) in px.
        boxes: `[people, 5]`: left, top, width, height in px and score.
        poses3d: `[people, joints, 3]`, mm, camera frame (x right, y down, z forward).
        poses2d: `[people, joints, 2]`, px.
        joint_names: Tuple of strings.
        joint_edges: Tuple of pairs of joint indices.
        intrinsics: `[3, 3]`, px, of the camera that was assumed.
        fov_degrees: Field of view along the larger image side that was assumed.
        uncertainty_mm: `[people, joints]`, standard deviations in mm, or None if the model does not
            tell them.
    """
    file_name: str
    image_shape: tuple
    boxes: np.ndarray
    poses3d: np.ndarray
    poses2d: np.ndarray
    joint_names: tuple
    joint_edges: tuple
    intrinsics: np.ndarray
    fov_degrees: float
    uncertainty_mm: np.ndarray = None

    def __post_init__(self):
        n_people, n_joints = len(self.boxes), len(self.joint_names)
        wanted = {
            'boxes': (n_people, 5), 'poses3d': (n_people, n_joints, 3),
            'poses2d': (n_people, n_joints, 2), 'intrinsics': (3, 3)}
        if self.uncertainty_mm is not None:
            wanted['uncertainty_mm'] = (n_people, n_joints)
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f'`{name}` must have shape {shape}. '
                    f'Received: shape={getattr(self, name).shape}')

    @property
    def distances_mm(self):
        """`[people]`: distance from the camera to the mean of a person's joints, mm."""
        return np.linalg.norm(self.poses3d.mean(axis=1), axis=-1)

    @property
    def extents_mm(self):
        """`[people, 3]`: extent of a person's joints along the camera's x, y and z axis, mm."""
        return self.poses3d.max(axis=1) - self.poses3d.min(axis=1)


def pose_document(poses, *, model, settings):
    """The content of a result file.

    Args:
        poses: `PhotoPoses`.
        model: Dict with at least the model's `name` and `version`.
        settings: Dict of JSON types, how the photo was processed.

    Returns:
        Dict of JSON types. Numbers that are not finite become None.
    """
    height, width = poses.image_shape
    document = {
        'schema_version': SCHEMA_VERSION,
        'library': {'name': 'metro_tf', 'version': version.VERSION},
        'model': model,
        'settings': settings,
        'image': {'file': poses.file_name, 'width': width, 'height': height},
        'camera': {
            'intrinsic_matrix': poses.intrinsics.tolist(),
            'fov_degrees': poses.fov_degrees,
            'frame': 'x right, y down, z forward; origin at the camera; mm'},
        'skeleton': {
            'joint_names': list(poses.joint_names),
            'joint_edges': [[int(i) for i in edge] for edge in poses.joint_edges]},
        'people': [_person(poses, i) for i in range(len(poses.boxes))]}
    return _json_numbers(document)


def _person(poses, i_person):
    box = poses.boxes[i_person].tolist()
    person = {
        'score': box[4],
        'box_px': box[:4],
        'distance_mm': float(poses.distances_mm[i_person]),
        'extent_mm': poses.extents_mm[i_person].tolist(),
        'joints3d_mm': dict(zip(poses.joint_names, poses.poses3d[i_person].tolist())),
        'joints2d_px': dict(zip(poses.joint_names, poses.poses2d[i_person].tolist()))}
    if poses.uncertainty_mm is not None:
        person['uncertainty_mm'] = dict(
            zip(poses.joint_names, poses.uncertainty_mm[i_person].tolist()))
    return person


def _json_numbers(value):
    """Rounds floats to what float32 can mean here, and replaces those that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _json_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_numbers(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def write_json(path, document):
    """Writes a document of JSON types, all or nothing."""
    text = json.dumps(document, indent=2, allow_nan=False)
    text = _NUMBER_LIST.sub(lambda match: ' '.join(match[0].split()), text)
    write_text(path, text + '\n')


def write_text(path, text):
    """Writes a text file in UTF-8, all or nothing."""
    write_bytes(path, text.encode('utf-8'))


def write_arrays(path, arrays):
    """Writes a compressed NPZ file, all or nothing.

    Args:
        path: Path of the file. Its folder must exist.
        arrays: Dict from names to NumPy arrays or scalars.

    Raises:
        OSError: If it cannot be written; nothing is left behind then.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(path, content.getvalue())


def write_bytes(path, content):
    """Writes a file so that at every moment `path` is the whole old or the whole new one.

    Args:
        path: Path of the file. Its folder must exist.
        content: bytes.

    Raises:
        OSError: If it cannot be written; nothing is left behind then.
    """
    path = pathlib.Path(path)
    # In the same folder, since a rename is atomic only within a file system.
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def output_stems(photo_paths, out_dir):
    """One file name without suffix per photo, such that no two photos share one.

    Photos of the same name in several folders get a number. No name leads to overwriting one of
    the photos themselves.

    Args:
        photo_paths: Sequence of paths.
        out_dir: Folder of the results.

    Returns:
        List of strings.
    """
    inputs = {pathlib.Path(path).resolve() for path in photo_paths}
    taken, stems = set(), []
    for path in photo_paths:
        plain = stem = pathlib.Path(path).stem
        number = 1
        while taken & set(output_names(stem)) or any(
                (pathlib.Path(out_dir) / name).resolve() in inputs for name in output_names(stem)):
            number += 1
            stem = f'{plain}_{number}'
        taken.update(output_names(stem))
        stems.append(stem)
    return stems


def output_names(stem):
    """Names of the result file and of the picture of a photo."""
    return f'{stem}.json', f'{stem}_poses.png'
