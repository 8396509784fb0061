"""People given as boxes, a calibrated camera, and poses in the frame of the room.

Useful with another person detector, or where a person must not be left out: given boxes are never
filtered and keep their order.

Example:
    python examples/own_boxes.py examples/photos/astronaut.jpg 20 5 440 500
"""

import argparse

import numpy as np

import metro_tf
from metro_tf.tools import images


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('photo')
    parser.add_argument('box', nargs=4, type=float, help='left, top, width and height, px')
    parser.add_argument('--model', default='default')
    args = parser.parse_args()

    image = images.read_image(args.photo)
    height, width = image.shape[:2]
    # In practice from a calibration. This camera is 1.6 m above the ground and looks ahead. The
    # room has x to the right, y ahead and z up, in mm: p_cam = R p_room + t.
    intrinsics = np.array([[600, 0, width / 2], [0, 600, height / 2], [0, 0, 1]], np.float32)
    room_to_camera = np.array(
        [[1, 0, 0, 0], [0, 0, -1, 1600], [0, 1, 0, 0], [0, 0, 0, 1]], np.float32)

    model = metro_tf.load(args.model)
    people = model.estimate_poses(
        image, boxes=np.array([args.box], np.float32), intrinsic_matrix=intrinsics,
        extrinsic_matrix=room_to_camera, world_up_vector=(0.0, 0.0, 1.0), skeleton='coco_17')
    names = model.per_skeleton_joint_names['coco_17'].numpy()
    for name, (x, y, z) in zip(names, people['poses3d'].numpy()[0]):
        print(f'{name.decode():>6}  {x:6.0f} mm right, {y:6.0f} mm ahead, {z:6.0f} mm high')


if __name__ == '__main__':
    main()
