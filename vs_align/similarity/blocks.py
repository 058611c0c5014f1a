"""Block sums of a plane: sum over blocks of |sum(a) - sum(b)| is never more than the sum of |a - b|.

Two bounds come of it. `CoarseBound` keeps sums of square blocks as bytes, so that those of a whole window are small and
are compared in integer SIMD. A byte holds a sum in units, folded: 0, 1 .. 255, 255, 254 .. 0, 0, 1 and so on. The fold
never moves two values further apart, so the bound stays a bound. `column_sums` are sums of a few pixels one below the
other, kept as they are: an eighth of the plane, and a bound that leaves few candidates.
"""

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

__all__ = ["COLUMN", "CoarseBound", "Columns", "Plane", "column_sums"]

type Plane = NDArray[np.integer] | NDArray[np.floating]
type Columns = NDArray[np.uint16] | NDArray[np.float32]
type Sums = NDArray[np.floating]

# Pixels to a column.
COLUMN = 8

_MOST_BLOCKS = 2048
# Units to an 8 bit step, averaged over the block.
_UNITS = 4
# Beyond this a float sum is clipped, which moves no two values apart either.
_MOST_UNITS = 1e6


class CoarseBound:
    """A lower bound of the sum of absolute differences of two planes from a byte a block.

    Blocks are squares of 8 pixels or more, so many that there are at most 2048 of them; what is left over at the right
    and bottom is ignored.

    Args:
        clip: gives format and size.

    Attributes:
        blocks: how many there are: bytes in a row.
    """

    def __init__(self, clip: vs.VideoNode) -> None:
        self._size = COLUMN
        while (clip.width // self._size) * (clip.height // self._size) > _MOST_BLOCKS:
            self._size *= 2
        self._grid = clip.height // self._size, clip.width // self._size
        self.blocks = self._grid[0] * self._grid[1]
        self._unit = self._size**2 * _eight_bit_step(clip.format) / _UNITS
        self._rounding = _Rounding(clip.format)
        is_float = clip.format.sample_type == vs.FLOAT
        exact_in_float32 = is_float or self._size**2 << clip.format.bits_per_sample <= 1 << 24
        self._to_units = np.full(self._size, 1 / self._unit, np.float32 if exact_in_float32 else np.float64)

    def row(self, plane: Plane, columns: Columns) -> NDArray[np.uint8]:
        """Return the folded sums of a plane's blocks, shape (blocks,), given its `column_sums`."""
        rows, across = self._grid
        if not self.blocks:
            return np.zeros(0, np.uint8)
        with np.errstate(invalid="ignore", over="ignore"):
            if self._size > COLUMN:
                tall = columns[: rows * self._size // COLUMN].reshape(rows, self._size // COLUMN, -1)
                columns = np.add.reduce(tall, axis=1, dtype=columns.dtype)
            wide = columns[:, : across * self._size].astype(self._to_units.dtype, copy=False)
            units = wide.reshape(-1, self._size) @ self._to_units
        return _folded(self._rounding.floor(plane, units))

    def below(self, distances: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what the sums of absolute differences of the planes cannot be less than, given those of their rows."""
        below: NDArray[np.float64] = (distances - self.blocks * self._rounding.units_lost) * self._unit
        return np.maximum(below, 0.0, out=below)

    def below_by_columns(self, columns: Columns, others: Columns) -> float:
        """Return what the sum of absolute differences of two planes cannot be less than, given their `column_sums`."""
        return self._rounding.below(cv2.norm(columns, others, cv2.NORM_L1), columns.size)


class _Rounding:
    """How far a sum of samples, brought to whole units, can be off."""

    def __init__(self, fmt: vs.VideoFormat) -> None:
        self._float = fmt.sample_type == vs.FLOAT
        self._largest = 1.0

    @property
    def units_lost(self) -> float:
        """The most by which rounding can move two sums apart: a unit, and for floats the error of adding them up."""
        return 1.01 + 0.01 * self._largest if self._float else 1.0

    def floor(self, plane: Plane, units: Sums) -> NDArray[np.int32]:
        """Round down, whatever is not finite to something that is, and take note of the plane's largest value."""
        if self._float:
            largest = cv2.norm(plane, cv2.NORM_INF)
            if np.isfinite(largest):
                self._largest = max(self._largest, largest)
            units = np.floor(np.clip(np.nan_to_num(units), -_MOST_UNITS, _MOST_UNITS))
        return units.astype(np.int32)

    def below(self, distance: float, columns: int) -> float:
        """Return a distance of that many `column_sums` less what rounding can have added to it."""
        if not self._float:
            return distance
        # 2 * COLUMN ** 2 * 2 ** -24 a column, and the error of adding them up.
        return distance * (1 - 1e-6) - columns * 1e-5 * self._largest


def _eight_bit_step(fmt: vs.VideoFormat) -> float:
    return 1 / 256 if fmt.sample_type == vs.FLOAT else float(1 << (fmt.bits_per_sample - 8))


def _folded(units: NDArray[np.int32]) -> NDArray[np.uint8]:
    # Every second run of 256 units counts down: bit 8, spread over the word, flips the low bits.
    return (units ^ (units << 23 >> 31)).astype(np.uint8)


def column_sums(plane: Plane) -> Columns:
    """Sum every `COLUMN` pixels of a plane that stand one below the other, from the top.

    Args:
        plane: unsigned 8 or 16 bit or float32, shape (H, W), rows may be padded.

    Returns:
        Shape (H // COLUMN, W); exact for integers.
    """
    rows = plane.shape[0] // COLUMN
    stacked = plane[: rows * COLUMN].reshape(rows, COLUMN, plane.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):
        # Along the second axis this is SIMD.
        sums: Columns = np.add.reduce(stacked, axis=1, dtype=np.uint16 if plane.dtype == np.uint8 else np.float32)
    return sums
