"""Program: draws samples of record files with joints, skeleton and box on one sheet.

    python -m training.synthetic.contact_sheet RECORDS --out sheet.png

All labelled joints are drawn, with bones to the next one towards pelvis or neck.
"""

import argparse
import sys

import cv2
import numpy as np

from metro_tf import skeleton
from training.datasets import records

_BACKGROUND = 128
_LEFT, _RIGHT, _CENTER = (60, 90, 255), (255, 50, 50), (40, 200, 60)
_BOX, _FRAME = (255, 220, 0), (255, 255, 255)
# All joints that a record can hold, as a tree.
BODY = skeleton.from_paths(
    ' '.join(skeleton.VOCABULARY),
    'pelv-spi0-spi1-spin-spi2-spi3-spi4-thor-neck-head-htop head-nose '
    'nose-leye-lear nose-reye-rear neck-lcla-lsho-lelb-lwri-lhan neck-rcla-rsho-relb-rwri-rhan '
    'lhan-lthu lhan-lfin lhan-lfi2 rhan-rthu rhan-rfin rhan-rfi2 '
    'pelv-lhip-lkne-lank-lfoo-ltoe pelv-rhip-rkne-rank-rfoo-rtoe')


def main(argv=None):
    """Runs the program and returns its exit code: 2 for wrong input."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('records', help='record folder or file name pattern')
    parser.add_argument('--out', required=True, help='image file to write')
    parser.add_argument('--n-samples', type=int, default=48)
    parser.add_argument('--skip', type=int, default=0, help='examples to leave out at the start')
    parser.add_argument('--columns', type=int, default=8)
    parser.add_argument('--no-skeleton', action='store_true', help='pictures only')
    args = parser.parse_args(argv)
    try:
        dataset = records.read_dataset(args.records, BODY.joint_names)
        examples = list(dataset.skip(args.skip).take(args.n_samples).as_numpy_iterator())
        sheet = draw_sheet(examples, args.columns, has_skeleton=not args.no_skeleton)
        if not cv2.imwrite(args.out, sheet[..., ::-1]):
            raise ValueError(f'`out` must be a writable image file. Received: {args.out}')
    except (ValueError, cv2.error) as error:
        print(f'Error: {error}', file=sys.stderr)
        return 2
    print(f'{len(examples)} examples drawn in {args.out}')
    return 0


def draw_sheet(examples, n_columns=8, cell_side_px=240, has_skeleton=True):
    """Draws parsed examples in a grid: uint8 `[height, width, 3]`.

    Args:
        examples: List of dicts of arrays (see `records.parse`), with the joints of `BODY`.
        n_columns: Cells per row.
        cell_side_px: Side of the square cells.
        has_skeleton: Whether joints, bones and box are drawn.

    Raises:
        ValueError: If there are no examples.
    """
    if not examples:
        raise ValueError('`examples` must not be empty. Received: none')
    cells = [draw_example(example, cell_side_px, has_skeleton) for example in examples]
    n_columns = min(n_columns, len(cells))
    cells += [np.full_like(cells[0], _BACKGROUND)] * (-len(cells) % n_columns)
    return np.concatenate([
        np.concatenate(cells[i:i + n_columns], axis=1) for i in range(0, len(cells), n_columns)])


def draw_example(example, side_px, has_skeleton=True):
    """One cell: the person on grey, fitted into a square; hollow joints are not visible."""
    alpha = example['alpha'].astype(np.float32) / 255
    image = np.round(example['image'] * alpha + _BACKGROUND * (1 - alpha)).astype(np.uint8)
    scale = (side_px - 6) / max(image.shape[:2])
    cell = np.full([side_px, side_px, 3], _BACKGROUND - 16, np.uint8)
    resized = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cell[:resized.shape[0], :resized.shape[1]] = resized

    def to_cell(point):
        return tuple(int(v) for v in np.clip((np.asarray(point) + 0.5) * scale - 0.5, -999, 999))

    if has_skeleton:
        _draw_box(cell, example['frame'] - [0.5, 0.5, 0, 0], to_cell, _FRAME)
        _draw_box(cell, example['box'], to_cell, _BOX)
        _draw_skeleton(cell, example, to_cell)
    return cell


def _draw_box(cell, box, to_cell, color):
    """Outline of a box."""
    cv2.rectangle(cell, to_cell(box[:2]), to_cell(box[:2] + box[2:]), color, 1)


def _draw_skeleton(cell, example, to_cell):
    """Bones and joints: left blue, right red."""
    is_valid = example['joint_validity_mask_2d']
    if not is_valid.any():
        return
    joints = BODY.restricted_to(np.array(BODY.joint_names)[is_valid])
    points = [to_cell(point) for point in example['coords2d'][is_valid]]
    colors = [_color(name) for name in joints.joint_names]
    for parent, child in joints.edges:
        cv2.line(cell, points[parent], points[child], colors[child], 1, cv2.LINE_AA)
    for point, color, visible in zip(points, colors, example['visibility'][is_valid]):
        cv2.circle(cell, point, 2, color, -1 if visible else 1, cv2.LINE_AA)


def _color(joint_name):
    """Colour of a joint by its side."""
    if skeleton.mirror_name(joint_name) == joint_name:
        return _CENTER
    return _LEFT if joint_name.startswith('l') else _RIGHT


if __name__ == '__main__':
    sys.exit(main())
