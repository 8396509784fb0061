"""Draws samples of record files with all labels, to be looked at before anything is trained.

Example:
    python -m training.browse records/holdout --out sheet.png --n 24 --seed 1

Each card shows a person's photo with joints and bones (left blue, right red, hollow if not
visible), box (yellow), edge of the whole photo (white), outline of what the person covers (cyan),
and at the pelvis three arrows of half a metre: up (thick), to the right and away from the camera.
Beside it are the labels in 3D from the side, with the camera at the left, and from above, with the
camera below; each panel is 2.4 m wide. The line below tells the length of the shins, the distance,
how many degrees the body leans from the vertical, how far projected labels in 3D are from those in
2D, and how many of the joints in the photo are in the box. Red numbers are implausible: a wrong
unit, axis or box, or somebody who lies on the floor.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from metro_tf import checks, skeleton  # noqa: E402
from metro_tf.tools import writers  # noqa: E402
from training.datasets import records  # noqa: E402

PHOTO_SIDE_PX = 240
PANEL_SIDE_PX = PHOTO_SIDE_PX // 2
CARD_SIZE_PX = (PHOTO_SIDE_PX + PANEL_SIDE_PX, PHOTO_SIDE_PX + 40)
LEFT, RIGHT, CENTER = (60, 90, 255), (255, 50, 50), (40, 200, 60)
BOX, FRAME, OUTLINE, ARROW = (255, 220, 0), (255, 255, 255), (0, 220, 220), (255, 255, 255)
TEXT, WARNING = (230, 230, 230), (255, 90, 90)
_BACKGROUND, _PAPER = 112, 30
# How much of the photo around a person is seen, where it is known what the person covers.
_SURROUNDINGS = 0.4
_PANEL_WIDTH_MM, _ARROW_MM = 2400.0, 500.0
_MIN_DEPTH_MM = 1.0
# What is plausible. Of people who lie or bend, the lean is red without being wrong.
SHIN_MM, MIN_DISTANCE_MM, MAX_LEAN_DEGREES = (300.0, 550.0), 300.0, 60.0
# The error in units of the box's longer side; the share of joints in the box.
MAX_ERROR, MIN_SHARE_IN_BOX = 0.05, 0.5
# All joints that a record can hold, as a tree.
BODY = skeleton.from_paths(
    ' '.join(skeleton.VOCABULARY),
    'pelv-spi0-spi1-spin-spi2-spi3-spi4-thor-neck-head-htop head-nose '
    'nose-leye-lear nose-reye-rear neck-lcla-lsho-lelb-lwri-lhan neck-rcla-rsho-relb-rwri-rhan '
    'lhan-lthu lhan-lfin lhan-lfi2 rhan-rthu rhan-rfin rhan-rfi2 '
    'pelv-lhip-lkne-lank-lfoo-ltoe pelv-rhip-rkne-rank-rfoo-rtoe')
_HIGH = ('htop', 'head', 'neck', 'thor', 'lsho', 'rsho')
_LOW = ('lank', 'rank', 'lkne', 'rkne', 'lhip', 'rhip', 'pelv')


def main(argv=None):
    """Runs the program and returns its exit code: 2 for wrong input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('records', help='record folder or file name pattern')
    parser.add_argument('--out', required=True, help='image file to write')
    parser.add_argument('--n', type=int, default=24, help='number of examples')
    parser.add_argument('--seed', type=int, default=1, help='draws other examples')
    parser.add_argument(
        '--first', type=int, help='number of the first of consecutive examples, instead of a draw')
    parser.add_argument('--columns', type=int, default=6, help='cards in a row')
    parser.add_argument('--no-labels', action='store_true', help='photos only')
    args = parser.parse_args(argv)
    try:
        examples = read_examples(args.records, args.n, args.seed, args.first)
        sheet = draw_sheet(examples, args.columns, has_labels=not args.no_labels)
        write_image(args.out, sheet)
    except (ValueError, OSError) as error:
        print(f'Error: {error}', file=sys.stderr)
        return 2
    print(f'{len(examples)} examples drawn in {args.out}')
    return 0


