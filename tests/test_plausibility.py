"""Plausibility tests and pose suppression: each threshold from both sides, edges, errors."""

import numpy as np
import pytest
import tensorflow as tf

from metro_tf import plausibility
from tests import helpers

EDGES = [[0, 1], [1, 2]]
LENGTHS = [200.0, 1000.0]


def chain(*lengths):
    """A straight pose at 3 m with the given bone lengths."""
    x = np.concatenate([[0], np.cumsum(lengths)])
    return np.float32(np.stack([x, 0 * x, 0 * x + 3000], axis=-1))


@pytest.mark.parametrize('in_graph', [False, True])
def test_bones(in_graph):
    poses = np.stack([
        chain(200, 1000),
        chain(1, 1000),  # far too short in ratio, but only by 199 mm
        chain(498, 1000),  # off by 298 mm
        chain(590, 1000),  # off by 390 mm, but not three times as long
        chain(610, 1000),  # both
        chain(200, 110),  # off by 890 mm, but not a tenth
        chain(200, 90),  # both
        chain(200, np.nan)])
    call = helpers.run_in_graph if in_graph else lambda function, x: function(x)
    actual = call(lambda x: plausibility.are_bones_plausible(x, EDGES, LENGTHS), poses)
    np.testing.assert_array_equal(actual, [1, 1, 1, 1, 0, 1, 0, 0])


def test_bone_thresholds_are_arguments():
    def judge(pose, **thresholds):
        return bool(plausibility.are_bones_plausible(pose, EDGES, LENGTHS, **thresholds))

    assert judge(chain(610, 1000), bone_max_ratio=3.1)
    assert judge(chain(610, 1000), bone_tolerance_mm=411)
    assert judge(chain(200, 90), bone_min_ratio=0.08)
    assert not judge(chain(410, 1000), bone_max_ratio=2.0, bone_tolerance_mm=200)


def augmented(*joint_offsets):
    """Two augmentations of a pose far away; joint i differs by its offset, given in mm."""
    pose = np.zeros((len(joint_offsets), 3)) + [0, 0, 1e5]
    offset = np.float64(joint_offsets)[:, np.newaxis] * [1, 0, 0]
    return np.float32(np.stack([pose - offset / 2, pose + offset / 2]))


@pytest.mark.parametrize('offsets, expected', [
    # A difference of d is a standard deviation of d / 2, to be below 200 in two of four joints.
    ((0, 390, 800, 800), True), ((0, 410, 800, 800), False), ((390, 390, 390, 800), True),
    ((0, 800, 800), True), ((800, 800, 800), False)])
def test_augmentations(offsets, expected):
    poses = augmented(*offsets)
    assert bool(plausibility.are_augmentations_consistent(poses)) == expected
    in_graph = helpers.run_in_graph(
        plausibility.are_augmentations_consistent, np.stack([poses, poses]))
    np.testing.assert_array_equal(in_graph, [expected] * 2)


def test_augmentations_may_disagree_on_scale():
    pose = np.random.default_rng(0).normal([0, 0, 4000], 300, (8, 3))
    scaled = np.float32([pose * factor for factor in (0.7, 1.0, 1.4)])
    assert bool(plausibility.are_augmentations_consistent(scaled, consistency_mm=1.0))
    shifted = np.float32([pose + [x, 0, 0] for x in (-1000, 0, 1000)])
    assert not bool(plausibility.are_augmentations_consistent(shifted))


def test_one_augmentation_is_consistent():
    assert bool(plausibility.are_augmentations_consistent(chain(100, 100)[np.newaxis]))
    assert bool(plausibility.are_augmentations_consistent(np.zeros((1, 4, 3))))


@pytest.mark.parametrize('in_graph', [False, True])
def test_box(in_graph):
    square = np.float32([[0, 0], [10, 0], [10, 10], [5, 4]])
    boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 19], [0, 0, 10, 21], [5, 5, 10, 10],
                        [0, 0, 10, 20], [3, 3, 0, 5]])
    poses2d = np.tile(square, (6, 1, 1))
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    actual = call(plausibility.is_consistent_with_box, poses2d, boxes)
    np.testing.assert_array_equal(actual, [1, 1, 0, 0, 0, 0])  # exactly one half is not enough
    relaxed = plausibility.is_consistent_with_box(square, [5, 5, 10, 10, 0.9], min_box_overlap=0.2)
    assert bool(relaxed)


def test_plausible_poses_needs_all_three():
    pose3d, pose2d = chain(200, 1000), np.float32([[0, 0], [10, 5], [10, 20]])
    wild = pose3d + np.float32([4000, 0, 0])
    poses3d = np.stack([
        [pose3d, pose3d], [chain(700, 1000)] * 2, [pose3d - wild + pose3d, wild],
        [pose3d, pose3d]])
    poses2d = np.tile(pose2d, (4, 2, 1, 1))
    boxes = np.float32([[0, 0, 10, 20], [0, 0, 10, 20], [0, 0, 10, 20], [50, 0, 10, 20]])
    mask = plausibility.plausible_poses(poses3d, poses2d, boxes, EDGES, LENGTHS)
    np.testing.assert_array_equal(mask, [True, False, False, False])
    relaxed = plausibility.plausible_poses(
        poses3d, poses2d, boxes, EDGES, LENGTHS, bone_tolerance_mm=1e4, consistency_mm=1e5,
        min_box_overlap=-1.0)
    np.testing.assert_array_equal(relaxed, [True] * 4)
    none = plausibility.plausible_poses(
        poses3d[:0], poses2d[:0], boxes[:0], EDGES, LENGTHS)
    assert none.shape == (0,)


