"""Random composites: what is pasted, how large and where."""

import dataclasses

import tensorflow as tf

from metro_tf.detection import letterbox
from training.augment import appearance
from training.datasets import records
from training.detection import composites, targets

# Nothing is enlarged more than this: it would only teach blurred people.
_MAX_SCALE = 2.5
# A box this near to the border of its photo is taken for cut off there.
_CUT_TOLERANCE_PX = 2.0
_SECOND_BACKGROUND_PROBABILITY = 0.3
_GREY_PROBABILITY = 0.1
# Smallest and largest longer side of a photo in which everybody has a box, of the canvas' side.
_SCENE_SIZE = (0.7, 2.0)
_BARS_PROBABILITY = 0.2
_LUMA = (0.299, 0.587, 0.114)


@dataclasses.dataclass(frozen=True, eq=False)
class RandomComposite:
    """Policy: makes a canvas with pasted people and photos, or with nobody.

    Args:
        config: `CompositeConfig`.
        background_paths: Paths of photos without people.
        photos: `sources.Photos` with one annotated person each.
        scenes: `coco.Scenes` in which everybody has a box, or None.

    Raises:
        ValueError: If the config asks for scenes and there are none, or the other way round.
    """
    config: object
    background_paths: object
    photos: object
    scenes: object = None

    def __post_init__(self):
        if (self.scenes is None) != (self.config.scene_probability == 0):
            raise ValueError(
                '`scenes` must be given if and only if `scene_probability` is positive. Received: '
                f'scenes={self.scenes}, scene_probability={self.config.scene_probability}')

    def __call__(self, people, seed):
        """Makes one canvas.

        Args:
            people: String tensor `[n]` of serialised people, maybe empty.
            seed: Integer tensor `[2]`.

        Returns:
            A canvas (see `composites`).
        """
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 5))
        config = self.config
        background = self._random_background(seeds[0])
        canvas = composites.new_canvas(background, config.max_people + self._most_photo_boxes())
        kind, count = tf.unstack(tf.random.stateless_uniform([2], seeds[1]))
        is_negative = kind < config.negative_probability
        has_photos = ~is_negative & (
            kind < config.negative_probability + config.photo_probability)
        is_scene = kind >= 1 - config.scene_probability
        # Half of the composites with photos have a single one, which then covers most of them.
        n_photos = _random_count(tf.maximum(2 * count - 1, 0.0), config.max_photos)
        n_people = tf.where(
            has_photos | is_scene, tf.minimum(_random_count(count, 3) - 1, config.max_people),
            _random_count(count, config.max_people))
        n_people = tf.minimum(tf.where(is_negative, 0, n_people), tf.shape(people)[0])
        if self.scenes is not None:
            plain = canvas
            canvas = tf.cond(
                is_scene, lambda: self._paste_scene(plain, seeds[2]), lambda: dict(plain))
        canvas = self._paste_photos(canvas, tf.where(has_photos, n_photos, 0), seeds[2])
        canvas = self._paste_people(canvas, people, n_people, seeds[3])
        return _finish(canvas, seeds[4])

    def _random_background(self, seed):
        """A photo that fills the canvas, sometimes with a part of another one pasted onto it.

        Without the latter, the edge of a pasted photo would always tell of a person nearby.
        """
        side_px = self.config.side_px
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        opaque = self._placed_background(seeds[0], 1.0, 1.8)

        def with_second():
            second = self._placed_background(seeds[1], 0.2, 0.8)
            return second + opaque * (1 - second[..., 3:])
        is_pasted = tf.random.stateless_uniform([], seed) < _SECOND_BACKGROUND_PROBABILITY
        image = tf.cond(is_pasted, with_second, lambda: opaque)[..., :3]
        return tf.ensure_shape(tf.clip_by_value(image, 0.0, 1.0), [side_px, side_px, 3])

    def _placed_background(self, seed, low, high):
        """RGBA of a random photo whose shorter side is low to high times that of the canvas."""
        choice, zoom, x, y = tf.unstack(tf.random.stateless_uniform([4], seed))
        image = _read_image(_pick(choice, tf.constant(self.background_paths)))
        size = tf.cast(tf.shape(image)[1::-1], tf.float32)
        scale = self.config.side_px / tf.reduce_min(size) * (low + (high - low) * zoom)
        shift = (self.config.side_px - scale * size) * tf.stack([x, y])
        return composites.place_photo(image, scale, shift, self.config.side_px)

    def _most_photo_boxes(self):
        n_scene = 0 if self.scenes is None else self.scenes.boxes.shape[1]
        return max(self.config.max_photos, n_scene)

    def _paste_scene(self, canvas, seed):
        """A photo in which everybody has a box, from wholly visible to enlarged in parts."""
        choice, zoom, *place = tf.unstack(tf.random.stateless_uniform([4], seed))
        image = _read_image(_pick(choice, tf.constant(self.scenes.paths)))
        size = tf.cast(tf.shape(image)[1::-1], tf.float32)
        scale = _log_uniform(*_SCENE_SIZE, zoom) * self.config.side_px / tf.reduce_max(size)
        room = self.config.side_px - scale * size
        boxes, is_person, is_ignored = [
            _pick(choice, tf.constant(values)) for values in (
                self.scenes.boxes, self.scenes.is_person, self.scenes.is_ignored)]
        return composites.add_scene(
            canvas, image, boxes, is_person, is_ignored, scale, room * tf.stack(place))

    def _paste_photos(self, canvas, n_photos, seed):
        boxes, paths = tf.constant(self.photos.boxes), tf.constant(self.photos.paths)
        heads = tf.constant(self.photos.heads)

        def paste(i, canvas):
            random = tf.random.stateless_uniform([5], _numbered(seed, i))
            image = _read_image(_pick(random[0], paths))
            box = _pick(random[0], boxes)
            is_single = tf.equal(n_photos, 1)
            is_portrait = is_single & (random[4] < self.config.portrait_probability)
            low, high = tf.where(is_single, 0.35, 0.12), tf.where(is_single, 1.3, 0.5)
            low, high = tf.where(is_portrait, 1.2, low), tf.where(is_portrait, 2.6, high)
            scale = self._scale(box, low, high, random[1])
            center = tf.where(is_portrait, _pick(random[0], heads), box[:2] + box[2:] / 2)
            place = tf.where(is_portrait, 0.2 + 0.6 * random[2:4], random[2:4])
            shift = self._photo_shift(image, center, scale, is_single, place)
            return i + 1, composites.add_photo(
                canvas, image, box, scale, shift, self.config.unlabelled_weight)
        return tf.while_loop(lambda i, _: i < n_photos, paste, (0, canvas))[1]

    def _paste_people(self, canvas, people, n_people, seed):
        low, high = self.config.person_size
        # The more people, the smaller: otherwise they would hide each other.
        high = tf.maximum(high / tf.sqrt(tf.cast(tf.maximum(n_people, 1), tf.float32)), low)

        def paste(i, canvas):
            seeds = tf.unstack(tf.random.experimental.stateless_split(_numbered(seed, i), 2))
            random = tf.random.stateless_uniform([4], seeds[0])
            person = records.parse(people[i])
            person['image'] = tf.cast(person['image'], tf.float32) / 255
            person = appearance.RandomColor(0.08, 0.25, 0.25, 10.0)(person, seeds[1])
            scale = self._scale(person['box'], low, high, random[1])
            shift = self._person_shift(person, scale, random[2:])
            alpha = tf.cast(person['alpha'], tf.float32) / 255
            return i + 1, composites.add_person(
                canvas, person['image'], alpha, person['box'], scale, shift)
        return tf.while_loop(lambda i, _: i < n_people, paste, (0, canvas))[1]

    def _scale(self, box, low, high, random):
        """Scale that makes the larger side of the box log-uniform in [low, high] of the canvas."""
        fraction = _log_uniform(low, high, random)
        return tf.minimum(fraction * self.config.side_px / tf.reduce_max(box[2:]), _MAX_SCALE)

    def _photo_shift(self, image, center, scale, is_single, place):
        """Puts `center` at a fraction of the canvas; a single photo covers as much as it can."""
        side_px = self.config.side_px
        shift = side_px * place - scale * center
        room = side_px - scale * tf.cast(tf.shape(image)[1::-1], tf.float32)
        clipped = tf.clip_by_value(shift, tf.minimum(room, 0.0), tf.maximum(room, 0.0))
        return tf.where(is_single, clipped, shift)

    def _person_shift(self, person, scale, random):
        """The box's centre lies anywhere; who was cut off by a photo's border is so again."""
        side_px = self.config.side_px
        box, frame = person['box'], person['frame']
        size = scale * box[2:]
        shift = side_px * random - scale * (box[:2] + box[2:] / 2)
        overhang = 0.1 * random * size
        to_low = -overhang - scale * box[:2]
        to_high = side_px + overhang - scale * (box[:2] + box[2:])
        frame_end, box_end = frame[:2] + frame[2:], box[:2] + box[2:]
        shift = tf.where(box[:2] - frame[:2] < _CUT_TOLERANCE_PX, to_low, shift)
        return tf.where(frame_end - box_end < _CUT_TOLERANCE_PX, to_high, shift)


