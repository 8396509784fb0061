"""Examples and record files: what is written comes back, what is wrong is named."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from metro_tf import skeleton
from training.datasets import example as example_lib
from training.datasets import records

SIZE = (40, 30)


def make_example(name='a', seed=0, **changes):
    """A valid example with smooth image content that survives JPEG."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(20, 220, SIZE[1])[np.newaxis, :, np.newaxis]
    example = example_lib.Example(
        image=np.broadcast_to(ramp + [0, 10, 20], (*SIZE, 3)).astype(np.uint8), name=name,
        box=np.array([2.5, 3.5, 10, 20], np.float32),
        frame=np.array([-5, -6, 100, 80], np.float32),
        coords2d=rng.uniform(0, 30, [24, 2]).astype(np.float32),
        visibility=(np.arange(24) % 2).astype(np.float32),
        alpha=rng.integers(0, 256, SIZE).astype(np.uint8),
        intrinsics=np.array([[50, 0, 15], [0, 50, 20], [0, 0, 1]], np.float32),
        camera_up=np.array([0, -1, 0.1], np.float32),
        coords3d_cam=rng.uniform(1000, 2000, [24, 3]).astype(np.float32))
    return dataclasses.replace(example, **changes)


@pytest.mark.parametrize('in_graph', [False, True])
def test_everything_comes_back(in_graph):
    example = make_example(name='näme')
    parse = tf.function(records.parse) if in_graph else records.parse
    parsed = parse(tf.constant(records.serialize(example)))
    for name in ('box', 'frame', 'coords2d', 'visibility', 'intrinsics', 'camera_up',
                 'coords3d_cam'):
        np.testing.assert_array_equal(parsed[name], getattr(example, name), err_msg=name)
    np.testing.assert_array_equal(parsed['alpha'][..., 0], example.alpha)
    np.testing.assert_allclose(
        parsed['image'].numpy().astype(float), example.image.astype(float), atol=6)
    assert parsed['image'].dtype == tf.uint8
    assert parsed['name'].numpy().decode() == 'näme'
    assert bool(parsed['has_alpha']) and bool(parsed['has_3d'])
    assert bool(tf.reduce_all(parsed['joint_validity_mask_3d']))
    assert bool(tf.reduce_all(parsed['joint_validity_mask_2d']))


def make_masks():
    """Masks of clothes, the upper ones different from the lower ones."""
    return np.random.default_rng(2).integers(0, 256, (*SIZE, 2)).astype(np.uint8)


@pytest.mark.parametrize('in_graph', [False, True])
def test_masks_of_clothes_come_back(in_graph):
    parse = tf.function(records.parse) if in_graph else records.parse
    masks = make_masks()
    parsed = parse(tf.constant(records.serialize(make_example(clothing_masks=masks))))
    np.testing.assert_array_equal(parsed['clothing_masks'], masks)
    assert parsed['clothing_masks'].dtype == tf.uint8
    without = parse(tf.constant(records.serialize(make_example())))
    np.testing.assert_array_equal(without['clothing_masks'], np.zeros([*SIZE, 2]))


def test_records_without_masks_of_clothes_are_as_before():
    record = tf.train.Example.FromString(records.serialize(make_example()))
    assert sorted(record.features.feature) == [
        'alpha', 'box', 'camera_up', 'coords2d', 'coords3d_cam', 'frame', 'image', 'intrinsics',
        'joint_names', 'name', 'visibility']
    with pytest.raises(ValueError, match=r'`clothing_masks` must be .* shape \(40, 30, 2\)'):
        records.serialize(make_example(clothing_masks=make_masks()[..., :1]))


def test_channel_order_survives():
    red = np.zeros([*SIZE, 3], np.uint8)
    red[..., 0] = 200
    parsed = records.parse(records.serialize(make_example(image=red)))
    np.testing.assert_allclose(
        parsed['image'].numpy().mean(axis=(0, 1)), [200, 0, 0], atol=4)


