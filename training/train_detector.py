"""Trains a person detector.

Example:
    python -m training.train_detector training/configs/default_detector.py \\
        --synth-dir records/train --lspet-dir lspet --backgrounds-dir backgrounds/no_people \\
        --coco-annotations training/annotations/imagenet_samples.json \\
        --coco-images backgrounds/with_people --out-dir runs

The run can be killed at any moment: the same command goes on from the last finished epoch.
"""

import argparse
import dataclasses
import json
import pathlib
from typing import Optional

import keras
import tensorflow as tf

from metro_tf.detection import PersonDetector, center_net
from metro_tf.tools import writers
from training import callbacks, layer_weights, run
from training.detection import coco, evaluation, sampling, sources
from training.detection.config import DetectorTrainConfig
from training.detection.trainer import DetectorTrainer


@dataclasses.dataclass(frozen=True)
class DataPaths:
    """Where the images of a detector's training lie.

    Args:
        lspet_dir: Folder of LSPET.
        backgrounds_dir: Folder of photos without people.
        synth_dir: Folder of record files of `training.synthetic.generate`, or None.
        coco_annotations, coco_images: See `coco.read_scenes`; or None.
    """
    lspet_dir: str
    backgrounds_dir: str
    synth_dir: Optional[str] = None
    coco_annotations: Optional[str] = None
    coco_images: Optional[str] = None

    def __post_init__(self):
        if (self.coco_annotations is None) != (self.coco_images is None):
            raise ValueError(
                '`coco_annotations` and `coco_images` must be given together. Received: '
                f'coco_annotations={self.coco_annotations}, coco_images={self.coco_images}')

    def scenes(self, split):
        """`coco.Scenes` of a split, or None."""
        if self.coco_annotations is None:
            return None
        return coco.read_scenes(self.coco_annotations, self.coco_images, split)


def build_network(config):
    """Builds the detector's network with new weights."""
    return center_net.build_center_net(
        config.n_channels, config.trunk_channels, config.n_blocks, config.n_head_blocks,
        config.bn_momentum)


def build_trainer(config, start_from=None):
    """Builds the compiled trainer with all variables, its optimiser's included.

    Args:
        config: `DetectorTrainConfig`.
        start_from: Release or file of a detector (see `center_net.load`) with the first weights,
            or None. Residual blocks that it lacks start as the identity.

    Raises:
        ValueError: If the file does not open, or differs in more than residual blocks.
    """
    keras.mixed_precision.set_global_policy(config.mixed_precision)
    keras.utils.set_random_seed(config.seed)
    trainer = DetectorTrainer(build_network(config), config.box_loss)
    side_px = config.composite.side_px
    trainer(tf.zeros([1, side_px, side_px, 3]))
    if start_from is not None:
        layer_weights.take_over_layers(trainer.detector, run.load_first_model(
            center_net.load, start_from))
    run.compile_trainer(trainer, config)
    return trainer


def make_batches(config, data, first_step=0):
    """Endless training batches from step `first_step` on (see `sampling.make_dataset`).

    Args:
        config: `DetectorTrainConfig`.
        data: `DataPaths`.
        first_step: Number of the first batch.
    """
    policy = sampling.RandomComposite(
        config.composite, sources.read_backgrounds(data.backgrounds_dir, 'train'),
        sources.read_photos(data.lspet_dir, 'train', config.composite.person_enlargement),
        data.scenes('train'))
    first_example = first_step * config.batch_size
    people = sources.people_batches(
        data.synth_dir, config.composite.max_people, config.seed, first_example)
    dataset = sampling.make_dataset(policy, people, config.seed, first_example)
    return dataset.batch(config.batch_size, drop_remainder=True).prefetch(2)


def train(config, data, out_dir, start_from=None):
    """Runs or resumes the training; writes checkpoints, curves and the model to its folder.

    Args:
        config: `DetectorTrainConfig`.
        data: `DataPaths`.
        out_dir: Folder of all runs.
        start_from: See `build_trainer`. To a run that is resumed it matters for
            `config.first_weights_share` only.

    Returns:
        The folder `out_dir/<name>`; it holds the calibrated `detector.keras` and `scores.json`.

    Raises:
        ValueError: See `build_trainer`, or if there are no first weights to take a share of.
    """
    if config.first_weights_share and start_from is None:
        raise ValueError(
            '`start_from` must be given for `first_weights_share`. '
            f'Received: first_weights_share={config.first_weights_share}')
    run_dir = pathlib.Path(out_dir) / config.name
    network = run.in_float32(build_network, config)
    trainer = build_trainer(config, start_from)
    first_weights = trainer.detector.get_weights()
    run.fit(
        trainer, trainer.detector, network, config,
        lambda first_step: make_batches(config, data, first_step), run_dir, 'uncalibrated.keras')
    share = config.first_weights_share
    network.set_weights([
        share * first + (1 - share) * last
        for first, last in zip(first_weights, trainer.detector.get_weights())])
    scores = calibrate(network, config, data)
    callbacks.save_model(network, run_dir / 'detector.keras')
    network.save_weights(str(run_dir / 'detector.weights.h5'))
    writers.write_text(run_dir / 'scores.json', json.dumps(scores, indent=2) + '\n')
    return run_dir


def calibrate(network, config, data):
    """Shifts the scores to the default threshold, by photos that took no part in the training.

    Returns:
        Dict: the `threshold` before the shift, and `recall` and `false_per_photo` at it.
    """
    photos = sources.read_photos(data.lspet_dir, 'validation', config.composite.person_enlargement)
    scores = evaluation.evaluate(
        PersonDetector(network, config.input_side_px), photos.people(),
        sources.read_backgrounds(data.backgrounds_dir, 'validation'))
    threshold = scores.threshold_at(config.max_false_boxes)
    center_net.shift_logits(network, evaluation.logit_shift(threshold))
    return {
        'threshold': threshold, 'recall': scores.recall(threshold),
        'false_per_photo': scores.false_per_photo(threshold)}


def main():
    """Reads the arguments and trains."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a file of training/configs')
    parser.add_argument('--synth-dir', help='records of training.synthetic.generate, optional')
    parser.add_argument('--lspet-dir', required=True, help='folder of LSPET')
    parser.add_argument(
        '--backgrounds-dir', required=True, help='folder of photos without people')
    parser.add_argument(
        '--coco-annotations', help='boxes of all people in some photos, in the format of COCO')
    parser.add_argument('--coco-images', help='folder of these photos')
    parser.add_argument(
        '--start-from', help='release or file of a detector whose weights are the first ones; '
        'residual blocks that it lacks start as the identity')
    parser.add_argument('--out-dir', default='runs', help='results go to a folder in it')
    parser.add_argument('--steps', type=int, help='replaces the number of optimiser steps')
    args = parser.parse_args()
    config = run.load_config(args.config, DetectorTrainConfig)
    if args.steps is not None:
        config = dataclasses.replace(config, n_steps=args.steps)
    data = DataPaths(
        args.lspet_dir, args.backgrounds_dir, args.synth_dir, args.coco_annotations,
        args.coco_images)
    run_dir = train(config, data, args.out_dir, args.start_from)
    print(f'Finished. Model, scores and curves are in {run_dir}')


if __name__ == '__main__':
    main()
