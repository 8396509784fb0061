"""Poses of given people: their virtual cameras, augmented views, crops, network, and the way back.

One crop is one augmented view of one person. Crops of all people and images are sampled and
predicted together, in batches of bounded size.
"""

import tensorflow as tf

from metro_tf import tta
from metro_tf.cropping import view, warp
from metro_tf.geometry import distortion


class PosePredictor(tf.Module):
    """Predicts people in full images with a crop network.

    Args:
        crop_network: `crop_network.CropNetwork`.
        max_angle: See `tta.parameters`.
        angle_spread: See `tta.parameters`.
    """

    def __init__(self, crop_network, max_angle, angle_spread):
        super().__init__(name='pose_predictor')
        self.crop_network = crop_network
        self.max_angle = max_angle
        self.angle_spread = angle_spread
        # A function of its own, so that the graph holds it once for its two uses below.
        self._predict_batch = tf.function(
            self._predict_batch_graph, autograph=False, input_signature=[
                tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None, 3, 3]), tf.TensorSpec([None, distortion.MAX_COEFFS]),
                tf.TensorSpec([None, 3, 3]), tf.TensorSpec([None]), tf.TensorSpec([], tf.int32),
                tf.TensorSpec([], tf.int32)])

    def predict(
            self, images, image_index, boxes, cameras, num_aug, antialias_factor,
            internal_batch_size):
        """Predicts people in all augmented views.

        Args:
            images: uint8 tensor `[n_images, height, width, 3]`.
            image_index: Int32 tensor `[n]`, the image of each person.
            boxes: Float32 tensor `[n, 4 or 5]`, px.
            cameras: `calibration.Cameras` with one row per person.
            num_aug: Int32 scalar, at least 1.
            antialias_factor: Int32 scalar, at least 1.
            internal_batch_size: Int32 scalar, crops per call of the network; 0 is all.

        Returns:
            Dict of float32 tensors: `poses` `[n, num_aug, joints, 3]`, original camera frame, mm,
            and, if the crop network gives it, `uncertainty` `[n, num_aug, joints]`, mm.
        """
        rotations, box_scales = view.virtual_cameras(
            boxes, cameras.intrinsics, cameras.distortion_coeffs, cameras.up,
            self.crop_network.input_resolution)
        people = (
            image_index, cameras.intrinsics, cameras.distortion_coeffs, rotations, box_scales)
        n_people = tf.size(image_index)
        batch_size = tf.where(
            tf.equal(internal_batch_size, 0), n_people,
            tf.maximum(internal_batch_size // num_aug, 1))

        def predict_some(*people):
            """Outputs for some of the people, in one batch."""
            return self._predict_batch(images, *people, num_aug, antialias_factor)

        return tf.cond(
            (n_people > 0) & (n_people <= batch_size),
            lambda: predict_some(*people),
            lambda: self._in_batches(predict_some, people, n_people, batch_size, num_aug))

    def _in_batches(self, predict_some, people, n_people, batch_size, num_aug):
        shapes = self.crop_network.output_shapes

        def predict_next(start, outputs):
            """Writes the outputs for the next batch of people into those for all."""
            stop = tf.minimum(start + batch_size, n_people)
            some_outputs = predict_some(*(values[start:stop] for values in people))
            rows = tf.range(start, stop)[:, tf.newaxis]
            return stop, {
                name: tf.tensor_scatter_nd_update(outputs[name], rows, some_outputs[name])
                for name in shapes}

        _, outputs = tf.while_loop(
            lambda start, outputs: start < n_people, predict_next,
            (0, {name: tf.zeros([n_people, num_aug, *shape]) for name, shape in shapes.items()}),
            parallel_iterations=1, shape_invariants=(tf.TensorShape([]), {
                name: tf.TensorShape([None, None, *shape]) for name, shape in shapes.items()}))
        return outputs

    def _predict_batch_graph(
            self, images, image_index, intrinsics, distortion_coeffs, rotations, box_scales,
            num_aug, antialias_factor):
        side_px = self.crop_network.input_resolution
        aug = tta.parameters(num_aug, max_angle=self.max_angle, angle_spread=self.angle_spread)
        rotations = tf.matmul(
            tta.view_matrices(aug['angle'], aug['should_flip']), rotations[:, tf.newaxis])
        scales = tf.reshape(box_scales[:, tf.newaxis] * aug['scale'], [-1])
        # Person by person, each with all its views.
        crop_person = tf.repeat(tf.range(tf.size(image_index)), num_aug)
        intrinsics = tf.gather(intrinsics, crop_person)
        crop_intrinsics = view.crop_intrinsics(intrinsics, scales, side_px)
        crops = warp.sample_crops(
            images, tf.gather(image_index, crop_person), intrinsics,
            tf.gather(distortion_coeffs, crop_person), crop_intrinsics,
            rotations=tf.reshape(rotations, [-1, 3, 3]), scales=scales,
            gamma=tf.tile(aug['gamma'], tf.shape(image_index)), crop_side_px=side_px,
            antialias_factor=antialias_factor)
        outputs = self.crop_network.predict(crops, crop_intrinsics)
        outputs = {
            name: tf.reshape(outputs[name], [-1, num_aug, *shape])
            for name, shape in self.crop_network.output_shapes.items()}
        mirroring = aug['should_flip'], self.crop_network.mirror_mapping
        outputs['poses'] = tta.undo(outputs['poses'], rotations, *mirroring)
        if 'uncertainty' in outputs:
            outputs['uncertainty'] = tta.undo_uncertainty(outputs['uncertainty'], *mirroring)
        return outputs
