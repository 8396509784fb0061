import numpy as np
import pytest

from metro_tf import models
from metro_tf.cropping import people
from metro_tf.geometry import camera
from metro_tf.tools import person_crops
from tests.models import common
from tests.tools import volume_models


def test_loading(tmp_path):
    common.make_model(models.Metrabs).save(tmp_path / 'model.keras')
    model = person_crops.load_crop_model(
        tmp_path / 'model.keras', [models.Pose25D, models.Metrabs])
    assert isinstance(model, models.Metrabs)


@pytest.mark.parametrize('content', [None, b'', b'no model'])
def test_unusable_files(tmp_path, content):
    path = tmp_path / 'model.keras'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match='`--crop-model` must be .* loaded. .*model.keras'):
        person_crops.load_crop_model(path, [models.Metrabs])


def test_other_models_are_refused(tmp_path):
    common.make_backbone().save(tmp_path / 'model.keras')
    with pytest.raises(ValueError, match='must hold a crop model. Received: .*model.keras'):
        person_crops.load_crop_model(
            tmp_path / 'model.keras', [models.Metrabs, models.Pose25D])


def test_models_without_depth_are_refused(tmp_path):
    volume_models.make_coarse_to_fine((1, 1)).save(tmp_path / 'model.keras')
    with pytest.raises(ValueError, match='model.keras: the model must predict depths. Received: '
                                         'CoarseToFine that does not'):
        person_crops.load_crop_model(tmp_path / 'model.keras', [models.CoarseToFine])


def test_joint_indices():
    assert person_crops.joint_indices(['rsho', 'pelv'], common.JOINT_NAMES) == [3, 0]
    assert person_crops.joint_indices([], common.JOINT_NAMES) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match='`--joints` must be joints of the model: pelv, neck, '
                                         'lsho, rsho. Received: nose, tail'):
        person_crops.joint_indices(['nose', 'neck', 'tail'], common.JOINT_NAMES)
    with pytest.raises(ValueError, match='`--joints` must name every joint once. '
                                         'Received: neck, pelv, neck'):
        person_crops.joint_indices(['neck', 'pelv', 'neck'], common.JOINT_NAMES)


def test_crop_of_a_person():
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3)).astype(np.uint8)
    box = [20.0, 10.0, 40.0, 60.0]
    crops = person_crops.crop_person(image, box, common.make_model(models.Metrabs), 70.0)
    expected = people.crop_people(
        image, [box], camera.intrinsics_from_fov(70.0, (80, 100)), crop_side_px=common.SIDE)
    for actual, wanted in zip(crops, expected):
        np.testing.assert_allclose(actual, wanted, atol=1e-4)
