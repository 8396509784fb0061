"""A tiny backbone and inputs for the tests of all crop models."""

import keras
import numpy as np

from metro_tf import models

SIDE, STRIDE = 64, 16
JOINT_NAMES = ('pelv', 'neck', 'lsho', 'rsho')
EDGES = ((0, 1), (1, 2), (1, 3))
SETTINGS = {
    'joint_names': JOINT_NAMES, 'edges': EDGES, 'crop_side_px': SIDE, 'stride_px': STRIDE,
    'n_depth_cells': 5, 'box_size_mm': 2000.0}
# What a model needs besides.
EXTRA_SETTINGS = {
    models.Pose25D: {'bone_lengths_mm': [500.0, 180.0, 180.0]},
    models.LatentMetrabs: {'n_latents': 3}}


def make_backbone(stride=STRIDE):
    """Features of the given stride with a batch normalisation, for the training argument."""
    image = keras.Input((None, None, 3), name='image')
    x = keras.layers.AveragePooling2D(stride)(image)
    x = keras.layers.Conv2D(6, 3, padding='same', activation='relu')(x)
    return keras.Model(image, keras.layers.BatchNormalization()(x))


def make_model(model_cls, **kwargs):
    """A crop model on the tiny backbone."""
    return model_cls(
        make_backbone(), **{**SETTINGS, **EXTRA_SETTINGS.get(model_cls, {}), **kwargs})


def make_inputs(n_examples=3, seed=0):
    """Dict of random images and of the intrinsics of a plausible crop."""
    rng = np.random.default_rng(seed)
    intrinsics = np.float32([[120, 0, SIDE / 2], [0, 120, SIDE / 2], [0, 0, 1]])
    return {
        'image': rng.random((n_examples, SIDE, SIDE, 3)).astype(np.float32),
        'intrinsics': np.tile(intrinsics, (n_examples, 1, 1))}


def with_random_weights(model, seed=0):
    """Gives all weights, running statistics included, values as after training."""
    rng = np.random.default_rng(seed)
    model.set_weights([
        weight + rng.uniform(0, 0.1, weight.shape).astype(np.float32)
        for weight in model.get_weights()])
    return model
