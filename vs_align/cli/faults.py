"""What ends a command before its time."""

__all__ = ["Abandoned", "Refusal"]


class Refusal(Exception):
    """What is asked for cannot be done: one line that says why and what to do, without the command's name."""


class Abandoned(KeyboardInterrupt):
    """Interrupted while a thread of ours is in a plugin's hands."""
