"""Losses of marginal heatmaps, and their regulariser for any other heatmap.

Divergences are Jensen-Shannon divergences in nats between a heatmap and a Gaussian around the true
position: 0 where they are equal, log 2 where they do not overlap. Positions in cells are 0 at the
centre of the first cell. Everything is computed in float32 whatever the type of the predictions.

Source: Nibali et al., WACV 2019 (equation 6).
"""

import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import cuboid
from metro_tf.losses import selection

# Inside logarithms and under the sum of a Gaussian, as published. It would be 0 in float16.
EPSILON = 1e-24


def marginal_loss(coords_true, stages, mask, has_depth, *, sigma_cells=1.0, regularize=True,
                  reduction='joints'):
    """Distance in the cuboid plus divergences of the planes, of all stages of a `MargiPose`.

    In examples without depth, the distance is that in x and y, and only the plane xy is compared.
    Nothing reaches their planes zy and xz, and their true z may be anything, NaN included.

    Args:
        coords_true: Float tensor `[batch, joints, 3]` in the cuboid (see `geometry.cuboid`).
        stages: Sequence of the dicts of `MarginalHeatmaps`.
        mask: Boolean tensor `[batch, joints]`.
        has_depth: Boolean tensor `[batch]`, whether the examples have 3D labels.
        sigma_cells: Standard deviation of the Gaussians.
        regularize: Whether the divergences count.
        reduction: See the package. As published, the mean is over the joints of both kinds of
            examples together.

    Returns:
        Scalar: units of the cuboid plus nats.

    Raises:
        ValueError: If there is no stage, or a static shape or the reduction does not fit.
    """
    depth_mask = tf.cast(mask, tf.bool) & tf.cast(has_depth, tf.bool)[:, tf.newaxis]
    loss = marginal_distance(coords_true, stages, mask, depth_mask, reduction=reduction)
    if not regularize:
        return loss
    return loss + marginal_divergence(
        cuboid.plane_coords(coords_true), stages, mask, depth_mask, sigma_cells=sigma_cells,
        reduction=reduction)


def marginal_distance(coords_true, stages, mask, depth_mask, *, reduction='joints'):
    """Euclidean distances in the cuboid, summed over the stages.

    Args:
        coords_true: Float tensor `[batch, joints, 3]` in the cuboid. What is unknown may be
            anything, NaN included.
        stages: Sequence of dicts with `coords` `[batch, joints, 3]`.
        mask: Boolean tensor `[batch, joints]`, where x and y are known.
        depth_mask: Boolean tensor `[batch, joints]`, where z is known too.
        reduction: See the package; the mean is over the joints in `mask`.

    Returns:
        Scalar, units of the cuboid.

    Raises:
        ValueError: If there is no stage, or a static shape or the reduction does not fit.
    """
    mask, (coords_true,) = selection.checked(
        mask, 3, coords_true=tf.cast(coords_true, tf.float32))
    is_known = tf.stack([mask, mask, mask & tf.cast(depth_mask, tf.bool)], axis=-1)
    distances = []
    for stage in _checked_stages(stages):
        _, (coords,) = selection.checked(mask, 3, coords=tf.cast(stage['coords'], tf.float32))
        distances.append(_safe_norm(
            tf.where(is_known, coords - coords_true, tf.zeros_like(coords))))
    return selection.joint_mean(tf.add_n(distances), mask, reduction)


def marginal_divergence(plane_coords_true, stages, mask, depth_mask, *, sigma_cells=1.0,
                        reduction='joints'):
    """Divergences of the planes from Gaussians, summed over planes and stages.

    Args:
        plane_coords_true: Float tensor `[batch, 3, joints, 2]`, true position in each plane (see
            `cuboid.plane_coords`). What is unknown may be anything, NaN included.
        stages: Sequence of dicts with `heatmaps` `[batch, rows, columns, 3, joints]`.
        mask: Boolean tensor `[batch, joints]`, where the position in the plane xy is known.
        depth_mask: Boolean tensor `[batch, joints]`, where that in the planes zy and xz is.
        sigma_cells: Standard deviation of the Gaussians.
        reduction: See the package; the mean is over the joints in either mask.

    Returns:
        Scalar, nats.

    Raises:
        ValueError: If there is no stage, or a static shape or the reduction does not fit.
    """
    mask, depth_mask = (tf.cast(part, tf.bool) for part in (mask, depth_mask))
    is_known = tf.stack([mask, depth_mask, depth_mask], axis=1)
    plane_coords_true = tf.cast(plane_coords_true, tf.float32)
    plane_coords_true = tf.where(
        is_known[..., tf.newaxis], plane_coords_true, tf.zeros_like(plane_coords_true))
    divergences = tf.add_n([
        plane_divergences(stage['heatmaps'], plane_coords_true, sigma_cells)
        for stage in _checked_stages(stages)])
    total = tf.reduce_sum(tf.where(is_known, divergences, tf.zeros_like(divergences)), axis=1)
    return selection.joint_mean(total, mask | depth_mask, reduction)


