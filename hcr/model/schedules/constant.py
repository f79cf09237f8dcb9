"""A constant learning rate."""

from hcr.model.schedules import Schedule


class Constant(Schedule):
    """The same learning rate at every step."""

    def build(self, learning_rate: float, total_steps: int) -> float:
        return learning_rate
