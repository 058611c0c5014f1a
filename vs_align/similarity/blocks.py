"""Block sums of a plane: sum over blocks of |sum(a) - sum(b)| is never more than the sum of |a - b|."""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["block_size", "block_sums"]

_MOST_BLOCKS = 8192


def block_size(width: int, height: int) -> int:
    """Return the side of the square blocks: a power of two from 8 up that gives at most 8192 of them."""
    size = 8
    while (width // size) * (height // size) > _MOST_BLOCKS:
        size *= 2
    return size


def block_sums(plane: NDArray[np.generic], size: int) -> NDArray[np.floating]:
    """Sum a plane over blocks of ``size`` x ``size`` pixels; what is left over at the right and bottom is ignored.

    Args:
        plane: unsigned 8 or 16 bit or float32, shape (H, W), rows may be padded.
        size: a power of two.

    Returns:
        Shape (H // size * (W // size),); exact for integers.
    """
    rows, columns = plane.shape[0] // size, plane.shape[1] // size
    if not rows or not columns:
        return np.zeros(0, np.float32)
    bands = plane[: rows * size, : columns * size].reshape(rows, size, columns * size)
    # Whole rows are added first: that is one pass of SIMD over the plane, and what is left is 1/size of it.
    partial = np.add.reduce(bands, axis=1, dtype=_ROW_SUMS[plane.dtype.char])
    exact_in_float32 = plane.dtype != np.uint16 or size * size * 65535 < 1 << 24
    depth, dtype = (cv2.CV_32F, np.float32) if exact_in_float32 else (cv2.CV_64F, np.float64)
    sums = cv2.reduce(partial.astype(dtype, copy=False).reshape(-1, size), 1, cv2.REDUCE_SUM, dtype=depth)
    return sums[:, 0]


# 8 bit: 64 rows of 255 fit 16 bits; a plane large enough for blocks of 512 pixels would not.
_ROW_SUMS = {"B": np.uint16, "H": np.uint32, "f": np.float32}
