"""Several crops of each person, whose poses become one: MargiPose's ten crops ("multi-crop").

The ten are the person and the mirror image, with the box moved by `OFFSETS_PX` each. These are
pixels of the photos that were published on, so they are given for a photo of a certain height:
768 rows in MPI-INF-3DHP, 1000 in Human3.6M. Stored images may be smaller.

Different from the published code: there, the photo is shifted until the box's centre lies at the
principal point, and points are sheared along with it, which keeps their depths. Here a crop is the
picture of a virtual camera that is turned towards the box's centre. So the depth of the root is
another one in each crop, and poses are turned back to the photo's camera before they are averaged.

Source: Nibali et al., WACV 2019, after Luvizon et al., CVPR 2018.
"""

import dataclasses

import tensorflow as tf

from metro_tf import checks, tta
from training import pipeline
from training.augment import crop_view

OFFSETS_PX = ((0, 0), (-8, 0), (0, -8), (8, 0), (0, 8))
PHOTO_HEIGHT_PX = 768.0
# Pairs of the offset of the box, x and y, and of whether the crop is mirrored.
TEN_VIEWS = tuple((offset, is_mirrored) for is_mirrored in (False, True) for offset in OFFSETS_PX)
ONE_VIEW = TEN_VIEWS[:1]
# Crops per batch, about; those of a person stay together.
_BATCH_SIZE = 50


@dataclasses.dataclass(frozen=True)
class CropViews:
    """Policy: several virtual cameras that look at the person; nothing is random.

    Args:
        crop_side_px: Side of the crops.
        mirror_mapping: Joint i of the mirrored person is joint `mirror_mapping[i]` before.
        views: Tuple of pairs as in `TEN_VIEWS`.
        photo_height_px: Height of the photo in the pixels in which the offsets are given.
    """
    crop_side_px: int
    mirror_mapping: tuple
    views: tuple = TEN_VIEWS
    photo_height_px: float = PHOTO_HEIGHT_PX

    def __post_init__(self):
        checks.positive(self.photo_height_px, 'photo_height_px')

    def __call__(self, example, seed):
        """Adds `views`, a tuple of the example in each view (see `crop_view.crop_view`)."""
        return {**example, 'views': tuple(
            self._view(example, offset, is_mirrored) for offset, is_mirrored in self.views)}

    def _view(self, example, offset, is_mirrored):
        box, scale = example['box'], example['frame'][3] / self.photo_height_px
        box = tf.concat([box[:2] + scale * tf.constant(offset, tf.float32), box[2:]], axis=0)
        view = crop_view.crop_view(
            example, box, tf.constant(1.0), tf.constant(0.0), tf.constant(is_mirrored),
            self.crop_side_px, self.mirror_mapping)
        return {**view, 'is_mirrored': tf.constant(is_mirrored)}


@dataclasses.dataclass(frozen=True, eq=False)
class InEveryView:
    """Policy: a step that is done in every view alike, with the same seed.

    Args:
        step: Function from an example and a seed to an example.
    """
    step: object

    def __call__(self, example, seed):
        """Returns the example with its `views` changed."""
        return {**example, 'views': tuple(self.step(view, seed) for view in example['views'])}


def views_dataset(config, source, bank, views=TEN_VIEWS, *, photo_height_px=PHOTO_HEIGHT_PX):
    """Batches of every example exactly once, in order, each seen in several views.

    The view without offset and mirroring is the crop of `pipeline.evaluation_dataset`. Behind
    rendered people, all views show the same background.

    Args:
        config: `TrainConfig`.
        source: Unbatched `tf.data.Dataset` of example dicts, with the joints of the model.
        bank: uint8 array of photos for people with alpha.
        views, photo_height_px: See `CropViews`.

    Returns:
        Dataset of dicts: `image` `[batch, views, S, S, 3]` in [0, 1] and `intrinsics`
        `[batch, views, 3, 3]` of the crops; `camera_to_crop` `[batch, views, 3, 3]`, see
        `crop_view.crop_view`, and `is_mirrored` bool `[batch, views]`; `name` string `[batch]`;
        the labels in the frame of the photo's camera, `coords3d_cam` `[batch, joints, 3]` in mm
        and `joint_validity_mask_3d` bool `[batch, joints]`. The last batch may be smaller.

    Raises:
        ValueError: If `photo_height_px` is not positive.
    """
    _, *steps = pipeline.evaluation_steps(config, bank)
    steps = [
        CropViews(
            config.model.heatmap.crop_side_px, config.model.skeleton.mirror_mapping, views,
            photo_height_px),
        *(InEveryView(step) for step in steps)]
    dataset = pipeline.run_steps(source, steps, config.seed)
    batch_size = max(_BATCH_SIZE // len(views), 1)
    return dataset.map(_with_stacked_views).batch(batch_size).prefetch(2)


def undo_views(poses, batch, mirror_mapping):
    """Brings poses that were predicted in the crops back to the frame of the photo's camera.

    Args:
        poses: Float tensor `[batch, views, joints, 3]`, frame of each crop's camera, any unit.
        batch: Dict of `views_dataset`.
        mirror_mapping: See `CropViews`.

    Returns:
        Float tensor `[batch, views, joints, 3]`, the joints of mirrored views in their order.
    """
    return tta.undo(poses, batch['camera_to_crop'], batch['is_mirrored'], mirror_mapping)


def mean_of_views(poses, i_root):
    """Mean over the views of the root-relative poses.

    Args:
        poses: Float tensor `[batch, views, joints, 3]`, all views in one frame.
        i_root: Index of the root joint.

    Returns:
        Float tensor `[batch, joints, 3]`, with the root at the origin.

    Raises:
        ValueError: If a static shape or the index does not fit.
    """
    poses = checks.last_axes(poses, (None, None, 3), 'poses')
    checks.joint_index(i_root, poses.shape[-2], 'i_root')
    return tf.reduce_mean(poses - poses[..., i_root, tf.newaxis, :], axis=-3)


def _with_stacked_views(example):
    names = ('image', 'intrinsics', 'camera_to_crop', 'is_mirrored')
    labels = ('name', 'coords3d_cam', 'joint_validity_mask_3d')
    return {
        **{name: tf.stack([view[name] for view in example['views']]) for name in names},
        **{name: example[name] for name in labels}}
