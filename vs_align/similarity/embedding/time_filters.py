"""What a frame shows that the frames around it do not: a high pass along time.

Borders, logos and subtitles that stand still, and the colours of a release as far as they are constant, are in the mean
of the frames around, and leave the picture with it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["high_pass"]


def high_pass(pictures: Sequence[NDArray[np.float32]], index: int) -> NDArray[np.float32]:
    """Return one picture less the mean of all.

    Args:
        pictures: in order, each of shape (H, W).
        index: which of them.

    Returns:
        Shape (H, W); zeros where all are equal.
    """
    # In the order of time and in place: the same sum, bit for bit, whoever asks.
    total = np.zeros_like(pictures[0])
    for picture in pictures:
        # Differences, so that what never changes leaves no rounding behind.
        total += picture - pictures[index]
    total *= np.float32(-1 / len(pictures))
    return total
