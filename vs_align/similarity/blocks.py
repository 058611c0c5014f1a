"""Block sums of a plane: sum over blocks of |sum(a) - sum(b)| is never more than the sum of |a - b|.

Kept as one byte a block, so that a window of them is small and is compared in integer SIMD. A byte holds the sum in units,
folded: 0, 1 .. 255, 255, 254 .. 0, 0, 1 and so on. The fold never moves two values further apart, so the bound stays
a bound, and it keeps the fine steps that the upper eight bits of the sum would lose.
"""

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

__all__ = ["BlockBound", "block_size", "block_sums"]

_MOST_BLOCKS = 8192
# One unit is an eighth of an 8 bit step, averaged over the block.
UNITS_PER_PEAK = 8 * 256
# Beyond this a float sum is clipped, which moves no two values apart either.
_MOST_UNITS = 1e6


class BlockBound:
    """A lower bound of the sum of absolute differences of two planes from a byte a block.

    Args:
        clip: gives format and size.
        size: the side of the square blocks, a power of two; what is left over at the right and bottom is ignored.
    """

    def __init__(self, clip: vs.VideoNode, size: int) -> None:
        fmt = clip.format
        self._size = size
        self._float = fmt.sample_type == vs.FLOAT
        self._unit = size**2 * (1.0 if self._float else float(1 << fmt.bits_per_sample)) / UNITS_PER_PEAK
        self._largest = 1.0
        self.blocks = (clip.width // size) * (clip.height // size)

    def row(self, plane: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Return the folded block sums of a plane, shape (blocks,)."""
        sums = block_sums(plane, self._size)
        if self._float:
            largest = cv2.norm(plane, cv2.NORM_INF)
            if np.isfinite(largest):
                self._largest = max(self._largest, largest)
            most = _MOST_UNITS * self._unit
            sums = np.floor(np.clip(np.nan_to_num(sums), -most, most) / self._unit)
        else:
            sums = sums * (1 / self._unit)
        units = sums.astype(np.int32)
        # Every second run of 256 units counts down: bit 8, spread over the word, flips the low bits.
        return (units ^ (units << 23 >> 31)).astype(np.uint8)

    def below[T: (float, NDArray[np.float64])](self, distance: T) -> T:
        """Return what the sum of absolute differences cannot be less than, given the distance of two rows."""
        # Rounding down costs up to one unit a block; float sums err by a little more, in proportion to the values.
        lost = self.blocks * (1.01 + 0.01 * self._largest if self._float else 1.0)
        return np.maximum(distance - lost, 0.0) * self._unit


def block_size(width: int, height: int) -> int:
    """Return the side of the square blocks: a power of two from 8 up that gives at most 8192 of them."""
    size = 8
    while (width // size) * (height // size) > _MOST_BLOCKS:
        size *= 2
    return size


def block_sums(plane: NDArray[np.generic], size: int) -> NDArray[np.floating]:
    """Sum a plane over blocks of ``size`` x ``size`` pixels.

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
    dtype = np.float32 if exact_in_float32 else np.float64
    return partial.astype(dtype, copy=False).reshape(-1, size) @ np.ones(size, dtype)


# 256 rows of 8 bits fit 16 bits; only a plane of half a gigapixel would have larger blocks.
_ROW_SUMS = {"B": np.uint16, "H": np.uint32, "f": np.float32}
