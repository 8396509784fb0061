"""Flip testing: the mean of the predictions for a crop and for its mirror image."""

import tensorflow as tf


def predict_with_flip(predict, inputs, mirror_mapping):
    """Predicts crops and their mirror images and averages the absolute poses (MeTRAbs).

    Column x of a crop of side S is column S - 1 - x of the mirror image; the principal point is
    mirrored with it, so that negating x brings the pose back exactly.

    Args:
        predict: Function from inputs to poses `[batch, joints, 3]`, mm.
        inputs: Dict of `image` `[batch, S, S, 3]` and `intrinsics` `[batch, 3, 3]`, px.
        mirror_mapping: Joint i of the mirrored person is joint `mirror_mapping[i]` before
            (`Skeleton.mirror_mapping`).

    Returns:
        Float tensor `[batch, joints, 3]`, mm, camera frame of the crop.
    """
    flip_camera = tf.linalg.diag([-1.0, 1.0, 1.0])
    last_column = tf.cast(tf.shape(inputs['image'])[2] - 1, tf.float32)
    flip_pixels = tf.convert_to_tensor([[-1.0, 0.0, last_column], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    mirrored = predict({
        'image': inputs['image'][:, :, ::-1],
        'intrinsics': flip_pixels @ inputs['intrinsics'] @ flip_camera})
    unmirrored = tf.gather(mirrored, mirror_mapping, axis=1) * [-1.0, 1.0, 1.0]
    return (predict(inputs) + unmirrored) / 2
