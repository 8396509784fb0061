"""Predicts the people of records and writes the files that training.score compares.

Example:
    python -m training.convert human36m --source h36m --split test --out records/h36m_test
    python -m training.predict runs/own/crop_model.keras --config own.py \\
        --records-dir records/h36m_test --benchmark human36m --out predictions.npz \\
        --labels-out labels.npz
    python -m training.score human36m --predictions predictions.npz --labels labels.npz

Every person is predicted in the crop around the labelled box. Poses are in the frame of the
photo's camera, in mm. --benchmark names the joints by the benchmark's convention, as far as the
model has them, and takes its columns (action, sequence, ...) from the names that
training.convert gives to examples.

2.5D, coarse-to-fine and MargiPose models can be told the true depth of the root with
--poses-by true_root_depth. Benchmarks that match people across whole photos (MuPoTS, COCO) need
predictions of whole photos, which training.predict_photos makes.
"""

import argparse
import dataclasses
import re
import sys

import numpy as np
import tensorflow as tf
import tqdm

from metro_tf import checks, models, skeleton
from metro_tf.models import builder
from metro_tf.tools import writers
from training import run
from training.augment import background
from training.config import TrainConfig
from training.datasets import records
from training.evaluation import predictors, ten_crop


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What a protocol of `training.score` needs besides poses.

    Args:
        convention: A key of `skeleton.CONVENTIONS`, whose joints are scored.
        name_pattern: Regular expression with a named group for each column, which matches the
            names of the examples.
        integer_columns: Names of those columns that are integers.
    """
    convention: str
    name_pattern: str
    integer_columns: tuple = ()


# Names as the readers in `training.datasets` make them.
BENCHMARKS = {
    'human36m': Benchmark(
        'h36m_17', r'(?P<sequence>S\d+/(?P<action>\w+).*)/(?P<frame_number>\d+)',
        ('frame_number',)),
    'mpi_inf_3dhp': Benchmark(
        'mpi_inf_3dhp_17', r'(?P<sequence>TS\d)/activity (?P<activity>\d)/\d+', ('activity',)),
    'threedpw': Benchmark('smpl_24', r'.*'),
    'humaneva': Benchmark(
        'humaneva_15', r'(?P<subject>S\d)/(?P<action>[A-Za-z]+)_\d.*'),
    'kth': Benchmark('lsp_14', r'.*')}


def predict(crop_model, dataset, poses_by=None, progress_label=''):
    """Predicts every person once.

    Args:
        crop_model: One that `predictors.make_predictors` takes.
        dataset: Batches of `ten_crop.views_dataset` with one view.
        poses_by: A name of `predictors.make_predictors`, or None for the model's own.
        progress_label: Text before the progress bar.

    Returns:
        Tuple of the names, a list of strings, and of two float32 arrays `[n, joints, 3]` in mm in
        the frame of the photo's camera, with the joints of the model: predicted poses (relative
        ones up to a translation), and labels, NaN where missing.

    Raises:
        ValueError: If the model does not have the way, or is told a depth that is not known.
    """
    ways = predictors.make_predictors(crop_model)
    poses_by = next(iter(ways)) if poses_by is None else checks.one_of(poses_by, ways, 'poses_by')
    predict_batch = tf.function(
        lambda batch: _predict_batch(ways[poses_by], batch), reduce_retracing=True)
    names, predicted, labels = [], [], []
    for batch in tqdm.tqdm(dataset, desc=progress_label):
        poses, is_known = predict_batch(batch)
        names += [name.decode('utf-8') for name in batch['name'].numpy()]
        _check_known(is_known.numpy(), names, poses_by)
        predicted.append(poses.numpy())
        labels.append(np.where(
            batch['joint_validity_mask_3d'].numpy()[..., np.newaxis],
            batch['coords3d_cam'].numpy(), np.nan))
    return names, np.concatenate(predicted), np.concatenate(labels)


def _predict_batch(predictor, batch):
    """Poses in the frame of the photo, and whether all that they need was known `[batch]`."""
    rotation = batch['camera_to_crop'][:, 0]
    inputs = {name: batch[name][:, 0] for name in ('image', 'intrinsics')}
    poses, mask = predictor(inputs, {
        'coords3d_cam': tf.einsum('bij,bkj->bki', rotation, batch['coords3d_cam']),
        'joint_validity_mask_3d': batch['joint_validity_mask_3d']})
    poses = ten_crop.undo_views(
        poses[:, tf.newaxis], batch, predictor.crop_model.mirror_mapping)[:, 0]
    is_known = tf.reduce_all(mask == batch['joint_validity_mask_3d'], axis=1)
    return poses, is_known


def _check_known(is_known, names, poses_by):
    if not np.all(is_known):
        unknown = [names[len(names) - len(is_known) + i] for i in np.flatnonzero(~is_known)]
        raise ValueError(
            f'`poses_by` must be another way where the depth of the root has no label. '
            f'Received: poses_by={poses_by!r}, no depth in {unknown[0]!r}')


def make_tables(names, predicted, labels, joint_names, benchmark):
    """The arrays of both files, see `evaluation.protocols.predictions`.

    Args:
        names, predicted, labels: What `predict` returned.
        joint_names: Sequence of the names of the joints of the model.
        benchmark: `Benchmark`.

    Returns:
        Pair of dicts from name to array.

    Raises:
        ValueError: If the model has none of the joints, or a name does not fit the benchmark.
    """
    if not set(joint_names) & set(skeleton.vocabulary_names(benchmark.convention)):
        raise ValueError(
            f'The model must have joints of {benchmark.convention}. Received: {joint_names}')
    joints, columns = skeleton.convention_selection(joint_names, benchmark.convention)
    common = {'names': np.array(names), 'joint_names': np.array(joints.joint_names)}
    return (
        {**common, 'coords3d_cam': predicted[:, columns]},
        {**common, 'coords3d_cam': labels[:, columns], **_columns(names, benchmark)})


def _columns(names, benchmark):
    """Dict from the columns in the names of the examples to arrays `[n]`."""
    matches = [re.fullmatch(benchmark.name_pattern, name) for name in names]
    wrong = [name for name, match in zip(names, matches) if match is None]
    if wrong:
        raise ValueError(
            'Names of examples must be those of training.convert for this benchmark, thus match '
            f'{benchmark.name_pattern}. Received: {wrong[0]!r} and {len(wrong) - 1} others')
    return {
        column: np.array([
            int(match[column]) if column in benchmark.integer_columns else match[column]
            for match in matches])
        for column in re.compile(benchmark.name_pattern).groupindex}


def main(argv=None):
    """Reads the arguments, predicts and writes the files. Returns the exit code."""
    args = _parse_args(argv)
    try:
        config = run.load_config(args.config, TrainConfig)
        crop_model = models.load_crop_model(args.crop_model)
        builder.check_joints(
            crop_model.joint_names, config.model, 'crop_model', args.crop_model)
        source = records.read_dataset(args.records_dir, crop_model.joint_names)
        dataset = ten_crop.views_dataset(
            config, source.take(args.first or -1), background.load_bank(args.background_dir),
            ten_crop.ONE_VIEW)
        results = predict(crop_model, dataset, args.poses_by, args.benchmark)
        tables = make_tables(*results, crop_model.joint_names, BENCHMARKS[args.benchmark])
    except ValueError as error:
        print(f'training.predict: {error}', file=sys.stderr)
        return 2
    for path, table in zip((args.out, args.labels_out), tables):
        if path:
            writers.write_arrays(path, table)
            print(f'{len(table["names"])} people, {len(table["joint_names"])} joints -> {path}')
    return 0


def _parse_args(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('crop_model', help='release or file of a crop model')
    parser.add_argument('--config', required=True, help='the file that it was trained with')
    parser.add_argument('--records-dir', required=True, help='records of training.convert')
    parser.add_argument('--benchmark', required=True, choices=list(BENCHMARKS))
    parser.add_argument(
        '--background-dir', action='append', required=True,
        help='photos behind people whose records have a mask, as in training; repeatable')
    parser.add_argument(
        '--poses-by', help='how poses get their place: bone_lengths, universal_scale, '
        'true_root_depth, ... (default: the first that the model has)')
    parser.add_argument('--first', type=int, help='number of examples to take, default all')
    parser.add_argument('--out', required=True, help='NPZ file for the predictions')
    parser.add_argument('--labels-out', help='NPZ file for the labels')
    return parser.parse_args(argv)


if __name__ == '__main__':
    sys.exit(main())
