"""Pasting people and photos onto a canvas while keeping track of boxes. All deterministic.

A canvas is a dict of tensors: `image` float32 `[side, side, 3]` in [0, 1]; `boxes` float32
`[n_max, 4]` px, of the part of each person inside the canvas; `is_person` bool `[n_max]`, which
of them are to be found; `is_ignored` bool `[n_max]`, which are there but too hidden to ask for;
`n_boxes` int32, how many of the rows are used; `negative_weight` float32 `[n_cells, n_cells]`,
how sure it is that nobody else is around a cell. Pixel centres are integers; a box of one pixel
at (3, 5) is (2.5, 4.5, 1, 1).
"""

import tensorflow as tf

from metro_tf.detection import center_net, decoding
from metro_tf.geometry import boxes as box_geometry

# Below these a person is ignored: fraction of the box inside the canvas, shorter visible side,
# and fraction of the box not covered by what was pasted later.
MIN_INSIDE_FRACTION = 0.25
MIN_VISIBLE_SIDE_PX = 8.0
MIN_UNCOVERED_FRACTION = 0.35


def new_canvas(image, n_max):
    """A canvas that shows an image without people.

    Args:
        image: Float tensor `[side, side, 3]` in [0, 1] with a static shape.
        n_max: Number of boxes there is room for.
    """
    n_cells = image.shape[0] // center_net.STRIDE_PX
    return {
        'image': image,
        'boxes': tf.zeros([n_max, 4]),
        'is_person': tf.zeros([n_max], tf.bool),
        'is_ignored': tf.zeros([n_max], tf.bool),
        'n_boxes': tf.constant(0),
        'negative_weight': tf.ones([n_cells, n_cells])}


def place(image, scale, shift, side_px):
    """Draws an image into a square, antialiased: pixel x goes to `scale (x + 0.5) + shift - 0.5`.

    Args:
        image: Float tensor `[height, width, channels]`.
        scale: Float scalar, canvas px per image px.
        shift: Float tensor `[2]`: where the upper left corner of the image lies, (x, y), px from
            the corner of the canvas.
        side_px: Side of the square.

    Returns:
        Float32 tensor `[side, side, channels]`, zero where the image does not reach.
    """
    shift, size = shift[::-1], tf.cast(tf.shape(image)[:2], tf.float32)
    # Only the part of the square that the image reaches is computed.
    low = tf.clip_by_value(tf.floor(shift), 0.0, side_px - 1.0)
    high = tf.clip_by_value(tf.math.ceil(shift + scale * size), low + 1, float(side_px))
    before, part_size = tf.cast(low, tf.int32), tf.cast(high - low, tf.int32)
    part = tf.raw_ops.ScaleAndTranslate(
        images=image[tf.newaxis], size=part_size, scale=tf.stack([scale, scale]),
        translation=shift - low, kernel_type='triangle', antialias=True)[0]
    padding = tf.stack([before, side_px - before - part_size], axis=1)
    padded = tf.pad(part, tf.pad(padding, [[0, 1], [0, 0]]))
    return tf.ensure_shape(padded, [side_px, side_px, image.shape[-1]])


def place_photo(image, scale, shift, side_px):
    """Like `place` of an RGB image, with a fourth channel that is 1 where the image is."""
    opaque = tf.concat([image, tf.ones_like(image[..., :1])], axis=-1)
    return place(opaque, scale, shift, side_px)


def paint(image, layer):
    """Puts a layer `[side, side, 4]`, whose colours are weighted by its alpha, onto an image."""
    return image * (1 - layer[..., 3:]) + layer[..., :3]


def place_boxes(boxes, scale, shift):
    """Maps boxes `[..., 4]` as `place` maps the image."""
    corner = scale * (boxes[..., :2] + 0.5) + shift - 0.5
    return tf.concat([corner, scale * boxes[..., 2:]], axis=-1)


def intersect(boxes, window):
    """The parts of boxes inside a window.

    Args:
        boxes: Float tensor `[..., 4]`, px.
        window: Float tensor `[..., 4]`, broadcast: left, top, width, height, px.

    Returns:
        Float tensor `[..., 4]`; size zero where they do not overlap.
    """
    low = tf.maximum(boxes[..., :2], window[..., :2])
    high = tf.minimum(boxes[..., :2] + boxes[..., 2:], window[..., :2] + window[..., 2:])
    return tf.concat([low, tf.maximum(high - low, 0.0)], axis=-1)


def add_person(canvas, image, alpha, box, scale, shift):
    """Pastes a person with transparent surroundings.

    Args:
        canvas: The canvas.
        image: Float tensor `[height, width, 3]` in [0, 1].
        alpha: Float tensor `[height, width, 1]` in [0, 1].
        box: Float tensor `[4]`, the person's box in the image, px.
        scale, shift: See `place`.

    Returns:
        A new canvas.
    """
    side_px = canvas['image'].shape[0]
    layer = place(tf.concat([image * alpha, alpha], axis=-1), scale, shift, side_px)
    # Colours are weighted by alpha before filtering, so that the surroundings do not bleed in.
    image = paint(canvas['image'], layer)
    box = place_boxes(box, scale, shift)
    canvas = {**canvas, 'image': tf.clip_by_value(image, 0.0, 1.0)}
    return _add_box(_ignore_covered(canvas, box), box)


