"""Filtering of predicted people: implausible poses and repeated detections (MeTRAbs, R23).

People of several images lie in one flat array with the index of their image, so that any number
of people per image needs neither padding nor a loop. Results are masks and indices.
"""

import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import boxes as boxlib

BONE_MIN_RATIO = 0.1
BONE_MAX_RATIO = 3.0
BONE_TOLERANCE_MM = 300.0
CONSISTENCY_MM = 200.0
MIN_BOX_OVERLAP = 0.5
NMS_DISTANCE_MM = 300.0
NMS_SIMILARITY = 0.4
MAX_POSES = 150


def plausible_poses(
        poses3d, poses2d, boxes, edges, bone_lengths_mm, *, bone_min_ratio=BONE_MIN_RATIO,
        bone_max_ratio=BONE_MAX_RATIO, bone_tolerance_mm=BONE_TOLERANCE_MM,
        consistency_mm=CONSISTENCY_MM, min_box_overlap=MIN_BOX_OVERLAP):
    """Which poses pass all three tests of this module: bones, augmentations and box.

    Bones and box are judged on the mean over the augmentations.

    Args:
        poses3d: Float tensor `[n, num_aug, joints, 3]`, original camera frame, mm.
        poses2d: Float tensor `[n, num_aug, joints, 2]`, image px.
        boxes: Float tensor `[n, 4 or 5]`, image px.
        edges: Int array `[bones, 2]`, pairs of joint indices.
        bone_lengths_mm: Float array `[bones]`, typical length of each edge.
        bone_min_ratio: See `are_bones_plausible`, as are the next two.
        bone_max_ratio: Largest plausible ratio to the typical length.
        bone_tolerance_mm: Deviations up to this are always plausible.
        consistency_mm: See `are_augmentations_consistent`.
        min_box_overlap: See `is_consistent_with_box`.

    Returns:
        Boolean tensor `[n]`.

    Raises:
        ValueError: If a static shape does not fit.
    """
    poses3d = checks.last_axes(poses3d, (None, None, None, 3), name='poses3d')
    poses2d = checks.last_axes(poses2d, (None, None, None, 2), name='poses2d')
    has_plausible_bones = are_bones_plausible(
        tf.reduce_mean(poses3d, axis=1), edges, bone_lengths_mm, bone_min_ratio=bone_min_ratio,
        bone_max_ratio=bone_max_ratio, bone_tolerance_mm=bone_tolerance_mm)
    is_consistent = are_augmentations_consistent(poses3d, consistency_mm=consistency_mm)
    fills_box = is_consistent_with_box(
        tf.reduce_mean(poses2d, axis=1), boxes, min_box_overlap=min_box_overlap)
    return has_plausible_bones & is_consistent & fills_box


def are_bones_plausible(
        poses, edges, bone_lengths_mm, *, bone_min_ratio=BONE_MIN_RATIO,
        bone_max_ratio=BONE_MAX_RATIO, bone_tolerance_mm=BONE_TOLERANCE_MM):
    """False where some bone's length is out of ratio and off by more than a tolerance.

    Args:
        poses: Float tensor `[..., joints, 3]`, mm.
        edges: Int array `[bones, 2]`, pairs of joint indices.
        bone_lengths_mm: Float array `[bones]`, typical length of each edge.
        bone_min_ratio: Bones below this multiple of the typical length are too short.
        bone_max_ratio: Bones above this multiple of the typical length are too long.
        bone_tolerance_mm: A deviation up to this is forgiven whatever the ratio.

    Returns:
        Boolean tensor `[...]`. False where a coordinate is NaN.

    Raises:
        ValueError: If a static shape does not fit or the lengths do not match the edges.
    """
    poses = checks.last_axes(poses, (None, 3), name='poses')
    edges = tf.reshape(tf.cast(edges, tf.int32), [-1, 2])
    expected = checks.last_axes(bone_lengths_mm, (edges.shape[0],), 'bone_lengths_mm', poses.dtype)
    lengths = tf.norm(
        tf.gather(poses, edges[:, 0], axis=-2) - tf.gather(poses, edges[:, 1], axis=-2), axis=-1)
    is_in_ratio = (lengths >= bone_min_ratio * expected) & (lengths <= bone_max_ratio * expected)
    return tf.reduce_all(
        is_in_ratio | (tf.abs(lengths - expected) <= bone_tolerance_mm), axis=-1)


def are_augmentations_consistent(poses, *, consistency_mm=CONSISTENCY_MM):
    """True where more than a quarter of the joints agree between the augmentations.

    Each augmentation's pose is first scaled about the camera to the root mean square magnitude
    over all augmentations, since views of different zoom disagree on depth above all. A joint's
    spread is the root of the summed population variances of its coordinates.

    Args:
        poses: Float tensor `[..., num_aug, joints, 3]`, original camera frame, mm.
        consistency_mm: The spread that an agreeing joint stays below.

    Returns:
        Boolean tensor `[...]`: more than `joints // 4` joints agree. True for one augmentation.

    Raises:
        ValueError: If a static shape does not fit.
    """
    poses = checks.last_axes(poses, (None, None, 3), name='poses')
    mean_square = tf.reduce_mean(tf.square(poses), axis=(-2, -1), keepdims=True)
    common = tf.reduce_mean(mean_square, axis=-3, keepdims=True)
    scaled = poses * tf.sqrt(tf.math.divide_no_nan(common, mean_square))
    spread = tf.sqrt(tf.reduce_sum(tf.math.reduce_variance(scaled, axis=-3), axis=-1))
    n_agreeing = tf.reduce_sum(tf.cast(spread < consistency_mm, tf.int32), axis=-1)
    return n_agreeing > tf.shape(poses)[-2] // 4


