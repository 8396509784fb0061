"""Pose scores as Keras metrics: sums and counts, so that batches of any size add up exactly.

Poses are `[batch, joints, coords]`, masks boolean `[batch, joints]`. Invalid joints count neither
above nor below the line, and their labels may be anything, NaN included. A score over nothing is
0.
"""

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import alignment as alignment_lib
from metro_tf.geometry import masked

ALIGNMENTS = ('none', 'mean', 'root', 'procrustes')
CURVES = ('continuous', 'thresholds', 'trapezoids')
_TORSO_ENDS = ('lsho', 'rhip')


def joint_errors(coords_true, coords_pred, mask, alignment='mean', i_root=None):
    """Euclidean distance per joint after an alignment.

    Args:
        coords_true, coords_pred: Float tensors `[batch, joints, coords]`.
        mask: Boolean tensor `[batch, joints]`.
        alignment: 'none' (absolute error), 'mean' (the means of the valid joints coincide),
            'root' (the root joints coincide) or 'procrustes' (best rotation, translation and
            scale on the valid joints).
        i_root: Index of the root for 'root', else None; negative ones count from the end.

    Returns:
        Float tensor `[batch, joints]`, in the unit of the coordinates; 0 where masked and, for
        'root', in examples whose root is masked (see `counted_joints`).

    Raises:
        ValueError: If the alignment is unknown or an index or a static shape does not fit.
    """
    _check_alignment(alignment, i_root)
    coords_true, coords_pred, mask = _checked_poses(coords_true, coords_pred, mask)
    mask = counted_joints(mask, i_root)
    if alignment == 'mean':
        coords_true, coords_pred = [
            coords - masked.mean(coords, mask[..., tf.newaxis], axis=1, keepdims=True)
            for coords in (coords_true, coords_pred)]
    elif alignment == 'root':
        coords_true, coords_pred = [
            coords - coords[:, i_root, tf.newaxis] for coords in (coords_true, coords_pred)]
    elif alignment == 'procrustes':
        coords_pred = alignment_lib.procrustes(coords_pred, coords_true, mask)
    errors = tf.norm(coords_true - coords_pred, axis=-1)
    return tf.where(mask, errors, tf.zeros_like(errors))


def counted_joints(mask, i_root=None):
    """The valid joints, without the examples whose root is not valid.

    Args:
        mask: Boolean tensor `[batch, joints]`.
        i_root: Index of the root, or None where no root is needed.

    Raises:
        ValueError: If the index is out of the static range.
    """
    mask = tf.cast(mask, tf.bool)
    if i_root is None:
        return mask
    checks.joint_index(i_root, mask.shape[1], 'i_root')
    return mask & mask[:, i_root, tf.newaxis]


def has_torso(joint_names):
    """Whether joints allow the score `TorsoPCK`.

    Args:
        joint_names: Sequence of names.
    """
    return all(name in joint_names for name in _TORSO_ENDS)


