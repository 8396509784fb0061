"""Makes the first weights of a larger or other crop model from a finished one.

Example:
    python -m training.extend --start-from crop_model.keras --config larger.py --out first.keras
    python -m training.train larger.py --start-from first.keras ...

Joints that both models have, by name, keep what was learned, whatever their order; others start
anew. Residual blocks may be added, which start as the identity, or left out. Everything else of
the backbone must be in both models; strides may differ. (MeTRAbs widens its output layer by
position: the last points take over.)
"""

import argparse

import keras

from metro_tf import models
from metro_tf.models import builder, new_skeleton
from training import callbacks, layer_weights, run
from training.config import TrainConfig


def take_over(new_model, old_model):
    """Sets the weights of a new crop model to those of a finished one where both have the same.

    Args:
        new_model: Crop model with new weights, changed in place.
        old_model: Crop model of the same class with the same number of depth cells; a `Metrabs`
            will do for a `LatentMetrabs`, whose latent points then start anew.

    Returns:
        Text for people: which joints and blocks are new or left out.

    Raises:
        ValueError: If the models differ in something else than joints and residual blocks; the
            message names the layer.
    """
    old_names, new_names = _point_names(old_model), _point_names(new_model)
    # Checks first, changes nothing.
    head_weights = _head_weights(new_model, old_model, new_names, old_names)
    blocks = layer_weights.take_over_layers(new_model.backbone, old_model.backbone)
    new_model.heads.conv.set_weights(head_weights)
    changes = {
        'joints taken over': [name for name in new_names if name in old_names],
        'new joints': [name for name in new_names if name not in old_names],
        'joints left out': [name for name in old_names if name not in new_names], **blocks}
    return '\n'.join(f'{what}: {", ".join(names) or "none"}' for what, names in changes.items())


def _point_names(model):
    """Names of the points that the head of a crop model predicts, in their order."""
    latents = [f'latent {i}' for i in range(getattr(model, 'n_latents', 0))]
    has_joints = not latents or model.is_hybrid
    return [*latents, *(model.joint_names if has_joints else ())]


def _head_weights(new_model, old_model, new_names, old_names):
    kinds = type(new_model), type(old_model)
    if kinds[0] is not kinds[1] and kinds != (models.LatentMetrabs, models.Metrabs):
        raise ValueError(
            f'`old_model` must be a {type(new_model).__name__} as the new model. '
            f'Received: {type(old_model).__name__}')
    return new_skeleton.widened(
        old_model.heads.conv.get_weights(), new_model.heads.conv.get_weights(), old_names,
        new_names)


def main():
    """Reads the arguments and writes the model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--start-from', required=True, help='release or file of the finished model')
    parser.add_argument('--config', required=True, help='config file of the new model')
    parser.add_argument('--out', required=True, help='.keras file to write')
    args = parser.parse_args()
    config = run.load_config(args.config, TrainConfig)
    keras.utils.set_random_seed(config.seed)
    new_model = run.in_float32(builder.build_crop_model, config.model)
    print(take_over(new_model, models.load_crop_model(args.start_from)))
    callbacks.save_model(new_model, args.out)
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