def add_photo(canvas, image, box, scale, shift, unlabelled_weight):
    """Pastes a whole photo with one annotated person in it.

    Args:
        canvas: The canvas.
        image: Float tensor `[height, width, 3]` in [0, 1].
        box: Float tensor `[4]`, the person's box in the photo, px.
        scale, shift: See `place`.
        unlabelled_weight: New `negative_weight` of the photo away from the person.

    Returns:
        A new canvas.
    """
    side_px = canvas['image'].shape[0]
    layer = place_photo(image, scale, shift, side_px)
    size = tf.cast(tf.shape(image)[1::-1], tf.float32)
    frame = place_boxes(tf.concat([[-0.5, -0.5], size], axis=0), scale, shift)
    box = place_boxes(box, scale, shift)
    weight = tf.where(_cells_inside(canvas, frame), unlabelled_weight, canvas['negative_weight'])
    weight = tf.where(_cells_inside(canvas, intersect(box, frame)), 1.0, weight)
    image = paint(canvas['image'], layer)
    canvas = {**canvas, 'image': image, 'negative_weight': weight}
    return _add_box(_ignore_covered(canvas, frame), intersect(box, frame))


def add_scene(canvas, image, boxes, is_person, is_ignored, scale, shift):
    """Pastes a whole photo in which everybody has a box onto a canvas without people.

    Args:
        canvas: The canvas.
        image: Float tensor `[height, width, 3]` in [0, 1].
        boxes: Float tensor `[n, 4]`, boxes in the photo, px; not more than the canvas takes.
        is_person, is_ignored: Boolean tensors `[n]`, see `coco.Scenes`.
        scale, shift: See `place`.

    Returns:
        A new canvas.
    """
    side_px = canvas['image'].shape[0]
    layer = place_photo(image, scale, shift, side_px)
    boxes = place_boxes(boxes, scale, shift)
    visible = _visible(boxes, side_px)
    is_enough = _is_enough(visible, boxes)
    n_boxes = tf.shape(boxes)[0]
    room = [[0, tf.shape(canvas['boxes'])[0] - n_boxes]]
    return {
        **canvas,
        'image': paint(canvas['image'], layer),
        'boxes': tf.ensure_shape(tf.pad(visible, [*room, [0, 0]]), canvas['boxes'].shape),
        'is_person': tf.ensure_shape(
            tf.pad(is_person & is_enough, room), canvas['is_person'].shape),
        'is_ignored': tf.ensure_shape(
            tf.pad(is_ignored | is_person & ~is_enough, room), canvas['is_ignored'].shape),
        'n_boxes': n_boxes}


def crop_to_window(canvas, window, outside_value):
    """Covers everything outside a window with one grey, like the bars of a letterboxed photo.

    Args:
        canvas: The canvas.
        window: Float tensor `[4]`, px.
        outside_value: Grey in [0, 1].
    """
    side_px = canvas['image'].shape[0]
    pixels = tf.range(side_px, dtype=tf.float32)
    in_columns, in_rows = [
        (pixels >= window[axis]) & (pixels <= window[axis] + window[axis + 2]) for axis in (0, 1)]
    is_inside = in_rows[:, tf.newaxis] & in_columns
    image = tf.where(is_inside[..., tf.newaxis], canvas['image'], outside_value)
    visible = intersect(canvas['boxes'], window)
    is_enough = _is_enough(visible, canvas['boxes'])
    return {
        **canvas, 'image': image, 'boxes': visible,
        'is_ignored': canvas['is_ignored'] | canvas['is_person'] & ~is_enough,
        'is_person': canvas['is_person'] & is_enough}


def mirror(canvas):
    """Mirrors image, boxes and weights."""
    side_px = canvas['image'].shape[0]
    left, top, width, height = tf.unstack(canvas['boxes'], axis=-1)
    return {
        **canvas,
        'image': canvas['image'][:, ::-1],
        'boxes': tf.stack([side_px - 1 - left - width, top, width, height], axis=-1),
        'negative_weight': canvas['negative_weight'][:, ::-1]}


def _add_box(canvas, box):
    visible = _visible(box, canvas['image'].shape[0])
    is_enough = _is_enough(visible, box)
    row = canvas['n_boxes'][tf.newaxis, tf.newaxis]

    def put(name, value):
        return tf.tensor_scatter_nd_update(canvas[name], row, value[tf.newaxis])
    return {
        **canvas, 'boxes': put('boxes', visible), 'is_person': put('is_person', is_enough),
        'is_ignored': put('is_ignored', ~is_enough), 'n_boxes': canvas['n_boxes'] + 1}


def _visible(boxes, side_px):
    """The parts of boxes inside the canvas."""
    return intersect(boxes, tf.constant([-0.5, -0.5, side_px, side_px], tf.float32))


def _is_enough(visible, box):
    is_large = tf.reduce_min(visible[..., 2:], axis=-1) >= MIN_VISIBLE_SIDE_PX
    visible_area, full_area = box_geometry.area(visible), box_geometry.area(box)
    return is_large & (visible_area >= MIN_INSIDE_FRACTION * full_area)


def _ignore_covered(canvas, cover):
    """Earlier people of whom too little remains are no longer asked for."""
    covered = box_geometry.intersection_area(canvas['boxes'], cover)
    limit = (1 - MIN_UNCOVERED_FRACTION) * box_geometry.area(canvas['boxes'])
    is_hidden = canvas['is_person'] & (covered > limit)
    return {
        **canvas, 'is_person': canvas['is_person'] & ~is_hidden,
        'is_ignored': canvas['is_ignored'] | is_hidden}


def _cells_inside(canvas, box):
    """Boolean grid: which cells have their centre in a box."""
    centers = decoding.cell_centers(canvas['negative_weight'].shape, center_net.STRIDE_PX)
    return tf.reduce_all((centers >= box[:2]) & (centers <= box[:2] + box[2:]), axis=-1)