def read_examples(pattern_or_dir, n, seed=1, first=None):
    """Reads some examples of record files.

    Args:
        pattern_or_dir: See `records.read_serialized`.
        n: Number of examples, if there are as many.
        seed: Seed of the draw.
        first: Index of the first of consecutive examples, instead of a draw.

    Returns:
        List of dicts of arrays with the joints of `BODY`, see `records.parse`, in file name order.

    Raises:
        ValueError: If there are no record files, or no examples from `first` on.
    """
    checks.positive(n, 'n')
    source = records.make_source(pattern_or_dir, BODY.joint_names)
    if first is None:
        rng = np.random.default_rng(seed)
        indices = np.sort(rng.permutation(source.n_examples)[:n])
    elif 0 <= first < source.n_examples:
        indices = np.arange(first, min(first + n, source.n_examples))
    else:
        raise ValueError(
            f'`first` must be from 0 to {source.n_examples - 1}. Received: first={first}')
    return [
        {name: value.numpy() for name, value in source.load(index).items()} for index in indices]


def write_image(path, image):
    """Writes an RGB image in the format of the file name's suffix, all or nothing.

    Raises:
        ValueError: If the suffix is that of no image format.
        OSError: If it cannot be written.
    """
    try:
        is_encoded, content = cv2.imencode(pathlib.Path(path).suffix, image[..., ::-1])
    except cv2.error:
        is_encoded = False
    if not is_encoded:
        raise ValueError(f'`out` must be an image file, e.g. sheet.png. Received: out={path}')
    writers.write_bytes(path, content.tobytes())


def draw_sheet(examples, n_columns=6, has_labels=True):
    """Draws parsed examples in a grid: uint8 `[height, width, 3]`, RGB.

    Args:
        examples: List of dicts of arrays, see `read_examples`.
        n_columns: Cards per row.
        has_labels: False for photos only.

    Raises:
        ValueError: If `n_columns` is not positive.
    """
    n_columns = min(checks.positive(n_columns, 'columns'), len(examples))
    draw = draw_card if has_labels else (lambda example: draw_photo(example, has_labels=False)[0])
    cards = [draw(example) for example in examples]
    cards += [np.full_like(cards[0], _PAPER)] * (-len(cards) % n_columns)
    return np.concatenate([
        np.concatenate(cards[i:i + n_columns], axis=1) for i in range(0, len(cards), n_columns)])


def draw_card(example):
    """One card: uint8 `[height, width, 3]`, RGB, of the size `CARD_SIZE_PX`, (width, height)."""
    card = np.full([*CARD_SIZE_PX[::-1], 3], _PAPER, np.uint8)
    card[:PHOTO_SIDE_PX, :PHOTO_SIDE_PX], to_cell = draw_photo(example)
    if example['has_3d'] and example['joint_validity_mask_3d'].any():
        _draw_arrows(card[:PHOTO_SIDE_PX, :PHOTO_SIDE_PX], example, to_cell)
        right, up, away = world_axes(example['camera_up'])
        panels = card[:PHOTO_SIDE_PX, PHOTO_SIDE_PX:]
        _draw_panel(panels[:PANEL_SIDE_PX], example, away, up, 'side')
        _draw_panel(panels[PANEL_SIDE_PX:], example, right, away, 'above')
    left = 4
    for text, is_plausible in findings(example):
        _write(card, text, (left, PHOTO_SIDE_PX + 15), TEXT if is_plausible else WARNING)
        left += 7 * len(text) + 10
    _write(card, example['name'].decode('utf-8', 'replace')[-58:], (4, PHOTO_SIDE_PX + 31), TEXT)
    return card


