"""Scores of poses in NumPy, batched over poses.

Poses are `[poses, joints, coords]`, in mm (3D) or px (2D), of any frame that labels and predictions
share. A joint is missing where its label is not finite or a mask is false; it then counts neither
above nor below the line. Errors of missing joints are NaN, and so is a score over nothing.
"""

import numpy as np

ALIGNMENTS = ('none', 'root', 'scale', 'rigid', 'procrustes')
# 0, 5, ..., 150 mm, as on MPI-INF-3DHP and MuPoTS.
AUC_THRESHOLDS_MM = np.arange(31) * 5.0


def joint_errors(coords_true, coords_pred, mask=None, alignment='none', root_joints=None):
    """Distance of every predicted joint from its label after an alignment.

    Args:
        coords_true, coords_pred: Arrays `[poses, joints, coords]`. Labels may be NaN.
        mask: Boolean array `[poses, joints]`, or None if the finite labels count.
        alignment: 'none'; 'root': the roots coincide; 'scale': the same, then the prediction is
            scaled to fit best; 'rigid': best rotation and translation; 'procrustes': best
            similarity. None of them reflects.
        root_joints: Sequence of indices of joints whose mean is the root, for 'root' and 'scale'.
            A pose with a missing root is missing as a whole.

    Returns:
        Float array `[poses, joints]` in the unit of the coordinates.

    Raises:
        ValueError: If the alignment is unknown, shapes differ, or a prediction is not finite.
    """
    coords_true, coords_pred, is_valid = _checked(coords_true, coords_pred, mask)
    if alignment not in ALIGNMENTS:
        raise ValueError(
            f'`alignment` must be one of {ALIGNMENTS}. Received: alignment={alignment!r}')
    if alignment in ('root', 'scale'):
        coords_true, coords_pred, is_valid = _at_root(
            coords_true, coords_pred, is_valid, root_joints)
    if alignment == 'scale':
        coords_pred = _best_scale(coords_true, coords_pred, is_valid) * coords_pred
    elif alignment in ('rigid', 'procrustes'):
        coords_pred = procrustes(
            coords_true, coords_pred, is_valid, with_scale=alignment == 'procrustes')
    errors = np.linalg.norm(coords_true - coords_pred, axis=-1)
    return np.where(is_valid, errors, np.nan)


def procrustes(coords_true, coords_pred, mask=None, *, with_scale=True):
    """Moves every predicted pose onto its label by rotation, translation and uniform scale.

    The fit is over the joints that are there; reflections are not allowed. A pose with a single
    joint falls on it.

    Args:
        coords_true, coords_pred: Arrays `[poses, joints, 3]`.
        mask: See `joint_errors`.
        with_scale: Whether the scale may change.

    Returns:
        Float array `[poses, joints, 3]`, the moved predictions.

    Raises:
        ValueError: See `joint_errors`.
    """
    coords_true, coords_pred, is_valid = _checked(coords_true, coords_pred, mask)
    weights = is_valid[..., np.newaxis].astype(np.float64)
    n_valid = np.maximum(weights.sum(axis=1, keepdims=True), 1)
    mean_true, mean_pred = (
        (weights * coords).sum(axis=1, keepdims=True) / n_valid
        for coords in (coords_true, coords_pred))
    centred_true, centred_pred = weights * (coords_true - mean_true), coords_pred - mean_pred
    # `matmul` is several times as fast as `einsum` on so many small matrices.
    u, singular, v_transposed = np.linalg.svd(
        np.matmul(centred_pred.swapaxes(1, 2), centred_true))
    # Turns the least axis around where the best orthogonal matrix is a reflection.
    sign = np.sign(np.linalg.det(u) * np.linalg.det(v_transposed))
    singular[:, -1] *= sign
    u[:, :, -1] *= sign[:, np.newaxis]
    moved = np.matmul(centred_pred, np.matmul(u, v_transposed))
    if with_scale:
        spread = (weights * centred_pred**2).sum(axis=(1, 2))
        scale = np.divide(
            singular.sum(axis=1), spread, out=np.zeros_like(spread), where=spread > 0)
        moved *= scale[:, np.newaxis, np.newaxis]
    return moved + mean_true


def mpjpe(coords_true, coords_pred, mask=None, *, root_joints):
    """Mean error relative to the root. Means are over the joints of a pose, then over poses."""
    return mean_of_poses(joint_errors(coords_true, coords_pred, mask, 'root', root_joints))


def pa_mpjpe(coords_true, coords_pred, mask=None):
    """Like `mpjpe` after the best similarity."""
    return mean_of_poses(joint_errors(coords_true, coords_pred, mask, 'procrustes'))


