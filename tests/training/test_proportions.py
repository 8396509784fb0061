import pytest

from training import proportions
from training.config import TrainConfig


@pytest.mark.parametrize('weights, batch_size, expected', [
    ((1,), 7, (7,)),
    ((1, 1), 32, (16, 16)),
    ((3, 1), 16, (12, 4)),
    ((30, 10), 16, (12, 4)),  # only the ratio counts
    # 10 * (0.45, 0.35, 0.2) = 4.5, 3.5, 2: the first of the equals takes what is left.
    ((0.45, 0.35, 0.2), 10, (5, 3, 2)),
    # 10/3 each: one is left, for the first.
    ((1, 1, 1), 10, (4, 3, 3)),
    # 1.76, 5.28, 3.96: two are left, for the last and the first.
    ((1, 3, 2.25), 11, (2, 5, 4)),
    # Floats make 28.999999999999996 of 0.29 * 100.
    ((0.29, 0.71), 100, (29, 71)),
    ((0.1, 0.2, 0.7), 15, (2, 3, 10))])
def test_per_batch_by_hand(weights, batch_size, expected):
    datasets = [(str(i), weight) for i, weight in enumerate(weights)]
    assert proportions.per_batch(datasets, batch_size, 'datasets_3d') == expected


def test_no_data_sets_for_no_examples():
    assert proportions.per_batch((), 0, 'datasets_2d') == ()


def test_counts_are_within_one_of_the_share():
    weights = [0.5 + (7 * i) % 5 for i in range(9)]
    for batch_size in range(40, 130):
        counts = proportions.per_batch(list(enumerate(weights)), batch_size, 'x')
        assert sum(counts) == batch_size
        assert all(
            abs(count - batch_size * weight / sum(weights)) < 1
            for count, weight in zip(counts, weights))


A, B, C = ('a', 1), ('b', 2), ('c', 1)


@pytest.mark.parametrize('settings, message', [
    ({'datasets_3d': (A, ('b', 99)), 'datasets_2d': (C,)},
     r"`datasets_3d` must give every data set an example in each batch, and every example of a "
     r"batch a data set. Received: datasets_3d=\(\('a', 1\), \('b', 99\)\) for 4 examples, which "
     r'gives \[0, 4\]'),
    ({'datasets_3d': (A,)}, r'`datasets_2d` must give .* datasets_2d=\(\) for 4 examples.* \[\]'),
    ({'datasets_3d': (A,), 'datasets_2d': (B,), 'batch_size_2d': 0},
     '`datasets_2d` must give .* for 0 examples'),
    ({'datasets_3d': (('a', 0),), 'datasets_2d': (B,)},
     r"`datasets_3d\['a'\]` must be a positive finite number. Received: datasets_3d\['a'\]=0"),
    ({'datasets_3d': (('a', float('inf')),), 'datasets_2d': (B,)}, r"datasets_3d\['a'\]=inf"),
    ({'datasets_3d': (A, B), 'datasets_2d': (A,)}, 'of pairs .name, weight. with different names'),
    ({'datasets_3d': ('ab',), 'datasets_2d': (A,)}, "pairs .* Received: datasets_3d=.'ab',.*"),
    ({'datasets_3d': A, 'datasets_2d': (B,)}, 'must be tuples of pairs'),
    ({'datasets_3d': (A,), 'datasets_2d': (B,), 'own_share': 0.4},
     '`own_share` must be left alone with `datasets_3d` .* Received: own_share=0.4')])
def test_config_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{'name': 'x', 'batch_size_3d': 4, 'batch_size_2d': 4, **settings})


def test_configs_that_fit():
    TrainConfig(name='x', batch_size_3d=4, datasets_3d=(A, B), datasets_2d=(C,))
    TrainConfig(name='x', batch_size_3d=4, batch_size_2d=0, datasets_3d=(A, B))
    TrainConfig(name='x', batch_size_3d=0, batch_size_2d=3, datasets_2d=(A, B))
