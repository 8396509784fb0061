import dataclasses
import json

import cv2
import numpy as np
import pytest
import scipy.io
import tensorflow as tf

from metro_tf import skeleton
from metro_tf import weights as weights_lib
from metro_tf.detection import center_net
from training import run, train_detector
from training.datasets import records
from training.datasets.example import Example
from training.detection import coco, composites, evaluation, sampling, sources
from training.detection.config import CompositeConfig, DetectorTrainConfig

N_PHOTOS = 12
SMALL = CompositeConfig(side_px=64, max_people=2, max_photos=2)


def write_photos(folder):
    """A tiny data set in the layout of LSPET: a person of 20 x 40 px in grey noise."""
    (folder / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    joints = np.zeros((14, 3, N_PHOTOS))
    joints[:, 0] = np.linspace(20, 40, 14)[:, np.newaxis]
    joints[:, 1] = np.linspace(10, 50, 14)[:, np.newaxis]
    joints[:, 2] = 1
    joints[3:, 2, 1] = 0  # the second photo has too few joints
    scipy.io.savemat(folder / 'joints.mat', {'joints': joints})
    (folder / 'splits.json').write_text(json.dumps(
        {'train': [1, 8], 'holdout': [9, 12], 'train_twins_of_holdout': [3]}))
    for number in range(1, N_PHOTOS + 1):
        image = rng.integers(0, 256, (60, 70, 3), np.uint8)
        cv2.imwrite(str(folder / 'images' / f'im{number:05d}.jpg'), image)


def write_people(path, n_people=3):
    joints = np.zeros((skeleton.METRO_24.n_joints, 2), np.float32)
    alpha = np.zeros((48, 40), np.uint8)
    alpha[4:44, 10:30] = 255
    records.write_shard(path, [
        Example(
            image=np.full((48, 40, 3), 200, np.uint8), alpha=alpha, name=str(i),
            box=np.array([9.5, 3.5, 20, 40], np.float32),
            frame=np.array([-0.5, -0.5, 40, 48], np.float32), coords2d=joints,
            visibility=np.ones(len(joints), np.float32)) for i in range(n_people)])


def write_scenes(folder, n_photos=10):
    """White photos of 60 x 50 px, each with a black person of 20 x 30 px and a grey crowd."""
    folder.mkdir()
    images, annotations = [], []
    for i_photo in range(n_photos):
        image = np.full((50, 60, 3), 255, np.uint8)
        image[10:40, 5:25] = 0
        image[10:20, 40:55] = 128
        cv2.imwrite(str(folder / f'{i_photo}.png'), image)
        images.append({'id': i_photo + 100, 'file_name': f'{i_photo}.png'})
        for box, is_crowd in (([5, 10, 20, 30], 0), ([40, 10, 15, 10], 1)):
            annotations.append({
                'image_id': i_photo + 100, 'category_id': 7, 'bbox': box, 'iscrowd': is_crowd})
    annotations.append({'image_id': 100, 'category_id': 8, 'bbox': [1, 1, 2, 2], 'iscrowd': 0})
    (folder / 'boxes.json').write_text(json.dumps({
        'images': images, 'annotations': annotations,
        'categories': [{'id': 7, 'name': 'person'}, {'id': 8, 'name': 'dog'}]}))


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    write_photos(root / 'lspet')
    (root / 'backgrounds').mkdir()
    rng = np.random.default_rng(1)
    for i in range(104):
        cv2.imwrite(
            str(root / 'backgrounds' / f'{i}.jpg'), rng.integers(0, 256, (40, 60, 3), np.uint8))
    (root / 'people').mkdir()
    write_people(str(root / 'people' / 'a.tfrecord'))
    write_scenes(root / 'scenes')
    return root


def scenes_of(folders, split='train'):
    return coco.read_scenes(folders / 'scenes' / 'boxes.json', folders / 'scenes', split)


def policy(folders, **changes):
    config = dataclasses.replace(SMALL, **changes)
    photos = sources.read_photos(folders / 'lspet', 'train', 1.15)
    scenes = scenes_of(folders) if config.scene_probability else None
    return sampling.RandomComposite(
        config, sources.read_backgrounds(folders / 'backgrounds', 'train'), photos, scenes)


def composites_of(folders, n, with_people=True, **changes):
    people = sources.people_batches(folders / 'people' if with_people else None, 2, 0)
    chosen = policy(folders, **changes)
    dataset = people.enumerate().map(
        lambda i, people: chosen(people, tf.stack([tf.constant(5, tf.int64), i])))
    return list(dataset.take(n).as_numpy_iterator())


def test_background_splits_are_disjoint_and_by_name(folders):
    train = sources.read_backgrounds(folders / 'backgrounds', 'train')
    validation = sources.read_backgrounds(folders / 'backgrounds', 'validation')
    assert (len(train), len(validation)) == (4, 100)
    assert sorted(train + validation) == sources.read_backgrounds(folders / 'backgrounds', 'all')
    with pytest.raises(ValueError, match='`folder` must hold more than 100 .jpg files'):
        sources.read_backgrounds(folders / 'lspet', 'train')
    with pytest.raises(ValueError, match="`split` must be .*Received: split='test'"):
        sources.read_backgrounds(folders / 'backgrounds', 'test')


def test_photo_splits(folders, monkeypatch):
    monkeypatch.setattr(sources, 'FIRST_VALIDATION_PHOTO', 7)

    def numbers(split):
        photos = sources.read_photos(folders / 'lspet', split, 1.5)
        return [int(path[-9:-4]) for path in photos.paths]
    assert numbers('train') == [1, 4, 5, 6]  # 2 has too few joints, 3 is a twin
    assert numbers('validation') == [7, 8]
    assert numbers('holdout') == [9, 10, 11, 12]
    with pytest.raises(ValueError, match="`split` must be .*Received: split='test'"):
        numbers('test')


def test_photo_boxes_are_enlarged(folders):
    photos = sources.read_photos(folders / 'lspet', 'train', 1.5)
    np.testing.assert_allclose(photos.boxes[0], [15, 0, 30, 60], atol=1e-3)


def test_heads_are_between_neck_and_crown(folders):
    photos = sources.read_photos(folders / 'lspet', 'train', 1.5)
    # The joints lie on a line; neck and crown are numbers 12 and 13 of 0..13.
    np.testing.assert_allclose(photos.heads[0], [20 + 20 * 12.5 / 13, 10 + 40 * 12.5 / 13])


def test_head_without_annotation_is_the_box_center(folders, monkeypatch):
    annotated = sources.lspet.read_annotations(folders / 'lspet')
    annotated[0, 13] = np.nan
    monkeypatch.setattr(sources.lspet, 'read_annotations', lambda folder: annotated)
    photos = sources.read_photos(folders / 'lspet', 'train', 1.0)
    np.testing.assert_allclose(photos.heads[0], photos.boxes[0, :2] + photos.boxes[0, 2:] / 2)


def test_people_repeat_in_batches(folders):
    batches = list(sources.people_batches(folders / 'people', 2, 0).take(4).as_numpy_iterator())
    assert [len(batch) for batch in batches] == [2] * 4
    later = sources.people_batches(folders / 'people', 2, 0, first_batch=2)
    for batch, again in zip(batches[2:], later.take(2).as_numpy_iterator()):
        np.testing.assert_array_equal(batch, again)
    nobody = next(iter(sources.people_batches(None, 2, 0)))
    assert nobody.shape == [0] and nobody.dtype == tf.string


def test_negatives_have_nobody(folders):
    for canvas in composites_of(folders, 5, negative_probability=1.0, photo_probability=0.0):
        assert canvas['n_boxes'] == 0
        np.testing.assert_array_equal(canvas['negative_weight'], 1)


def test_people_lie_where_their_boxes_say(folders, monkeypatch):
    monkeypatch.setattr(sampling, '_BARS_PROBABILITY', 0.0)
    monkeypatch.setattr(sampling, '_finish', lambda canvas, seed: canvas)
    config = {'negative_probability': 0.0, 'photo_probability': 0.0, 'max_people': 1,
              'person_size': (0.4, 0.9)}
    differences = []
    for canvas in composites_of(folders, 12, **config):
        assert canvas['n_boxes'] == 1
        left, top, width, height = canvas['boxes'][0]
        inside = canvas['image'][round(top + 2):round(top + height - 1),
                                 round(left + 2):round(left + width - 1)]
        differences.append(inside.std(axis=(0, 1)).max())
    assert max(differences) < 0.02  # people are of one colour, everything else is noise


def test_photos_bring_their_person(folders):
    config = {'negative_probability': 0.0, 'photo_probability': 1.0, 'max_photos': 1}
    for canvas in composites_of(folders, 5, with_people=False, **config):
        assert canvas['n_boxes'] == 1
        assert (canvas['negative_weight'] < 1).any()
        assert np.isfinite(canvas['image']).all()


def test_portraits_are_cut_off_and_large(folders, monkeypatch):
    monkeypatch.setattr(sampling, '_BARS_PROBABILITY', 0.0)
    config = {'negative_probability': 0.0, 'photo_probability': 1.0, 'max_photos': 1}
    smallest = {}
    for probability in (0.0, 1.0):
        canvases = composites_of(
            folders, 12, with_people=False, portrait_probability=probability, **config)
        sizes = [canvas['boxes'][0, 2:].max() for canvas in canvases if canvas['is_person'][0]]
        assert len(sizes) > 5
        smallest[probability] = min(sizes)
    assert smallest[0.0] < 32 < 40 < smallest[1.0]


def test_scenes_bring_everybody_and_the_crowds(folders, monkeypatch):
    monkeypatch.setattr(sampling, '_finish', lambda canvas, seed: canvas)
    config = {'negative_probability': 0.0, 'photo_probability': 0.0, 'scene_probability': 1.0}
    n_found = 0
    for canvas in composites_of(folders, 12, with_people=False, **config):
        np.testing.assert_array_equal(canvas['negative_weight'], 1)
        assert canvas['boxes'].shape == (4, 4) and canvas['n_boxes'] == 2
        assert not canvas['is_person'][1:].any()
        for left, top, width, height in canvas['boxes'][canvas['is_person']]:
            rows, columns = (slice(int(low + 2), int(low + size - 1)) for low, size in (
                (top, height), (left, width)))
            assert canvas['image'][rows, columns].max(initial=0) < 0.1
            n_found += 1
    assert n_found > 4


def test_scene_by_hand():
    canvas = composites.new_canvas(tf.fill([64, 64, 3], 0.5), 4)
    boxes = [[-0.5, -0.5, 10, 20], [20, 0, 5, 20], [0, 0, 0, 0]]
    canvas = composites.add_scene(
        canvas, tf.zeros([20, 60, 3]), tf.constant(boxes), tf.constant([True, False, False]),
        tf.constant([False, True, False]), 2.0, tf.constant([4.0, -10.0]))
    # The upper 5 of 20 rows are cut off; (-0.5, -0.5) goes to (3.5, -10.5).
    np.testing.assert_allclose(
        canvas['boxes'][:2], [[3.5, -0.5, 20, 30], [44.5, -0.5, 10, 31]])
    np.testing.assert_allclose(canvas['boxes'][2:, 2:], [[0, 0], [0, 0]])
    np.testing.assert_array_equal(canvas['is_person'], [True, False, False, False])
    np.testing.assert_array_equal(canvas['is_ignored'], [False, True, False, False])
    np.testing.assert_allclose(canvas['image'][:30, 4:], 0)
    np.testing.assert_allclose(canvas['image'][31:], 0.5)


def test_person_hardly_inside_the_canvas_is_ignored():
    canvas = composites.new_canvas(tf.zeros([64, 64, 3]), 1)
    canvas = composites.add_scene(
        canvas, tf.zeros([20, 20, 3]), tf.constant([[2.0, 2.0, 10.0, 10.0]]), tf.constant([True]),
        tf.constant([False]), 2.0, tf.constant([-22.0, 0.0]))
    np.testing.assert_array_equal(canvas['is_person'], [False])
    np.testing.assert_array_equal(canvas['is_ignored'], [True])


def test_scenes_and_their_probability_belong_together(folders):
    with pytest.raises(ValueError, match='`scenes` must be given if and only if'):
        sampling.RandomComposite(SMALL, ['a.jpg'], None, scenes_of(folders))
    with pytest.raises(ValueError, match='`scenes` must be given if and only if'):
        sampling.RandomComposite(
            dataclasses.replace(SMALL, scene_probability=0.1), ['a.jpg'], None)
    with pytest.raises(ValueError, match='`coco_images` must be given together'):
        train_detector.DataPaths('a', 'b', coco_annotations='c')


def test_same_number_gives_the_same_composite(folders):
    one, two = composites_of(folders, 4), composites_of(folders, 4)
    np.testing.assert_array_equal(one[3]['image'], two[3]['image'])
    assert (one[2]['image'] != one[3]['image']).any()


def test_element_spec(folders):
    people = sources.people_batches(folders / 'people', 2, 0)
    image, target = sampling.make_dataset(policy(folders), people, 0).element_spec
    assert image.shape == [64, 64, 3] and image.dtype == tf.float32
    shapes = {name: spec.shape.as_list() for name, spec in target.items()}
    assert shapes == {
        'heatmap': [8, 8], 'heatmap_weight': [8, 8], 'box': [8, 8, 4], 'box_weight': [8, 8]}


def test_config_errors():
    with pytest.raises(ValueError, match='`side_px` must be a multiple of 32'):
        CompositeConfig(side_px=100)
    with pytest.raises(ValueError, match='`person_size` must be positive and ascending'):
        CompositeConfig(person_size=(1.0, 0.5))
    with pytest.raises(ValueError, match='`photo_probability` must be in'):
        CompositeConfig(photo_probability=1.5)
    with pytest.raises(ValueError, match='must add up to at most 1. Received: 1.1'):
        CompositeConfig(photo_probability=0.5, scene_probability=0.5, negative_probability=0.1)
    with pytest.raises(ValueError, match='`steps_per_epoch` must divide `n_steps`'):
        DetectorTrainConfig(name='x', n_steps=100, steps_per_epoch=30)
    with pytest.raises(ValueError, match='`first_weights_share` must be in .*=1.0'):
        DetectorTrainConfig(name='x', first_weights_share=1.0)


def test_default_config_and_its_errors(tmp_path):
    config = run.load_config(
        'training/configs/default_detector.py', DetectorTrainConfig)
    assert config.input_side_px == config.composite.side_px
    with pytest.raises(ValueError, match='`config` must be a Python file'):
        run.load_config(tmp_path / 'missing.py', DetectorTrainConfig)
    with pytest.raises(ValueError, match='must define a function `config`'):
        run.load_config('training/detection/losses.py', DetectorTrainConfig)


def test_start_from_a_smaller_detector(tmp_path):
    config = DetectorTrainConfig(
        name='tiny', composite=SMALL, n_channels=4, trunk_channels=(3, 3, 4, 4, 4),
        n_blocks=(0, 0, 1, 0, 0))
    small = train_detector.build_trainer(config).detector
    small.save(str(tmp_path / 'small.keras'))
    larger = dataclasses.replace(config, n_blocks=(0, 1, 1, 0, 2), n_head_blocks=1, seed=2)
    np.savez(tmp_path / 'detector.npz', **weights_lib.to_arrays(small, center_net.describe(small)))
    started = train_detector.build_trainer(larger, tmp_path / 'detector.npz').detector
    assert started.count_params() > small.count_params()
    images = np.random.default_rng(0).random((1, 64, 64, 3)).astype(np.float32)
    for name, value in small(images).items():
        np.testing.assert_allclose(started(images)[name], value, atol=1e-5)
    with pytest.raises(ValueError, match='shapes .* instead of'):
        train_detector.build_trainer(
            dataclasses.replace(config, n_channels=5), tmp_path / 'small.keras')
    with pytest.raises(ValueError, match='`start_from` must be a model that can be'):
        train_detector.build_trainer(config, tmp_path / 'missing.keras')


def test_share_of_the_first_weights(monkeypatch, tmp_path):
    config = DetectorTrainConfig(
        name='tiny', composite=SMALL, n_channels=4, trunk_channels=(3, 3, 4, 4, 4),
        n_blocks=(0, 0, 0, 0, 0), first_weights_share=0.25)
    first = train_detector.build_network(config)
    first.save(str(tmp_path / 'first.keras'))
    finished = []
    # The training leaves 2 in all weights.
    monkeypatch.setattr(train_detector.run, 'fit', lambda trainer, model, *_: model.set_weights(
        [np.full_like(weights, 2) for weights in model.get_weights()]))
    monkeypatch.setattr(train_detector, 'calibrate', lambda network, *_: finished.append(
        network.get_weights()) or {})
    (tmp_path / 'tiny').mkdir()
    train_detector.train(config, None, tmp_path, tmp_path / 'first.keras')
    for mixed, weights in zip(finished[0], first.get_weights()):
        np.testing.assert_allclose(mixed, 0.25 * weights + 1.5, rtol=1e-5)
    with pytest.raises(ValueError, match='`start_from` must be given for `first_weights_share`'):
        train_detector.train(config, None, tmp_path)


@pytest.mark.slow
def test_train_resume_and_calibrate(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, 'FIRST_VALIDATION_PHOTO', 7)
    config = DetectorTrainConfig(
        name='tiny', composite=dataclasses.replace(SMALL, scene_probability=0.3), n_channels=4,
        trunk_channels=(3, 3, 4, 4, 4),
        n_blocks=(0, 0, 0, 0, 0), input_side_px=64, n_steps=4, batch_size=2, warmup_steps=1,
        steps_per_epoch=2, max_false_boxes=0.1)
    data = train_detector.DataPaths(
        folders / 'lspet', folders / 'backgrounds', folders / 'people',
        folders / 'scenes' / 'boxes.json', folders / 'scenes')
    train_detector.train(dataclasses.replace(config, n_steps=2), data, tmp_path)
    run_dir = train_detector.train(config, data, tmp_path)
    assert len((run_dir / 'curves.csv').read_text().splitlines()) == 3
    scores = json.loads((run_dir / 'scores.json').read_text())
    assert scores['false_per_photo'] <= 0.1
    detector = train_detector.PersonDetector.load(str(run_dir / 'detector.keras'), 64)
    n_false = sum(
        len(evaluation.detect(detector, path, 0.3))
        for path in sources.read_backgrounds(folders / 'backgrounds', 'validation'))
    assert n_false <= 10
