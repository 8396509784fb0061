"""Losses on image coordinates. The package states what all losses have in common."""

import dataclasses

from metro_tf import checks
from metro_tf.geometry import camera, masked
from metro_tf.losses import selection


@dataclasses.dataclass(frozen=True)
class FieldOfView:
    """Where in a crop predictions and labels count (see `camera.is_within_fov`).

    Args:
        crop_side_px: Side of the square crop.
        stride_px: The stride at which the model is trained.
        border_factor: Width of the border, in strides, where predictions do not count. R20: 1.
        label_border_factor: Likewise for labels. -20 takes those far outside the crop as well:
            from -640 to 896 px for side 256 and stride 32.
        centered: Whether heatmap cell i lies at pixel `stride * i + stride / 2`.
    """
    crop_side_px: int
    stride_px: int
    border_factor: float = 0.75
    label_border_factor: float = -20.0
    centered: bool = True

    def __post_init__(self):
        checks.positive(self.crop_side_px, 'crop_side_px')
        checks.positive(self.stride_px, 'stride_px')

    def contains(self, coords2d_true, coords2d_pred):
        """Whether label and prediction both count: boolean tensor `[batch, joints]`.

        Args:
            coords2d_true, coords2d_pred: Float tensors `[batch, joints, 2]`, px.
        """
        is_label_inside, is_pred_inside = [
            camera.is_within_fov(
                coords2d, self.crop_side_px, self.stride_px, border_factor, self.centered)
            for coords2d, border_factor in (
                (coords2d_true, self.label_border_factor), (coords2d_pred, self.border_factor))]
        return is_label_inside & is_pred_inside


def projection_loss(coords3d_true, coords3d_pred, intrinsics, mask, meters_per_px, *, fov,
                    near_limit_mm=300.0, min_depth_mm=1.0, reduction='joints'):
    """L1 of the projections of labelled and predicted joints (R23, examples with 3D labels).

    A joint counts where it is valid, truly farther than `near_limit_mm`, predicted farther than
    `min_depth_mm`, and where `fov` contains both projections.

    Args:
        coords3d_true, coords3d_pred: Float tensors `[batch, joints, 3]`, camera frame, mm.
        intrinsics: Float tensor `[batch, 3, 3]` of the crop, px.
        mask: Boolean tensor `[batch, joints]`.
        meters_per_px: See `image_loss`.
        fov: `FieldOfView`.
        near_limit_mm: Least true depth.
        min_depth_mm: Least predicted depth; true depths must exceed it, too.
        reduction: See the package.

    Returns:
        Scalar, metres.

    Raises:
        ValueError: If a static shape or the reduction does not fit.
    """
    mask, (coords3d_true, coords3d_pred) = selection.checked(
        mask, 3, coords3d_true=coords3d_true, coords3d_pred=coords3d_pred)
    coords2d_true = camera.project(coords3d_true, intrinsics)
    coords2d_pred = camera.project(coords3d_pred, intrinsics)
    is_in_front = (
        (coords3d_true[..., 2] > max(near_limit_mm, min_depth_mm))
        & (coords3d_pred[..., 2] > min_depth_mm))
    return weak_projection_loss(
        coords2d_true, coords2d_pred, mask & is_in_front, meters_per_px, fov=fov,
        reduction=reduction)


def weak_projection_loss(
        coords2d_true, coords2d_pred, mask, meters_per_px, *, fov, reduction='joints'):
    """L1 of image coordinates where label and prediction are in view (R23, 2D labels only).

    Args:
        coords2d_true: Float tensor `[batch, joints, 2]`, px.
        coords2d_pred: Float tensor of that shape, px: projections of the predicted joints,
            averaged by `group_means` where the dataset names its joints otherwise.
        mask: Boolean tensor `[batch, joints]`.
        meters_per_px: See `image_loss`.
        fov: `FieldOfView`.
        reduction: See the package.

    Returns:
        Scalar, metres.

    Raises:
        ValueError: If a static shape or the reduction does not fit.
    """
    mask, (coords2d_true, coords2d_pred) = selection.checked(
        mask, 2, coords2d_true=coords2d_true, coords2d_pred=coords2d_pred)
    mask &= fov.contains(coords2d_true, coords2d_pred)
    return image_loss(coords2d_true, coords2d_pred, mask, meters_per_px, reduction=reduction)


def image_loss(coords2d_true, coords2d_pred, mask, meters_per_px, *, reduction='joints'):
    """L1 of image coordinates.

    Args:
        coords2d_true, coords2d_pred: Float tensors `[batch, joints, 2]`, px.
        mask: Boolean tensor `[batch, joints]`.
        meters_per_px: Metric side of the volume over the side of the crop, which makes the
            loss comparable to metric ones. 2.2 m over 256 px give 0.00859375.
        reduction: See the package.

    Returns:
        Scalar, metres.

    Raises:
        ValueError: If a static shape or the reduction does not fit.
    """
    mask, (coords2d_true, coords2d_pred) = selection.checked(
        mask, 2, coords2d_true=coords2d_true, coords2d_pred=coords2d_pred)
    return meters_per_px * selection.l1(coords2d_true, coords2d_pred, mask, reduction)


def aligned_image_loss(coords2d_true, coords_pred, mask, meters_per_px, *, reduction='joints'):
    """L1 after moving and scaling the prediction onto the labels (MeTRo, weak supervision).

    Args:
        coords2d_true: Float tensor `[batch, joints, 2]`, px.
        coords_pred: Float tensor `[batch, joints, 2]`, any unit: x and y of metric predictions.
        mask: Boolean tensor `[batch, joints]`.
        meters_per_px: See `image_loss`.
        reduction: See the package.

    Returns:
        Scalar, metres.

    Raises:
        ValueError: If a static shape or the reduction does not fit.
    """
    mask, (coords2d_true, coords_pred) = selection.checked(
        mask, 2, coords2d_true=coords2d_true, coords_pred=coords_pred)
    mean_true, spread_true = masked.mean_and_spread(coords2d_true, mask)
    mean_pred, spread_pred = masked.mean_and_spread(coords_pred, mask)
    aligned = (coords_pred - mean_pred) * (spread_true / spread_pred) + mean_true
    return image_loss(coords2d_true, aligned, mask, meters_per_px, reduction=reduction)
