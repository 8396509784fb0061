"""A tiny model of volumes, and a person's volumes by hand, for the tests of the tools."""

import keras
import numpy as np

from metro_tf import models
from metro_tf.tools import volumes
from tests.models import common

SIDE, STRIDE = 64, 4
BONE_LENGTHS_MM = (500.0, 180.0, 190.0)


def make_network(channels):
    """From an image of 64 px to volumes of stride 4, one after the other."""
    image = keras.Input((SIDE, SIDE, 3), name='image')
    x = keras.layers.AveragePooling2D(STRIDE)(image)
    return keras.Model(image, [keras.layers.Conv2D(n, 3, padding='same')(x) for n in channels])


def make_coarse_to_fine(depths=(1, 8), **kwargs):
    """`CoarseToFine` of four joints, always with the same weights."""
    keras.utils.set_random_seed(0)
    return models.CoarseToFine(
        make_network([len(common.JOINT_NAMES) * depth for depth in depths]), common.JOINT_NAMES,
        common.EDGES, SIDE, STRIDE, depths=depths, bone_lengths_mm=BONE_LENGTHS_MM, **kwargs)


def make_person():
    """Two joints in 4 x 4 x 3 voxels, each with two spots; all others are at 0.

    The crop has 32 px, the photo's camera is that of the crop turned by 90 degrees about z.
    """
    values = np.zeros([2, 3, 4, 4], np.float16)
    values[0, 0, 1, 2], values[0, 2, 1, 3] = 1, 0.75
    values[1, 1, 3, 0], values[1, 1, 3, 1] = 0.5, -0.25
    return volumes.PersonVolumes(
        volumes=values, meaning=volumes.SCORES, x_px=np.float32([4, 12, 20, 28]),
        y_px=np.float32([4, 12, 20, 28]), z_mm=np.float32([-500, 0, 500]),
        coords25d=np.float32([[20, 12, -500], [4, 28, 0]]),
        coords3d_cam=np.float32([[60, 60, 1500], [-240, -240, 2000]]),
        root_depth_mm=np.float32(2000),
        intrinsics=np.float32([[100, 0, 16], [0, 100, 16], [0, 0, 1]]),
        crop_to_camera=np.float32([[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
        crop=np.full([32, 32, 3], 51, np.uint8), joint_names=np.array(['pelv', 'neck']),
        joint_edges=np.int32([[0, 1]]), bone_lengths_mm=np.float32([500]))
