"""From examples to batches: mix, shuffle, repeat, run the augmentation steps, batch, prefetch."""

import tensorflow as tf

from training import mixing
from training.augment import appearance, background, clothing, crop_view, cutouts, labels, occlusion


def run_steps(dataset, steps, run_seed, first_example=0):
    """Runs `steps` in order over an unbatched dataset; example i always gets the same seeds.

    Args:
        dataset: `tf.data.Dataset` of example dicts.
        steps: Sequence of functions `(example, seed) -> example`.
        run_seed: Integer seed of the run.
        first_example: Number of the first example of `dataset` within the run.
    """
    def process(i_example, example):
        seed = tf.stack([tf.constant(run_seed, tf.int64), i_example])
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, len(steps)))
        for step, step_seed in zip(steps, seeds):
            example = step(example, step_seed)
        return example
    return dataset.enumerate(first_example).map(process, num_parallel_calls=tf.data.AUTOTUNE)


def augmentation_steps(config, bank, cutout_bank=()):
    """The steps of training, in their order.

    Args:
        config: `TrainConfig`.
        bank: uint8 array of photos (see `background.load_bank`).
        cutout_bank: PNG files of objects (see `cutouts.load_cutouts`), which published occlusion
            pastes; without any, textured shapes take their place.

    Raises:
        ValueError: If there are objects that are not used.
    """
    side = config.model.heatmap.crop_side_px
    bank = tf.constant(bank)
    augment = config.augment
    if len(cutout_bank) and not augment.is_published:
        raise ValueError(
            '`cutout_bank` must be empty unless `is_published`. '
            f'Received: {len(cutout_bank)} objects')
    low_labels = [labels.DropLowLabels(augment.max_label_height_2d)]
    clothes = (augment.upper_clothing_probability, augment.lower_clothing_probability)
    return [
        *(low_labels if augment.max_label_height_2d is not None else []),
        *([clothing.RandomClothing(bank, *clothes)] if any(clothes) else []),
        crop_view.RandomCropView(
            side, config.model.skeleton.mirror_mapping, augment.max_zoom_change,
            augment.max_rotation_degrees, augment.max_shift, augment.mirror_probability,
            augment.partial_visibility_probability,
            full_rotation_probability=augment.full_rotation_probability,
            is_published=augment.is_published),
        crop_view.WarpToCrop(side),
        background.RandomBackground(
            bank, side, augment.background_probability, augment.is_published),
        *_appearance_steps(augment, bank, cutout_bank, side),
        appearance.RandomBlurAndNoise(augment.blur_probability)]


def _appearance_steps(augment, bank, cutout_bank, side):
    ranges = (augment.brightness, augment.contrast, augment.saturation, augment.hue_degrees)
    if not augment.is_published:
        return [
            occlusion.RandomOcclusion(bank, side, augment.occlusion_probability),
            appearance.RandomColor(*ranges)]
    if len(cutout_bank):
        paste = cutouts.PasteCutouts(tf.constant(cutout_bank), side)
    else:
        paste = occlusion.RandomOcclusion(bank, side, 1.0, noise_probability=0.0)
    return [occlusion.ObjectsOrErase(
        paste, appearance.RandomHsvColor(*ranges), augment.occlusion_probability)]


def evaluation_steps(config, bank):
    """Centred crops, and backgrounds (chosen by the example's number) behind rendered people."""
    side = config.model.heatmap.crop_side_px
    return [
        crop_view.RandomCropView(side, config.model.skeleton.mirror_mapping),
        crop_view.WarpToCrop(side),
        background.RandomBackground(tf.constant(bank), side)]


def to_model_format(example):
    """Splits an example into what `fit` takes: inputs and labels.

    Returns:
        Inputs `image` `[S, S, 3]` in [0, 1] and `intrinsics` `[3, 3]`; labels `coords3d_cam`
        `[J, 3]` mm, `coords2d` `[J, 2]` px in the crop, and their boolean masks `[J]`.
    """
    inputs = {'image': example['image'], 'intrinsics': example['intrinsics']}
    names = ('coords3d_cam', 'coords2d', 'joint_validity_mask_3d', 'joint_validity_mask_2d')
    return inputs, {name: example[name] for name in names}


def training_dataset(config, synth_dir, lspet_dir, background_dirs, first_step=0, *,
                     records_3d_dir=None, records_2d_dir=None, record_dirs=None, cutout_dirs=()):
    """Endless batches with a fixed share of 3D and 2D examples, from step `first_step` on.

    A batch follows from the config and its number alone: a dataset that begins at step n gives
    exactly what one from the start gives from step n on. Which examples it holds is told in
    `training.mixing`. All have the joints of the model; those that a data set lacks are missing
    joints.

    Args:
        config: `TrainConfig`.
        synth_dir: Folder of the synthetic training records, or None.
        lspet_dir: Folder of LSPET, or None.
        background_dirs: Folders of background photos.
        first_step: Number of optimiser steps that were done already.
        records_3d_dir: Folder of more records with 3D labels, or None.
        records_2d_dir: Folder of records with 2D labels only, or None.
        record_dirs: Dict from the names of more data sets to their folders of records, or None.
        cutout_dirs: Folders of cut-out objects, see `augmentation_steps`.

    Raises:
        ValueError: If the data sets are not those that the config and its batches need.
    """
    batch_size = config.batch_size_3d + config.batch_size_2d
    folders = mixing.name_folders(
        synth_dir, lspet_dir, records_3d_dir, records_2d_dir, record_dirs)
    mixed = mixing.mix(config, folders, first_step)
    steps = augmentation_steps(
        config, background.load_bank(background_dirs), cutouts.load_cutouts(cutout_dirs))
    mixed = run_steps(mixed, steps, config.seed, first_step * batch_size)
    return mixed.map(to_model_format).batch(batch_size, drop_remainder=True).prefetch(2)


def evaluation_dataset(config, source, bank, batch_size=50):
    """Batches of every example exactly once, in order; the last may be smaller.

    Args:
        config: `TrainConfig`.
        source: Unbatched `tf.data.Dataset` of example dicts, with the joints of the model.
        bank: uint8 array of photos for people with alpha.
        batch_size: Size of the batches.
    """
    dataset = run_steps(source, evaluation_steps(config, bank), config.seed)
    return dataset.map(to_model_format).batch(batch_size).prefetch(2)
