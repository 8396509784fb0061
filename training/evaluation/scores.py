"""Mean scores of a crop model on a dataset."""

import tensorflow as tf
import tqdm

from metro_tf import metrics
from metro_tf.geometry import camera
from training.evaluation import predictors


class _Scores:
    """The scores that one way of predicting allows."""

    def __init__(self, predictor):
        self.predict = tf.function(predictor)
        self.scores3d = [
            metrics.MPJPE(name='mpjpe_mm'), metrics.MPJPE('procrustes', name='pa_mpjpe_mm'),
            metrics.PCK(name='pck_150'), metrics.AUC(name='auc_150'),
            metrics.NCPS(name='ncps_150')]
        if predictor.is_absolute:
            self.scores3d += [
                metrics.MPJPE('none', name='absolute_mpjpe_mm'),
                metrics.MRPE(None, name='mean_position_mm'), metrics.DistanceError()]
        joint_names = predictor.crop_model.joint_names
        # A given depth moves no joint in the image.
        self.has_2d = predictor.is_absolute and not predictor.has_true_depth and (
            metrics.has_torso(joint_names))
        self.torso_pck = metrics.TorsoPCK(joint_names) if self.has_2d else None
        self.n_examples_3d = self.n_examples_2d = 0

    def update(self, inputs, labels):
        poses, mask3d = self.predict(inputs, labels)
        self.n_examples_3d += _n_labelled(mask3d)
        for score in self.scores3d:
            score.update_state(labels['coords3d_cam'], poses, mask3d)
        if self.has_2d:
            mask2d = labels['joint_validity_mask_2d']
            self.n_examples_2d += _n_labelled(mask2d)
            projected = camera.project(poses, inputs['intrinsics'])
            self.torso_pck.update_state(labels['coords2d'], projected, mask2d)

    def result(self):
        result = {}
        if self.n_examples_2d:
            result['n_examples_2d'] = self.n_examples_2d
            result['torso_pck_0.2'] = float(self.torso_pck.result())
        if self.n_examples_3d:
            result['n_examples_3d'] = self.n_examples_3d
            result.update({score.name: float(score.result()) for score in self.scores3d})
        return result


def evaluate(crop_model, dataset, progress_label='', *, flip_testing=False):
    """Runs a model over a dataset and returns its scores.

    Args:
        crop_model: One that `predictors.make_predictors` takes.
        dataset: Batches of `pipeline.evaluation_dataset`.
        progress_label: Text before the progress bar.
        flip_testing: Whether predictions for crop and mirror image are averaged.

    Returns:
        Dict from score to float: errors in mm, shares in [0, 1]. Scores without any labelled
        joint in the dataset are left out, absolute and 2D ones where the model has no absolute
        poses (Metro, CoordinateRegression), and 2D ones where it has no torso
        (`metrics.has_torso`). Pose25D, CoarseToFine and Decoupled are scored with the root depth
        from bone lengths and MargiPose with that from the universal scale;
        their scores with the true one, in examples where that is known, are a dict under
        'true_root_depth'.
    """
    ways = evaluate_ways(crop_model, dataset, progress_label, flip_testing=flip_testing)
    own, *others = ways
    return {**ways[own], **{name: ways[name] for name in others}}


def evaluate_ways(crop_model, dataset, progress_label='', *, flip_testing=False):
    """Like `evaluate`, with a dict of scores for each name of `predictors.make_predictors`."""
    ways = {name: _Scores(predictor) for name, predictor in predictors.make_predictors(
        crop_model, flip_testing).items()}
    for inputs, labels in tqdm.tqdm(dataset, desc=progress_label):
        for way in ways.values():
            way.update(inputs, labels)
    return {name: way.result() for name, way in ways.items()}


def _n_labelled(mask):
    """Number of examples with a valid joint."""
    return int(tf.reduce_sum(tf.cast(tf.reduce_any(mask, axis=1), tf.int32)))
