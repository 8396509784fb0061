import numpy as np
import pytest
import tensorflow as tf

from metro_tf import losses
from metro_tf.geometry import cuboid
from metro_tf.layers import marginal_heatmaps
from tests import helpers

N_CELLS = 8
NAN = np.nan


def reference_gaussian(column, row, n=N_CELLS, sigma=1.0):
    """The published target, `[rows, columns]`, around normalised coordinates."""
    centers = (2 * np.arange(n) + 1) / n - 1
    width = 2 * sigma / n
    profiles = [np.exp(-(centers - mean) ** 2 / (2 * width ** 2)) for mean in (column, row)]
    target = np.outer(profiles[1], profiles[0])
    return target / (target.sum() + 1e-24)


def reference_jsd(p, q):
    def divergence(p, q):
        return np.sum(p * (np.log(p + 1e-24) - np.log(q + 1e-24)))

    return (divergence(p, (p + q) / 2) + divergence(q, (p + q) / 2)) / 2


def reference_losses(coords_true, stage, has_depth, sigma=1.0):
    """The published losses `[batch, joints]`."""
    heatmaps = stage['heatmaps'].numpy().astype(np.float64)
    coords = stage['coords'].numpy()
    result = np.zeros(coords.shape[:2])
    for b, j in np.ndindex(*result.shape):
        x, y, z = coords_true[b, j]
        n_coords, planes = (3, [(x, y), (z, y), (x, z)]) if has_depth[b] else (2, [(x, y)])
        result[b, j] = np.linalg.norm((coords[b, j] - coords_true[b, j])[:n_coords])
        for i_plane, means in enumerate(planes):
            result[b, j] += reference_jsd(
                heatmaps[b, :, :, i_plane, j], reference_gaussian(*means, sigma=sigma))
    return result


def random_stage(seed=0, n_examples=4, n_joints=3, dtype=tf.float32):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n_examples, N_CELLS, N_CELLS, 3, n_joints)) * 3
    return marginal_heatmaps.MarginalHeatmaps()(tf.cast(logits, dtype))


def random_coords(seed=5, n_examples=4, n_joints=3):
    return np.random.default_rng(seed).uniform(-1, 1, (n_examples, n_joints, 3)).astype(np.float32)


HAS_DEPTH = np.array([True, False, True, False])
MASK = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1], [0, 1, 1]], bool)


def test_divergence_by_hand():
    """(1, 0) and (1/2, 1/2) have the middle (3/4, 1/4)."""
    value = losses.jensen_shannon(np.float32([[[1, 0]]]), np.float32([[[0.5, 0.5]]]))
    expected = (np.log(4 / 3) + (np.log(2 / 3) + np.log(2)) / 2) / 2
    np.testing.assert_allclose(value, [expected], atol=1e-6)
    assert expected == pytest.approx(0.2157616, abs=1e-6)


def test_divergence_of_equal_and_of_disjoint_heatmaps():
    heatmaps = np.float32([[[0.25, 0.75], [0, 0]], [[0, 0], [1, 0]]])
    np.testing.assert_allclose(losses.jensen_shannon(heatmaps, heatmaps), [0, 0], atol=1e-6)
    np.testing.assert_allclose(
        losses.jensen_shannon(heatmaps, heatmaps[:, ::-1]), [np.log(2)] * 2, atol=1e-6)


def test_divergence_is_symmetric():
    p, q = [random_stage(seed)['heatmaps'] for seed in (0, 1)]
    np.testing.assert_allclose(
        losses.jensen_shannon(p, q), losses.jensen_shannon(q, p), atol=1e-6)


def test_gaussian_by_hand():
    """Three columns, two rows, centre between the columns 0 and 1 in row 1."""
    target = losses.gaussians(np.float32([[0.5]]), np.float32([[1]]), 3, 2)[0, ..., 0]
    columns, rows = np.exp([-0.125, -0.125, -1.125]), np.exp([-0.5, 0])
    expected = np.outer(rows / rows.sum(), columns / columns.sum())
    np.testing.assert_allclose(target, expected, atol=1e-6)


