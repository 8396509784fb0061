"""The shortest way from a photo to poses. Needs TensorFlow alone, not this package.

Example:
    python examples/ten_lines.py examples/photos/astronaut.jpg
"""

import sys

import tensorflow as tf

photo, model_path = (sys.argv[1:] + ['saved_models/default/6'])[:2]
model = tf.saved_model.load(model_path)
image = tf.io.decode_image(tf.io.read_file(photo), channels=3, expand_animations=False)
people = model.detect_poses(image, default_fov_degrees=55.0)
for box, pose3d in zip(people['boxes'].numpy(), people['poses3d'].numpy()):
    print(f'person with score {box[4]:.2f} in the box {box[:4].round()}')
    for name, (x, y, z) in zip(model.joint_names.numpy(), pose3d):
        print(f'{name.decode():>6}  {x:6.0f} mm right, {y:6.0f} mm down, {z:6.0f} mm in front')
