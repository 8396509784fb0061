"""Labels that are not to be trusted."""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class DropLowLabels:
    """Transform: discards 2D labels at the bottom of a photo, where they are often guessed.

    It applies to examples without 3D labels, before they are moved into a crop (MeTRAbs).

    Args:
        max_height: Joints whose y is above this fraction of the photo's height are discarded.
    """
    max_height: float

    def __call__(self, example, seed):
        """Returns the example with its labels changed; takes no random decision."""
        top, height = example['frame'][1], example['frame'][3]
        is_low = example['coords2d'][:, 1] - top > self.max_height * height
        mask = example['joint_validity_mask_2d'] & (example['has_3d'] | ~is_low)
        return {
            **example,
            'coords2d': tf.where(mask[:, tf.newaxis], example['coords2d'], 0.0),
            'joint_validity_mask_2d': mask}