def n_mpjpe(coords_true, coords_pred, mask=None, *, root_joints):
    """Like `mpjpe` after the best scale about the root."""
    return mean_of_poses(joint_errors(coords_true, coords_pred, mask, 'scale', root_joints))


def absolute_mpjpe(coords_true, coords_pred, mask=None):
    """Like `mpjpe` without any alignment, of poses in the frame of the camera."""
    return mean_of_poses(joint_errors(coords_true, coords_pred, mask))


def mrpe(coords_true, coords_pred, mask=None, *, root_joints):
    """Mean error of the root (the mean of `root_joints`) in the frame of the camera."""
    coords_true, coords_pred, is_valid = _checked(coords_true, coords_pred, mask)
    roots = [coords[:, root_joints].mean(axis=1, keepdims=True)
             for coords in (coords_true, coords_pred)]
    is_valid = is_valid[:, root_joints].all(axis=1, keepdims=True)
    return mean_of_poses(joint_errors(*roots, is_valid))


def mpjve(coords_true, coords_pred, sequences, mask=None, *, root_joints):
    """Mean error of the velocity relative to the root, per frame.

    Args:
        coords_true, coords_pred, mask, root_joints: See `joint_errors`. Poses that follow each
            other in a sequence follow each other here.
        sequences: Array `[poses]`, the sequence of each pose. Differences are within one.
    """
    coords_true, coords_pred, is_valid = _checked(coords_true, coords_pred, mask)
    coords_true, coords_pred, is_valid = _at_root(coords_true, coords_pred, is_valid, root_joints)
    is_same = np.asarray(sequences)[1:] == np.asarray(sequences)[:-1]
    return mean_of_poses(joint_errors(
        np.diff(coords_true, axis=0), np.diff(coords_pred, axis=0),
        is_valid[1:] & is_valid[:-1] & is_same[:, np.newaxis]))


def mean(values, axis=None):
    """Mean of the values that are not NaN; NaN where there are none."""
    values = np.asarray(values, np.float64)
    count = np.sum(~np.isnan(values), axis=axis)
    total = np.asarray(np.nansum(values, axis=axis))
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def mean_of_poses(errors):
    """Mean over the joints of a pose, then over the poses that have any, of `[poses, joints]`."""
    return float(mean(mean(errors, axis=1)))


def pck(errors, threshold=150.0, *, is_strict=True):
    """Share of joints with an error below a threshold, or also at it if not strict."""
    return float(mean(_within(errors, threshold, is_strict)))


def auc(errors, thresholds=AUC_THRESHOLDS_MM, *, is_strict=True):
    """Mean of `pck` over thresholds. A perfect joint counts 30/31 by default, for 0 is one."""
    errors = np.asarray(errors, np.float64)
    n_passed = np.searchsorted(np.sort(thresholds), errors, 'right' if is_strict else 'left')
    return float(mean(np.where(np.isnan(errors), np.nan, 1 - n_passed / len(thresholds))))


def trapezoid_auc(errors, limit=199.0, n_intervals=50):
    """Area under the curve of `pck` from 0 to a limit by the trapezoidal rule, as on 3DPW.

    A joint with error e counts `max(0, 1 - (floor(n e / limit) + 0.5) / n)`.
    """
    steps = np.floor(n_intervals * np.asarray(errors) / limit) + 0.5
    return float(mean(np.maximum(0, 1 - steps / n_intervals)))


def cps(errors, threshold):
    """Correct pose score: share of poses whose largest joint error is at most a threshold."""
    return pck(largest_errors(errors), threshold, is_strict=False)


def largest_errors(errors):
    """Largest error of each pose, `[poses]`; NaN where it has none."""
    has_any = ~np.isnan(errors).all(axis=1)
    return np.where(has_any, np.nanmax(np.where(has_any[:, np.newaxis], errors, 0), axis=1), np.nan)


def pckh(errors, head_sizes, fraction=0.5):
    """Share of joints within a fraction of the size of the head.

    Args:
        errors: Array `[poses, joints]`, px.
        head_sizes: Array `[poses]`, px; on MPII 0.6 of the diagonal of the box of the head.
        fraction: An error equal to this fraction is small enough.
    """
    return pck(_in_sizes(errors, head_sizes, 'head_sizes'), fraction, is_strict=False)


def torso_pck(errors, torso_sizes, fraction=0.2):
    """Like `pckh`, in torsos (left shoulder to right hip on LSP). NaN torsos do not count."""
    return pck(_in_sizes(errors, torso_sizes, 'torso_sizes'), fraction, is_strict=False)


