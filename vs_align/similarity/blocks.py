"""Block sums of a plane: sum over blocks of |sum(a) - sum(b)| is never more than the sum of |a - b|.

`CoarseBound` keeps sums of square blocks as bytes, so that those of a whole window are small and are compared in
integer SIMD. A byte holds a sum in units, folded: 0, 1 .. 255, 255, 254 .. 0, 0, 1 and so on. The fold never moves two
values further apart, so the bound stays a bound. Small units tell near pictures apart and fold far ones onto each
other; large units do the reverse and lose more to rounding. So two units are kept: a large one for blocks, a small one
for groups of four blocks.
"""

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from .store import row_distances

__all__ = ["CoarseBound", "Plane", "block_sums"]

type Plane = NDArray[np.integer] | NDArray[np.floating]
type Sums = NDArray[np.floating]

_MOST_BLOCKS = 2048
# Units to an 8 bit step, averaged over the block: for blocks, and for groups of four.
_BLOCK_UNITS, _GROUP_UNITS = 4, 16
# Beyond this a float sum is clipped, which moves no two values apart either.
_MOST_SUM, _MOST_UNITS = 1e12, 1e6


class CoarseBound:
    """A lower bound of the sum of absolute differences of two planes from a byte or so a block.

    Blocks are squares of 8 pixels or more, so many that there are at most 2048 of them; what is left over at the right
    and bottom is ignored.

    Args:
        clip: gives format and size.

    Attributes:
        width: bytes in a row.
        blocks: how many of them are blocks; the others are groups.
    """

    def __init__(self, clip: vs.VideoNode) -> None:
        self._size = 8
        while (clip.width // self._size) * (clip.height // self._size) > _MOST_BLOCKS:
            self._size *= 2
        self._grid = clip.height // self._size, clip.width // self._size
        self.blocks = self._grid[0] * self._grid[1]
        self.groups = (self._grid[0] // 2) * (self._grid[1] // 2)
        self.width = self.blocks + self.groups
        step = self._size**2 * _eight_bit_step(clip.format)
        self._units = step / _BLOCK_UNITS, 4 * step / _GROUP_UNITS
        self._rounding = _Rounding(clip.format)

    def row(self, plane: Plane) -> NDArray[np.uint8]:
        """Return the folded sums of a plane's blocks and then of its groups, shape (width,)."""
        sums = self._rounding.finite(plane, block_sums(plane, self._size))
        rows, columns = self._grid[0] // 2, self._grid[1] // 2
        grid = sums.reshape(self._grid)[: 2 * rows, : 2 * columns]
        pairs = grid[0::2] + grid[1::2]
        groups = pairs[:, 0::2] + pairs[:, 1::2]
        units = np.concatenate((sums * (1 / self._units[0]), groups.ravel() * (1 / self._units[1])))
        return _folded(self._rounding.floor(units))

    def by_blocks(self, row: NDArray[np.uint8], rows: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the sums of absolute differences of one row's blocks to those of each of ``rows``, shape (N,)."""
        return row_distances(row[: self.blocks], rows[:, : self.blocks])

    def by_groups(self, row: NDArray[np.uint8], rows: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the sums of absolute differences of one row's groups to those of each of ``rows``, shape (N,)."""
        return row_distances(row[self.blocks :], rows[:, self.blocks :])

    def below_by_blocks(self, distances: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what the sums of absolute differences of the planes cannot be less than, given `by_blocks`."""
        below: NDArray[np.float64] = (distances - self.blocks * self._rounding.units_lost) * self._units[0]
        return np.maximum(below, 0.0, out=below)

    def below_by_groups(self, distances: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what the sums of absolute differences of the planes cannot be less than, given `by_groups`."""
        below: NDArray[np.float64] = (distances - self.groups * self._rounding.units_lost) * self._units[1]
        return np.maximum(below, 0.0, out=below)


class _Rounding:
    """How far a sum of samples, brought to whole units, can be off."""

    def __init__(self, fmt: vs.VideoFormat) -> None:
        self._float = fmt.sample_type == vs.FLOAT
        self._largest = 1.0

    @property
    def units_lost(self) -> float:
        """The most by which rounding can move two sums apart: a unit, and for floats the error of adding them up."""
        return 1.01 + 0.01 * self._largest if self._float else 1.0

    def finite(self, plane: Plane, sums: Sums) -> Sums:
        """Replace sums that are not finite and take note of the plane's largest value."""
        if not self._float:
            return sums
        largest = cv2.norm(plane, cv2.NORM_INF)
        if np.isfinite(largest):
            self._largest = max(self._largest, largest)
        finite: Sums = np.clip(np.nan_to_num(sums), -_MOST_SUM, _MOST_SUM)
        return finite

    def floor(self, units: Sums) -> NDArray[np.int32]:
        """Round down."""
        if self._float:
            units = np.floor(np.clip(units, -_MOST_UNITS, _MOST_UNITS))
        return units.astype(np.int32)


def _eight_bit_step(fmt: vs.VideoFormat) -> float:
    return 1 / 256 if fmt.sample_type == vs.FLOAT else float(1 << (fmt.bits_per_sample - 8))


def _folded(units: NDArray[np.int32]) -> NDArray[np.uint8]:
    # Every second run of 256 units counts down: bit 8, spread over the word, flips the low bits.
    return (units ^ (units << 23 >> 31)).astype(np.uint8)


def block_sums(plane: Plane, size: int) -> Sums:
    """Sum a plane over blocks of ``size`` x ``size`` pixels.

    Args:
        plane: unsigned 8 or 16 bit or float32, shape (H, W), rows may be padded.
        size: a power of two.

    Returns:
        Shape (H // size * (W // size),); exact for integers.
    """
    rows, columns = plane.shape[0] // size, plane.shape[1] // size * size
    if not rows or not columns:
        return np.zeros(0, np.float32)
    bands = plane[: rows * size, :columns].reshape(rows, size, columns)
    # Whole rows are added first: that is one pass of SIMD over the plane, and what is left is 1/size of it.
    with np.errstate(invalid="ignore", over="ignore"):
        partial = np.add.reduce(bands, axis=1, dtype=_ROW_SUMS[plane.dtype.char])
        exact_in_float32 = plane.dtype != np.uint16 or size * size * 65535 < 1 << 24
        dtype = np.float32 if exact_in_float32 else np.float64
        sums: Sums = partial.astype(dtype, copy=False).reshape(-1, size) @ np.ones(size, dtype)
    return sums


# 256 rows of 8 bits fit 16 bits; only a plane of half a gigapixel would have larger blocks.
_ROW_SUMS = {"B": np.uint16, "H": np.uint32, "f": np.float32}
