"""Flow fields and grids: upsampling, sampling, composition.

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

__all__ = ["Array", "coordinates", "enlarged", "inside", "reduced", "resampled", "sample"]

# OpenCV takes None here, which its stubs do not know.
_NO_SECOND_MAP: Any = None

type Array = NDArray[Any]  # float32 throughout; cv2 and NumPy do not tell it


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


def enlarged(grid: Array, factor: int, interpolation: int = cv2.INTER_CUBIC) -> Array:
    """Return a grid at ``factor`` times its size; at the border it goes on as a straight line."""
    if factor == 1:
        return grid
    padded = _extrapolated(grid)
    height, width = padded.shape[:2]
    whole = cv2.resize(padded, (width * factor, height * factor), interpolation=interpolation)
    return np.ascontiguousarray(whole[factor:-factor, factor:-factor])


def resampled(grid: Array, rows: int) -> Array:
    """Return a grid with another number of rows, that of now times or over a whole number."""
    if rows >= grid.shape[0]:
        return enlarged(grid, rows // grid.shape[0])
    return reduced(grid, grid.shape[0] // rows)


def _extrapolated(grid: Array) -> Array:
    """Return a grid with one more cell on each side, on the line through the two next to it."""
    padded: Array = cv2.copyMakeBorder(grid, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    if grid.shape[0] > 1:
        padded[0] += padded[1] - padded[2]
        padded[-1] += padded[-2] - padded[-3]
    if grid.shape[1] > 1:
        padded[:, 0] += padded[:, 1] - padded[:, 2]
        padded[:, -1] += padded[:, -2] - padded[:, -3]
    return padded


def sample(image: Array, flow: Array, interpolation: int = cv2.INTER_LINEAR) -> Array:
    """Return an image at the positions that a flow points to; outside it, its border goes on."""
    positions = coordinates(*flow.shape[:2]) + flow
    taken: Array = cv2.remap(image, positions, _NO_SECOND_MAP, interpolation, borderMode=cv2.BORDER_REPLICATE)
    return taken


def inside(flow: Array, height: int, width: int) -> NDArray[np.bool_]:
    """Return where a flow points into the picture."""
    positions = coordinates(*flow.shape[:2]) + flow
    x, y = positions[..., 0], positions[..., 1]
    lies: NDArray[np.bool_] = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return lies