def is_consistent_with_box(poses2d, boxes, *, min_box_overlap=MIN_BOX_OVERLAP):
    """True where the bounding box of the joints covers more than a share of the detection box.

    Args:
        poses2d: Float tensor `[..., joints, 2]`, image px.
        boxes: Float tensor `[..., 4 or 5]`, image px.
        min_box_overlap: Share of the detection box's area, between 0 and 1.

    Returns:
        Boolean tensor `[...]`. False for boxes without area.

    Raises:
        ValueError: If a static shape does not fit.
    """
    poses2d = checks.last_axes(poses2d, (None, 2), name='poses2d')
    overlap = boxlib.intersection_area(boxlib.from_points(poses2d), boxes)
    return overlap > min_box_overlap * boxlib.area(boxes)


def pose_similarity(poses_a, poses_b, *, nms_distance_mm=NMS_DISTANCE_MM):
    """Similarity of pairs of poses, element by element: 1 if equal, 0 if far apart.

    Both poses are scaled about the camera to their common root mean square magnitude. Then the
    quarter of joints (at least one) that are farthest apart count with
    `max(0, 1 - distance / nms_distance_mm)`, averaged.

    Args:
        poses_a: Float tensor `[..., joints, 3]`, camera frame, mm.
        poses_b: Float tensor of the same shape and frame, mm.
        nms_distance_mm: Distance from which on a joint contributes no similarity.

    Returns:
        Float tensor `[...]` in `[0, 1]`.

    Raises:
        ValueError: If a static shape does not fit.
    """
    poses_a = checks.last_axes(poses_a, (None, 3), name='poses_a')
    poses_b = checks.last_axes(poses_b, (None, 3), 'poses_b', poses_a.dtype)
    square_a = tf.reduce_mean(tf.square(poses_a), axis=(-2, -1), keepdims=True)
    square_b = tf.reduce_mean(tf.square(poses_b), axis=(-2, -1), keepdims=True)
    common = (square_a + square_b) / 2
    distances = tf.norm(
        poses_a * tf.sqrt(tf.math.divide_no_nan(common, square_a))
        - poses_b * tf.sqrt(tf.math.divide_no_nan(common, square_b)), axis=-1)
    n_farthest = tf.maximum(tf.shape(poses_a)[-2] // 4, 1)
    farthest = tf.math.top_k(distances, n_farthest).values
    return tf.reduce_mean(tf.nn.relu(1 - farthest / nms_distance_mm), axis=-1)


def suppress_similar_poses(
        poses, scores, image_index=None, is_eligible=None, *, nms_distance_mm=NMS_DISTANCE_MM,
        nms_similarity=NMS_SIMILARITY, max_poses=MAX_POSES):
    """Keeps one pose of each person: greedy suppression by confidence, per image (MeTRAbs).

    A pose is suppressed if it is more similar than `nms_similarity` to a kept pose of higher
    score in the same image (see `pose_similarity`). Equal scores keep their order.

    Args:
        poses: Float tensor `[n, joints, 3]`, camera frame, mm.
        scores: Float tensor `[n]`, confidences.
        image_index: Int tensor `[n]`, the image that each pose belongs to, in any order. None
            means that all belong to the same one.
        is_eligible: Boolean tensor `[n]`. Poses marked False are neither kept nor suppress
            others. None means all True.
        nms_distance_mm: Distance from which on a joint contributes no similarity.
        nms_similarity: The similarity up to which two poses count as different people.
        max_poses: Largest number of poses kept per image.

    Returns:
        Int32 tensor `[m]`: indices of the kept poses, images ascending and within an image in
        descending score.

    Raises:
        ValueError: If a static shape does not fit.
    """
    poses = checks.last_axes(poses, (None, None, 3), name='poses')
    scores = checks.last_axes(scores, (None,), 'scores', poses.dtype)
    n_poses = tf.shape(poses)[0]
    if image_index is None:
        image_index = tf.zeros([n_poses], tf.int32)
    candidates = tf.range(n_poses)
    if is_eligible is not None:
        candidates = tf.boolean_mask(candidates, is_eligible)
    image_index = tf.gather(tf.cast(image_index, tf.int32), candidates)
    similarity = _similarity_within_images(
        tf.gather(poses, candidates), image_index, nms_distance_mm)
    # People of different images have similarity 0, so one greedy pass serves all images.
    kept = tf.image.non_max_suppression_overlaps(
        similarity, tf.cast(tf.gather(scores, candidates), tf.float32), tf.size(candidates),
        overlap_threshold=nms_similarity)
    kept_image_index = tf.gather(image_index, kept)
    order = tf.argsort(kept_image_index, stable=True)
    kept_image_index = tf.gather(kept_image_index, order)
    rank = tf.range(tf.size(kept)) - tf.searchsorted(kept_image_index, kept_image_index)
    return tf.gather(candidates, tf.boolean_mask(tf.gather(kept, order), rank < max_poses))


def _similarity_within_images(poses, image_index, nms_distance_mm):
    """Matrix `[n, n]` of similarities, evaluated only for pairs of the same image."""
    n_poses = tf.shape(poses)[0]
    is_later = tf.range(n_poses)[:, tf.newaxis] < tf.range(n_poses)
    pairs = tf.where(is_later & (image_index[:, tf.newaxis] == image_index))
    similarity = pose_similarity(
        tf.gather(poses, pairs[:, 0]), tf.gather(poses, pairs[:, 1]),
        nms_distance_mm=nms_distance_mm)
    upper = tf.scatter_nd(
        pairs, tf.cast(similarity, tf.float32), tf.cast([n_poses, n_poses], tf.int64))
    return upper + tf.transpose(upper)
