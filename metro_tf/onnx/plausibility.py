"""Filtering of predicted people in NumPy; see `metro_tf.plausibility`."""

import numpy as np


def plausible_poses(
        poses3d, poses2d, boxes, edges, bone_lengths_mm, *, bone_min_ratio, bone_max_ratio,
        bone_tolerance_mm, consistency_mm, min_box_overlap):
    """Which poses pass the tests of bones, augmentations and box.

    Args:
        poses3d: Float32 array `[n, num_aug, joints, 3]`, original camera frame, mm.
        poses2d: Float32 array `[n, num_aug, joints, 2]`, image px.
        boxes: Float32 array `[n, 4 or 5]`, image px.
        edges: Sequence of pairs of joint indices.
        bone_lengths_mm: Sequence with the typical length of each edge.
        bone_min_ratio: See `are_bones_plausible`, as are the next two.
        bone_max_ratio: Largest plausible ratio to the typical length.
        bone_tolerance_mm: Deviations up to this are always plausible.
        consistency_mm: See `are_augmentations_consistent`.
        min_box_overlap: See `is_consistent_with_box`.

    Returns:
        Boolean array `[n]`.
    """
    has_plausible_bones = are_bones_plausible(
        poses3d.mean(axis=1), edges, bone_lengths_mm, bone_min_ratio=bone_min_ratio,
        bone_max_ratio=bone_max_ratio, bone_tolerance_mm=bone_tolerance_mm)
    return has_plausible_bones & are_augmentations_consistent(
        poses3d, consistency_mm=consistency_mm) & is_consistent_with_box(
        poses2d.mean(axis=1), boxes, min_box_overlap=min_box_overlap)


def are_bones_plausible(
        poses, edges, bone_lengths_mm, *, bone_min_ratio, bone_max_ratio, bone_tolerance_mm):
    """False where a bone of `[n, joints, 3]` is out of ratio and off by more than a tolerance."""
    edges = np.reshape(np.asarray(edges, int), [-1, 2])
    expected = np.asarray(bone_lengths_mm, np.float32)
    lengths = np.linalg.norm(poses[:, edges[:, 0]] - poses[:, edges[:, 1]], axis=-1)
    is_in_ratio = (lengths >= bone_min_ratio * expected) & (lengths <= bone_max_ratio * expected)
    return np.all(is_in_ratio | (np.abs(lengths - expected) <= bone_tolerance_mm), axis=-1)


def are_augmentations_consistent(poses, *, consistency_mm):
    """True where more than a quarter of the joints agree, for poses `[n, num_aug, joints, 3]`."""
    mean_square = np.mean(np.square(poses), axis=(-2, -1), keepdims=True)
    common = np.mean(mean_square, axis=1, keepdims=True)
    scaled = poses * np.sqrt(_ratio(common, mean_square))
    spread = np.sqrt(np.sum(np.var(scaled, axis=1), axis=-1))
    return np.sum(spread < consistency_mm, axis=-1) > poses.shape[-2] // 4


def is_consistent_with_box(poses2d, boxes, *, min_box_overlap):
    """True where the box of the joints `[n, joints, 2]` covers enough of the box `[n, 4 or 5]`."""
    start = np.maximum(poses2d.min(axis=-2), boxes[:, :2])
    end = np.minimum(poses2d.max(axis=-2), boxes[:, :2] + boxes[:, 2:4])
    overlap = np.prod(np.maximum(end - start, 0), axis=-1)
    return overlap > min_box_overlap * np.prod(boxes[:, 2:4], axis=-1)


def pose_similarity(poses_a, poses_b, *, nms_distance_mm):
    """Similarity of pairs of poses `[n, joints, 3]`: 1 if equal, 0 if far apart, `[n]`."""
    square_a, square_b = (
        np.mean(np.square(poses), axis=(-2, -1), keepdims=True) for poses in (poses_a, poses_b))
    common = (square_a + square_b) / 2
    distances = np.linalg.norm(
        poses_a * np.sqrt(_ratio(common, square_a)) - poses_b * np.sqrt(_ratio(common, square_b)),
        axis=-1)
    n_farthest = max(poses_a.shape[-2] // 4, 1)
    farthest = np.sort(distances, axis=-1)[..., -n_farthest:]
    return np.mean(np.maximum(1 - farthest / nms_distance_mm, 0), axis=-1)


def suppress_similar_poses(
        poses, scores, image_index, is_eligible, *, nms_distance_mm, nms_similarity, max_poses):
    """Keeps one pose of each person: greedy suppression by confidence, per image.

    Args:
        poses: Float32 array `[n, joints, 3]`, camera frame, mm.
        scores: Float32 array `[n]`, confidences.
        image_index: Int array `[n]`, the image that each pose belongs to.
        is_eligible: Boolean array `[n]`. Other poses are neither kept nor suppress others.
        nms_distance_mm: Distance from which on a joint contributes no similarity.
        nms_similarity: The similarity up to which two poses count as different people.
        max_poses: Largest number of poses kept per image.

    Returns:
        Int array `[m]`: indices of the kept poses, images ascending and within an image in
        descending score.
    """
    kept = []
    for i_image in np.unique(image_index):
        order = np.flatnonzero(is_eligible & (image_index == i_image))
        order = order[np.argsort(-scores[order], kind='stable')]
        n_before = len(kept)
        while len(order) and len(kept) - n_before < max_poses:
            best, others = order[0], order[1:]
            kept.append(best)
            similarity = pose_similarity(
                poses[best], poses[others], nms_distance_mm=nms_distance_mm)
            order = others[similarity <= nms_similarity]
    return np.array(kept, int)


def _ratio(numerator, denominator):
    """Quotient, 0 where the denominator is 0."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    return np.divide(
        numerator, denominator, out=np.zeros(shape, np.float32), where=denominator != 0)
