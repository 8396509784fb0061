"""The model card inside an export, and the fingerprint that tells models apart."""

import dataclasses
import hashlib
import json

import keras
import numpy as np

TEXTS = ('licence', 'released', 'summary', 'training_data', 'intended_use')
SCORES = 'scores'


def check_card(card):
    """Checks a model card.

    Args:
        card: Dict with the strings `licence`, `released` (a date), `summary`, `training_data` and
            `intended_use`, and `scores`: a dict from what was measured, with its unit, to a number
            or to a dict of these. None is no card.

    Returns:
        The card, with its keys in this order, or None.

    Raises:
        ValueError: If the card is anything else.
    """
    if card is None:
        return None
    keys = (*TEXTS, SCORES)
    if not isinstance(card, dict) or set(card) != set(keys):
        received = sorted(card) if isinstance(card, dict) else type(card).__name__
        raise ValueError(f'`card` must be a dict with the keys {keys}. Received: {received}')
    for name in TEXTS:
        if not isinstance(card[name], str) or not card[name].strip():
            raise ValueError(
                f'`card` must hold a text under {name!r}. Received: {name}={card[name]!r}')
    _check_scores(card[SCORES], SCORES)
    return {name: card[name] for name in keys}


def _check_scores(scores, name):
    if isinstance(scores, dict) and scores:
        for key, value in scores.items():
            _check_scores(value, key)
    elif name == SCORES or isinstance(scores, bool) or not isinstance(scores, (int, float)):
        raise ValueError(
            '`card` must hold numbers, or dicts of them, under \'scores\'. '
            f'Received: {name}={scores!r}')


def fingerprint(estimator):
    """What models of the same weights and settings share, whatever wrote them.

    Args:
        estimator: `PoseEstimator`.

    Returns:
        SHA-256 as 64 hexadecimal digits.
    """
    network, detector = estimator.crop_model, estimator.detector
    settings = {
        'config': dataclasses.asdict(estimator.config),
        'mean_bone_lengths_mm': estimator.mean_bone_lengths_mm,
        'crop_side_px': network.input_resolution, 'joint_names': network.joint_names,
        'joint_edges': network.joint_edges, 'mirror_mapping': network.mirror_mapping,
        'detector_side_px': getattr(detector, 'input_side_px', None)}
    digests = (_weights_digest(network.crop_model), _weights_digest(detector),
               json.dumps(settings, sort_keys=True).encode())
    return hashlib.sha256(b''.join(digests)).hexdigest()


def _weights_digest(network):
    """Digest of all weights in any order, which Keras versions have their own of."""
    network = getattr(network, 'model', network)
    # In Keras 3, `variables` would include the states of random generators.
    is_keras = isinstance(network, keras.Model)
    variables = network.weights if is_keras else getattr(network, 'variables', ())
    arrays = [np.ascontiguousarray(variable.numpy()) for variable in variables]
    digests = sorted(
        hashlib.sha256(f'{array.dtype} {array.shape} '.encode() + array.tobytes()).digest()
        for array in arrays)
    return hashlib.sha256(b''.join(digests)).digest()
