"""Adam and AdamW with the update of a variable in one operation, which reads and writes the memory once."""

from typing import Any

import keras
import tensorflow as tf


def apply_adam(
    variable: Any,
    mean: Any,
    square: Any,
    gradient: Any,
    *,
    step: Any,
    learning_rate: Any,
    beta_1: float,
    beta_2: float,
    epsilon: Any,
) -> None:
    """Update a variable and its two moments.

    Args:
        variable: Keras' or TensorFlow's, float32.
        mean, square: variables of the same shape, for the means of gradients and of their squares; 0 at first.
        gradient: of the variable's shape.
        step: number of this step, counted from 1.
        learning_rate: over 0.
        beta_1, beta_2: decays of `mean` and `square`, in [0, 1).
        epsilon: added to the root of `square`, before its correction.

    Source:
        Kingma & Ba 2015, "Adam", end of section 2.
    """
    step = keras.ops.cast(step, "float32")
    tf.raw_ops.ResourceApplyAdam(
        var=_handle(variable),
        m=_handle(mean),
        v=_handle(square),
        beta1_power=tf.pow(tf.constant(beta_1, tf.float32), step),
        beta2_power=tf.pow(tf.constant(beta_2, tf.float32), step),
        lr=tf.cast(learning_rate, tf.float32),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=epsilon,
        grad=tf.cast(gradient, tf.float32),
    )


def _handle(variable: Any) -> Any:
    return (variable if isinstance(variable, tf.Variable) else variable.value).handle


class _FusedStep:
    """Keras' formula for one variable, as one operation."""

    def update_step(self: Any, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Update one variable."""
        index = self._get_variable_index(variable)
        apply_adam(
            variable,
            self._momentums[index],
            self._velocities[index],
            gradient,
            step=self.iterations + 1,
            learning_rate=learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
        )


class FusedAdam(_FusedStep, keras.optimizers.Adam):
    """Keras' Adam, without its options for AMSGrad, EMA and clipping."""


class FusedAdamW(_FusedStep, keras.optimizers.AdamW):
    """Keras' AdamW, without its options for AMSGrad, EMA and clipping."""
