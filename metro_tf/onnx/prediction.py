"""Poses of given people in NumPy: views, crops, network and the way back; see `prediction`."""

import numpy as np

from metro_tf.onnx import tta, view, warp


class PosePredictor:
    """Predicts people in full images with a crop network.

    Args:
        network: Function from float32 crops `image` `[n, side, side, 3]` in [0, 1] and
            `intrinsic_matrix` `[n, 3, 3]` to a dict of `poses` `[n, joints, 3]`, mm, and, if it
            tells them, `uncertainty` `[n, joints]`, mm.
        output_shapes: Dict from the names of its outputs to their shapes without the first axis.
        input_resolution: Int, side of the crops in px.
        mirror_mapping: Sequence of ints, see `skeleton.Skeleton`.
        **augmentation: `max_angle` and `angle_spread`, see `tta.parameters`.
    """

    def __init__(self, network, output_shapes, input_resolution, mirror_mapping, **augmentation):
        self._network = network
        self._output_shapes = output_shapes
        self._side_px = input_resolution
        self._mirror_mapping = mirror_mapping
        self._augmentation = augmentation

    def predict(
            self, images, image_index, boxes, cameras, *, num_aug, antialias_factor,
            internal_batch_size):
        """Predicts people in all augmented views.

        Args:
            images: uint8 array `[n_images, height, width, 3]`.
            image_index: Int array `[n]`, the image of each person.
            boxes: Float32 array `[n, 4 or 5]`, px.
            cameras: `calibration.Cameras` with one row per person.
            num_aug: Int, at least 1.
            antialias_factor: Int, at least 1.
            internal_batch_size: Int, crops per call of the network; 0 is all.

        Returns:
            Dict of float32 arrays: `poses` `[n, num_aug, joints, 3]`, original camera frame, mm,
            and, if the network gives it, `uncertainty` `[n, num_aug, joints]`, mm.
        """
        rotations, box_scales = view.virtual_cameras(boxes, cameras, self._side_px)
        n_people = len(image_index)
        batch_size = max(internal_batch_size // num_aug, 1) if internal_batch_size else n_people
        outputs = {
            name: np.zeros([n_people, num_aug, *shape], np.float32)
            for name, shape in self._output_shapes.items()}
        for start in range(0, n_people, max(batch_size, 1)):
            some = slice(start, start + batch_size)
            some_outputs = self._predict_batch(
                images, image_index[some], cameras.rows(some), rotations[some],
                box_scales=box_scales[some], num_aug=num_aug, antialias_factor=antialias_factor)
            for name, output in outputs.items():
                output[some] = some_outputs[name]
        return outputs

    def _predict_batch(
            self, images, image_index, cameras, rotations, *, box_scales, num_aug,
            antialias_factor):
        side_px = self._side_px
        aug = tta.parameters(num_aug, **self._augmentation)
        rotations = tta.view_matrices(
            aug['angle'], aug['should_flip']) @ rotations[:, np.newaxis]
        scales = box_scales[:, np.newaxis] * aug['scale']
        crop_intrinsics = view.crop_intrinsics(
            cameras.intrinsics[:, np.newaxis], scales, side_px)
        crops = warp.sample_crops(
            images, image_index, cameras.intrinsics, cameras.distortion_coeffs, crop_intrinsics,
            rotations=rotations, scales=scales, gamma=aug['gamma'], crop_side_px=side_px,
            antialias_factor=antialias_factor)
        outputs = self._network(
            image=crops.reshape(-1, side_px, side_px, 3),
            intrinsic_matrix=crop_intrinsics.reshape(-1, 3, 3))
        outputs = {
            name: outputs[name].reshape(-1, num_aug, *shape)
            for name, shape in self._output_shapes.items()}
        return self._undone(outputs, rotations, aug['should_flip'])

    def _undone(self, outputs, rotations, should_flip):
        """Outputs of augmented views as they are in the original camera's frame."""
        mirroring = should_flip, self._mirror_mapping
        outputs['poses'] = tta.undo(outputs['poses'], rotations, *mirroring)
        if 'uncertainty' in outputs:
            outputs['uncertainty'] = tta.undo_mirroring(
                outputs['uncertainty'][..., np.newaxis], *mirroring)[..., 0]
        return outputs
