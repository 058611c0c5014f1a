"""Two ways to play a clip beside another without looking at either."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["pad", "stretch"]


def pad(ref_length: int, clip_length: int, rate: Fraction = Fraction(1)) -> NDArray[np.int64]:
    """Play clip at its own speed, then hold its last frame.

    Args:
        ref_length, clip_length: in frames, 1 or more.
        rate: clip's frame rate divided by ref's.

    Returns:
        The clip frame for each ref frame, shape (ref_length,).
    """
    _refuse_empty("pad", ref_length, clip_length)
    n = np.arange(ref_length, dtype=np.int64)
    return np.minimum(n * rate.numerator // rate.denominator, clip_length - 1)


def stretch(ref_length: int, clip_length: int) -> NDArray[np.int64]:
    """Resample clip linearly to ref's length: first frame to first frame, last to last, the nearest one between.

    Args:
        ref_length, clip_length: in frames, 1 or more.

    Returns:
        The clip frame for each ref frame, shape (ref_length,); halves are rounded up.
    """
    _refuse_empty("stretch", ref_length, clip_length)
    n, steps = np.arange(ref_length, dtype=np.int64), max(1, ref_length - 1)
    return (2 * n * (clip_length - 1) + steps) // (2 * steps)


def _refuse_empty(function: str, ref_length: int, clip_length: int) -> None:
    if ref_length < 1 or clip_length < 1:
        raise ValueError(f"{function}: ref and clip need a frame each, not {ref_length} and {clip_length}.")