def plane_divergences(heatmaps, plane_coords_true, sigma_cells=1.0):
    """Divergence of each of the planes xy, zy and xz from a Gaussian around the true joint.

    Args:
        heatmaps: Float tensor `[batch, rows, columns, 3, joints]` of probabilities.
        plane_coords_true: Float tensor `[batch, 3, joints, 2]`, true position along the columns
            and along the rows of each plane, from -1 to 1 (see `cuboid.plane_coords`); finite.
        sigma_cells: Standard deviation of the Gaussians.

    Returns:
        Float32 tensor `[batch, 3, joints]`, nats.

    Raises:
        ValueError: If a static shape does not fit.
    """
    n_planes = len(cuboid.PLANES)
    plane_coords_true = checks.last_axes(
        plane_coords_true, (None, n_planes, None, 2), 'plane_coords_true', tf.float32)
    heatmaps = checks.last_axes(
        heatmaps, (None, None, None, n_planes, plane_coords_true.shape[2]), 'heatmaps', tf.float32)
    n_rows, n_columns = tf.shape(heatmaps)[1], tf.shape(heatmaps)[2]
    target = gaussians(
        cuboid.to_cells(plane_coords_true[..., 0], n_columns),
        cuboid.to_cells(plane_coords_true[..., 1], n_rows), n_columns, n_rows, sigma_cells)
    return jensen_shannon(heatmaps, target)


def heatmap_divergence(logits, cells, mask, sigma_cells=1.0, *, reduction='joints'):
    """Divergence of a 2D heatmap from a Gaussian around the true position.

    A regulariser for coordinates by soft-argmax: takes what `heatmap_cross_entropy` takes.

    Args:
        logits: Float tensor `[batch, y, x, joints]`.
        cells: Float tensor `[batch, joints, 2]`, true (x, y) in cells.
        mask: Boolean tensor `[batch, joints]`.
        sigma_cells: Standard deviation of the Gaussian.
        reduction: See the package.

    Returns:
        Scalar, nats.

    Raises:
        ValueError: If a static shape or the reduction does not fit.
    """
    mask, cells = selection.checked_cells(mask, tf.cast(cells, tf.float32), 2)
    logits = checks.last_axes(logits, (None, None, None, mask.shape[1]), 'logits', tf.float32)
    divergences = _divergence(_softmax(logits, [1, 2]), cells, (0, 1), (sigma_cells,) * 2)
    return selection.joint_mean(divergences, mask, reduction)


def volume_divergence(
        logits, cells, mask, sigma_cells=1.0, sigma_depth_cells=1.0, *, reduction='joints'):
    """Summed divergences of the three marginal heatmaps of a volume.

    A regulariser for coordinates by soft-argmax: takes what `volume_cross_entropy` takes.

    Args:
        logits: Float tensor `[batch, y, x, depth, joints]`.
        cells: Float tensor `[batch, joints, 3]`, true (x, y, z) in cells.
        mask: Boolean tensor `[batch, joints]`.
        sigma_cells: Standard deviation of the Gaussians in the image plane.
        sigma_depth_cells: Standard deviation of the Gaussians along depth.
        reduction: See the package.

    Returns:
        Scalar, nats.

    Raises:
        ValueError: If a static shape or the reduction does not fit.
    """
    mask, cells = selection.checked_cells(mask, tf.cast(cells, tf.float32), 3)
    logits = checks.last_axes(
        logits, (None, None, None, None, mask.shape[1]), 'logits', tf.float32)
    volume = _softmax(logits, [1, 2, 3])
    planes = (
        tf.reduce_sum(volume, axis=3), tf.reduce_sum(volume, axis=2),
        tf.transpose(tf.reduce_sum(volume, axis=1), [0, 2, 1, 3]))
    sigmas = (sigma_cells, sigma_cells, sigma_depth_cells)
    divergences = tf.add_n([
        _divergence(plane, cells, axes, [sigmas[axis] for axis in axes])
        for plane, axes in zip(planes, cuboid.PLANE_AXES)])
    return selection.joint_mean(divergences, mask, reduction)


