"""Errors of people who are cut off by the crop, as a function of how much of them is cut off.

How much is measured in joints: a share of 0.3 means that three tenths of the labelled joints have
their image outside the crop. Only people who are whole in their photo take part. The crops follow
from the examples and a seed, so that models with crops of any size see the same part of the same
person.
"""

import dataclasses

import numpy as np
import tensorflow as tf
import tqdm

from metro_tf import metrics
from metro_tf.geometry import boxes as boxlib
from metro_tf.geometry import camera
from training import pipeline
from training.augment import background, crop_view
from training.evaluation import predictors

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
# Nearer to the image plane, or behind it, a joint has no image (see `camera.project`).
_MIN_DEPTH_MM = 1.0
# Distance from the centre of the view, px, below which it makes no difference.
_MIN_OFFSET_PX = 1e-3
# Where the next joint shall not be cut, the zoom stays below that by this factor.
_JUST_BELOW = 0.999


@dataclasses.dataclass(frozen=True)
class TruncatedCropView:
    """Policy: a virtual camera that is zoomed in until a share of the person is outside.

    It looks at a point on the line from the box's centre to a point of the box that is drawn for
    the example: this share of the way. So nothing is random where nothing is cut off, and the
    more is cut off, the more parts of the body come to be in the middle. The zoom is the one of
    `zoom_that_cuts`.

    Args:
        crop_side_px: Side of the crop.
        share: Share of the joints to cut off, in [0, 1): a float, or a variable that holds one.
    """
    crop_side_px: int
    share: float | tf.Variable

    def __post_init__(self):
        _check_share(self.share)

    def __call__(self, example, seed):
        """Adds `crop_*` entries: see `crop_view.crop_view`."""
        box = example['box']
        target = box[:2] + tf.random.stateless_uniform([2], seed) * box[2:]
        shift = self.share * (target - boxlib.center(box))
        box = tf.concat([box[:2] + shift, box[2:]], axis=0)
        unzoomed = self._view(example, box, tf.constant(1.0))
        zoom = zoom_that_cuts(
            unzoomed['coords2d'], unzoomed['joint_validity_mask_3d'], self.crop_side_px,
            self.share)
        return self._view(example, box, zoom)

    def _view(self, example, box, zoom):
        same_joints = tuple(range(example['coords2d'].shape[0]))  # nobody is mirrored
        return crop_view.crop_view(
            example, box, zoom, tf.constant(0.0), tf.constant(False), self.crop_side_px,
            same_joints)


def _check_share(share):
    if not 0 <= share < 1:
        raise ValueError(f'`share` must be at least 0 and below 1. Received: share={share}')


def zoom_that_cuts(coords2d, mask, crop_side_px, share):
    """Zoom of a virtual camera at which a share of the joints lies outside the crop.

    With n joints and the share s these are s n, rounded. The zoom is the geometric mean of those
    at which the last of them leaves the crop and at which the next joint does. Where none is to
    be cut, it is 1, or less where that is needed to have all joints inside.

    Args:
        coords2d: Float tensor `[joints, 2]`, px in the crop at zoom 1, whose principal point
            is (side / 2, side / 2).
        mask: Boolean tensor `[joints]`, the joints that count.
        crop_side_px: Side of the crop.
        share: Float in [0, 1). One joint always stays inside.

    Returns:
        Float scalar, 1 without valid joints.
    """
    half = crop_side_px / 2
    offset = coords2d - half
    # The crop reaches from -0.5 to side - 0.5.
    reach = tf.where(offset > 0, half - 0.5, half + 0.5)
    leaves_at = tf.reduce_min(reach / tf.maximum(tf.abs(offset), _MIN_OFFSET_PX), axis=-1)
    leaves_at = tf.sort(tf.where(mask, leaves_at, float('inf')))
    n_joints = tf.reduce_sum(tf.cast(mask, tf.int32))
    n_cut = tf.cast(tf.round(share * tf.cast(n_joints, tf.float32)), tf.int32)
    n_cut = tf.maximum(tf.minimum(n_cut, n_joints - 1), 0)
    between = tf.sqrt(leaves_at[tf.maximum(n_cut - 1, 0)] * leaves_at[n_cut])
    return tf.where(n_cut > 0, between, tf.minimum(_JUST_BELOW * leaves_at[0], 1.0))


