"""Takes over the weights of a crop model that the authors of MeTRAbs released.

Example:
    python -m training.import_weights metrabs_eff2s_y4 --skeleton h36m_17 --out crop_model.npz
    python -m training.import_weights metrabs_eff2l_384px_800k_28ds_pytorch --crop-side 384 \\
        --skeleton smpl_24 --out crop_model.npz

The release is a SavedModel folder, or a folder or file of PyTorch. EfficientNetV2-S, -M and -L are
known in both, MobileNetV3 small and large in TensorFlow. Nothing else is read or needed, neither
PyTorch nor code of the release. docs/importing.md tells what is certain and what is assumed.
"""

import argparse
import dataclasses
import pathlib

from metro_tf import models, weights
from metro_tf.config import HeatmapConfig
from metro_tf.models import builder
from metro_tf.models.config import ModelConfig
from metro_tf.tools import writers
from training import callbacks
from training.original_weights import joints, layouts, pytorch_release, tensorflow_release, transfer


def import_crop_model(
        path, *, joints_file=None, convention=None, crop_side_px=None, stride_px=32,
        box_size_mm=2200.0, is_unshifted=False):
    """Builds a crop model with the weights of a release.

    Args:
        path: SavedModel folder, folder with `ckpt.pt`, or `.pt`, `.npz` or `.safetensors` file.
        joints_file: See `original_weights.joints.select`.
        convention: See `original_weights.joints.select`.
        crop_side_px: Side of the crop; None for what the release tells.
        stride_px: Stride of the features.
        box_size_mm: Side of the metric box.
        is_unshifted: Whether the backbone has no centred stride although the heatmaps are decoded
            as if it had: `legacy_centered_stride_bug` of the PyTorch release.

    Returns:
        Tuple of the `Metrabs`, its `ModelConfig` and a text for people: what was taken over.

    Raises:
        ValueError: If the release is damaged or of a network that is not known, weights are
            missing, left over or of another shape, or the joints or the crop are not told.
    """
    found = _read(path)
    selection = joints.select(found, joints_file, convention)
    if crop_side_px is None and found.crop_side_px is None:
        raise ValueError(
            '`crop_side_px` must be given for a release that does not tell it. '
            'Received: crop_side_px=None')
    backbone = layouts.identify(found.tensors, found.naming)
    config = ModelConfig(
        backbone=backbone, top_down_channels=0, skeleton=selection.skeleton,
        bn_momentum=layouts.BN_MOMENTUM[backbone],
        heatmap=HeatmapConfig(
            crop_side_px or found.crop_side_px, stride_px,
            transfer.n_depth_cells(found, selection.n_all), box_size_mm))
    model = _build(config, is_unshifted)
    n_weights = transfer.take_over(model, layouts.LAYOUTS[backbone], found, selection)
    return model, config, _summary(backbone, n_weights, selection, found)


def write(model, config, path):
    """Writes an imported crop model.

    Args:
        model, config: What `import_crop_model` returned.
        path: `.npz`, which every Keras version reads, or `.keras`, which holds an unshifted
            backbone, too. The folder is made if need be.

    Raises:
        ValueError: If the path ends in something else, or the model does not fit into an `.npz`.
    """
    path = pathlib.Path(path)
    _check_out(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.keras':
        callbacks.save_model(model, path)
    else:
        writers.write_arrays(path, weights.to_arrays(model, builder.describe(model, config)))


def _check_out(path, is_unshifted=False):
    suffixes = ('.keras',) if is_unshifted else ('.npz', '.keras')
    if pathlib.Path(path).suffix not in suffixes:
        raise ValueError(
            f'`out` must end in {" or ".join(suffixes)}'
            f'{" for an unshifted backbone" * is_unshifted}. Received: out={path}')


def _read(path):
    path = pathlib.Path(path)
    if not path.exists():
        raise ValueError(f'`path` must be a folder or file that exists. Received: path={path}')
    if path.is_dir() and not (path / pytorch_release.STATE_DICT).is_file():
        return tensorflow_release.read(path)
    return pytorch_release.read(path)


def _build(config, is_unshifted):
    if not is_unshifted:
        return builder.build_crop_model(config)
    unshifted = builder.build_crop_model(dataclasses.replace(
        config, heatmap=dataclasses.replace(config.heatmap, centered=False)))
    return models.Metrabs(
        unshifted.backbone, config.skeleton.joint_names, config.skeleton.edges,
        **dataclasses.asdict(config.heatmap))


def _summary(backbone, n_weights, selection, found):
    names = ' '.join(selection.skeleton.joint_names)
    return (
        f'{n_weights} weights of {backbone} and its heads taken over\n'
        f'{len(selection.indices)} of {selection.n_all} joints: {names}\n'
        f'no weights, not read: {", ".join(found.others) or "none"}')


def main():
    """Reads the arguments, imports and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('release', help='SavedModel folder, or folder or file of PyTorch')
    parser.add_argument('--out', required=True, help='.npz or .keras file to write')
    parser.add_argument('--skeleton', help='joint convention to take over; else all joints')
    parser.add_argument('--joints', help='JSON or .npz file that tells the joints of the heads')
    parser.add_argument('--crop-side', type=int, help='px; else what the release tells')
    parser.add_argument('--stride', type=int, default=32, help='px, of the features')
    parser.add_argument('--box-size', type=float, default=2200.0, help='mm')
    parser.add_argument(
        '--unshifted', action='store_true',
        help='the release has legacy_centered_stride_bug; needs --out *.keras')
    args = parser.parse_args()
    _check_out(args.out, args.unshifted)
    model, config, summary = import_crop_model(
        args.release, joints_file=args.joints, convention=args.skeleton,
        crop_side_px=args.crop_side, stride_px=args.stride, box_size_mm=args.box_size,
        is_unshifted=args.unshifted)
    print(summary)
    write(model, config, args.out)
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