def test_gaussian_of_two_widths():
    target = losses.gaussians(np.float32([[1]]), np.float32([[1]]), 3, 3, 1.0, 0.5)[0, ..., 0]
    columns, rows = np.exp([-0.5, 0, -0.5]), np.exp([-2.0, 0, -2.0])
    np.testing.assert_allclose(
        target, np.outer(rows / rows.sum(), columns / columns.sum()), atol=1e-6)


def test_centres_outside_give_a_spike_at_the_border_and_then_nothing():
    spike, nothing = [
        losses.gaussians(np.float32([[center]]), np.float32([[3]]), 8, 8)[0, ..., 0].numpy()
        for center in (-4, -30)]
    np.testing.assert_allclose(spike.sum(), 1, atol=1e-5)
    assert spike[3, 0] > 0.39
    np.testing.assert_allclose(nothing, 0, atol=1e-6)
    flat = np.full([1, 8, 8, 1], 1 / 64, np.float32)
    np.testing.assert_allclose(
        losses.jensen_shannon(flat, nothing[np.newaxis, ..., np.newaxis]), [[np.log(2) / 2]],
        atol=1e-5)


def test_plane_divergences_take_column_and_row_of_each_plane():
    """Targets of (x, y), (z, y) and (x, z), as columns and rows."""
    x, y, z = 0.3, -0.6, 0.8
    planes = [reference_gaussian(*means) for means in ((x, y), (z, y), (x, z))]
    heatmaps = np.float32(np.stack(planes, axis=-1))[np.newaxis, ..., np.newaxis]
    np.testing.assert_allclose(
        losses.plane_divergences(heatmaps, cuboid.plane_coords([[[x, y, z]]])),
        np.zeros([1, 3, 1]), atol=1e-6)
    swapped = losses.plane_divergences(heatmaps, cuboid.plane_coords([[[y, x, z]]]))
    assert np.all(swapped > 0.1)


@pytest.mark.parametrize('in_graph', [False, True])
def test_agrees_with_the_definition(in_graph):
    stage, coords_true = random_stage(), random_coords()
    expected = np.mean(reference_losses(coords_true, stage, HAS_DEPTH)[MASK])

    def loss(heatmaps, coords, coords_true, mask, has_depth):
        return losses.marginal_loss(
            coords_true, [{'heatmaps': heatmaps, 'coords': coords}], mask, has_depth)

    arrays = stage['heatmaps'], stage['coords'], coords_true, MASK, HAS_DEPTH
    actual = helpers.run_in_graph(loss, *arrays) if in_graph else loss(*arrays)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_widths_and_far_labels_agree_with_the_definition():
    stage, coords_true = random_stage(), 6 * random_coords()
    expected = np.mean(reference_losses(coords_true, stage, HAS_DEPTH, sigma=1.5)[MASK])
    actual = losses.marginal_loss(coords_true, [stage], MASK, HAS_DEPTH, sigma_cells=1.5)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_distance_by_hand():
    """A distance of 3 / 7 with depth and of 0.5 without; the mean is over both."""
    stage = {'coords': np.float32([[[0, 0, 0]], [[0, 0, 0]]]), 'heatmaps': None}
    coords_true = np.float32([[[2 / 7, 1 / 7, -2 / 7]], [[0.3, 0.4, 9]]])
    loss = losses.marginal_loss(
        coords_true, [stage], np.ones([2, 1], bool), [True, False], regularize=False)
    np.testing.assert_allclose(loss, (3 / 7 + 0.5) / 2, atol=1e-6)


def test_reductions():
    stage, coords_true = random_stage(), random_coords()
    values = reference_losses(coords_true, stage, HAS_DEPTH)
    per_example = [values[i][MASK[i]].mean() for i in range(4)]
    np.testing.assert_allclose(
        losses.marginal_loss(coords_true, [stage], MASK, HAS_DEPTH, reduction='examples'),
        np.mean(per_example), atol=1e-5)