def is_whole(example):
    """Whether there are 3D labels and all of those joints lie in the photo; boolean scalar.

    Args:
        example: Dict of a parsed record.
    """
    coords3d, mask = example['coords3d_cam'], example['joint_validity_mask_3d']
    from_corner = camera.project(coords3d, example['intrinsics']) - example['frame'][:2]
    is_in_photo = camera.is_within_image(from_corner, example['frame'][2:])
    is_shown = is_in_photo & (coords3d[:, 2] > _MIN_DEPTH_MM)
    return tf.reduce_any(mask) & tf.reduce_all(is_shown | ~mask)


def truncated_dataset(source, bank, crop_side_px, share, seed, *, batch_size=50):
    """Batches of every person who is whole in the photo, once and in order, each cut off alike.

    Outside the photo crops are black; behind rendered people lie parts of photos.

    Args:
        source: Unbatched `tf.data.Dataset` of example dicts, with the joints of the model.
        bank: uint8 array of photos (see `background.load_bank`).
        crop_side_px: Side of the crops.
        share: See `TruncatedCropView`.
        seed: Integer seed of the views and the backgrounds.
        batch_size: Size of the batches; the last may be smaller.
    """
    steps = [
        TruncatedCropView(crop_side_px, share),
        crop_view.WarpToCrop(crop_side_px),
        background.RandomBackground(tf.constant(bank), crop_side_px)]
    dataset = pipeline.run_steps(source.filter(is_whole), steps, seed)
    return dataset.map(pipeline.to_model_format).batch(batch_size).prefetch(2)


def evaluate(crop_model, source, bank, seed, *, shares=SHARES, progress_label=''):
    """Errors of the joints inside and outside the crop at several shares.

    Args:
        crop_model: One that `predictors.make_predictors` takes.
        source, bank, seed: See `truncated_dataset`.
        shares: Shares of the joints to cut off, each in [0, 1).
        progress_label: Text before the progress bars.

    Returns:
        Dict from the names of `predictors.make_predictors` to a list with the dict of
        `summarize` per share, and `share` in it.

    Raises:
        ValueError: If a share is out of its range, or nobody is whole in the photo and has 3D
            labels.
    """
    for share in shares:
        _check_share(share)
    ways = {
        name: (tf.function(predictor), predictor.is_absolute)
        for name, predictor in predictors.make_predictors(crop_model).items()}
    rows = {name: [] for name in ways}
    current_share = tf.Variable(0.0)  # so that one dataset serves all: making it takes seconds
    dataset = truncated_dataset(
        source, bank, crop_model.input_resolution, current_share, seed)
    for share in shares:
        current_share.assign(share)
        batches = {name: [] for name in ways}
        for inputs, labels in tqdm.tqdm(dataset, desc=f'{progress_label} {share:.0%} cut off'):
            inside = camera.is_within_image(labels['coords2d'], crop_model.input_resolution)
            for name, (predict, _) in ways.items():
                poses, mask = predict(inputs, labels)
                batches[name].append([
                    x.numpy() for x in (labels['coords3d_cam'], poses, mask, inside)])
        for name, (_, is_absolute) in ways.items():
            if not batches[name]:
                raise ValueError(
                    '`source` must have people with 3D labels who are whole in their photo. '
                    'Received: none')
            joined = [np.concatenate(arrays) for arrays in zip(*batches[name])]
            rows[name].append({'share': share, **summarize(*joined, is_absolute)})
    return rows


def summarize(coords3d_true, coords3d_pred, mask, inside, is_absolute):
    """Mean errors of the joints inside and outside the crop.

    Relative errors are taken after moving the mean of all valid joints of a person, inside or
    not, to the true one.

    Args:
        coords3d_true, coords3d_pred: Float arrays `[examples, joints, 3]`, mm.
        mask: Boolean array `[examples, joints]`, the joints that count.
        inside: Boolean array `[examples, joints]`, those within the crop.
        is_absolute: Whether the predictions are in the camera frame.

    Returns:
        Dict of `n_people`, `n_joints_inside`, `n_joints_outside`, `mpjpe_mm_inside`,
        `mpjpe_mm_outside` and `mpjpe_mm`, and for absolute poses the same errors named
        `absolute_mpjpe_mm...`. The mean over no joint is None.
    """
    groups = {'_inside': mask & inside, '_outside': mask & ~inside, '': mask}
    result = {'n_people': len(mask), **{
        f'n_joints{name}': int(group.sum()) for name, group in groups.items() if name}}
    alignments = {'mpjpe_mm': 'mean', **({'absolute_mpjpe_mm': 'none'} if is_absolute else {})}
    for score, alignment in alignments.items():
        errors = metrics.joint_errors(coords3d_true, coords3d_pred, mask, alignment).numpy()
        for name, group in groups.items():
            result[score + name] = float(errors[group].mean()) if group.any() else None
    return result
