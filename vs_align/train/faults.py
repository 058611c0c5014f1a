"""What a training or an evaluation cannot do."""

__all__ = ["TrainFault", "TrainingError"]


class TrainFault(Exception):
    """What was asked for cannot be done. One line that says what to do, without the command's name."""


class TrainingError(TrainFault, RuntimeError):
    """A training that cannot go on."""
