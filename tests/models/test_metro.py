import numpy as np

from metro_tf import models
from tests.models import common


def test_intrinsics_are_not_needed():
    model = common.make_model(models.Metro)
    inputs = common.make_inputs()
    expected = model(inputs)
    np.testing.assert_allclose(model(inputs['image']), expected, rtol=1e-5)
    np.testing.assert_allclose(model((inputs['image'], inputs['intrinsics'])), expected, rtol=1e-5)


def test_heatmap_and_coordinates_agree():
    outputs = common.make_model(models.Metro).predict_heatmaps(common.make_inputs())
    logits3d = outputs['logits3d'].numpy()
    assert logits3d.shape == (3, 4, 4, 5, 4)
    weights = np.exp(logits3d - logits3d.max((1, 2, 3), keepdims=True))
    probs = weights / weights.sum((1, 2, 3), keepdims=True)
    # Cells at 8, 24, 40 and 56 px of 64, in a box of 2000 mm.
    expected = np.stack([
        np.einsum('byxzj,x->bj', probs, np.float32([8, 24, 40, 56]) * 2000 / 64),
        np.einsum('byxzj,y->bj', probs, np.float32([8, 24, 40, 56]) * 2000 / 64),
        np.einsum('byxzj,z->bj', probs, np.linspace(0, 2000, 5))], -1)
    np.testing.assert_allclose(outputs['coords3d_rel'], expected, rtol=1e-4)


def test_stays_inside_the_box():
    coords = common.make_model(models.Metro)(common.make_inputs()).numpy()
    assert coords.min() >= 0 and coords.max() <= 2000
