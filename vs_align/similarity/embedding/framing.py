"""How a release's picture lies in the other's: framings that are tried, and how a picture is brought to one.

Releases are cropped and zoomed by a few percent, the same from beginning to end. A network that tells a frame from
its neighbours cannot be blind to that; so ref's frames are brought to the framing in which they are most like clip's.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..small_luma import SMALL

__all__ = ["IDENTITY", "INPUT", "ROUGH", "STEPS", "Framing", "framed", "neighbours", "normalised"]

INPUT = (96, 72)
"""Width and height of what a frame network is shown."""

# Deviation, in 8 bit steps, below which a picture counts as noise and is not blown up.
_FLAT = 0.3


class Framing(NamedTuple):
    """A zoom about the centre and a shift, in that order.

    Attributes:
        across, down: the zoom; above 1 the picture is larger than the frame.
        right, below: the shift in halves of the frame's width and height.
    """

    across: float = 1.0
    down: float = 1.0
    right: float = 0.0
    below: float = 0.0


IDENTITY = Framing()
ROUGH = (IDENTITY, *(Framing(zoom, zoom) for z in (1.02, 1.035, 1.05) for zoom in (z, 1 / z)))
"""The framings that are tried first."""
STEPS = (0.015, 0.015, 0.0075, 0.0075)
"""By how much `neighbours` differ, one pass after the other."""


def neighbours(framing: Framing, step: float) -> list[Framing]:
    """Return the framings around one: other zooms, other shapes, and shifts in eight directions."""
    zooms = [(1, 1), (-1, -1), (1, -1), (-1, 1)]
    shifts = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)]
    across, down, right, below = framing
    return [
        *(Framing(across + step * x, down + step * y, right, below) for x, y in zooms),
        *(Framing(across, down, right + step * x, below + step * y) for x, y in shifts),
    ]


def framed(picture: NDArray[np.float32], framing: Framing) -> NDArray[np.float32]:
    """Bring a small picture to a framing and to the network's size.

    Args:
        picture: shape (144, 192).
        framing: what lies beyond the border continues it.

    Returns:
        Shape (72, 96), on average over 2 by 2 pixels.
    """
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(picture, _matrix(framing), INPUT, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32)


@lru_cache(maxsize=1024)
def _matrix(framing: Framing) -> NDArray[np.float64]:
    """Return where in the small picture each pixel of the network's lies; (x, y) at pixel centres."""
    rows = []
    for axis, (zoom, shift) in enumerate(((framing.across, framing.right), (framing.down, framing.below))):
        shrink = SMALL[axis] / INPUT[axis]
        start = 0.5 * shrink / zoom - 0.5 + SMALL[axis] / 2 * (1 - (1 + shift) / zoom)
        rows.append([shrink / zoom if axis == 0 else 0.0, shrink / zoom if axis == 1 else 0.0, start])
    return np.array(rows)


def normalised(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring pictures (N, H, W) to mean 0 and, where they are more than noise, to unit deviation."""
    centred = pictures - pictures.mean((1, 2), keepdims=True)
    centred /= centred.std((1, 2), keepdims=True) + np.float32(_FLAT)
    return centred
