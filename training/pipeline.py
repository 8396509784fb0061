"""From examples to batches: mix, shuffle, repeat, run the augmentation steps, batch, prefetch."""

import math

import tensorflow as tf

from training.augment import appearance, background, clothing, crop_view, cutouts, labels, occlusion
from training.datasets import lspet, records


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
                     records_3d_dir=None, records_2d_dir=None, cutout_dirs=()):
    """Endless batches with a fixed share of 3D and 2D examples, from step `first_step` on.

    A batch follows from the config and its number alone: a dataset that begins at step n gives
    exactly what one from the start gives from step n on. Where there are two sources of a kind,
    `config.own_share` says how many examples come from the own records. All give the joints of
    the model; those that a source lacks are missing joints.

    Args:
        config: `TrainConfig`.
        synth_dir: Folder of the synthetic training records, or None.
        lspet_dir: Folder of LSPET, or None.
        background_dirs: Folders of background photos.
        first_step: Number of optimiser steps that were done already.
        records_3d_dir: Folder of more records with 3D labels, or None.
        records_2d_dir: Folder of records with 2D labels only, or None.
        cutout_dirs: Folders of cut-out objects, see `augmentation_steps`.

    Raises:
        ValueError: If there is no source of a kind that the batches need.
    """
    batch_size = config.batch_size_3d + config.batch_size_2d
    joint_names = config.model.skeleton.joint_names
    sources_3d, sources_2d = [
        [records.make_source(folder, joint_names) for folder in folders if folder]
        for folders in ((synth_dir, records_3d_dir), (records_2d_dir,))]
    if lspet_dir:
        sources_2d.insert(0, lspet.make_source(lspet_dir, 'train', joint_names))
    mixed = _mix(config, sources_3d, sources_2d, first_step)
    steps = augmentation_steps(
        config, background.load_bank(background_dirs), cutouts.load_cutouts(cutout_dirs))
    mixed = run_steps(mixed, steps, config.seed, first_step * batch_size)
    return mixed.map(to_model_format).batch(batch_size, drop_remainder=True).prefetch(2)


def _mix(config, sources_3d, sources_2d, first_step):
    """Examples in the order of the batches: those of one kind, then those of the other."""
    streams, choices = [], []
    for kind, sources in (('3d', sources_3d), ('2d', sources_2d)):
        n_examples = getattr(config, f'batch_size_{kind}')
        if (n_examples > 0) != bool(sources):
            raise ValueError(
                f'`batch_size_{kind}` must be 0 without a source of {kind.upper()} labels, and '
                f'positive with one. Received: batch_size_{kind}={n_examples}, '
                f'{len(sources)} sources')
        if sources:
            choices += [len(streams)] * n_examples
            streams.append(_interleave(
                sources, config.own_share, (config.seed, len(streams)), first_step * n_examples))
    choices = tf.data.Dataset.from_tensor_slices(tf.constant(choices, tf.int64)).repeat()
    return tf.data.Dataset.choose_from_datasets(streams, choices)


def _interleave(sources, own_share, seed, first):
    """Endless dataset of the shuffled examples of one or two sources, from number `first` on.

    Of two, the second gives example n if `own_share * n` passes a whole number there.
    """
    run_seed, i_stream = seed
    own_share = own_share if len(sources) == 2 else 0.0
    n_own = math.floor(first * own_share)
    datasets = [
        source.shuffled((run_seed, 2 * i + i_stream), n_before)
        for i, (source, n_before) in enumerate(zip(sources, (first - n_own, n_own)))]

    def choose(number):
        number = tf.cast(number, tf.float64)
        passes = tf.floor((number + 1) * own_share) > tf.floor(number * own_share)
        return tf.cast(passes, tf.int64)
    return tf.data.Dataset.choose_from_datasets(
        datasets, tf.data.Dataset.range(first, tf.int64.max).map(choose))


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
