"""Muon: orthogonalized momentum for kernels; Adam for everything else."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from hcr.model.fused_adam import apply_adam

# Coefficients of the odd quintic in the Newton-Schulz iteration, tuned to raise small singular values fast: they end
# between about 0.7 and 1.2, not at 1. Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers".
A, B, C = 3.4445, -4.7750, 2.0315

OUTPUT_LAYER = "logits"  # Adam updates its kernel, as Muon's authors advise


class Muon(keras.optimizers.Optimizer):
    """Muon on kernels, Adam on the rest.

    A convolution kernel (k, k, in, out) is reshaped to a matrix (k * k * in, out). Its update is the orthogonal matrix
    nearest to its Nesterov momentum, times sqrt(max(1, out / (k * k * in))).

    Args:
        learning_rate: of kernels; a number over 0, or a schedule.
        momentum: in [0, 1).
        newton_schulz_steps: iterations, 1 or more.
        dense_kernels: True to use Muon on dense kernels (in, out) too, except the output layer's.
        adam_ratio: Adam's learning rate divided by that of kernels; the schedule scales both.
        adam_beta_1, adam_beta_2, adam_epsilon: Adam's.

    Source:
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Kingma & Ba 2015 for Adam.
    """

    def __init__(
        self,
        learning_rate: Any,
        *,
        momentum: float,
        newton_schulz_steps: int,
        dense_kernels: bool,
        adam_ratio: float,
        adam_beta_1: float,
        adam_beta_2: float,
        adam_epsilon: float,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name="muon")
        self.momentum = momentum
        self.newton_schulz_steps = newton_schulz_steps
        self.dense_kernels = dense_kernels
        self.adam_ratio = adam_ratio
        self.adam_beta_1, self.adam_beta_2, self.adam_epsilon = adam_beta_1, adam_beta_2, adam_epsilon

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the slots of each variable: a momentum for kernels, two moments for the others."""
        if self.built:
            return
        super().build(variables)
        self._first, self._second = [], []
        for variable in variables:
            self._first.append(self.add_variable_from_reference(variable, name="momentum"))
            second = None
            if not self.takes(variable):
                second = self.add_variable_from_reference(variable, name="velocity")
            self._second.append(second)

    def takes(self, variable: keras.Variable) -> bool:
        """True if `variable` is a kernel that Muon updates."""
        *layers, name = variable.path.split("/")
        if name != "kernel" or OUTPUT_LAYER in layers:
            return False
        return len(variable.shape) == 4 or (self.dense_kernels and len(variable.shape) == 2)

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Update one variable."""
        index = self._get_variable_index(variable)
        gradient = ops.cast(gradient, variable.dtype)
        learning_rate = ops.cast(learning_rate, variable.dtype)
        first, second = self._first[index], self._second[index]
        if second is None:
            self._muon_step(gradient, variable, learning_rate, first)
        else:
            self._adam_step(gradient, variable, learning_rate * self.adam_ratio, first, second)

    def _muon_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any, velocity: Any) -> None:
        self.assign(velocity, self.momentum * velocity + gradient)
        *inputs, outputs = variable.shape
        rows = math.prod(inputs)
        ahead = ops.reshape(gradient + self.momentum * velocity, (rows, outputs))
        update = orthogonalize(ahead, self.newton_schulz_steps) * math.sqrt(max(1.0, outputs / rows))
        self.assign_sub(variable, learning_rate * ops.reshape(update, variable.shape))

    def _adam_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any, mean: Any, square: Any) -> None:
        # The epsilon is added to the corrected root, so it is corrected as the root is.
        step = ops.cast(self.iterations + 1, "float32")
        correction = ops.sqrt(1 - ops.power(ops.cast(self.adam_beta_2, "float32"), step))
        apply_adam(
            variable,
            mean,
            square,
            gradient,
            step=step,
            learning_rate=learning_rate,
            beta_1=self.adam_beta_1,
            beta_2=self.adam_beta_2,
            epsilon=self.adam_epsilon * correction,
        )


def orthogonalize(matrix: Any, steps: int) -> Any:
    """An approximation of the orthogonal factor of `matrix`: same singular vectors, singular values of about 1.

    Args:
        matrix: (rows, columns), float.
        steps: Newton-Schulz iterations; 4 or 5 are enough.

    Returns:
        The same shape.
    """
    rows, columns = matrix.shape
    x = matrix / (ops.norm(matrix) + 1e-7)
    tall = rows > columns
    for _ in range(steps):  # multiplies matrices of the smaller side
        square = tf.matmul(x, x, transpose_a=tall, transpose_b=not tall)
        update = B * square + C * tf.matmul(square, square)
        x = A * x + (tf.matmul(x, update) if tall else tf.matmul(update, x))
    return x
