"""A client for models on a server of TensorFlow Serving, by REST or gRPC.

    from metro_tf import serving

    client = serving.Client('http://localhost:8501')
    people = client.detect_poses(image)  # uint8 [height, width, 3]
    people.poses3d  # [n_people, joints, 3], mm

TensorFlow is imported for gRPC only, since the official messages need it.
"""

from metro_tf.serving.attempts import ServingError
from metro_tf.serving.client import Client
from metro_tf.serving.people import People

__all__ = ['Client', 'People', 'ServingError']