def standing(x_mm=0.0, n_joints=8, moved=(), by_mm=0.0):
    """A person 10 km away, where scaling to common size has no effect on differences."""
    pose = np.zeros((n_joints, 3)) + [x_mm, 0, 1e7]
    pose[:, 1] += np.arange(n_joints) * 200
    pose[list(moved), 0] += by_mm
    return pose


def test_similarity_by_hand():
    def similarity(*pair, **kwargs):
        return float(plausibility.pose_similarity(*map(tf.constant, pair), **kwargs))

    base = standing()
    assert similarity(base, base) == pytest.approx(1)
    assert similarity(base, standing(90)) == pytest.approx(0.7, abs=1e-3)
    # The two farthest of eight joints count: 150 and 0 mm, then both beyond 300.
    assert similarity(base, standing(moved=[3], by_mm=150)) == pytest.approx(0.75, abs=1e-3)
    assert similarity(base, standing(moved=[3, 5], by_mm=301)) == pytest.approx(0, abs=1e-3)
    assert similarity(base, standing(300), nms_distance_mm=600) == pytest.approx(0.5, abs=1e-3)
    few = standing(60, n_joints=3)
    assert similarity(standing(n_joints=3), few) == pytest.approx(0.8, abs=1e-3)


def test_similarity_ignores_scale():
    pose = np.random.default_rng(0).normal([0, 0, 4000], 300, (8, 3))
    assert float(plausibility.pose_similarity(pose, 1.5 * pose)) == pytest.approx(1, abs=1e-5)
    zero = np.zeros((8, 3))
    assert float(plausibility.pose_similarity(zero, zero)) == 1


def suppress(poses, scores, *rest, **kwargs):
    return plausibility.suppress_similar_poses(
        np.float64(poses), np.float32(scores), *rest, **kwargs).numpy().tolist()


def test_greedy_suppression_by_confidence():
    # 170 mm is a similarity of 0.433, 190 mm of 0.367. The middle one would suppress both
    # neighbours, but it is itself suppressed by the best.
    poses = [standing(0), standing(170), standing(340), standing(2000)]
    assert suppress(poses, [0.9, 0.8, 0.7, 0.95]) == [3, 0, 2]
    assert suppress(poses, [0.8, 0.9, 0.7, 0.5]) == [1, 3]
    assert suppress([standing(0), standing(190)], [0.5, 0.6]) == [1, 0]
    assert suppress([standing(0), standing(190)], [0.5, 0.6], nms_similarity=0.3) == [1]
    assert suppress([standing(0), standing(190)], [0.5, 0.6], nms_distance_mm=400) == [1]


def test_images_are_independent_and_come_in_order():
    poses = [standing(0)] * 6
    image_index = [2, 0, 2, 0, 5, 0]
    scores = [0.1, 0.2, 0.9, 0.8, 0.3, 0.8]
    assert suppress(poses, scores, image_index) == [3, 2, 4]  # of equal scores the first
    apart = [standing(1000 * i) for i in range(6)]
    assert suppress(apart, scores, image_index) == [3, 5, 1, 2, 0, 4]
    assert suppress(apart, scores, image_index, max_poses=2) == [3, 5, 2, 0, 4]


def test_ineligible_poses_neither_stay_nor_suppress():
    poses = [standing(0), standing(10), standing(3000)]
    assert suppress(poses, [0.9, 0.8, 0.7], None, [False, True, True]) == [1, 2]
    assert suppress(poses, [0.9, 0.8, 0.7], None, [False] * 3) == []


def test_suppression_in_graph_and_empty():
    def function(poses, scores, image_index, is_eligible):
        return plausibility.suppress_similar_poses(poses, scores, image_index, is_eligible)

    poses = np.float32([standing(0), standing(5), standing(2000)])
    scores, image_index = np.float32([0.5, 0.6, 0.7]), np.int64([0, 0, 0])
    eligible = np.ones(3, bool)
    kept = helpers.run_in_graph(function, poses, scores, image_index, eligible)
    np.testing.assert_array_equal(kept, [2, 1])
    assert kept.dtype == tf.int32
    none = helpers.run_in_graph(
        function, poses[:0], scores[:0], image_index[:0], eligible[:0])
    assert none.shape == (0,)


def test_errors():
    with pytest.raises(ValueError, match='`poses` must'):
        plausibility.are_bones_plausible(np.zeros((3, 2)), EDGES, LENGTHS)
    with pytest.raises(ValueError, match='`bone_lengths_mm` must'):
        plausibility.are_bones_plausible(chain(1, 2), EDGES, [200.0])
    with pytest.raises(ValueError, match='`poses3d` must'):
        plausibility.plausible_poses(
            np.zeros((1, 3, 3)), np.zeros((1, 1, 3, 2)), np.zeros((1, 4)), EDGES, LENGTHS)
    with pytest.raises(ValueError, match='`scores` must'):
        plausibility.suppress_similar_poses(np.zeros((1, 3, 3)), 0.5)
