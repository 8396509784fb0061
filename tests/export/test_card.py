"""Model cards are complete, and fingerprints tell models apart."""

import dataclasses

import pytest
import tensorflow as tf

from metro_tf import estimator as estimator_lib
from metro_tf.export import card
from tests import fakes

CARD = {
    'scores': {'COCO': {'AP, %': 50.5}, 'time, ms': 12}, 'licence': 'MIT', 'released': '2024-05-01',
    'summary': 'Finds people.', 'training_data': 'Rendered people.', 'intended_use': 'Research.'}


def test_a_complete_card_is_kept_in_order():
    checked = card.check_card(CARD)
    assert checked == CARD
    assert list(checked) == [
        'licence', 'released', 'summary', 'training_data', 'intended_use', 'scores']
    assert card.check_card(None) is None


@pytest.mark.parametrize('changes, message', [
    ({'licence': None}, "`card` must hold a text under 'licence'. Received: licence=None"),
    ({'summary': '  '}, "under 'summary'"), ({'author': 'me'}, "Received: .'author', 'inten"),
    ({'scores': {}}, r"`card` must hold numbers.* Received: scores=\{\}"),
    ({'scores': 5}, 'Received: scores=5'), ({'scores': {'AP': {}}}, r'Received: AP=\{\}'),
    ({'scores': {'AP': '50'}}, "Received: AP='50'"), ({'scores': {'AP': True}}, 'AP=True')])
def test_bad_cards_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        card.check_card({**CARD, **changes})


def test_incomplete_cards_and_other_types_are_refused():
    with pytest.raises(ValueError, match='`card` must be a dict with the keys .*Received: ..licen'):
        card.check_card({'licence': 'MIT'})
    with pytest.raises(ValueError, match='Received: str'):
        card.check_card('MIT')


def fingerprint_of(crop_model=None, detector=None, **settings):
    return card.fingerprint(estimator_lib.PoseEstimator(
        crop_model or fakes.FakeCropModel(), detector, **settings))


def test_fingerprints_are_equal_for_equal_models_only():
    plain = fingerprint_of()
    assert len(plain) == 64 and int(plain, 16) > 0
    assert fingerprint_of() == plain
    moved = fakes.FakeCropModel()
    moved.body_px.assign_add(tf.ones_like(moved.body_px))
    different = [
        fingerprint_of(moved), fingerprint_of(nms_distance_mm=200.0),
        fingerprint_of(mean_bone_lengths_mm=[300] * 6),
        fingerprint_of(detector=fakes.FakeDetector([[(1, 2, 3, 4, 0.5)]])),
        fingerprint_of(detector=fakes.FakeDetector([[(1, 2, 3, 5, 0.5)]]))]
    assert len({plain, *different}) == 6


def test_weights_may_come_in_any_order():
    @dataclasses.dataclass
    class Network:
        variables: list

    first, second = tf.Variable([1.0, 2.0]), tf.Variable([[3.0]])
    digests = [card._weights_digest(Network(variables)) for variables in (
        [first, second], [second, first], [first, tf.Variable([3.0])])]
    assert digests[0] == digests[1] != digests[2]
