"""Tiny data sets in their true formats: a standing person, cameras that see them, videos."""

import cv2
import numpy as np

from training.datasets import records

# Faces +x, the left side is at +y, z is up, mm. The right arm is raised.
_STANDING = {
    'pelv': (0, 0, 950), 'spi1': (0, 0, 1050), 'spin': (0, 0, 1150), 'spi2': (0, 0, 1150),
    'spi3': (0, 0, 1280), 'thor': (0, 0, 1430), 'neck': (0, 0, 1450), 'head': (30, 0, 1600),
    'htop': (20, 0, 1750), 'nose': (110, 0, 1620), 'leye': (95, 35, 1650), 'reye': (95, -35, 1650),
    'lear': (30, 75, 1630), 'rear': (30, -75, 1630), 'lcla': (0, 80, 1400), 'rcla': (0, -80, 1400),
    'lsho': (0, 190, 1420), 'lelb': (20, 330, 1200), 'lwri': (150, 380, 1000),
    'lhan': (190, 390, 920), 'rsho': (0, -190, 1420), 'relb': (0, -330, 1600),
    'rwri': (100, -350, 1850), 'rhan': (120, -350, 1940), 'lhip': (0, 110, 930),
    'lkne': (30, 120, 510), 'lank': (0, 130, 90), 'ltoe': (150, 140, 20), 'rhip': (0, -110, 930),
    'rkne': (150, -120, 540), 'rank': (0, -130, 130), 'rtoe': (150, -140, 60)}


def standing(joint_names):
    """Float array `[joints, 3]`, world frame with z up, mm."""
    return np.array([_STANDING[name] for name in joint_names], np.float64)


def look_at(position, target, up=(0, 0, 1)):
    """Rotation `[3, 3]` and translation `[3]` of a camera, world to camera."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, up) / np.linalg.norm(np.cross(forward, up))
    rotation = np.stack([right, np.cross(forward, right), forward])
    return rotation, -rotation @ np.asarray(position, np.float64)


def draw_person(photo, coords2d, edges):
    """Draws limbs into a photo, as what a viewer compares labels with."""
    points = np.round(coords2d).astype(int).tolist()
    for first, second in edges:
        cv2.line(photo, points[first], points[second], (230, 230, 230), 5)
    return photo


def write_video(path, frames, fourcc='mp4v'):
    """Writes RGB frames as a video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), 30, (width, height))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def read_all(reader):
    """All examples and problems of a reader."""
    problems = []
    examples = [
        example for item in reader.items(problems.append)
        for example in reader.examples(item, problems.append)]
    return examples, problems


def check_round_trip(examples, folder):
    """Writes examples as records, and compares what is read back; returns the parsed examples."""
    records.write_shard(str(folder / 'a.tfrecord'), examples)
    parsed = list(records.read_dataset(folder, examples[0].joint_names).as_numpy_iterator())
    assert [example['name'].decode() for example in parsed] == [
        example.name for example in examples]
    for example, stored in zip(examples, parsed):
        is_given = np.isfinite(example.coords2d[:, 0])
        np.testing.assert_array_equal(stored['joint_validity_mask_2d'], is_given)
        np.testing.assert_array_equal(stored['coords2d'][is_given], example.coords2d[is_given])
        expected = 0 if example.coords3d_cam is None else example.coords3d_cam[is_given]
        np.testing.assert_array_equal(stored['coords3d_cam'][is_given], expected)
        np.testing.assert_array_equal(stored['has_alpha'], example.alpha is not None)
    return parsed


def check_projection(example, atol=0.02):
    """The 3D labels fall on the 2D labels by the example's camera."""
    image_points = example.coords3d_cam @ example.intrinsics.T
    np.testing.assert_allclose(
        image_points[:, :2] / image_points[:, 2:], example.coords2d, atol=atol)


def to_photo(example, coords2d):
    """Window px to px of the photo, as far as the window is not scaled down."""
    return coords2d - example.frame[:2]


def photo_points(example, photo_size):
    """The 2D labels `[joints, 2]` in px of the whole photo, which may be scaled down.

    Args:
        example: `Example`.
        photo_size: Width and height of the photo.
    """
    scale = np.array(photo_size) / example.frame[2:]
    return (example.coords2d - example.frame[:2] + 0.5) * scale - 0.5


def photo_box(example, photo_size):
    """The box `[4]` in px of the whole photo, see `photo_points`."""
    scale = np.array(photo_size) / example.frame[2:]
    corner = (example.box[:2] - example.frame[:2] + 0.5) * scale - 0.5
    return np.concatenate([corner, example.box[2:] * scale])


def seen_person(joint_names, intrinsics, position=(3500, 300, 1500)):
    """A standing person before a camera: joints `[joints, 3]` in its frame, mm, and px."""
    rotation, translation = look_at(position, (0, 0, 950))
    coords3d_cam = standing(joint_names) @ rotation.T + translation
    points = coords3d_cam @ np.transpose(intrinsics)
    return coords3d_cam, points[:, :2] / points[:, 2:]


def write_photo(path, people2d=(), edges=(), size=(640, 480), shade=90):
    """Writes a photo of people, drawn as limbs; `size` is width and height."""
    photo = np.full([size[1], size[0], 3], shade, np.uint8)
    for coords2d in people2d:
        draw_person(photo, coords2d, edges)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), photo[..., ::-1])


def write_cut_off(path, n_bytes):
    """Cuts a file off, as an interrupted download does."""
    path.write_bytes(path.read_bytes()[:n_bytes])
