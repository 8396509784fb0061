"""All of the geometry survives a SavedModel with unknown sizes, made of core operations."""

import numpy as np
import tensorflow as tf

from metro_tf.geometry import (
    alignment, boxes, camera, distortion, masked, reconstruction, root_depth, rotation)

BONES = [(0, 1), (2, 3), (4, 9)]


class Chain(tf.Module):
    """Calls every module of the package once."""

    @tf.function(input_signature=[
        tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, None]), tf.TensorSpec([None, 4, 4]),
        tf.TensorSpec([2], tf.int32)])
    def run(self, coords3d_world, distortion_coeffs, extrinsics, image_size):
        coords3d = camera.world_to_camera(coords3d_world, extrinsics)
        intrinsics = camera.intrinsics_from_fov(55.0, image_size)[tf.newaxis]
        coords2d_norm = distortion.distort_points(
            coords3d[..., :2] / coords3d[..., 2:], distortion_coeffs)
        coords2d_norm = distortion.undistort_points(coords2d_norm, distortion_coeffs)
        coords2d = camera.to_pixels(coords2d_norm, intrinsics)
        is_in_fov = camera.is_within_fov(coords2d, image_size[1], 32)
        absolute = reconstruction.reconstruct_absolute(
            coords2d, coords3d - coords3d[:, :1], intrinsics, is_in_fov, 0.5)
        box = boxes.from_points(coords2d, is_in_fov)
        center = camera.normalize(boxes.center(box)[:, tf.newaxis], intrinsics)
        matrix = rotation.look_at(
            camera.back_project(center, tf.ones_like(center[..., 0]))[:, 0],
            tf.constant([0.0, -1, 0]))
        coords25d = tf.concat([coords2d, coords3d[..., 2:]], axis=-1)
        bones = tf.gather(coords3d, BONES, axis=1)
        depth = root_depth.from_bone_lengths(
            coords25d, intrinsics, BONES, tf.norm(bones[:, :, 0] - bones[:, :, 1], axis=-1),
            is_in_fov)
        aligned = alignment.procrustes(rotation.rotate(absolute, matrix), coords3d, is_in_fov)
        return {
            'world': camera.camera_to_world(aligned, extrinsics),
            'from_25d': root_depth.to_camera_frame(coords25d, intrinsics, depth),
            'mean': masked.mean(absolute, is_in_fov[..., tf.newaxis], axis=1),
            'iou': boxes.iou_matrix(box, boxes.clip(box, image_size))}


def test_reloaded_functions_agree_with_eager_ones(tmp_path):
    rng = np.random.default_rng(0)
    coords3d = rng.normal([0, 0, 4000], 300, (3, 10, 3)).astype(np.float32)
    extrinsics = np.tile(np.eye(4, dtype=np.float32), (3, 1, 1))
    inputs = [coords3d, np.float32([[0.1, -0.05]]), extrinsics, np.int32([480, 640])]
    chain = Chain()
    expected = chain.run.python_function(*inputs)
    tf.saved_model.save(chain, str(tmp_path))
    actual = tf.saved_model.load(str(tmp_path)).run(*inputs)
    for name in ('world', 'from_25d', 'mean', 'iou'):
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=0.01)
    # Exact 2D points: reconstruction and alignment come back to where they started.
    np.testing.assert_allclose(actual['world'], coords3d, atol=2)
    np.testing.assert_allclose(actual['from_25d'], coords3d, atol=2)
