"""AdamW that averages the gradients of several micro-batches, and SGD with a cycled momentum."""

import keras
import tensorflow as tf

from training import schedules

# Keras 3 has the method behind `apply_gradients` and lets the loss scaling call it.
_HAS_APPLY = hasattr(keras.optimizers.Optimizer, 'apply')


@keras.utils.register_keras_serializable(package='metro_tf')
class AccumulatingAdamW(keras.optimizers.AdamW):
    """AdamW with gradient accumulation, for Keras 2 and 3 alike.

    `iterations` counts updates, and with it every schedule and start step does. (Keras 3's own
    `gradient_accumulation_steps` lets the learning rate count micro-batches, as the published
    training of MeTRAbs did.) Clipping, weight decay and moving averages act once per update. A
    micro-batch that the loss scaling skips does not count.

    Args:
        learning_rate: Float or schedule.
        accumulation_steps: Micro-batches per update.
        **kwargs: Arguments of `keras.optimizers.AdamW`.

    Raises:
        ValueError: If `accumulation_steps` is below 1, or on several replicas.
    """

    def __init__(self, learning_rate=0.001, accumulation_steps=1, **kwargs):
        super().__init__(learning_rate, **kwargs)
        if accumulation_steps < 1:
            raise ValueError(
                '`accumulation_steps` must be at least 1. '
                f'Received: accumulation_steps={accumulation_steps}')
        self.accumulation_steps = accumulation_steps
        self.sums = None

    def build(self, variables):
        if self.sums is not None:
            return
        n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if n_replicas > 1:
            raise ValueError(
                f'Gradient accumulation must run on one replica. Received: {n_replicas} replicas')
        super().build(variables)
        self.positions = {self._var_key(variable): i for i, variable in enumerate(variables)}
        self.n_micro_batches = self.add_variable(shape=(), dtype='int64', name='n_micro_batches')
        self.sums = [
            self.add_variable_from_reference(variable, 'gradient_sum') for variable in variables]

    def apply_gradients(self, grads_and_vars, **kwargs):
        """Adds the gradients of a micro-batch; updates the variables after the last."""
        grads, variables = zip(*grads_and_vars)
        self.apply(grads, variables)
        return self.iterations

    def apply(self, grads, trainable_variables=None):
        """The same as `apply_gradients`, under the name that Keras 3 calls."""
        with tf.init_scope():
            self.build(list(trainable_variables))
        grads_and_vars = [
            (grad, variable) for grad, variable in zip(grads, trainable_variables)
            if grad is not None]
        for grad, variable in grads_and_vars:
            self._sum_of(variable).assign_add(tf.convert_to_tensor(grad))
        self.n_micro_batches.assign_add(1)
        n_micro_batches = tf.convert_to_tensor(self.n_micro_batches)
        variables = [variable for _, variable in grads_and_vars]
        tf.cond(
            tf.equal(n_micro_batches % self.accumulation_steps, 0),
            lambda: self._update(variables, n_micro_batches), lambda: tf.constant(False))

    def _update(self, variables, n_micro_batches):
        # Keras 2 counts skipped micro-batches here.
        self.iterations.assign(n_micro_batches // self.accumulation_steps - 1)
        sums = [self._sum_of(variable) for variable in variables]
        means = [tf.convert_to_tensor(total) / self.accumulation_steps for total in sums]
        if _HAS_APPLY:
            super().apply(means, variables)
        else:
            super().apply_gradients(zip(means, variables), skip_gradients_aggregation=True)
        for total in sums:
            total.assign(tf.zeros_like(total))
        return tf.constant(True)

    def _sum_of(self, variable):
        return self.sums[self.positions[self._var_key(variable)]]

    def get_config(self):
        return {**super().get_config(), 'accumulation_steps': self.accumulation_steps}


@keras.utils.register_keras_serializable(package='metro_tf')
class OneCycleSGD(keras.optimizers.SGD):
    """SGD whose momentum follows the learning rate, by the rule of PyTorch, for Keras 2 and 3.

    With gradient g, momentum m and learning rate l, the velocity becomes `v = m v + g`, then the
    weight `w = w - l v`. The rule of Keras puts the learning rate into the velocity and differs
    while the rate changes: old steps would go on at their old rate.

    Args:
        learning_rate: `training.schedules.OneCycle`, which gives the momentum too.
        **kwargs: Arguments of `keras.optimizers.SGD` except `momentum` and `nesterov`.

    Raises:
        ValueError: If the learning rate is something else.
    """

    def __init__(self, learning_rate, **kwargs):
        if not isinstance(learning_rate, schedules.OneCycle):
            raise ValueError(
                '`learning_rate` must be a OneCycle schedule. '
                f'Received: learning_rate={learning_rate!r}')
        # Any momentum makes Keras keep velocities.
        super().__init__(learning_rate, momentum=0.9, **kwargs)
        self.schedule = learning_rate
        self.positions = None

    def build(self, variables):
        if self.positions is None:
            super().build(variables)
            self.positions = {self._var_key(variable): i for i, variable in enumerate(variables)}

    def update_step(self, gradient, variable, learning_rate=None):
        """Updates a variable in place; Keras 3 passes its learning rate, which is the same."""
        step = tf.convert_to_tensor(self.iterations)
        velocity = self.momentums[self.positions[self._var_key(variable)]]
        momentum, rate = (
            tf.cast(value, variable.dtype)
            for value in (self.schedule.momentum(step), self.schedule(step)))
        moved = momentum * tf.convert_to_tensor(velocity) + tf.convert_to_tensor(gradient)
        velocity.assign(moved)
        variable.assign_sub(rate * moved)

    def get_config(self):
        config = super().get_config()
        for name in ('momentum', 'nesterov'):  # not settings here
            del config[name]
        return config