def draw_photo(example, has_labels=True):
    """The photo fitted into a square of `PHOTO_SIDE_PX`, and the function from its px to cell px.

    Args:
        example: Dict of arrays, see `read_examples`.
        has_labels: Whether joints, bones, boxes and the outline are drawn.
    """
    alpha = example['alpha'].astype(np.float32) / 255
    weight = alpha + (1 - alpha) * _SURROUNDINGS
    image = np.round(example['image'] * weight + _BACKGROUND * (1 - weight)).astype(np.uint8)
    scale = (PHOTO_SIDE_PX - 6) / max(image.shape[:2])
    cell = np.full([PHOTO_SIDE_PX, PHOTO_SIDE_PX, 3], _BACKGROUND - 16, np.uint8)
    resized = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cell[:resized.shape[0], :resized.shape[1]] = resized

    def to_cell(point):
        return tuple(int(v) for v in np.clip((np.asarray(point) + 0.5) * scale - 0.5, -999, 999))

    if has_labels:
        if example['has_alpha']:
            _draw_outline(cell, alpha, resized.shape[:2])
        for box, color in ((example['frame'] - [0.5, 0.5, 0, 0], FRAME), (example['box'], BOX)):
            cv2.rectangle(cell, to_cell(box[:2]), to_cell(box[:2] + box[2:]), color, 1)
        is_valid = example['joint_validity_mask_2d']
        points = [to_cell(point) for point in example['coords2d'][is_valid]]
        _draw_skeleton(cell, points, is_valid, example['visibility'][is_valid])
    return cell, to_cell


def world_axes(camera_up):
    """Unit vectors `[3]` in the camera frame: to the right, up, and away from the camera.

    The last one is level. For a camera that looks straight down or up, the top of the picture
    counts as away.
    """
    up = np.float64(camera_up) / np.linalg.norm(camera_up)
    forward = np.array([0.0, 0.0, 1.0]) if abs(up[2]) < 0.999 else np.array([0.0, -1.0, 0.0])
    away = forward - (forward @ up) * up
    away /= np.linalg.norm(away)
    return np.cross(away, up), up, away


def findings(example):
    """What the labels tell about themselves: list of pairs of a text and whether it is plausible.

    Args:
        example: Dict of arrays, see `read_examples`.
    """
    if not example['has_3d']:
        n_joints = example['joint_validity_mask_2d'].sum()
        return [(f'2D only, {n_joints} joints', True), *_box_findings(example)]
    coords3d = np.where(
        example['joint_validity_mask_3d'][:, np.newaxis], example['coords3d_cam'], np.nan)
    joints = {name: place for name, place in zip(BODY.joint_names, coords3d.astype(np.float64))
              if np.isfinite(place[0])}
    results = []
    shins = [np.linalg.norm(joints[side + 'kne'] - joints[side + 'ank']) for side in 'lr'
             if side + 'kne' in joints and side + 'ank' in joints]
    if shins:
        shin = np.mean(shins)
        results.append((f'shin {shin:.3g} mm', bool(SHIN_MM[0] <= shin <= SHIN_MM[1])))
    if joints:
        distance = np.mean([place[2] for place in joints.values()])
        results.append((f'{distance / 1000:.3g} m', bool(distance >= MIN_DISTANCE_MM)))
    lean = _lean_degrees(joints, example['camera_up'])
    if lean is not None:
        results.append((f'lean {lean:.0f}', bool(lean <= MAX_LEAN_DEGREES)))
    error = _projection_error(example)
    if error is not None:
        is_small = error <= MAX_ERROR * max(example['box'][2:])
        results.append((f'2D {error:.1f} px', bool(is_small)))
    return results + _box_findings(example)


def _box_findings(example):
    """How many of the joints in the photo are in the box, see `findings`."""
    points = example['coords2d'][example['joint_validity_mask_2d']]
    points = points[_is_within(points, example['frame'] - [0.5, 0.5, 0, 0])]
    if not len(points):
        return []
    share = np.mean(_is_within(points, example['box']))
    return [(f'box {share:.0%}', bool(share >= MIN_SHARE_IN_BOX))]


def _is_within(points, box):
    return np.all((points >= box[:2]) & (points <= box[:2] + box[2:]), axis=1)