def gaussians(column_centers, row_centers, n_columns, n_rows, sigma_columns=1.0, sigma_rows=None):
    """Heatmaps of Gaussians, evaluated at the centres of the cells and divided by their sum.

    Centres between cells are exact. Of those outside, what is left inside counts: a spike at the
    border, and nothing at all if they are so far outside (by ten cells and more) that the sum
    vanishes beside `EPSILON`.

    Args:
        column_centers, row_centers: Float tensors `[batch, ...]`, in cells.
        n_columns, n_rows: Ints or int scalar tensors.
        sigma_columns: Standard deviation along the columns' axis, cells.
        sigma_rows: Standard deviation along the rows' axis, cells. None for the same.

    Returns:
        Float32 tensor `[batch, n_rows, n_columns, ...]`.
    """
    column_centers, row_centers = (
        checks.last_axes(centers, (None,), name, tf.float32)
        for centers, name in ((column_centers, 'column_centers'), (row_centers, 'row_centers')))
    columns = _profile(column_centers, n_columns, sigma_columns)[:, tf.newaxis]
    rows = _profile(row_centers, n_rows, sigma_columns if sigma_rows is None else sigma_rows)
    rows = rows[:, :, tf.newaxis]
    total = (
        tf.reduce_sum(columns, axis=2, keepdims=True) * tf.reduce_sum(rows, axis=1, keepdims=True))
    return rows * columns / (total + EPSILON)


def jensen_shannon(heatmaps, targets):
    """Jensen-Shannon divergence of heatmaps.

    Args:
        heatmaps, targets: Float tensors `[batch, rows, columns, ...]` that sum to 1 over rows and
            columns.

    Returns:
        Float32 tensor `[batch, ...]`, nats, between 0 and log 2.
    """
    heatmaps, targets = (tf.cast(densities, tf.float32) for densities in (heatmaps, targets))
    middle = tf.math.log((heatmaps + targets) / 2 + EPSILON)
    return 0.5 * tf.add_n([
        tf.reduce_sum(density * (tf.math.log(density + EPSILON) - middle), axis=[1, 2])
        for density in (heatmaps, targets)])


def _divergence(heatmaps, cells, axes, sigmas):
    """Divergence `[batch, joints]` of a plane `[batch, rows, columns, joints]`."""
    column_axis, row_axis = axes
    target = gaussians(
        cells[..., column_axis], cells[..., row_axis], tf.shape(heatmaps)[2],
        tf.shape(heatmaps)[1], *sigmas)
    return jensen_shannon(heatmaps, target)


def _profile(centers, n_cells, sigma_cells):
    """Gaussians `[batch, n_cells, ...]`, not normalised."""
    centers = centers[:, tf.newaxis]
    grid = tf.range(tf.cast(n_cells, centers.dtype))
    grid = tf.reshape(grid, [-1] + [1] * (centers.shape.rank - 2))
    return tf.exp(-0.5 * tf.square((grid - centers) / sigma_cells))


def _softmax(logits, axes):
    peak = tf.stop_gradient(tf.reduce_max(logits, axes, keepdims=True))
    masses = tf.exp(logits - peak)
    return masses / tf.reduce_sum(masses, axes, keepdims=True)


def _checked_stages(stages):
    if not stages:
        raise ValueError(f'`stages` must contain at least one stage. Received: stages={stages}')
    return stages


def _safe_norm(vectors):
    """Length of vectors, with zero gradient at zero, where that of a square root is infinite."""
    squared = tf.reduce_sum(tf.square(vectors), axis=-1)
    is_zero = squared <= 0
    length = tf.sqrt(tf.where(is_zero, tf.ones_like(squared), squared))
    return tf.where(is_zero, tf.zeros_like(squared), length)
