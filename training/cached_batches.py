"""Augmented batches on disk, for several trainings on exactly the same ones.

Reading and augmenting costs about as much as a training step of a small network. Images are kept
with 8 bits, uncompressed: a batch of 32 crops of 96 px takes 0.9 MB. There is one file per epoch,
and a batch is one record of serialised tensors.
"""

import dataclasses
import pathlib

import tensorflow as tf
import tqdm

from training import folder_settings


def data_settings(config):
    """What a config says about its batches: dict of JSON types.

    Args:
        config: `TrainConfig`.
    """
    return {
        'seed': config.seed, 'batch_size_3d': config.batch_size_3d,
        'batch_size_2d': config.batch_size_2d, 'n_steps': config.n_steps,
        'steps_per_epoch': config.steps_per_epoch,
        'crop_side_px': config.model.heatmap.crop_side_px,
        'joint_names': list(config.model.skeleton.joint_names),
        'augment': dataclasses.asdict(config.augment)}


def write(config, make_batches, folder, sources):
    """Writes the batches of a whole run, or those that are missing after a kill.

    Args:
        config: `TrainConfig`.
        make_batches: Function from the number of a step to the dataset of batches from there on,
            like `pipeline.training_dataset`.
        folder: Folder of the files.
        sources: Sequence of the folders that the examples come from, which are kept with the
            settings.

    Raises:
        ValueError: If the folder holds batches of other settings or sources.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sources = [str(source) for source in sources]
    folder_settings.keep(folder, {**data_settings(config), 'sources': sources}, 'folder')
    paths = _shard_paths(config, folder)
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    if not missing:
        return
    n_steps = config.steps_per_epoch
    batches = iter(make_batches(missing[0] * n_steps))
    for path in tqdm.tqdm(paths[missing[0]:], desc='epochs of batches'):
        temporary = path.with_name(f'unfinished-{path.name}')
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            for _ in range(n_steps):
                writer.write(_serialize(*next(batches)))
        temporary.rename(path)


def read(config, folder, first_step=0):
    """Endless dataset of the written batches, which begins anew after the last.

    Args:
        config: `TrainConfig`.
        folder: Folder of the files, complete.
        first_step: Number of the first batch.

    Returns:
        Dataset of inputs and labels as in `pipeline.to_model_format`, batched.
    """
    paths = [str(path) for path in _shard_paths(config, pathlib.Path(folder))]
    i_shard, i_step = divmod(first_step % config.n_steps, config.steps_per_epoch)
    dataset = tf.data.TFRecordDataset(paths[i_shard:] + paths[:i_shard])
    return dataset.repeat().skip(i_step).map(
        lambda serialized: _parse(serialized, config), num_parallel_calls=2,
        deterministic=True).prefetch(2)


def _shard_paths(config, folder):
    return [
        folder / f'batches-{i:05}.tfrecord'
        for i in range(config.n_steps // config.steps_per_epoch)]


def _serialize(inputs, labels):
    image = tf.cast(tf.round(255.0 * inputs['image']), tf.uint8)
    tensors = {**inputs, **labels, 'image': image}
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(
            value=[tf.io.serialize_tensor(tensor).numpy()]))
        for name, tensor in tensors.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(
        deterministic=True)


def _parse(serialized, config):
    side, n_joints = config.model.heatmap.crop_side_px, config.model.skeleton.n_joints
    n_examples = config.batch_size_3d + config.batch_size_2d
    specs = {
        'image': (tf.uint8, (side, side, 3)), 'intrinsics': (tf.float32, (3, 3)),
        'coords3d_cam': (tf.float32, (n_joints, 3)), 'coords2d': (tf.float32, (n_joints, 2)),
        'joint_validity_mask_3d': (tf.bool, (n_joints,)),
        'joint_validity_mask_2d': (tf.bool, (n_joints,))}
    stored = tf.io.parse_single_example(
        serialized, {name: tf.io.FixedLenFeature([], tf.string) for name in specs})
    tensors = {
        name: tf.ensure_shape(tf.io.parse_tensor(stored[name], dtype), (n_examples, *shape))
        for name, (dtype, shape) in specs.items()}
    inputs = {
        'image': tf.cast(tensors.pop('image'), tf.float32) / 255.0,
        'intrinsics': tensors.pop('intrinsics')}
    return inputs, tensors
