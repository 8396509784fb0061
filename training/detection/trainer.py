"""The detector's network with its losses, for Keras' own `compile` and `fit`."""

import keras

from metro_tf.detection import center_net, decoding
from training.detection import losses


class DetectorTrainer(keras.Model):
    """Wraps a network of `center_net.build_center_net`; targets are those of `targets.render`.

    Args:
        detector: The network.
        box_loss: Weight of the box loss.
    """

    def __init__(self, detector, box_loss=2.0, **kwargs):
        super().__init__(**kwargs)
        self.detector = detector
        self.box_loss = box_loss
        self.trackers = {
            name: keras.metrics.Mean(name=name) for name in ('total', 'heatmap', 'box')}

    @property
    def metrics(self):
        """All running means; `fit` resets them at the start of every epoch."""
        return list(self.trackers.values())

    def call(self, images, training=False):
        return self.detector(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Heatmap and box loss; a hook of both Keras versions."""
        heatmap = losses.heatmap_loss(
            y_pred['logits'][..., 0], y['heatmap'], y['heatmap_weight'])
        boxes = decoding.decode_boxes(y_pred['offset'], y_pred['log_size'], center_net.STRIDE_PX)
        box = losses.box_loss(boxes, y['box'], y['box_weight'])
        total = heatmap + self.box_loss * box
        self.trackers['total'].update_state(total)
        self.trackers['heatmap'].update_state(heatmap)
        self.trackers['box'].update_state(box)
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Returns all running means; a hook of both Keras versions."""
        return {tracker.name: tracker.result() for tracker in self.metrics}
