"""The scores of MargiPose's paper, for crop models with absolute poses.

Predicted poses and labels are taken relative to the pelvis, in the frame of the photo's camera.
Scores are means over the joints of a frame, and then over the frames. "PA" scores follow a
similarity, reflections allowed, of the prediction to the labels of all joints of the protocol,
whichever of them are scored.

Source: Nibali et al., WACV 2019.
"""

import collections

import numpy as np
import tensorflow as tf
import tqdm

from metro_tf import checks, metrics, models, skeleton
from metro_tf.geometry import alignment, cuboid, masked
from training.evaluation import report, ten_crop

JOINTS = skeleton.CONVENTIONS['mpi_inf_3dhp_17']
# 'common_14' leaves out pelvis, spine and head, as is usual on MPI-INF-3DHP.
JOINT_SETS = {'common_14': JOINTS.joint_names[:14], 'all': JOINTS.joint_names}
# The name of the labels that the examples come with.
OWN_LABELS = 'records'
_I_ROOT = JOINTS.index('pelv')
_TRUE_ROOT_DEPTH = 'true_root_depth'
_WAYS = {
    models.MargiPose: ('universal_scale', _TRUE_ROOT_DEPTH),
    models.AbsoluteMargiPose: ('absolute',),
    models.Metrabs: ('absolute',)}
_COLUMNS = {
    'pck_150': 'PCK %', 'mpjpe_mm': 'MPJPE mm', 'auc_150': 'AUC %', 'pa_pck_150': 'PA-PCK %',
    'pa_mpjpe_mm': 'PA-MPJPE mm', 'pa_auc_150': 'PA-AUC %'}


class FrameScores:
    """Scores of single frames; their mean is the published one.

    `metrics` has the same definitions of the error, the strict PCK and the AUC over thresholds
    that include 0 (a perfect joint counts 30/31). Different from it are the mean, which there is
    over the joints of all frames, so that frames with few labels weigh less, and the Procrustes
    alignment, which there does not reflect: here a mirrored skeleton has no error.

    Args:
        joints: Key of `JOINT_SETS`, the joints that are scored.

    Call arguments:
        coords_true, coords_pred: Float tensors `[batch, 17, 3]`, mm, with the joints of `JOINTS`.
        mask: Boolean tensor `[batch, 17]`, the labelled joints.

    Returns:
        Tuple of a dict of float tensors `[batch]`, `mpjpe_mm`, `pck_150` and `auc_150` (as shares)
        and the same with `pa_` before; and of a boolean tensor `[batch]`, the frames that count:
        those with a label of the pelvis and of a joint that is scored.

    Raises:
        ValueError: If `joints` is unknown or a static shape does not fit.
    """

    def __init__(self, joints='common_14'):
        names = JOINT_SETS[checks.one_of(joints, JOINT_SETS, 'joints')]
        self._columns = [JOINTS.index(name) for name in names]
        self._metrics = (
            metrics.MPJPE(name='mpjpe_mm'), metrics.PCK(150.0, name='pck_150', is_strict=True),
            metrics.AUC(150.0, name='auc_150', curve='thresholds'))

    def __call__(self, coords_true, coords_pred, mask):
        """Scores a batch."""
        coords_true = checks.last_axes(coords_true, (JOINTS.n_joints, 3), 'coords_true')
        errors = metrics.joint_errors(coords_true, coords_pred, mask, 'root', _I_ROOT)
        mask = metrics.counted_joints(mask, _I_ROOT)
        aligned = alignment.procrustes(coords_pred, coords_true, mask, allow_reflection=True)
        aligned_errors = metrics.joint_errors(coords_true, aligned, mask, 'none')
        is_scored = tf.gather(mask, self._columns, axis=1)
        scores = {**self._means('', errors, is_scored),
                  **self._means('pa_', aligned_errors, is_scored)}
        return scores, tf.reduce_any(is_scored, axis=1)

    def _means(self, prefix, errors, is_scored):
        errors = tf.gather(errors, self._columns, axis=1)
        return {
            prefix + metric.name: masked.mean(metric.score(errors), is_scored, axis=1)
            for metric in self._metrics}


