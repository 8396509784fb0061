"""Pose estimation without TensorFlow: networks in ONNX files, the rest in NumPy and OpenCV.

    from metro_tf import onnx

    model = onnx.PoseEstimator('onnx_model')  # a folder that `metro-tf export-onnx` wrote
    people = model.detect_poses(image)  # uint8 [height, width, 3]

No module here imports TensorFlow or Keras, nor one of ours that does.
"""

from metro_tf.onnx.estimator import PoseEstimator

__all__ = ['PoseEstimator']