@pytest.mark.parametrize('in_graph', [False, True])
def test_defaults_of_a_2d_photo(in_graph):
    example = make_example(alpha=None, intrinsics=None, camera_up=None, coords3d_cam=None)
    parse = tf.function(records.parse) if in_graph else records.parse
    parsed = parse(tf.constant(records.serialize(example)))
    assert not bool(parsed['has_alpha']) and not bool(parsed['has_3d'])
    np.testing.assert_array_equal(parsed['alpha'], np.full([*SIZE, 1], 255))
    np.testing.assert_array_equal(parsed['intrinsics'], np.eye(3))
    np.testing.assert_array_equal(parsed['camera_up'], [0, -1, 0])
    np.testing.assert_array_equal(parsed['coords3d_cam'], np.zeros([24, 3]))
    assert not np.any(parsed['joint_validity_mask_3d'])


def test_missing_joints_become_masked_zeros():
    example = make_example()
    coords2d, coords3d_cam = example.coords2d.copy(), example.coords3d_cam.copy()
    coords2d[3, 1] = np.nan
    coords3d_cam[[0, 7]] = np.nan
    parsed = records.parse(records.serialize(
        make_example(coords2d=coords2d, coords3d_cam=coords3d_cam)))
    np.testing.assert_array_equal(parsed['coords2d'][3], [0, 0])
    np.testing.assert_array_equal(np.flatnonzero(~parsed['joint_validity_mask_2d'].numpy()), [3])
    np.testing.assert_array_equal(
        np.flatnonzero(~parsed['joint_validity_mask_3d'].numpy()), [0, 7])
    assert np.all(np.isfinite(parsed['coords3d_cam']))


# Two joints that the default skeleton has, in the other order, and two that it lacks.
OWN_NAMES = ('lhan', 'nose', 'rhan', 'pelv')


def make_own_example(name='own', **changes):
    """An example with the joints of `OWN_NAMES`."""
    rng = np.random.default_rng(1)
    return make_example(name, **{
        'joint_names': OWN_NAMES, 'coords2d': rng.uniform(0, 30, [4, 2]).astype(np.float32),
        'coords3d_cam': rng.uniform(1000, 2000, [4, 3]).astype(np.float32),
        'visibility': np.float32([1, 0, 1, 1]), **changes})


def without_names(serialized):
    """A record as it was written before there were other skeletons."""
    record = tf.train.Example.FromString(serialized)
    del record.features.feature['joint_names']
    return record.SerializeToString(deterministic=True)


@pytest.mark.parametrize('in_graph', [False, True])
def test_joints_come_in_the_wanted_order(in_graph):
    example, wanted = make_own_example(), ('pelv', 'lkne', 'lhan', 'nose')

    def parse(serialized):
        return records.parse(serialized, wanted)
    parsed = (tf.function(parse) if in_graph else parse)(tf.constant(records.serialize(example)))
    mask = [True, False, True, True]
    for name, own in (('coords3d_cam', example.coords3d_cam), ('coords2d', example.coords2d)):
        np.testing.assert_array_equal(
            parsed[name], [own[3], np.zeros(own.shape[1]), own[0], own[1]])
        assert parsed[name].shape == (4, own.shape[1])
    np.testing.assert_array_equal(parsed['joint_validity_mask_3d'], mask)
    np.testing.assert_array_equal(parsed['joint_validity_mask_2d'], mask)
    np.testing.assert_array_equal(parsed['visibility'], [1, 0, 1, 0])


def test_joints_without_3d_labels_can_be_moved_too():
    example = make_own_example(coords3d_cam=None)
    example.coords2d[1] = np.nan
    parsed = records.parse(records.serialize(example), ('nose', 'rhan'))
    assert not bool(parsed['has_3d']) and not parsed['joint_validity_mask_3d'].numpy().any()
    np.testing.assert_array_equal(parsed['joint_validity_mask_2d'], [False, True])
    np.testing.assert_array_equal(parsed['coords2d'], [[0, 0], example.coords2d[2]])


