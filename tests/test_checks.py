import numpy as np
import pytest
import tensorflow as tf

from metro_tf import checks
from tests import helpers


def test_last_axes_keeps_values_shape_and_float_type():
    for dtype in (np.float16, np.float32, np.float64):
        points = np.arange(12, dtype=dtype).reshape(2, 2, 3)
        checked = checks.last_axes(points, (None, 3), name='points')
        assert checked.dtype == dtype
        np.testing.assert_array_equal(checked, points)


@pytest.mark.parametrize('value', [[[1, 2, 3]], np.array([[1, 2, 3]], np.int64)])
def test_last_axes_turns_integers_into_float32(value):
    assert checks.last_axes(value, (1, 3), name='points').dtype == tf.float32


def test_last_axes_casts_to_a_given_type():
    checked = checks.last_axes(np.ones([2, 3], np.float64), (3,), name='points', dtype=tf.float16)
    assert checked.dtype == tf.float16


def test_last_axes_takes_scalars_where_nothing_is_required():
    assert checks.last_axes(5, (), name='value').numpy() == 5.0


@pytest.mark.parametrize('shape, sizes', [
    ((2,), (3,)), ((2, 3), (3, 3)), ((3,), (None, 3)), ((), (None,)), ((0,), (3,))])
def test_last_axes_names_the_argument_and_both_shapes(shape, sizes):
    wanted = ', '.join('any' if size is None else str(size) for size in sizes)
    with pytest.raises(ValueError) as error_info:
        checks.last_axes(np.zeros(shape), sizes, name='points')
    message = str(error_info.value)
    assert f'`points` must have a shape that ends in ({wanted}).' in message
    assert f'Received: shape={tf.TensorShape(shape)}' in message


def test_last_axes_lets_unknown_sizes_pass_in_a_graph():
    doubled = helpers.run_in_graph(
        lambda x: 2 * checks.last_axes(x, (None, 3), name='points'), np.ones([4, 3], np.float32))
    np.testing.assert_array_equal(doubled, np.full([4, 3], 2))
    unknown_rank = tf.function(
        lambda x: checks.last_axes(x, (None, 3), name='points'),
        input_signature=[tf.TensorSpec(None, tf.float32)])
    np.testing.assert_array_equal(unknown_rank(tf.ones([3])), np.ones(3))


def test_last_axes_refuses_a_wrong_rank_while_tracing():
    with pytest.raises(ValueError, match='`points` must have a shape'):
        helpers.run_in_graph(
            lambda x: checks.last_axes(x, (None, 3), name='points'), np.ones(3, np.float32))


@pytest.mark.parametrize('value', [1, 0.001, 1e300])
def test_positive_returns_the_value(value):
    assert checks.positive(value, 'stride_px') == value


@pytest.mark.parametrize('value', [0, -1, 0.0, float('nan'), float('inf'), -float('inf')])
def test_positive_refuses(value):
    with pytest.raises(
            ValueError, match=f'`stride_px` must be a positive .* Received: stride_px={value}'):
        checks.positive(value, 'stride_px')


def test_one_of_returns_the_value():
    assert checks.one_of('b', ('b', 'a'), 'mode') == 'b'


def test_one_of_lists_the_choices_in_order():
    with pytest.raises(ValueError) as error_info:
        checks.one_of('c', ('b', 'a'), 'mode')
    assert str(error_info.value) == "`mode` must be one of ['a', 'b']. Received: mode='c'"
