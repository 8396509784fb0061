import dataclasses

import numpy as np
import pytest

from metro_tf import skeleton
from tests.models.test_builder import HOURGLASS
from tests.training.test_train_program import make_person
from training import crop_models
from training.config import ModelConfig, TrainConfig
from training.datasets import bone_lengths, records


@pytest.fixture
def record_dir(tmp_path):
    """Two people, one without a left wrist, and an example without 3D labels."""
    people = [make_person(i) for i in range(3)]
    people[1].coords3d_cam[skeleton.METRO_24.index('lwri')] = np.nan
    people[2] = dataclasses.replace(people[2], coords3d_cam=None)
    records.write_shard(tmp_path / 'a.tfrecord', people)
    return tmp_path


def lengths_of(person):
    ends = person.coords3d_cam[np.array(skeleton.METRO_24.edges)]
    return np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)


def test_bone_lengths_are_means_over_the_valid_ones(record_dir):
    found = bone_lengths.mean_bone_lengths([record_dir], skeleton.METRO_24)
    first, second = lengths_of(make_person(0)), lengths_of(make_person(1))
    expected = (first + second) / 2
    i_forearm = skeleton.METRO_24.edges.index(
        (skeleton.METRO_24.index('lelb'), skeleton.METRO_24.index('lwri')))
    expected[i_forearm] = first[i_forearm]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert all(isinstance(length, float) for length in found)


def test_a_bone_without_any_example_is_named(tmp_path):
    person = make_person(0)
    person.coords3d_cam[skeleton.METRO_24.index('nose')] = np.nan
    records.write_shard(tmp_path / 'a.tfrecord', [person])
    with pytest.raises(ValueError, match='`record_dirs` must hold each bone.*head-nose.*nose-leye'):
        bone_lengths.mean_bone_lengths([tmp_path], skeleton.METRO_24)


def test_bones_of_other_skeletons_are_found_by_name(record_dir):
    joints = skeleton.from_paths('lkne rkne lank rank', 'lkne-lank rank-rkne')
    index = skeleton.METRO_24.index
    shins = [
        skeleton.METRO_24.edges.index((index(f'{side}kne'), index(f'{side}ank'))) for side in 'lr']
    expected = np.array(bone_lengths.mean_bone_lengths([record_dir], skeleton.METRO_24))[shins]
    np.testing.assert_allclose(bone_lengths.mean_bone_lengths([record_dir], joints), expected)
    assert bone_lengths.mean_bone_lengths([record_dir], skeleton.Skeleton(('nose',), ())) == ()
    config = TrainConfig('tiny', model=ModelConfig(kind='pose25d', skeleton=joints))
    completed = crop_models.with_bone_lengths(config, [record_dir])
    np.testing.assert_allclose(completed.model.bone_lengths_mm, expected)
    lacking = skeleton.from_paths('lkne rkne lfoo rfoo', 'lkne-lfoo rkne-rfoo')
    with pytest.raises(ValueError, match='`record_dirs` must hold each bone.*lkne-lfoo'):
        bone_lengths.mean_bone_lengths([record_dir], lacking)


def test_a_config_gets_the_lengths_that_it_lacks(record_dir):
    config = TrainConfig('tiny', model=ModelConfig(kind='pose25d'))
    completed = crop_models.with_bone_lengths(config, [None, record_dir])
    assert completed.model.bone_lengths_mm == bone_lengths.mean_bone_lengths(
        [record_dir], skeleton.METRO_24)
    assert dataclasses.replace(completed, model=config.model) == config
    assert crop_models.with_bone_lengths(completed, []) is completed
    other = TrainConfig('tiny')
    assert crop_models.with_bone_lengths(other, []) is other


def test_bone_lengths_are_measured_for_volumes_with_depth(record_dir):
    config = TrainConfig('tiny', model=ModelConfig(**HOURGLASS))
    completed = crop_models.with_bone_lengths(config, [record_dir])
    assert completed.model.bone_lengths_mm == bone_lengths.mean_bone_lengths(
        [record_dir], skeleton.METRO_24)
    flat = TrainConfig('tiny', model=ModelConfig(**{**HOURGLASS, 'depths': (1, 1)}))
    assert crop_models.with_bone_lengths(flat, [record_dir]) is flat
