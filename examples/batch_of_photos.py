"""Several photos of different sizes and cameras in one call.

A batch has one image size, so smaller photos are padded at the right and at the bottom. Pixel
coordinates stay valid that way, but the principal point is no longer the centre of the padded
image, so the intrinsics of each photo are given.

Example:
    python examples/batch_of_photos.py examples/photos/*.jpg
"""

import argparse
import pathlib

import numpy as np

import metro_tf
from metro_tf.geometry import camera
from metro_tf.tools import images


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('photos', nargs='+', metavar='PHOTO')
    parser.add_argument('--model', default='default')
    parser.add_argument('--fov', type=float, default=55.0, help='degrees, along the larger side')
    args = parser.parse_args()

    photos = [images.read_image(path) for path in args.photos]
    height, width = np.max([photo.shape[:2] for photo in photos], axis=0)
    batch = np.stack([
        np.pad(photo, [(0, height - photo.shape[0]), (0, width - photo.shape[1]), (0, 0)])
        for photo in photos])
    intrinsics = np.stack([
        camera.intrinsics_from_fov(args.fov, photo.shape) for photo in photos])

    model = metro_tf.load(args.model)
    people = model.detect_poses_batched(batch, intrinsic_matrix=intrinsics)
    for path, poses3d in zip(args.photos, people['poses3d']):
        distances = np.linalg.norm(poses3d.numpy().mean(axis=1), axis=-1) / 1000
        text = ', '.join(f'{distance:.2f} m' for distance in distances)
        print(f'{pathlib.Path(path).name}: {len(distances)} found; distance {text or "-"}')


if __name__ == '__main__':
    main()