@pytest.mark.parametrize('wanted', [skeleton.METRO_24.joint_names, ('rtoe', 'lfoo', 'pelv')])
def test_records_without_names_have_the_default_joints(wanted):
    serialized = records.serialize(make_example())
    old, new = [records.parse(data, wanted) for data in (without_names(serialized), serialized)]
    for name, value in new.items():
        np.testing.assert_array_equal(old[name], value, err_msg=name)
    assert len(without_names(serialized)) < len(serialized)


def test_records_of_different_joints_are_read_together(tmp_path):
    default, own = make_example('default'), make_own_example()
    lacking = make_own_example('lacking', coords3d_cam=None)
    with tf.io.TFRecordWriter(str(tmp_path / 'a.tfrecord')) as writer:
        for data in (without_names(records.serialize(default)), *map(records.serialize, (
                own, lacking))):
            writer.write(data)
    wanted = ('nose', 'lhan')
    index = skeleton.METRO_24.index('nose')
    expected = np.full([3, 2, 3], np.nan, np.float32)
    expected[0, 0], expected[1] = default.coords3d_cam[index], own.coords3d_cam[[1, 0]]
    np.testing.assert_array_equal(records.read_coords3d(tmp_path, wanted), expected)
    for dataset in (
            records.read_dataset(tmp_path, wanted),
            records.make_source(tmp_path, wanted).in_order()):
        np.testing.assert_array_equal(
            [example['joint_validity_mask_2d'] for example in dataset],
            [[True, False], [True, True], [True, True]])
        np.testing.assert_array_equal(
            [example['coords3d_cam'] for example in dataset], np.nan_to_num(expected))


def test_joints_are_selected_by_name():
    coords = np.float32([[[1, 2], [3, 4], [5, 6]]])
    moved = example_lib.select_joints(coords, ('a', 'b', 'c'), ('c', 'd', 'a'))
    np.testing.assert_array_equal(moved, [[[5, 6], [np.nan] * 2, [1, 2]]])
    assert moved.dtype == np.float32
    assert np.isnan(example_lib.select_joints(coords, 'abc', ['d'])).all()
    with pytest.raises(ValueError, match="`coords` must have the 2 joints .*Received: 3 joints"):
        example_lib.select_joints(coords, ('a', 'b'), ('a',))


def test_dataset_keeps_the_order_of_shards(tmp_path):
    for i_shard, names in ((1, 'cd'), (0, 'ab')):
        records.write_shard(
            str(tmp_path / f'x-{i_shard}.tfrecord'), [make_example(name) for name in names])
    (tmp_path / 'x-2.tfrecord.123.partial').write_bytes(b'half a file')
    for source in (tmp_path, str(tmp_path / '*.tfrecord')):
        names = [item['name'].numpy() for item in records.read_dataset(source)]
        assert names == [b'a', b'b', b'c', b'd']
    assert len(list(records.read_serialized(tmp_path))) == 4


def write_three_shards(folder):
    for i_shard, names in enumerate(('ab', '', 'cde')):
        records.write_shard(
            str(folder / f'x-{i_shard}.tfrecord'),
            [make_example(name, seed=i) for i, name in enumerate(names)])


def test_records_can_be_read_by_index(tmp_path):
    write_three_shards(tmp_path)
    source = records.make_source(tmp_path)
    assert source.n_examples == 5
    assert [item['name'].numpy() for item in source.in_order(3)] == [b'a', b'b', b'c']
    fourth = source.load(tf.constant(3, tf.int64))
    assert fourth['name'] == b'd'
    expected = list(records.read_dataset(tmp_path))[3]
    for name, value in expected.items():
        np.testing.assert_array_equal(fourth[name], value, err_msg=name)


