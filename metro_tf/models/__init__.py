"""Crop models: an image crop and its intrinsics in, joints in millimetres out."""

import keras

from metro_tf.models.affine_autoencoder import AffineAutoencoder
from metro_tf.models.coarse_to_fine import CoarseToFine
from metro_tf.models.coordinate_regression import CoordinateRegression
from metro_tf.models.decoupled import Decoupled
from metro_tf.models.latent_metrabs import LatentMetrabs
from metro_tf.models.margipose import AbsoluteMargiPose, MargiPose
from metro_tf.models.metrabs import Metrabs
from metro_tf.models.metro import Metro
from metro_tf.models.pose25d import Pose25D

__all__ = [
    'AbsoluteMargiPose', 'AffineAutoencoder', 'CoarseToFine', 'CoordinateRegression', 'Decoupled',
    'LatentMetrabs', 'MargiPose', 'Metrabs', 'Metro', 'Pose25D', 'load_crop_model']


def load_crop_model(path):
    """Loads a crop model from a `.keras` file, with all layers of ours that it needs.

    Args:
        path: Path of the file.

    Returns:
        `Metrabs`, `Metro`, `Pose25D`, `LatentMetrabs`, `MargiPose`, `AbsoluteMargiPose`,
        `CoarseToFine`, `Decoupled` or `CoordinateRegression`, not compiled.

    Raises:
        ValueError: If there is no such file or it cannot be loaded.
    """
    return keras.models.load_model(str(path), compile=False)
