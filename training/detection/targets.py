"""What the network should say about a canvas: a heatmap of centres, and boxes around them.

A person is a Gaussian about the cell of the box's centre, with one standard deviation per axis
in proportion to the box; boxes are learned all around the centre, weighted by the Gaussian (Liu
et al., "Training-Time-Friendly Network for Real-Time Object Detection", AAAI 2020). Other than
there, the top of the Gaussian is cut off: the centre of the box around a moving person is known
to some cells only, and a single cell as target leaves the scores of large people low.
"""

import tensorflow as tf

from metro_tf.detection import center_net, decoding

# Standard deviation as a fraction of the box's side, and its lower limit in cells.
RELATIVE_SIGMA = 0.12
MIN_SIGMA_CELLS = 0.6
# All cells where the Gaussian exceeds this are centres.
PLATEAU = 0.7
# Cells learn a box where their Gaussian exceeds this.
MIN_BOX_GAUSSIAN = 0.2


def render(canvas):
    """Makes the targets of one canvas (see `composites`).

    Returns:
        Dict of float32 grids `[n_cells, n_cells, ...]`: `heatmap`, exactly 1 in the cells around
        box centres; `heatmap_weight` in [0, 1], zero on ignored people and 1 / sqrt(n) in
        each of the n centre cells of a person; `box` [4], left, top, width, height in px;
        `box_weight`, with a sum of 1 over the cells of one person.
    """
    gaussians = _gaussians(canvas)
    highest = tf.reduce_max(gaussians, axis=-1)
    nearest = tf.argmax(gaussians, axis=-1, output_type=tf.int32)
    own = gaussians * tf.one_hot(nearest, tf.shape(gaussians)[-1])
    weight = tf.where(_is_ignored(canvas), 0.0, canvas['negative_weight'])
    # Where somebody is asked for, nothing is ignored.
    weight = tf.where(highest > MIN_BOX_GAUSSIAN, 1.0, weight)
    # With 1 / n, as for boxes, large people would have little say against the many cells where
    # something else looks like the middle of a large person; with 1, small people would.
    center_weight = tf.sqrt(_shares(tf.cast(own > PLATEAU, tf.float32)))
    return {
        'heatmap': tf.minimum(highest / PLATEAU, 1.0),
        'heatmap_weight': tf.where(highest > PLATEAU, center_weight, weight),
        'box': tf.gather(canvas['boxes'], nearest),
        'box_weight': _shares(tf.where(own > MIN_BOX_GAUSSIAN, own, 0.0))}


def _shares(values):
    """Divides by the sum over the cells of each person, then sums over the people."""
    total = tf.reduce_sum(values, axis=(0, 1), keepdims=True)
    return tf.reduce_sum(tf.math.divide_no_nan(values, total), axis=-1)


def _gaussians(canvas):
    """Gaussians `[n_cells, n_cells, n_max]` of the people asked for, zero for the others."""
    boxes = canvas['boxes']
    stride = center_net.STRIDE_PX
    n_cells = canvas['negative_weight'].shape[0]
    center = boxes[:, :2] + boxes[:, 2:] / 2
    cell = tf.round((center + 0.5) / stride - 0.5)
    cell = tf.clip_by_value(cell, 0.0, n_cells - 1.0)
    sigma = tf.maximum(RELATIVE_SIGMA * boxes[:, 2:] / stride, MIN_SIGMA_CELLS)
    grid = tf.range(n_cells, dtype=tf.float32)[:, tf.newaxis, tf.newaxis]
    columns, rows = tf.unstack(tf.exp(-0.5 * ((grid - cell) / sigma) ** 2), axis=-1)
    gaussians = rows[:, tf.newaxis] * columns[tf.newaxis]
    return tf.where(canvas['is_person'], gaussians, 0.0)


def _is_ignored(canvas):
    """Boolean grid: cells within an ignored box."""
    centers = decoding.cell_centers(canvas['negative_weight'].shape, center_net.STRIDE_PX)
    centers = centers[:, :, tf.newaxis]
    boxes = canvas['boxes']
    is_within = (centers >= boxes[:, :2]) & (centers <= boxes[:, :2] + boxes[:, 2:])
    return tf.reduce_any(tf.reduce_all(is_within, axis=-1) & canvas['is_ignored'], axis=-1)
