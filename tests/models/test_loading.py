import subprocess
import sys

import numpy as np
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.backbones import top_down
from metro_tf.models import Metrabs

LOAD = '''
import sys
from metro_tf import models
model = models.load_crop_model(sys.argv[1])
print(float(abs(model.get_weights()[0]).sum()))
'''


def test_a_program_that_imports_nothing_else_loads_a_saved_model(tmp_path):
    """The layers inside the backbone come with the module of the models."""
    backbone = top_down.build_top_down('compact_resnet', 8, 16)
    joints = skeleton.METRO_24
    model = Metrabs(
        backbone, joints.joint_names, joints.edges, crop_side_px=64, stride_px=8)
    model({'image': tf.zeros([1, 64, 64, 3]), 'intrinsics': tf.eye(3, batch_shape=[1])})
    path = tmp_path / 'model.keras'
    model.save(str(path))
    output = subprocess.run(
        [sys.executable, '-c', LOAD, str(path)], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(
        float(output.stdout.split()[-1]), np.abs(model.get_weights()[0]).sum(), rtol=1e-5)
