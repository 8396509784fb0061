import json

import numpy as np
import pytest

from training.detection import coco

CONTENT = {
    'images': [{'id': 3, 'file_name': 'b.jpg'}, {'id': 1, 'file_name': 'a.jpg'}],
    'annotations': [
        {'image_id': 3, 'category_id': 1, 'bbox': [10, 20, 30, 40], 'iscrowd': 0},
        {'image_id': 3, 'category_id': 1, 'bbox': [0, 0, 5, 6], 'iscrowd': 1},
        {'image_id': 3, 'category_id': 2, 'bbox': [0, 0, 9, 9], 'iscrowd': 0}],
    'categories': [{'id': 1, 'name': 'person'}, {'id': 2, 'name': 'dog'}]}


def write(folder, content=CONTENT, names=('a.jpg', 'b.jpg')):
    path = folder / 'boxes.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    for name in names:
        (folder / name).write_bytes(b'')
    return path


def changed(key, i_row, **values):
    rows = [dict(row) for row in CONTENT[key]]
    rows[i_row].update(values)
    return {**CONTENT, key: rows}


def test_boxes_by_hand(tmp_path):
    scenes = coco.read_scenes(write(tmp_path), tmp_path, 'all')
    assert [path[-5:] for path in scenes.paths] == ['a.jpg', 'b.jpg']
    # COCO's pixel 0 reaches from 0 to 1, ours from -0.5 to 0.5.
    np.testing.assert_array_equal(scenes.boxes, [
        np.zeros([2, 4]), [[9.5, 19.5, 30, 40], [-0.5, -0.5, 5, 6]]])
    np.testing.assert_array_equal(scenes.is_person, [[False, False], [True, False]])
    np.testing.assert_array_equal(scenes.is_ignored, [[False, False], [False, True]])
    [(path, box)] = scenes.people()
    assert path.endswith('b.jpg') and box.tolist() == [9.5, 19.5, 30, 40]


def test_splits_are_disjoint_and_do_not_depend_on_the_order(tmp_path):
    names = [f'{i}.jpg' for i in range(11)]
    images = [{'id': i, 'file_name': name} for i, name in enumerate(names)]
    path = write(tmp_path, {**CONTENT, 'images': images}, names)
    splits = {
        split: set(coco.read_scenes(path, tmp_path, split).paths)
        for split in ('train', 'validation', 'all')}
    assert [len(splits[split]) for split in ('train', 'validation', 'all')] == [8, 3, 11]
    assert splits['train'] | splits['validation'] == splits['all']
    path = write(tmp_path, {**CONTENT, 'images': images[::-1]}, names)
    assert set(coco.read_scenes(path, tmp_path, 'train').paths) == splits['train']


@pytest.mark.parametrize('content, message', [
    ('no json', '`annotation_path` must be a JSON file'),
    ({'images': []}, "as COCO defines them. Received: .*'categories'"),
    (changed('annotations', 0, bbox=[1, 2, 0, 4]), r'`bbox` must be .* bbox=\[1, 2, 0, 4\] of'),
    (changed('annotations', 0, bbox=[1, 2, 3]), r'`bbox` must be four finite'),
    (changed('images', 0, file_name='c.jpg'), '`image_dir` must hold all .* no file .*c.jpg'),
    ({**CONTENT, 'images': []}, "list photos for the split 'all'")])
def test_mistakes_in_the_file(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=message):
        coco.read_scenes(path, tmp_path, 'all')


def test_other_mistakes(tmp_path):
    with pytest.raises(ValueError, match='missing.json does not exist'):
        coco.read_scenes(tmp_path / 'missing.json', tmp_path, 'all')
    with pytest.raises(ValueError, match="`split` must be .*Received: split='test'"):
        coco.read_scenes(write(tmp_path), tmp_path, 'test')


def test_our_boxes_lie_in_their_photos():
    content = json.loads(open('training/annotations/imagenet_samples.json').read())
    sizes = {row['id']: (row['width'], row['height']) for row in content['images']}
    assert len(sizes) == 207
    for row in content['annotations']:
        left, top, width, height = row['bbox']
        assert min(left, top) >= 0 and min(width, height) > 0
        assert left + width <= sizes[row['image_id']][0]
        assert top + height <= sizes[row['image_id']][1]
