"""A tiny Human3.6M in the true file formats: metadata, CDF poses, videos, masks of boxes."""

import cdflib.cdfwrite
import h5py
import numpy as np

from tests.training.datasets import fixtures
from training.datasets import human36m_metadata

PHOTO_SIZE = (200, 200)
N_FRAMES = 10
NAMES_32 = (
    'pelv rhip rkne rank rfoo rtoe lhip lkne lank lfoo ltoe spi0 spin neck head htop lcla lsho '
    'lelb lwri lhan lthu lfin lfi2 rcla rsho relb rwri rhan rthu rfin rfi2').split()
# What the fixture of a standing person does not have: another joint, and the way from there.
_FURTHER = {
    **{f'{side}foo': (f'{side}ank', (100, 0, -50)) for side in 'lr'}, 'spi0': ('pelv', (0, 0, 1)),
    **{side + name: (side + 'wri', offset) for side in 'lr' for name, offset in (
        ('thu', (60, 0, 40)), ('fin', (90, 0, -60)), ('fi2', (90, 0, -60)))}}
# (action id, subaction) to file name, as published for these subjects.
TAKES = {
    'S1': {(2, 1): 'Directions 1', (12, 1): 'TakingPhoto 1'},
    'S9': {(5, 1): 'Greeting 1', (5, 2): 'Greeting'},
    'S11': {(2, 2): 'Directions'}}
# Those of camera 54138969 for S1, with a fifth of the focal length and centre.
LENS = (-0.207099, 0.247775, -0.003075, -0.001424, -0.000976)  # k1 k2 k3 p1 p2
INTRINSICS = (229.009881, 228.756219, 102.508301, 103.090297, *LENS)
POSITIONS = ((2000, 4000, 1500), (4000, -1000, 1400), (-2500, 3500, 1600), (-3000, -3000, 1500))


def make_poses(n_frames=N_FRAMES):
    """World coordinates `[frames, 32, 3]`, mm: a person who walks 45 mm along x per frame."""
    base = [_FURTHER.get(name, (name, (0, 0, 0))) for name in NAMES_32]
    pose = fixtures.standing([name for name, _ in base]) + [offset for _, offset in base]
    return pose + np.arange(n_frames)[:, np.newaxis, np.newaxis] * [45.0, 0, 0]


def angles_of(rotation):
    """The three angles whose elementary rotations about x, y, z have this product."""
    return (
        np.arctan2(-rotation[1, 2], rotation[2, 2]), np.arcsin(rotation[0, 2]),
        np.arctan2(-rotation[0, 1], rotation[0, 0]))


def write_metadata(path, takes=None, n_numbers=300):
    """Writes `metadata.xml` with the elements that matter, in their true form."""
    takes = TAKES if takes is None else takes
    subjects = [f'S{i}' for i in range(1, 12)]
    rows = [['Action', 'subaction', *subjects]]
    rows += [
        [str(action), str(subaction), *(
            takes.get(subject, {}).get((action, subaction), '') for subject in subjects)]
        for action in range(1, 17) for subaction in (1, 2)]
    rows += [['', ''] + ['actor'] * 11, ['', ''] + ['[1002 1000]'] * 11]
    lengths = [[''] + [f'[{N_FRAMES} {N_FRAMES} {N_FRAMES} {N_FRAMES} 40]'] * 32] * 11
    extrinsics = [
        [*angles_of(fixtures.look_at(position, (0, 0, 1000))[0]), *position]
        for position in POSITIONS for _ in subjects]
    numbers = np.concatenate([np.ravel(extrinsics), np.tile(INTRINSICS, 4)])[:n_numbers]
    path.write_text(
        f'<a><mapping>{_table(rows)}</mapping><frames>{_table(lengths)}</frames>'
        f'<w0>[{" ".join(map(repr, map(float, numbers)))}]</w0></a>')


def _table(rows):
    return ''.join(
        '<tr>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>' for row in rows)


def write_poses(path, poses):
    """Writes a CDF file with the single variable `Pose`, as the data set has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = poses.reshape(len(poses), -1).astype(np.float32)
    with cdflib.cdfwrite.CDF(str(path), delete=True) as file:
        spec = {
            'Variable': 'Pose', 'Data_Type': 44, 'Num_Elements': 1, 'Rec_Vary': True,
            'Dim_Sizes': list(flat.shape), 'Var_Type': 'zVariable'}
        file.write_var(spec, var_data=flat[np.newaxis])


def write_boxes(path, boxes):
    """Writes a MATLAB 7.3 file of masks of boxes `[frames, 4]`: left, top, width, height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w', userblock_size=512) as file:
        references = file.create_dataset('Masks', (len(boxes), 1), h5py.ref_dtype)
        for i_frame, (left, top, width, height) in enumerate(np.array(boxes, int)):
            mask = np.zeros(PHOTO_SIZE[::-1], np.uint8)
            mask[top:top + height, left:left + width] = 1
            references[i_frame, 0] = file.create_dataset(f'#refs#/{i_frame}', data=mask.T).ref
    with open(path, 'r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file, Platform: GLNXA64')


def draw_video(poses, camera):
    """Frames with a red dot at the left wrist and limbs, seen through the lens."""
    frames = []
    for pose in poses:
        points = camera.project(camera.to_camera_frame(pose))
        photo = np.full([*PHOTO_SIZE[::-1], 3], 60, np.uint8)
        fixtures.draw_person(photo, points, [(0, 13), (13, 15), (0, 3), (0, 8), (13, 27)])
        x, y = np.round(points[NAMES_32.index('lwri')]).astype(int)
        photo[y - 1:y + 2, x - 1:x + 2] = [255, 0, 0]
        frames.append(photo)
    return frames


def write_take(folder, subject, name, cameras, poses, video_poses=None):
    """Writes the files of a take: poses, and for each camera a video and boxes."""
    video_poses = poses if video_poses is None else video_poses
    write_poses(folder / subject / 'MyPoseFeatures/D3_Positions' / f'{name}.cdf', poses)
    for camera_name, camera in cameras.items():
        fixtures.write_video(
            folder / subject / 'Videos' / f'{name}.{camera_name}.mp4',
            draw_video(video_poses, camera))
        boxes_dir = folder / subject / 'MySegmentsMat/ground_truth_bb'
        write_boxes(boxes_dir / f'{name}.{camera_name}.mat', boxes_of(poses, camera))


def boxes_of(poses, camera):
    """Whole-numbered boxes `[frames, 4]` around all joints."""
    points = camera.project(camera.to_camera_frame(poses))
    first, last = np.floor(points.min(axis=1)), np.ceil(points.max(axis=1))
    return np.concatenate([first, last - first + 1], axis=1)


def write_all(folder):
    """Writes the whole data set: all of `TAKES`, of which Greeting of S9 lies beside its video."""
    folder.mkdir()
    write_metadata(folder / 'metadata.xml')
    cameras = human36m_metadata.read(folder / 'metadata.xml').cameras
    poses = make_poses()
    for subject, takes in TAKES.items():
        own_cameras = {name: cameras[subject, name] for name in human36m_metadata.CAMERAS[:2]}
        for name in takes.values():
            shift = [200.0 * (name == 'Greeting'), 0, 0]
            write_take(folder, subject, name, own_cameras, poses + shift, poses)