def evaluate(crop_model, dataset, joints='common_14', label_versions=None, progress_label=''):
    """Runs a model once over a dataset and scores it against one or more versions of the labels.

    With several views per person (`ten_crop.TEN_VIEWS`), each gives a pose at a scale of its own;
    the mean of these counts.

    Args:
        crop_model: `MargiPose`, `AbsoluteMargiPose` or `Metrabs`, with the joints of `JOINTS`, in
            any order, and maybe others, which do not count.
        dataset: Batches of `ten_crop.views_dataset`.
        joints: See `FrameScores`.
        label_versions: Dict from name to `label_versions.LabelVersion` with the joints of `JOINTS`,
            whose labels take the place of those of the examples; besides these, which are scored
            as `OWN_LABELS`.
        progress_label: Text before the progress bar.

    Returns:
        Dict from the version of the labels to a dict from the way to get poses to scores:
        `n_frames` and, where there are any, those of `FrameScores`. The way is 'absolute', or for
        `MargiPose` 'universal_scale' (labels should have that scale, too) and 'true_root_depth',
        the depth of the pelvis in that version of the labels.

    Raises:
        ValueError: If the model is of another kind or lacks a joint, or an argument does not fit.
    """
    score, ways = FrameScores(joints), _ways(crop_model)
    columns = _columns(crop_model.joint_names)
    versions = {OWN_LABELS: None, **(label_versions or {})}
    frames = collections.defaultdict(list)
    predict = tf.function(lambda batch: predict_views(crop_model, batch), reduce_retracing=True)
    for batch in tqdm.tqdm(dataset, desc=progress_label):
        views = predict(batch)
        for version, read_labels in versions.items():
            coords_true, mask = read_labels(batch['name']) if read_labels else (
                tf.gather(batch[name], columns, axis=1)
                for name in ('coords3d_cam', 'joint_validity_mask_3d'))
            for way in ways:
                poses = _place(views[way], way, coords_true, batch['camera_to_crop'])
                mean_pose = ten_crop.mean_of_views(tf.gather(poses, columns, axis=2), _I_ROOT)
                frames[version, way].append(score(coords_true, mean_pose, mask))
    return {
        version: {way: _summary(frames[version, way]) for way in ways} for version in versions}


def predict_views(crop_model, batch):
    """Poses of all views, brought back to the frame of the photo's camera.

    `MargiPose` predicts poses up to their scale, which is proportional to the depth of the root.
    Its universal scale is that of the person who is not mirrored, whose left thigh is measured.

    Args:
        crop_model: See `evaluate`.
        batch: Dict of `ten_crop.views_dataset`.

    Returns:
        Dict from way (see `evaluate`) to float32 `[batch, views, joints, 3]` in mm, with the
        joints of the model; for 'true_root_depth' in mm per mm of the depth of the root in the
        crop's camera.

    Raises:
        ValueError: If the model is of another kind.
    """
    ways = _ways(crop_model)
    n_views = batch['image'].shape[1]
    inputs = {
        name: tf.reshape(batch[name], [-1, *batch[name].shape[2:]])
        for name in ('image', 'intrinsics')}
    if _TRUE_ROOT_DEPTH in ways:
        inputs['root_depth_mm'] = tf.ones_like(inputs['intrinsics'][:, 0, 0])
    poses = crop_model(inputs)
    poses = tf.reshape(poses, [-1, n_views, *poses.shape[1:]])
    poses = ten_crop.undo_views(poses, batch, crop_model.mirror_mapping)
    if _TRUE_ROOT_DEPTH not in ways:
        return dict.fromkeys(ways, poses)
    scale = cuboid.height_scale(
        poses, crop_model.reconstruction.height_edges, crop_model.reconstruction.height_mm)
    return {'universal_scale': poses * _per_joint(scale), _TRUE_ROOT_DEPTH: poses}


def table(scores):
    """Scores in the units of the paper, as a Markdown table.

    Args:
        scores: Dict of `evaluate`.
    """
    header = ['labels', 'poses', 'frames', *_COLUMNS.values()]
    return report.markdown_table(header, [
        [version, way.replace('_', ' '), str(values['n_frames']),
         *(_in_table(name, values.get(name)) for name in _COLUMNS)]
        for version, ways in scores.items() for way, values in ways.items()])


def _ways(crop_model):
    for model_class, ways in _WAYS.items():
        if isinstance(crop_model, model_class):
            return ways
    raise ValueError(
        '`crop_model` must be one of '
        f'{sorted(model_class.__name__ for model_class in _WAYS)}. '
        f'Received: crop_model={type(crop_model).__name__}')


def _columns(joint_names):
    """Index of each of the protocol's joints in the model."""
    missing = [name for name in JOINTS.joint_names if name not in joint_names]
    if missing:
        raise ValueError(
            f'`crop_model` must have the joints {JOINTS.joint_names}. '
            f'Received: a model without {tuple(missing)}')
    return [list(joint_names).index(name) for name in JOINTS.joint_names]


def _place(views, way, coords_true, camera_to_crop):
    """Poses of all views in mm."""
    if way != _TRUE_ROOT_DEPTH:
        return views
    depth = tf.einsum('bc,bvc->bv', coords_true[:, _I_ROOT], camera_to_crop[:, :, 2])
    return views * _per_joint(depth)


def _per_joint(scale):
    return scale[..., tf.newaxis, tf.newaxis]


def _summary(batches):
    """Number of frames and means over them."""
    frames = collections.defaultdict(list)
    for scores, is_counted in batches:
        for name, values in scores.items():
            frames[name].extend(values.numpy()[is_counted.numpy()].tolist())
    frames = {name: values for name, values in frames.items() if values}
    n_frames = len(next(iter(frames.values()), ()))
    return {'n_frames': n_frames, **{
        name: float(np.mean(values)) for name, values in frames.items()}}


def _in_table(name, value):
    return value if value is None or name.endswith('_mm') else 100 * value
