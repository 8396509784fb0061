"""How far the probability of a heatmap spreads along its axes, in cells."""

import tensorflow as tf

from metro_tf import checks


def profile_variance(profile):
    """Variance of the position along an axis whose cells have given masses.

    A single spike gives 0, two equal ones d cells apart give d^2 / 4, and n equal masses in a row
    give (n^2 - 1) / 12.

    Args:
        profile: Float tensor `[batch, cells, ...]`, the masses of a heatmap summed over all other
            axes. They are at least 0, and their sum, which need not be 1, is above 0.

    Returns:
        Float32 tensor `[batch, ...]`, squared cells.

    Raises:
        ValueError: If the static rank is below 2.
    """
    profile = checks.last_axes(profile, (None, None), 'profile', tf.float32)
    n_cells = profile.shape[1] or tf.shape(profile)[1]
    cells = tf.range(tf.cast(n_cells, tf.float32))
    cells = tf.reshape(cells, [-1] + [1] * (profile.shape.rank - 2))
    total = tf.reduce_sum(profile, axis=1, keepdims=True)
    mean = tf.reduce_sum(profile * cells, axis=1, keepdims=True) / total
    # About the mean, since a difference of large moments would lose the spread of sharp heatmaps.
    return tf.reduce_sum(profile * tf.square(cells - mean) / total, axis=1)


def plane_variances(heatmaps):
    """Variances of marginal heatmaps along their columns and their rows.

    Args:
        heatmaps: Float tensor `[batch, rows, columns, 3, joints]`, see `MarginalHeatmaps`.

    Returns:
        Float32 tensor `[batch, 3, joints, 2]` in the order of its `plane_coords`: of x and y, of z
        and y, and of x and z; squared cells.

    Raises:
        ValueError: If a static shape does not fit.
    """
    heatmaps = checks.last_axes(heatmaps, (None, None, None, 3, None), 'heatmaps', tf.float32)
    return tf.stack([
        profile_variance(tf.reduce_sum(heatmaps, axis=axis)) for axis in (1, 2)], axis=-1)
