"""Stand-ins for trained networks, whose results can be worked out by hand."""

import tensorflow as tf

JOINT_NAMES = ('pelv', 'neck', 'htop', 'lwri', 'rwri', 'lank', 'rank')
JOINT_EDGES = ((0, 1), (1, 2), (1, 3), (1, 4), (0, 5), (0, 6))
MIRROR_MAPPING = (0, 1, 2, 4, 3, 6, 5)
# The body of every person: crop px from the crop's centre, at a depth for which see below.
BODY_PX = (
    (0.0, 0.0), (0.0, -16.0), (0.0, -24.0), (12.0, -8.0), (-12.0, -8.0), (6.0, 24.0), (-6.0, 24.0))
DEPTH_MM = 3000.0
CROP_SIDE_PX = 64


class FakeCropModel(tf.Module):
    """A person in the crop's centre, always in the same place of the picture, 3 m away.

    The brightness of the crop, 0 to 1, moves it away by up to 1 m. The body is symmetric, so
    mirrored crops give the same person.
    """
    input_resolution = CROP_SIDE_PX
    joint_names = JOINT_NAMES
    joint_edges = JOINT_EDGES
    mirror_mapping = MIRROR_MAPPING

    def __init__(self):
        super().__init__()
        self.body_px = tf.Variable(BODY_PX, trainable=False)
        self.n_traces = 0

    def __call__(self, image, intrinsics):
        self.n_traces += 1
        pixels = self.body_px + CROP_SIDE_PX / 2
        rays = tf.linalg.inv(intrinsics)[:, tf.newaxis] @ tf.concat(
            [pixels, tf.ones_like(pixels[:, :1])], axis=-1)[..., tf.newaxis]
        depth = DEPTH_MM + 1000.0 * tf.reduce_mean(image, axis=(1, 2, 3))
        return rays[..., 0] * depth[:, tf.newaxis, tf.newaxis]


class FakeUnsureCropModel(FakeCropModel):
    """Is unsure of joint i by 10 (i + 1) mm, and of all by up to 100 mm more in the light."""

    def predict_with_uncertainty(self, image, intrinsics):
        brightness = tf.reduce_mean(image, axis=(1, 2, 3))[:, tf.newaxis]
        uncertainty = 10.0 * tf.range(1, len(JOINT_NAMES) + 1, dtype=tf.float32)
        return self(image, intrinsics), uncertainty + 100.0 * brightness


class FakeDetector(tf.Module):
    """Gives the boxes it was made with, to the images in order; later images have none.

    With `flip_aug` it is a little surer.
    """

    def __init__(self, boxes_per_image):
        super().__init__()
        flat = [box for boxes in boxes_per_image for box in boxes]
        self.boxes = tf.Variable(tf.reshape(tf.constant(flat, tf.float32), [-1, 5]))
        self.lengths = [len(boxes) for boxes in boxes_per_image]

    def predict_multi_image(
            self, images, threshold, nms_iou_threshold, flip_aug=False, bothflip_aug=False):
        n_images = tf.shape(images)[0]
        lengths = tf.pad(tf.constant(self.lengths, tf.int64), [[0, n_images]])
        boxes = tf.RaggedTensor.from_row_lengths(tf.identity(self.boxes), lengths)[:n_images]
        boxes += tf.where(flip_aug, 0.05, 0.0) * [0.0, 0.0, 0.0, 0.0, 1.0]
        return tf.ragged.boolean_mask(boxes, boxes[..., 4] >= threshold)