def _lean_degrees(joints, camera_up):
    """Angle between up and the line from a low joint to a high one; None without such joints."""
    highs = [joints[name] for name in _HIGH if name in joints]
    lows = [joints[name] for name in _LOW if name in joints]
    if not highs or not lows:
        return None
    line = highs[0] - np.mean(lows[:2], axis=0)
    cosine = line @ camera_up / max(np.linalg.norm(line) * np.linalg.norm(camera_up), 1e-9)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _projection_error(example):
    """Mean distance of 2D labels and projected 3D labels, px; None without both."""
    is_both = example['joint_validity_mask_2d'] & example['joint_validity_mask_3d']
    is_both &= example['coords3d_cam'][:, 2] > _MIN_DEPTH_MM
    if not is_both.any():
        return None
    projected = _project(example['coords3d_cam'][is_both], example['intrinsics'])
    return np.mean(np.linalg.norm(projected - example['coords2d'][is_both], axis=1))


def _project(coords3d_cam, intrinsics):
    points = coords3d_cam @ intrinsics.T
    return points[:, :2] / np.maximum(points[:, 2:], _MIN_DEPTH_MM)


def _middle(example):
    """The pelvis, or the mean of all joints where it is missing: `[3]`, camera frame, mm."""
    is_valid, coords3d = example['joint_validity_mask_3d'], example['coords3d_cam']
    pelvis = BODY.index('pelv')
    return coords3d[pelvis] if is_valid[pelvis] else coords3d[is_valid].mean(axis=0)


def _draw_arrows(cell, example, to_cell):
    """Arrows of the world's axes at the pelvis."""
    start = _middle(example)
    for axis, thickness in zip(world_axes(example['camera_up']), (1, 2, 1)):
        ends = _project(np.stack([start, start + _ARROW_MM * axis]), example['intrinsics'])
        cv2.arrowedLine(cell, *map(to_cell, ends), ARROW, thickness, cv2.LINE_AA, tipLength=0.15)


def _draw_panel(panel, example, horizontal, vertical, title):
    """The labels in 3D, seen at right angles to two axes, with the pelvis in the middle."""
    panel[:] = _BACKGROUND - 60
    cv2.rectangle(panel, (0, 0), (PANEL_SIDE_PX - 1, PANEL_SIDE_PX - 1), (_PAPER,) * 3, 1)
    is_valid = example['joint_validity_mask_3d']
    offsets = example['coords3d_cam'][is_valid] - _middle(example)
    scale = PANEL_SIDE_PX / _PANEL_WIDTH_MM
    columns, rows = offsets @ horizontal * scale, -(offsets @ vertical) * scale
    places = np.clip(np.stack([columns, rows], axis=1) + PANEL_SIDE_PX / 2, -999, 999)
    _draw_skeleton(panel, places.astype(int).tolist(), is_valid, np.ones(len(places)))
    _write(panel, title, (4, 14), TEXT)


def _draw_outline(cell, alpha, size):
    """Outline of what the person covers."""
    mask = cv2.resize(alpha[..., 0], size[::-1], interpolation=cv2.INTER_AREA) > 0.5
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(cell, contours, -1, OUTLINE, 1)


def _draw_skeleton(picture, points, is_valid, visibility):
    """Bones and joints; `points` are those of the valid joints of `BODY`."""
    if not is_valid.any():
        return
    joints = BODY.restricted_to(np.array(BODY.joint_names)[is_valid])
    colors = [_color(name) for name in joints.joint_names]
    for parent, child in joints.edges:
        cv2.line(picture, points[parent], points[child], colors[child], 1, cv2.LINE_AA)
    for point, color, visible in zip(points, colors, visibility):
        cv2.circle(picture, point, 2, color, -1 if visible else 1, cv2.LINE_AA)


def _color(joint_name):
    """Colour of a joint by its side."""
    if skeleton.mirror_name(joint_name) == joint_name:
        return CENTER
    return LEFT if joint_name.startswith('l') else RIGHT


def _write(picture, text, place, color):
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, color, 1, cv2.LINE_AA)


if __name__ == '__main__':
    sys.exit(main())
