"""A stand-in for the pose model and photos on disk, for the tests of the tools."""

import json

from PIL import Image
import numpy as np
import tensorflow as tf

from metro_tf import skeleton

STANDING_MM = dict(
    pelv=(0, 0, 0), spin=(0, -250, 0), neck=(0, -500, 10), head=(0, -600, 0), htop=(0, -750, 0),
    nose=(0, -610, -110), leye=(35, -640, -95), reye=(-35, -640, -95), lear=(75, -620, 0),
    rear=(-75, -620, 0), lsho=(180, -470, 10), rsho=(-180, -470, 10), lelb=(320, -250, 20),
    relb=(-330, -300, -80), lwri=(420, -40, -30), rwri=(-300, -520, -200), lhip=(95, 20, 0),
    rhip=(-95, 20, 0), lkne=(110, 440, -20), rkne=(-120, 430, -120), lank=(120, 850, 30),
    rank=(-130, 840, 20), ltoe=(140, 910, -120), rtoe=(-160, 900, -130))


class FakeModel:
    """Answers every image with the same number of standing people, and notes what it was asked.

    Args:
        n_people: How many people it sees; person i stands at x = 800 i mm, 3000 + 500 i mm away.
        error: Exception to raise instead, or None.
        is_unsure: Whether it tells uncertainties: of joint i of person p, 10 p + i mm.
    """

    def __init__(self, n_people=1, error=None, is_unsure=False):
        self.n_people, self.error, self.is_unsure, self.calls = n_people, error, is_unsure, []
        # Exports hold variables.
        self.joint_names = tf.Variable(skeleton.METRO_24.joint_names)
        self.joint_edges = tf.Variable(skeleton.METRO_24.edges)
        selection = skeleton.convention_selection(skeleton.METRO_24.joint_names, 'lsp_14')
        self.per_skeleton_joint_names = {'lsp_14': tf.Variable(selection[0].joint_names)}
        self.per_skeleton_joint_edges = {'lsp_14': tf.Variable(selection[0].edges)}
        self.metadata = tf.Variable(json.dumps({
            'model_name': 'fake', 'model_version': '7', 'input_resolution': 160,
            'joint_names': ['not', 'repeated'], 'mean_bone_lengths_mm': [100.0, 1 / 3],
            'details': {'scores': {'lspet_pck': 0.5}}}))

    def detect_poses(self, image, **arguments):
        """Like the model's method of this name."""
        self.calls.append((np.asarray(image), arguments))
        if self.error is not None:
            raise self.error
        names = self.joint_names
        if arguments.get('skeleton'):
            names = self.per_skeleton_joint_names[arguments['skeleton']]
        pose = np.array([STANDING_MM[name.decode()] for name in names.numpy()], np.float32)
        offsets = [[800.0 * i, 0.0, 3000.0 + 500 * i] for i in range(self.n_people)]
        offsets = np.array(offsets, np.float32).reshape(-1, 1, 3)
        focal = max(image.shape[:2]) / 2 / np.tan(
            np.radians(arguments.get('default_fov_degrees', 55.0)) / 2)
        poses3d = pose + offsets
        center = np.array([image.shape[1] / 2, image.shape[0] / 2])
        poses2d = poses3d[..., :2] / poses3d[..., 2:] * focal + center
        corner, size = poses2d.min(axis=1), np.ptp(poses2d, axis=1)
        boxes = np.concatenate([corner, size, np.full([self.n_people, 1], 0.9)], axis=1)
        results = {'boxes': boxes, 'poses3d': poses3d, 'poses2d': poses2d}
        if self.is_unsure:
            results['uncertainty'] = 10 * np.arange(self.n_people)[:, None] + np.arange(len(pose))
        return {key: tf.constant(value, tf.float32) for key, value in results.items()}


def write_photo(path, width=96, height=64, mode='RGB', **options):
    """Writes a smooth image, darker on the left and at the top, and returns its path."""
    ramp = np.linspace(20, 235, width)[np.newaxis] * np.linspace(0.5, 1, height)[:, np.newaxis]
    Image.fromarray(ramp.astype(np.uint8)).convert(mode).save(path, **options)
    return path
