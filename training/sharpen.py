"""Chooses how sharp the heatmaps of a finished crop model are, on training data.

Example:
    python -m training.sharpen runs/default_crop_model/crop_model.keras \\
        --config training/configs/default_crop_model.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people --out crop_model.keras

After a short training the heatmaps are so broad that their mean shrinks the pose. All logits are
multiplied by the factor with the least error: that of relative 3D positions plus that of
projections of examples with 2D labels, in metres, as in training. The factor goes into the
weights of the last convolution.
"""

import argparse

import tensorflow as tf
import tqdm

from metro_tf import losses, models
from metro_tf.geometry import camera
from metro_tf.models import builder
from training import callbacks, pipeline, run, trainers
from training.augment import background
from training.config import TrainConfig
from training.datasets import lspet, records

FACTORS = (1.0, 1.25, 1.6, 2.0, 2.5)


def scale_logits(crop_model, factor):
    """Multiplies the heatmap logits of a crop model, in place."""
    crop_model.heads.set_weights([factor * weight for weight in crop_model.heads.get_weights()])


def errors(crop_model, dataset, factors=FACTORS):
    """Error for each factor, the mean over the batches.

    Args:
        crop_model: `metro_tf.models.Metrabs`; it is not changed.
        dataset: Batches of `pipeline.evaluation_dataset`.
        factors: Sequence of positive floats.

    Returns:
        List of floats, metres.
    """
    @tf.function
    def batch_errors(inputs, labels):
        """Error of one batch for each factor, `[factors]`."""
        outputs = crop_model.predict_heatmaps(inputs)
        mask3d, mask2d = trainers.label_masks(labels)
        result = []
        for factor in factors:
            poses = crop_model.reconstruction(
                *crop_model.heads.decode(*(
                    factor * outputs[name] for name in ('logits2d', 'logits3d'))),
                inputs['intrinsics'])
            result.append(
                losses.root_relative_loss(labels['coords3d_cam'], poses, mask3d)
                + losses.image_loss(
                    labels['coords2d'], camera.project(poses, inputs['intrinsics']), mask2d,
                    crop_model.heatmap_config.meters_per_px))
        return tf.stack(result)

    batches = [batch_errors(*batch) for batch in tqdm.tqdm(dataset)]
    return [float(error) for error in tf.reduce_mean(tf.stack(batches), axis=0)]


def main():
    """Reads the arguments, prints the errors and writes the model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('crop_model', help='release or file of a crop model')
    parser.add_argument('--config', required=True, help='the file that the model was trained with')
    parser.add_argument('--synth-dir', required=True, help='records of the training')
    parser.add_argument('--lspet-dir', required=True, help='folder of LSPET')
    parser.add_argument('--background-dir', action='append', required=True, help='repeatable')
    parser.add_argument(
        '--n-examples', type=int, default=1000, help='examples of each source (default 1000)')
    parser.add_argument('--out', required=True, help='.keras file to write')
    args = parser.parse_args()
    config = run.load_config(args.config, TrainConfig)
    crop_model = models.load_crop_model(args.crop_model)
    if not isinstance(crop_model, models.Metrabs):
        raise ValueError(
            '`crop_model` must be a Metrabs, whose two heads are sharpened together. '
            f'Received: {type(crop_model).__name__}')
    joint_names = crop_model.joint_names
    builder.check_joints(joint_names, config.model, 'crop_model', args.crop_model)
    people = records.read_dataset(args.synth_dir, joint_names).take(args.n_examples)
    photos = lspet.make_dataset(args.lspet_dir, 'train', args.n_examples, joint_names)
    dataset = pipeline.evaluation_dataset(
        config, people.concatenate(photos), background.load_bank(args.background_dir))
    found = errors(crop_model, dataset)
    for factor, error in zip(FACTORS, found):
        print(f'factor {factor:4.2f}: error {1000 * error:6.1f} mm')
    best = FACTORS[found.index(min(found))]
    scale_logits(crop_model, best)
    callbacks.save_model(crop_model, args.out)
    print(f'Wrote {args.out} with the factor {best}')


if __name__ == '__main__':
    main()