class _MaskedMean(keras.metrics.Metric):
    """Mean over all that is valid, kept as a sum and a count; 0 where nothing is."""

    def __init__(self, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_weight(name='total', shape=(), initializer='zeros')
        self.count = self.add_weight(name='count', shape=(), initializer='zeros')

    def accumulate(self, values, mask):
        """Adds values of any shape where the boolean mask of that shape is true."""
        selected = tf.where(mask, values, tf.zeros_like(values))
        self.total.assign_add(tf.cast(tf.reduce_sum(selected), self.dtype))
        self.count.assign_add(tf.reduce_sum(tf.cast(mask, self.dtype)))

    def result(self):
        """The mean so far, a scalar."""
        return tf.math.divide_no_nan(self.total, self.count)


class _JointMean(_MaskedMean):
    """Mean of a function of the joint errors over all valid joints."""

    def __init__(self, alignment, name, i_root=None, joint_indices=None, **kwargs):
        super().__init__(name=name, **kwargs)
        _check_alignment(alignment, i_root)
        self.alignment = alignment
        self.i_root = i_root
        self.joint_indices = None if joint_indices is None else tuple(joint_indices)
        if self.joint_indices == ():
            raise ValueError(
                '`joint_indices` must be None or not empty. '
                f'Received: joint_indices={joint_indices}')

    def update_state(self, coords_true, coords_pred, mask):
        """Adds a batch: poses `[batch, joints, coords]` twice, and the mask."""
        errors, is_counted = self.select(coords_true, coords_pred, mask)
        self.accumulate(self.score(errors), is_counted)

    def select(self, coords_true, coords_pred, mask):
        """Errors and boolean mask of the joints in question, both `[batch, joints]`."""
        errors = joint_errors(coords_true, coords_pred, mask, self.alignment, self.i_root)
        is_counted = counted_joints(mask, self.i_root)
        if self.joint_indices is None:
            return errors, is_counted
        for index in self.joint_indices:
            checks.joint_index(index, errors.shape[1], 'joint_indices')
        columns = tf.constant(self.joint_indices) % tf.shape(errors)[1]
        return tf.gather(errors, columns, axis=1), tf.gather(is_counted, columns, axis=1)

    def get_config(self):
        return {
            **super().get_config(), 'alignment': self.alignment, 'i_root': self.i_root,
            'joint_indices': self.joint_indices}


class _PoseMean(_JointMean):
    """Mean of a function of the largest joint error of each example with a valid joint."""

    def select(self, coords_true, coords_pred, mask):
        """The largest error of each example, and whether there is one, both `[batch]`."""
        errors, is_counted = super().select(coords_true, coords_pred, mask)
        return tf.reduce_max(errors, axis=1), tf.reduce_any(is_counted, axis=1)


@keras.utils.register_keras_serializable(package='metro_tf')
class MPJPE(_JointMean):
    """Mean per-joint position error, in the unit of the coordinates.

    Args:
        alignment: See `joint_errors`: 'mean' or 'root' for the relative error, 'none' for the
            absolute one (and for errors of image coordinates), 'procrustes' for PA-MPJPE.
        name: Name in logs.
        i_root: See `joint_errors`.
        joint_indices: Sequence of the joints that count, or None for all. The others still take
            part in the alignment.
        **kwargs: Base metric arguments.
    """

    def __init__(
            self, alignment='mean', name='mpjpe', *, i_root=None, joint_indices=None, **kwargs):
        super().__init__(alignment, name, i_root, joint_indices, **kwargs)

    def score(self, errors):
        """The errors themselves."""
        return errors


@keras.utils.register_keras_serializable(package='metro_tf')
class MRPE(_MaskedMean):
    """Mean error of the root position, in the unit of the coordinates.

    Args:
        i_root: Index of the root joint; negative ones count from the end. None takes the mean
            of the valid joints.
        name: Name in logs.
        **kwargs: Base metric arguments.
    """

    def __init__(self, i_root, name='mrpe', **kwargs):
        super().__init__(name=name, **kwargs)
        self.i_root = i_root

    def update_state(self, coords_true, coords_pred, mask):
        """Adds a batch: poses in the camera frame `[batch, joints, 3]` twice, and the mask."""
        coords_true, coords_pred, mask = _checked_poses(coords_true, coords_pred, mask)
        is_counted = tf.reduce_any(counted_joints(mask, self.i_root), axis=1)
        if self.i_root is None:
            roots = [
                masked.mean(coords, mask[..., tf.newaxis], axis=1)
                for coords in (coords_true, coords_pred)]
        else:
            roots = [coords[:, self.i_root] for coords in (coords_true, coords_pred)]
        self.accumulate(tf.norm(roots[0] - roots[1], axis=-1), is_counted)

    def get_config(self):
        return {**super().get_config(), 'i_root': self.i_root}


@keras.utils.register_keras_serializable(package='metro_tf')
class PCK(_JointMean):
    """Share of joints with an error of at most a threshold.

    Args:
        threshold: In the unit of the coordinates, 150 mm by convention.
        alignment: See `joint_errors`.
        name: Name in logs.
        is_strict: Whether an error equal to the threshold is too large (as in the protocols of
            Human3.6M, MPI-INF-3DHP and MuPoTS).
        **kwargs: `i_root` and `joint_indices` (see `MPJPE`), and base metric arguments.
    """

    def __init__(
            self, threshold=150.0, alignment='mean', name='pck', *, is_strict=False, **kwargs):
        super().__init__(alignment, name, **kwargs)
        self.threshold = checks.positive(threshold, 'threshold')
        self.is_strict = is_strict

    def score(self, errors):
        """1 where the error is small enough, else 0."""
        is_correct = errors < self.threshold if self.is_strict else errors <= self.threshold
        return tf.cast(is_correct, errors.dtype)

    def get_config(self):
        return {
            **super().get_config(), 'threshold': self.threshold, 'is_strict': self.is_strict}


@keras.utils.register_keras_serializable(package='metro_tf')
class AUC(_JointMean):
    """Area under the curve of PCK over thresholds from 0 to a limit, as a share in [0, 1].

    Args:
        threshold: The limit, in the unit of the coordinates, 150 mm by convention.
        alignment: See `joint_errors`.
        name: Name in logs.
        curve: With error e, limit t and n intervals, a joint counts
            'continuous': `max(0, 1 - e / t)`, the exact area;
            'thresholds': `max(0, 1 - floor(n e / t + 1) / (n + 1))`, the mean of the strict PCK
            at the n + 1 thresholds 0, t / n, ..., t (MPI-INF-3DHP and MuPoTS: n = 30);
            'trapezoids': `max(0, 1 - (floor(n e / t) + 0.5) / n)`, the trapezoidal rule on the
            same thresholds (3DPW: t = 199, n = 50).
        n_intervals: Number of intervals of the two stepped curves.
        **kwargs: `i_root` and `joint_indices` (see `MPJPE`), and base metric arguments.
    """

    def __init__(self, threshold=150.0, alignment='mean', name='auc', *, curve='continuous',
                 n_intervals=30, **kwargs):
        super().__init__(alignment, name, **kwargs)
        self.threshold = checks.positive(threshold, 'threshold')
        self.curve = checks.one_of(curve, CURVES, 'curve')
        self.n_intervals = checks.positive(n_intervals, 'n_intervals')

    def score(self, errors):
        """From 1 at no error down to 0 at the limit."""
        n = self.n_intervals
        if self.curve == 'thresholds':
            return tf.nn.relu(1 - tf.floor(n * errors / self.threshold + 1) / (n + 1))
        if self.curve == 'trapezoids':
            return tf.nn.relu(1 - (tf.floor(n * errors / self.threshold) + 0.5) / n)
        return tf.nn.relu(1 - errors / self.threshold)

    def get_config(self):
        return {
            **super().get_config(), 'threshold': self.threshold, 'curve': self.curve,
            'n_intervals': self.n_intervals}


@keras.utils.register_keras_serializable(package='metro_tf')
class NCPS(_PoseMean):
    """Normalised correct pose score: share of poses whose largest joint error is small enough.

    Args:
        threshold: In the unit of the coordinates; an error equal to it is small enough.
        alignment: See `joint_errors`. 'mean' or 'root' give the CPS, without normalisation.
        name: Name in logs.
        **kwargs: `i_root` and `joint_indices` (see `MPJPE`), and base metric arguments.
    """

    def __init__(self, threshold=150.0, alignment='procrustes', name='ncps', **kwargs):
        super().__init__(alignment, name, **kwargs)
        self.threshold = checks.positive(threshold, 'threshold')

    def score(self, worst_errors):
        """1 where the error is small enough, else 0."""
        return tf.cast(worst_errors <= self.threshold, worst_errors.dtype)

    def get_config(self):
        return {**super().get_config(), 'threshold': self.threshold}


@keras.utils.register_keras_serializable(package='metro_tf')
class NCPSAUC(_PoseMean):
    """Area under the curve of NCPS over thresholds from a start to a limit, in [0, 1].

    A pose with the largest joint error w counts `1 - (w - start) / (threshold - start)`, clipped
    to [0, 1].

    Args:
        threshold: The limit, in the unit of the coordinates.
        start: The least threshold: 50 mm to 150 mm in MeTRAbs, 0 to 300 mm on 3DPW.
        alignment: See `NCPS`.
        name: Name in logs.
        **kwargs: `i_root` and `joint_indices` (see `MPJPE`), and base metric arguments.
    """

    def __init__(
            self, threshold=150.0, start=50.0, alignment='procrustes', name='ncps_auc', **kwargs):
        super().__init__(alignment, name, **kwargs)
        self.threshold = checks.positive(threshold, 'threshold')
        if not 0 <= start < threshold:
            raise ValueError(
                '`start` must be at least 0 and below `threshold`. '
                f'Received: start={start}, threshold={threshold}')
        self.start = start

    def score(self, worst_errors):
        """Linear from 1 at the start to 0 at the limit."""
        excess = tf.nn.relu(worst_errors - self.start)
        return tf.nn.relu(1 - excess / (self.threshold - self.start))

    def get_config(self):
        return {**super().get_config(), 'threshold': self.threshold, 'start': self.start}


@keras.utils.register_keras_serializable(package='metro_tf')
class TorsoPCK(_MaskedMean):
    """Share of joints within a fraction of the torso in the image (PCK of LSP).

    The torso is the distance of the left shoulder and the right hip. Examples where either is
    not labelled do not count.

    Args:
        joint_names: Sequence of names with `lsho` and `rhip`.
        fraction: Threshold in torsos, 0.2 by convention.
        name: Name in logs.
        **kwargs: Base metric arguments.
    """

    def __init__(self, joint_names, fraction=0.2, name='torso_pck', **kwargs):
        super().__init__(name=name, **kwargs)
        if not has_torso(joint_names):
            raise ValueError(f'`joint_names` must contain lsho and rhip. Received: {joint_names}')
        self.joint_names = list(joint_names)
        self.fraction = checks.positive(fraction, 'fraction')

    def update_state(self, coords2d_true, coords2d_pred, mask):
        """Adds a batch: px `[batch, joints, 2]` twice, and the mask `[batch, joints]`."""
        coords2d_true, coords2d_pred, mask = _checked_poses(coords2d_true, coords2d_pred, mask)
        ends = [self.joint_names.index(name) for name in _TORSO_ENDS]
        torso = tf.norm(coords2d_true[:, ends[0]] - coords2d_true[:, ends[1]], axis=-1)
        is_measured = mask[:, ends[0]] & mask[:, ends[1]]
        errors = tf.norm(coords2d_true - coords2d_pred, axis=-1)
        is_correct = tf.cast(errors <= self.fraction * torso[:, tf.newaxis], errors.dtype)
        self.accumulate(is_correct, mask & is_measured[:, tf.newaxis])

    def get_config(self):
        return {
            **super().get_config(), 'joint_names': self.joint_names, 'fraction': self.fraction}


@keras.utils.register_keras_serializable(package='metro_tf')
class DistanceError(_MaskedMean):
    """Mean relative error of the distance of the person from the camera.

    The distance is that of the mean of the valid joints.

    Args:
        name: Name in logs.
        **kwargs: Base metric arguments.
    """

    def __init__(self, name='distance_error', **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, coords3d_true, coords3d_pred, mask):
        """Adds a batch: mm in the camera frame `[batch, joints, 3]` twice, and the mask."""
        coords3d_true, coords3d_pred, mask = _checked_poses(coords3d_true, coords3d_pred, mask)
        distance_true, distance_pred = [
            tf.norm(masked.mean(coords, mask[..., tf.newaxis], axis=1), axis=-1)
            for coords in (coords3d_true, coords3d_pred)]
        error = tf.abs(distance_pred - distance_true) / tf.maximum(distance_true, 1.0)
        self.accumulate(error, tf.reduce_any(mask, axis=1))


def _checked_poses(coords_true, coords_pred, mask):
    """Float tensors and boolean mask; `ValueError` if the static shapes do not fit together."""
    coords_true = checks.last_axes(coords_true, (None, None, None), 'coords_true')
    sizes = coords_true.shape if coords_true.shape.rank else (None, None, None)
    coords_pred = checks.last_axes(coords_pred, sizes, 'coords_pred', coords_true.dtype)
    mask = checks.last_axes(mask, sizes[:2], 'mask')
    return coords_true, coords_pred, tf.cast(mask, tf.bool)


def _check_alignment(alignment, i_root):
    checks.one_of(alignment, ALIGNMENTS, 'alignment')
    if (i_root is None) == (alignment == 'root'):
        raise ValueError(
            '`i_root` must be an index for the alignment \'root\' and None for others. '
            f'Received: i_root={i_root}, alignment={alignment!r}')