def make_dataset(policy, people_batches, seed, first_example=0):
    """Endless dataset of (image, targets); example i always gets the same random numbers.

    Args:
        policy: `RandomComposite`.
        people_batches: Dataset of `sources.people_batches`.
        seed: Integer seed of the run.
        first_example: Number of the first example within the run.
    """
    def process(i_example, people):
        canvas = policy(people, tf.stack([tf.constant(seed, tf.int64), i_example]))
        return canvas['image'], targets.render(canvas)
    return people_batches.enumerate(first_example).map(process, num_parallel_calls=2)


def _finish(canvas, seed):
    """Mirroring, colour, blur, noise and grey bars of the whole composite."""
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    mirror, grey, bars, axis, *ends = tf.unstack(tf.random.stateless_uniform([6], seeds[0]))
    canvas = tf.cond(mirror < 0.5, lambda: composites.mirror(canvas), lambda: canvas)
    canvas = appearance.RandomColor(0.15, 0.4, 0.4, 12.0)(canvas, seeds[1])
    canvas = appearance.RandomBlurAndNoise(0.15)(canvas, seeds[2])
    luma = tf.tensordot(canvas['image'], tf.constant(_LUMA), 1)[..., tf.newaxis]
    image = tf.where(grey < _GREY_PROBABILITY, luma * tf.ones([3]), canvas['image'])
    canvas = {**canvas, 'image': image}
    side_px = float(canvas['image'].shape[0])
    low, high = 0.25 * ends[0] * side_px, (1 - 0.25 * ends[1]) * side_px
    band, full = tf.stack([tf.round(low), tf.round(high - low)]), tf.stack([0.0, side_px])
    window = tf.where(axis < 0.5, tf.stack([band, full]), tf.stack([full, band]))
    window = tf.concat([window[:, 0] - 0.5, window[:, 1]], axis=0)
    return tf.cond(
        bars < _BARS_PROBABILITY,
        lambda: composites.crop_to_window(canvas, window, letterbox.PADDING_VALUE),
        lambda: canvas)


def _random_count(uniform, highest):
    """1, ..., highest, equally likely; 1 for zero."""
    return 1 + tf.minimum(tf.cast(uniform * highest, tf.int32), highest - 1)


def _log_uniform(low, high, uniform):
    """The number in [low, high] at a fraction of the way between their logarithms."""
    return tf.exp(tf.math.log(low) + uniform * tf.math.log(high / low))


def _numbered(seed, i):
    """Seed of the i-th repetition."""
    return tf.cast(seed, tf.int64) + tf.stack([tf.constant(0, tf.int64), tf.cast(i, tf.int64)])


def _pick(uniform, values):
    """The element of `values` at a fraction in [0, 1) of them."""
    n_values = tf.shape(values)[0]
    i_value = tf.cast(uniform * tf.cast(n_values, tf.float32), tf.int32)
    return values[tf.minimum(i_value, n_values - 1)]


def _read_image(path):
    image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    return tf.cast(image, tf.float32) / 255