def correct_limbs(coords_true, coords_pred, limbs, mask=None, *, fraction=0.5, is_strict=True):
    """Which limbs are correct parts; their mean is PCP.

    Args:
        coords_true, coords_pred, mask: See `joint_errors`.
        limbs: Sequence of pairs of joint indices.
        fraction: Largest error in lengths of the true limb.
        is_strict: Whether both ends must be within that, or ("loose") the mean of their errors.

    Returns:
        Float array `[poses, limbs]`: 1 correct, 0 wrong, NaN missing.
    """
    ends = np.asarray(limbs)
    errors = joint_errors(coords_true, coords_pred, mask)[:, ends]
    error = errors.max(axis=-1) if is_strict else errors.mean(axis=-1)
    coords_true = np.asarray(coords_true, np.float64)
    lengths = np.linalg.norm(coords_true[:, ends[:, 0]] - coords_true[:, ends[:, 1]], axis=-1)
    return np.where(np.isnan(error), np.nan, error <= fraction * lengths)


def pcp(coords_true, coords_pred, limbs, mask=None, *, fraction=0.5, is_strict=True):
    """Percentage of correct parts, as a share; see `correct_limbs`."""
    return float(mean(correct_limbs(
        coords_true, coords_pred, limbs, mask, fraction=fraction, is_strict=is_strict)))


def oks(coords_true, coords_pred, areas, sigmas):
    """Object keypoint similarity.

    Args:
        coords_true, coords_pred: Arrays `[..., joints, 2]` in px whose leading axes broadcast.
            Labels may be NaN.
        areas: Array `[...]`, areas of the labelled people in px².
        sigmas: Sequence `[joints]`, standard deviations of the labels in units of the root of the
            area.

    Returns:
        Float array `[...]` in [0, 1]; NaN where no joint is labelled.
    """
    squared = np.sum((np.asarray(coords_true) - coords_pred)**2, axis=-1)
    variances = (2 * np.asarray(sigmas))**2
    scaled = squared / (2 * variances * (np.asarray(areas)[..., np.newaxis] + np.spacing(1)))
    return mean(np.exp(-scaled), axis=-1)


def _checked(coords_true, coords_pred, mask):
    """Float arrays with zeros for what is missing, and which joints are there."""
    coords_true, coords_pred = (
        np.asarray(coords, np.float64) for coords in (coords_true, coords_pred))
    if coords_true.ndim != 3 or coords_true.shape != coords_pred.shape:
        raise ValueError(
            '`coords_true` and `coords_pred` must have one shape [poses, joints, coords]. '
            f'Received: {coords_true.shape} and {coords_pred.shape}')
    is_valid = np.isfinite(coords_true).all(axis=-1)
    if mask is not None:
        if np.shape(mask) != is_valid.shape:
            raise ValueError(
                f'`mask` must have shape {is_valid.shape}. Received: {np.shape(mask)}')
        is_valid = is_valid & np.asarray(mask, bool)
    if not np.isfinite(coords_pred[is_valid]).all():
        raise ValueError(
            '`coords_pred` must be finite where there are labels. Received: NaN or infinity')
    coords_true, coords_pred = (
        np.where(is_valid[..., np.newaxis], coords, 0) for coords in (coords_true, coords_pred))
    return coords_true, coords_pred, is_valid


def _at_root(coords_true, coords_pred, is_valid, root_joints):
    """Poses relative to the root; those without one are missing."""
    if root_joints is None:
        raise ValueError('`root_joints` must be given for this alignment. Received: None')
    root_joints = list(root_joints)
    has_root = is_valid[:, root_joints].all(axis=1, keepdims=True)
    coords_true, coords_pred = (
        coords - coords[:, root_joints].mean(axis=1, keepdims=True)
        for coords in (coords_true, coords_pred))
    return coords_true, coords_pred, is_valid & has_root


def _best_scale(coords_true, coords_pred, is_valid):
    """Scale of each prediction that fits best, `[poses, 1, 1]`."""
    weighted = coords_pred * is_valid[..., np.newaxis]
    norm = np.sum(weighted**2, axis=(1, 2), keepdims=True)
    product = np.sum(weighted * coords_true, axis=(1, 2), keepdims=True)
    return np.divide(product, norm, out=np.zeros_like(norm), where=norm > 0)


def _within(errors, threshold, is_strict):
    errors = np.asarray(errors, np.float64)
    is_correct = errors < threshold if is_strict else errors <= threshold
    return np.where(np.isnan(errors), np.nan, is_correct)


def _in_sizes(errors, sizes, name):
    """Errors in units of one size per pose."""
    sizes = np.asarray(sizes, np.float64)
    if sizes.shape != np.shape(errors)[:1] or (sizes <= 0).any():
        raise ValueError(
            f'`{name}` must be {len(errors)} positive numbers. Received: {name}={sizes}')
    return errors / sizes[:, np.newaxis]