def test_every_round_is_another_order_of_all_records(tmp_path):
    write_three_shards(tmp_path)
    source = records.make_source(tmp_path)

    def names(seed, first, n):
        dataset = source.shuffled(seed, first).take(n)
        return b''.join(item['name'].numpy() for item in dataset).decode()
    whole = names((1, 0), 0, 20)
    rounds = [whole[i:i + 5] for i in range(0, 20, 5)]
    assert all(sorted(part) == list('abcde') for part in rounds)
    assert len(set(rounds)) > 1
    assert names((1, 0), 8, 12) == whole[8:]
    assert names((1, 0), 10, 10) == whole[10:]
    assert names((1, 1), 0, 20) != whole and names((2, 0), 0, 20) != whole


def test_the_place_is_found_at_once_however_late(tmp_path):
    write_three_shards(tmp_path)
    late = records.make_source(tmp_path).shuffled((1, 0), 5 * 10 ** 12 + 2).take(3)
    assert len({item['name'].numpy() for item in late}) == 3


def test_cut_off_files_are_named(tmp_path):
    write_three_shards(tmp_path)
    path = tmp_path / 'x-2.tfrecord'
    content = path.read_bytes()
    for n_bytes in (len(content) - 1, len(content) // 2, 20, 7):
        path.write_bytes(content[:n_bytes])
        with pytest.raises(ValueError, match=r'x-2.tfrecord must consist of whole records.*'
                                             rf'{n_bytes} bytes.*damaged or cut off'):
            records.make_source(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(b'')
    with pytest.raises(ValueError, match='must match files with records.*empty files only'):
        records.make_source(tmp_path)


def test_damaged_and_vanished_records_are_named(tmp_path):
    write_three_shards(tmp_path)
    source = records.make_source(tmp_path)
    path = tmp_path / 'x-2.tfrecord'
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'record is damaged.*x-2.tfrecord'):
        list(source.in_order())
    path.unlink()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'or gone.*x-2.tfrecord'):
        list(source.in_order())


def test_a_failing_shard_leaves_nothing(tmp_path):
    def examples():
        yield make_example()
        yield make_example(box=np.array([0, 0, 0, 1], np.float32))
    with pytest.raises(ValueError, match='`box` must have positive width'):
        records.write_shard(str(tmp_path / 'x.tfrecord'), examples())
    assert not list(tmp_path.iterdir())


def test_missing_records_are_named(tmp_path):
    with pytest.raises(ValueError, match='`pattern_or_dir` must match record files'):
        records.read_dataset(tmp_path)


@pytest.mark.parametrize('changes, message', [
    ({'image': np.zeros([4, 5], np.uint8)}, '`image` must be an array .height, width, 3.'),
    ({'image': np.zeros([*SIZE, 4], np.uint8)}, '`image` must be an array of type uint8'),
    ({'alpha': np.zeros([3, 3], np.uint8)}, r'`alpha` must be .* shape \(40, 30\)'),
    ({'box': np.zeros([4])}, '`box` must be an array of type float32'),
    ({'coords2d': None}, '`coords2d` must be an array.*Received: NoneType'),
    ({'coords3d_cam': np.zeros([17, 3], np.float32)}, r'`coords3d_cam` .* shape \(24, 3\)'),
    ({'joint_names': ('nose',)}, r'`coords2d` must be .* shape \(1, 2\)'),
    ({'joint_names': ('nose', 'heel')}, "`joint_names` must be among .*Received: .'heel'."),
    ({'joint_names': ('nose', 'nose')}, "`joint_names` must be distinct. Received: .'nose'."),
    ({'camera_up': np.full([3], np.nan, np.float32)}, '`camera_up` must be finite'),
    ({'visibility': np.full([24], 0.5, np.float32)}, '`visibility` must be 0 or 1')])
def test_check_names_what_is_wrong(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        example_lib.check(make_example(name='culprit', **changes))
    assert "'culprit'" in str(error.value)
