"""Flow fields and grids: enlarging, sampling, bands of rows.

Convention:
    A flow has shape (H, W, 2), float32, and holds (dx, dy) in pixels of its own picture: what belongs to pixel (x, y),
    at pixel centres, lies at (x + dx, y + dy) in the other picture. A grid is a flow at a fraction of the picture's
    size; its values stay in pixels of the full picture.
"""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array",
    "Bands",
    "averaged",
    "coordinates",
    "enlarged",
    "inside",
    "reduced",
    "resampled",
    "sample",
    "taken_at",
]

type Array = NDArray[Any]  # float32 throughout; cv2 and NumPy do not tell it

# OpenCV takes None here, which its stubs do not know.
_NO_SECOND_MAP: Any = None
# Catmull-Rom a quarter of the way to the sample before and to the one after.
_AFTER = np.array([0, -0.0703125, 0.8671875, 0.2265625, -0.0234375], np.float32)
_QUARTERS = (_AFTER[::-1].copy(), _AFTER)


@lru_cache(maxsize=8)
def coordinates(height: int, width: int) -> Array:
    """Return (x, y) of each pixel, shape (height, width, 2), not to be written to."""
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)
    both = np.dstack(np.meshgrid(x, y))
    both.flags.writeable = False
    return both


def reduced(image: Array, factor: int) -> Array:
    """Return the means of ``factor`` x ``factor`` blocks; both sides are multiples of ``factor``."""
    height, width = image.shape[:2]
    size = (width // factor, height // factor)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor > 1 else image


def enlarged(grid: Array, factor: int) -> Array:
    """Return a grid at ``factor`` times its size, a power of two; at the border it goes on as a straight line.

    Doubled by Catmull-Rom down to pairs of pixels, then linear. (OpenCV's cubic, of a = -0.75, would move what it
    enlarges by up to 0.05 of a cell.)
    """
    if factor == 1:
        return grid
    padded = _extrapolated(_in_pairs(grid, factor), 1)
    return np.ascontiguousarray(_twice(padded)[2:-2, 2:-2])


def resampled(grid: Array, rows: int) -> Array:
    """Return a grid with another number of rows, that of now times or over a power of two."""
    if rows >= grid.shape[0]:
        return enlarged(grid, rows // grid.shape[0])
    return reduced(grid, grid.shape[0] // rows)


def sample(image: Array, flow: Array) -> Array:
    """Return an image where a flow points to; outside it, its border goes on."""
    return taken_at(image, coordinates(*flow.shape[:2]) + flow)


def taken_at(image: Array, positions: Array) -> Array:
    """Return an image at positions (x, y), shape (h, w, 2), linearly interpolated; outside it, its border goes on."""
    taken: Array = cv2.remap(image, positions, _NO_SECOND_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return taken


def inside(flow: Array, height: int, width: int) -> NDArray[np.bool_]:
    """Return where a flow points into a picture."""
    positions = coordinates(*flow.shape[:2]) + flow
    x, y = positions[..., 0], positions[..., 1]
    lies: NDArray[np.bool_] = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return lies


def averaged(grid: Array, sigma: float) -> Array:
    """Return a grid smoothed by a Gaussian, sigma in cells; straight fields stay as they are, also at the border."""
    reach = max(1, round(3 * sigma))
    smooth = cv2.GaussianBlur(_extrapolated(grid, reach), (2 * reach + 1, 2 * reach + 1), sigma)
    return np.ascontiguousarray(smooth[reach:-reach, reach:-reach])


class Bands:
    """A flow at full size, made a band of rows at a time, so that what is worked on stays in the processor's cache.

    Args:
        grid: the flow, one value for ``factor`` by ``factor`` pixels.
        factor: a power of two, 2 and up.
    """

    def __init__(self, grid: Array, factor: int) -> None:
        self._pairs = _extrapolated(_in_pairs(grid, factor), 1)
        self._width = grid.shape[1] * factor

    def sampled(self, image: Array, first: int, last: int) -> Array:
        """Return an image at the positions of rows ``first`` to ``last``, and of one row more each way.

        Args:
            image: shape (H, W).
            first, last: even numbers; the last is exclusive.
        """
        count = last - first + 2
        flow = _twice(self._pairs[first // 2 : last // 2 + 2])[1 : 1 + count, 2:-2]
        positions = flow + coordinates(count, self._width)
        positions[..., 1] += first - 1
        return taken_at(image, positions)


def _in_pairs(grid: Array, factor: int) -> Array:
    """Return a grid at half of ``factor`` times its size: one value for two by two pixels."""
    while factor > 2:
        grid = _doubled(grid)
        factor //= 2
    return grid


def _doubled(grid: Array) -> Array:
    """Return a grid with twice the cells each way; the new ones lie a quarter of a cell beside the old."""
    height, width = grid.shape[:2]
    padded = _extrapolated(grid, 2)
    out = np.empty((2 * height, 2 * width, *grid.shape[2:]), np.float32)
    for row, down in enumerate(_QUARTERS):
        for column, along in enumerate(_QUARTERS):
            out[row::2, column::2] = cv2.sepFilter2D(padded, -1, along, down)[2:-2, 2:-2]
    return out


def _twice(grid: Array) -> Array:
    height, width = grid.shape[:2]
    return cv2.resize(grid, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)


def _extrapolated(grid: Array, cells: int) -> Array:
    """Return a grid with more cells on each side, on the line through the two next to them."""
    padded: Array = cv2.copyMakeBorder(grid, cells, cells, cells, cells, cv2.BORDER_REPLICATE)
    for whole, count in ((padded, grid.shape[0]), (padded.swapaxes(0, 1), grid.shape[1])):
        first, last = cells, cells + count - 1
        for cell in range(1, cells + 1) if count > 1 else ():
            whole[first - cell] += cell * (whole[first] - whole[first + 1])
            whole[last + cell] += cell * (whole[last] - whole[last - 1])
    return padded
