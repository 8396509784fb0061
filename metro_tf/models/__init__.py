"""Crop models: an image crop and its intrinsics in, joints in millimetres out."""

from metro_tf.models.affine_autoencoder import AffineAutoencoder
from metro_tf.models.coarse_to_fine import CoarseToFine
from metro_tf.models.coordinate_regression import CoordinateRegression
from metro_tf.models.decoupled import Decoupled
from metro_tf.models.latent_metrabs import LatentMetrabs
from metro_tf.models.loading import load_crop_model
from metro_tf.models.margipose import AbsoluteMargiPose, MargiPose
from metro_tf.models.metrabs import Metrabs
from metro_tf.models.metro import Metro
from metro_tf.models.pose25d import Pose25D

__all__ = [
    'AbsoluteMargiPose', 'AffineAutoencoder', 'CoarseToFine', 'CoordinateRegression', 'Decoupled',
    'LatentMetrabs', 'MargiPose', 'Metrabs', 'Metro', 'Pose25D', 'load_crop_model']
