"""Crop models: an image crop and its intrinsics in, joints in millimetres out."""

from metro_tf.models.metrabs import Metrabs
from metro_tf.models.metro import Metro

__all__ = ['Metrabs', 'Metro']
