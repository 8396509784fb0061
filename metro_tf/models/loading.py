"""Crop models of releases and files, ready to go on training."""

from metro_tf import releases
from metro_tf.models import builder, new_skeleton


def load_crop_model(name_or_path='default', skeleton=None):
    """Loads a crop model with its weights, for `compile` and `fit`, prediction or an estimator.

    Args:
        name_or_path: Name of a model that comes with the package, optionally with a version
            (`default`, `default/6`); the path of an export whose weights lie beside it, as
            `training.export` writes them; that of the NPZ file with the weights of a crop model,
            or of its folder; or that of a `.keras` file that the same Keras version wrote.
        skeleton: `metro_tf.skeleton.Skeleton`, or a key of `metro_tf.skeleton.CONVENTIONS`, of the
            joints to predict instead. Joints of known names keep what was learned, others start
            anew. Of `Metrabs`, `Metro` and `Pose25D` only.

    Returns:
        `Metrabs`, `Metro`, `Pose25D`, `LatentMetrabs`, `MargiPose`, `AbsoluteMargiPose`,
        `CoarseToFine`, `Decoupled` or `CoordinateRegression`, not compiled.

    Raises:
        ValueError: If there is no such model, it comes without weights, its file is damaged, of
            another Keras version or holds something else, or it cannot have this skeleton.
    """
    model = builder.load_file(releases.find_weights(name_or_path, releases.CROP_MODEL))
    return model if skeleton is None else new_skeleton.with_skeleton(model, skeleton)
