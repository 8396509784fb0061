"""Finds latent points of the skeleton: trains the affine-combining autoencoder on 3D labels.

Example:
    python -m training.latents --records-dir records/train --out latents.keras

The joints are those of the model that --config describes, without it those of `METRO_24`.

The published recipe (Sarandi et al., WACV 2023): Adam in batches of 32 for 30 epochs, the learning
rate 0.03 falling to a tenth at steps 150,000 and 300,000. Poses lacking a joint are left out. The
file is for `keras.models.load_model(path, compile=False)`, once `metro_tf.models` is imported.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf

from metro_tf import losses, models, skeleton
from training import callbacks, run
from training.config import TrainConfig
from training.datasets import records

LEARNING_RATES = (3e-2, 3e-3, 3e-4)
BOUNDARIES = (150000, 300000)
BATCH_SIZE = 32
# Image points of joints beside or behind the camera mean nothing.
MIN_DEPTH_MM = 300.0


def fit(autoencoder, poses, n_epochs=30, seed=1):
    """Trains an autoencoder.

    Args:
        autoencoder: `metro_tf.models.AffineAutoencoder`, trained in place.
        poses: Float array `[n, joints, 3]`, camera frame, mm; all joints valid.
        n_epochs: Number of times that each pose is seen.
        seed: Seed of the order.

    Returns:
        Float, the last loss on the poses without the one on the weights, metres.

    Raises:
        ValueError: If there is no pose, or one is not finite or not in front of the camera.
    """
    poses = np.asarray(poses, np.float32)
    if not len(poses) or not np.all(np.isfinite(poses)) or poses[..., 2].min() < MIN_DEPTH_MM:
        raise ValueError(
            f'`poses` must be finite and at least {MIN_DEPTH_MM:g} mm from the camera, and one at '
            f'least. Received: {len(poses)} poses')
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(BOUNDARIES, LEARNING_RATES)
    autoencoder.compile(
        keras.optimizers.Adam(schedule), loss=losses.perspective_loss, jit_compile=False)
    dataset = tf.data.Dataset.from_tensor_slices(poses).shuffle(
        len(poses), seed=seed, reshuffle_each_iteration=True).batch(BATCH_SIZE)
    autoencoder.fit(dataset.map(lambda batch: (batch, batch)), epochs=n_epochs, verbose=2)
    return float(np.mean(losses.perspective_loss(poses, autoencoder(poses))))


def read_poses(record_dirs, joint_names=skeleton.METRO_24.joint_names):
    """The poses of records with all joints valid and clearly in front of the camera.

    Args:
        record_dirs: Folders of records with 3D labels.
        joint_names: See `records.parse`.

    Returns:
        Float array `[n, joints, 3]`, camera frame, mm.
    """
    poses = np.concatenate([
        records.read_coords3d(folder, joint_names) for folder in record_dirs])
    is_usable = np.all(poses[..., 2] >= MIN_DEPTH_MM, axis=-1) & np.isfinite(poses).all((1, 2))
    return poses[is_usable]


def main():
    """Reads the arguments and trains."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--records-dir', required=True, action='append', help='records with 3D labels; repeatable')
    parser.add_argument('--config', help='config file of a model; the latent points are for it')
    parser.add_argument(
        '--n-pairs', type=int, default=20, help='latent points on each side (default 20)')
    parser.add_argument(
        '--n-central', type=int, default=8, help='latent points in the middle (default 8)')
    parser.add_argument('--sparsity', type=float, default=0.6, help='weight (default 0.6)')
    parser.add_argument('--n-epochs', type=int, default=30, help='default 30')
    parser.add_argument('--seed', type=int, default=1, help='default 1')
    parser.add_argument('--out', required=True, help='.keras file to write')
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)
    joints = skeleton.METRO_24
    if args.config:
        joints = run.load_config(args.config, TrainConfig).model.skeleton
    poses = read_poses(args.records_dir, joints.joint_names)
    autoencoder = models.AffineAutoencoder(
        joints.joint_names, args.n_pairs, args.n_central, args.sparsity)
    error = fit(autoencoder, poses, args.n_epochs, args.seed)
    callbacks.save_model(autoencoder, args.out)
    print(f'Wrote {args.out}: error {1000 * error:.1f} mm over {len(poses)} poses')


if __name__ == '__main__':
    main()
