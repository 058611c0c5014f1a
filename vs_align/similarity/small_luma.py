"""Luma brought to one small size: what a frame network is shown of a frame."""

from typing import Any

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import plane, widened

__all__ = ["SMALL", "SmallLuma", "luma_clip"]

SMALL = (192, 144)
"""Width and height of the small picture, whatever the clip's."""

# Far beyond white, sums would overflow.
_MOST = 1e6


def luma_clip(clip: vs.VideoNode) -> vs.VideoNode:
    """Return a clip whose plane 0 is luma in a format that NumPy reads: RGB by BT.709, half floats widened."""
    if clip.format.color_family == vs.RGB:
        return clip.resize.Point(format=vs.GRAYS, matrix=1)
    return widened(clip)


class SmallLuma:
    """Makes small pictures of the frames of a clip.

    Args:
        clip: as `luma_clip` returns it.
    """

    def __init__(self, clip: vs.VideoNode) -> None:
        fmt = clip.format
        self._float = fmt.sample_type == vs.FLOAT
        self._scale = np.float32(255 if self._float else 255 / ((1 << fmt.bits_per_sample) - 1))

    def picture(self, frame: vs.VideoFrame) -> NDArray[np.float32] | None:
        """Return a frame's luma in 8 bit steps, shape (144, 192); None where a sample is not finite.

        It is the average over areas, where the frame is larger, and interpolated, where it is smaller.
        """
        samples: NDArray[Any] = plane(frame, 0)
        height, width = samples.shape
        if width >= 4 * SMALL[0] and height >= 4 * SMALL[1]:
            # In its own format first, which is quick; rounding before the last step is averaged away.
            samples = cv2.resize(samples, (2 * SMALL[0], 2 * SMALL[1]), interpolation=cv2.INTER_AREA)
            height, width = samples.shape
        small: NDArray[Any] = samples.astype(np.float32)
        inner = min(width, SMALL[0]), min(height, SMALL[1])
        if inner != (width, height):
            small = cv2.resize(small, inner, interpolation=cv2.INTER_AREA)
        # What is NaN or infinite stays so when it is averaged.
        if self._float and not np.isfinite(cv2.norm(small, cv2.NORM_L1)):
            return None
        if inner != SMALL:
            small = cv2.resize(small, SMALL, interpolation=cv2.INTER_LINEAR)
        with np.errstate(over="ignore"):
            picture: NDArray[np.float32] = np.clip(small * self._scale, -_MOST, _MOST)
        return picture