def test_stages_are_summed():
    stages, coords_true = [random_stage(seed) for seed in range(3)], random_coords()
    total = losses.marginal_loss(coords_true, stages, MASK, HAS_DEPTH)
    single = [losses.marginal_loss(coords_true, [stage], MASK, HAS_DEPTH) for stage in stages]
    np.testing.assert_allclose(total, np.sum(single), rtol=1e-6)
    without = losses.marginal_loss(coords_true, stages, MASK, HAS_DEPTH, regularize=False)
    assert 0 < without < total


def test_the_parts_add_up_and_planes_count_by_themselves():
    stages, coords_true = [random_stage(seed) for seed in range(2)], random_coords()
    depth_mask = MASK & HAS_DEPTH[:, np.newaxis]
    planes = cuboid.plane_coords(coords_true)
    parts = (
        losses.marginal_distance(coords_true, stages, MASK, depth_mask),
        losses.marginal_divergence(planes, stages, MASK, depth_mask))
    assert losses.marginal_loss(coords_true, stages, MASK, HAS_DEPTH) == parts[0] + parts[1]
    # Only the planes zy and xz of one joint: what is in the other plane may be anything.
    alone = np.zeros_like(MASK)
    alone[1, 2] = True
    planes = planes.numpy()
    planes[:, 0] = NAN
    found = losses.marginal_divergence(planes, stages, np.zeros_like(MASK), alone)
    x, y, z = coords_true[1, 2]
    expected = sum(
        reference_jsd(stage['heatmaps'][1, :, :, i, 2].numpy(), reference_gaussian(*target))
        for stage in stages for i, target in ((1, (z, y)), (2, (x, z))))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def gradient_of(loss, logits):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(marginal_heatmaps.MarginalHeatmaps()(logits))
    return value.numpy(), tape.gradient(value, logits).numpy()


def test_examples_without_depth_touch_the_plane_xy_only():
    logits = np.random.default_rng(0).normal(size=(4, 8, 8, 3, 3)).astype(np.float32)
    coords_true = random_coords()
    coords_true[~HAS_DEPTH, :, 2] = NAN
    coords_true[~MASK] = NAN
    value, gradient = gradient_of(
        lambda stage: losses.marginal_loss(coords_true, [stage], MASK, HAS_DEPTH), logits)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))
    for b, j in np.ndindex(4, 3):
        for i_plane in range(3):
            counts = MASK[b, j] and (HAS_DEPTH[b] or i_plane == 0)
            assert np.any(gradient[b, :, :, i_plane, j] != 0) == counts


def test_nothing_selected_gives_zero():
    logits = np.random.default_rng(0).normal(size=(4, 8, 8, 3, 3)).astype(np.float32)
    value, gradient = gradient_of(
        lambda stage: losses.marginal_loss(
            np.full([4, 3, 3], NAN), [stage], np.zeros_like(MASK), HAS_DEPTH), logits)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_an_exact_prediction_has_finite_gradients():
    value, gradient = gradient_of(
        lambda stage: losses.marginal_loss(
            np.zeros([1, 1, 3]), [stage], [[True]], [True], regularize=False),
        np.zeros([1, 8, 8, 3, 1], np.float32))
    assert value < 1e-6
    assert np.all(np.isfinite(gradient))


def test_sharp_heatmaps_have_finite_gradients():
    logits = np.full([1, 8, 8, 3, 1], -1e4, np.float32)
    logits[0, 2, 5] = 1e4
    value, gradient = gradient_of(
        lambda stage: losses.marginal_loss(
            np.float32([[[-0.9, 0.9, 0.5]]]), [stage], [[True]], [True]), logits)
    assert 3 * np.log(2) * 0.9 < value < 3 * np.log(2) + 4
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize('dtype', [tf.bfloat16, tf.float16])
def test_half_precision_is_computed_in_float32(dtype):
    stage, coords_true = random_stage(), random_coords()
    half = {name: tf.cast(value, dtype) for name, value in stage.items()}
    loss = losses.marginal_loss(coords_true, [half], MASK, HAS_DEPTH)
    assert loss.dtype == tf.float32
    rounded = {name: tf.cast(value, tf.float32) for name, value in half.items()}
    np.testing.assert_allclose(
        loss, losses.marginal_loss(coords_true, [rounded], MASK, HAS_DEPTH), rtol=1e-6)


