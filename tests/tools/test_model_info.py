"""The card of a model is printed where it is read first."""

import json

from metro_tf.tools import loading, model_info
from tests.tools import fakes

CARD = {
    'licence': 'MIT', 'released': '2024-05-01', 'summary': 'Finds people. ' * 20,
    'training_data': 'None.', 'intended_use': 'Tests.', 'scores': {'COCO': {'AP, %': 50.512345}}}


def described(**metadata):
    model = fakes.FakeModel()
    model.metadata = json.dumps({
        **json.loads(model.metadata.numpy()), **metadata})
    return model_info.describe(loading.ExportedModel(model, 'mine'))


def test_card_is_readable():
    lines = described(card=CARD, fingerprint='ab12').splitlines()
    assert lines[:2] == ['model      fake, version 7', 'card']
    assert lines[2] == '    licence                MIT'
    summary = lines[4:7]
    assert summary[0].startswith('    summary                Finds people. Finds people.')
    assert summary[1].startswith('                           ')
    assert max(map(len, summary)) <= 96
    i_scores = lines.index('    scores')
    assert lines[i_scores + 1:i_scores + 3] == [
        '        COCO', '            AP, %                  50.512']
    assert lines.index('details') > i_scores
    assert '    fingerprint            ab12' in lines
    assert sum('licence' in line for line in lines) == 1


def test_models_without_card_have_no_section_for_it():
    assert 'card' not in described()
    assert 'card' not in described(card=None)
