"""Loss terms of metric-scale pose estimation, as functions of tensors.

Joint arrays are `[batch, joints, coords]`, masks boolean `[batch, joints]`. Labels of masked joints
may be anything, NaN included. Losses on 3D coordinates take mm and return metres; those on image
coordinates take px and return metres by way of `meters_per_px`; those on heatmaps return nats;
those on marginal heatmaps work in the normalised cuboid; and that on volumes of scores returns a
squared score. Where nothing is selected, a loss is 0 with zero gradient.

Every loss takes a `reduction`: 'joints' is the mean over all selected joints of the batch, as
published, in which examples with more of them count more; 'examples' is the mean over examples of
the means over their selected joints, without the examples that have none.

R23 and R20 in the descriptions are the published MeTRAbs code of 2023 and its first release of
2020 (Sarandi et al., T-BIOM 2021); MeTRo is that of FG 2020.
"""

from metro_tf.losses.heads import (
    head_loss, heatmap_cross_entropy, pose25d_loss, volume_cross_entropy, weak_head_loss)
from metro_tf.losses.image import (
    FieldOfView, aligned_image_loss, image_loss, projection_loss, weak_projection_loss)
from metro_tf.losses.label_joints import group_means, lower_hips, matching_joints
from metro_tf.losses.latent import (
    HYBRID_2D, HYBRID_3D, HybridWeights, consistency_loss, hybrid_loss, perspective_loss)
from metro_tf.losses.marginal import (
    gaussians, heatmap_divergence, jensen_shannon, marginal_distance, marginal_divergence,
    marginal_loss, plane_divergences, volume_divergence)
from metro_tf.losses.pose import MM_PER_M, absolute_loss, centered, root_relative_loss
from metro_tf.losses.selection import REDUCTIONS
from metro_tf.losses.volumetric import volumetric_loss

__all__ = [
    'HYBRID_2D', 'HYBRID_3D', 'MM_PER_M', 'REDUCTIONS', 'FieldOfView', 'HybridWeights',
    'absolute_loss', 'aligned_image_loss', 'centered', 'consistency_loss', 'gaussians',
    'group_means', 'head_loss', 'heatmap_cross_entropy', 'heatmap_divergence', 'hybrid_loss',
    'image_loss', 'jensen_shannon', 'lower_hips', 'marginal_distance', 'marginal_divergence',
    'marginal_loss', 'matching_joints', 'perspective_loss', 'plane_divergences', 'pose25d_loss',
    'projection_loss', 'root_relative_loss', 'volume_cross_entropy', 'volume_divergence',
    'volumetric_loss', 'weak_head_loss', 'weak_projection_loss']