@pytest.mark.parametrize('in_graph', [False, True])
def test_regulariser_of_a_heatmap(in_graph):
    logits = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    cells = np.random.default_rng(1).uniform(0, 7, (2, 3, 2)).astype(np.float32)
    mask = MASK[:2]
    probs = np.exp(logits) / np.exp(logits).sum((1, 2), keepdims=True)
    norm = (2 * cells + 1) / 8 - 1
    expected = np.mean([
        reference_jsd(probs[b, :, :, j], reference_gaussian(*norm[b, j]))
        for b, j in zip(*np.nonzero(mask))])
    cells[~mask] = NAN
    arrays = logits, cells, mask
    actual = (helpers.run_in_graph(losses.heatmap_divergence, *arrays) if in_graph
              else losses.heatmap_divergence(*arrays))
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def reference_volume_divergence(volume, cells, sigmas):
    """Of probabilities `[y, x, z]` and (x, y, z) in cells."""
    planes = (volume.sum(2), volume.sum(1), volume.sum(0).T)
    total = 0
    for plane, (column, row) in zip(planes, ((0, 1), (2, 1), (0, 2))):
        profiles = [
            np.exp(-(np.arange(size) - cells[axis]) ** 2 / (2 * sigmas[axis] ** 2))
            for axis, size in ((row, plane.shape[0]), (column, plane.shape[1]))]
        target = np.outer(*profiles)
        total += reference_jsd(plane, target / target.sum())
    return total


@pytest.mark.parametrize('in_graph', [False, True])
def test_regulariser_of_a_volume(in_graph):
    logits = np.random.default_rng(0).normal(size=(2, 6, 5, 4, 3)).astype(np.float32)
    cells = np.random.default_rng(1).uniform(0, 3, (2, 3, 3)).astype(np.float32)
    probs = np.exp(logits) / np.exp(logits).sum((1, 2, 3), keepdims=True)
    expected = np.mean([
        reference_volume_divergence(probs[b, ..., j], cells[b, j], (1, 1, 0.7))
        for b, j in zip(*np.nonzero(MASK[:2]))])

    def loss(logits, cells, mask):
        return losses.volume_divergence(logits, cells, mask, sigma_depth_cells=0.7)

    arrays = logits, cells, MASK[:2]
    actual = helpers.run_in_graph(loss, *arrays) if in_graph else loss(*arrays)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_regulariser_makes_a_coherent_blob():
    """Descending on the divergence alone turns noise into the Gaussian around the truth."""
    logits = tf.Variable(np.random.default_rng(0).normal(size=(1, 8, 8, 1)) * 2, dtype=tf.float32)
    cells = np.float32([[[2.3, 4.6]]])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = losses.heatmap_divergence(logits, cells, [[True]])
        logits.assign_sub(20 * tape.gradient(loss, logits))
        return loss

    values = [step().numpy() for _ in range(200)]
    assert values[0] > 0.3 and values[-1] < 0.02
    peak = np.unravel_index(np.argmax(logits[0, ..., 0]), (8, 8))
    assert peak == (5, 2)


def test_refusals():
    stage, coords_true = random_stage(), random_coords()
    with pytest.raises(ValueError, match='`stages` must contain at least one stage'):
        losses.marginal_loss(coords_true, (), MASK, HAS_DEPTH)
    with pytest.raises(ValueError, match='`coords_true` must have a shape that ends in'):
        losses.marginal_loss(coords_true[..., :2], [stage], MASK, HAS_DEPTH)
    with pytest.raises(ValueError, match='`heatmaps` must have a shape that ends in'):
        losses.plane_divergences(
            stage['heatmaps'][..., :2, :], cuboid.plane_coords(coords_true))
    with pytest.raises(ValueError, match="`reduction` must be one of .* Received: reduction='x'"):
        losses.marginal_loss(coords_true, [stage], MASK, HAS_DEPTH, reduction='x')
    with pytest.raises(ValueError, match='`logits` must have a shape that ends in'):
        losses.volume_divergence(tf.zeros([4, 8, 8, 3]), coords_true, MASK)
