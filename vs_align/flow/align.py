"""From two pictures to the flow between them: what every engine shares."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .dis import estimate
from .geometry import Array, enlarged
from .options import AlignOptions
from .stages import BLOCK, SMALLEST_SIDE, UNRELATED

__all__ = ["AlignOptions", "Alignment", "align"]


@dataclass(frozen=True, slots=True)
class Alignment:
    """What was found out about a pair.

    Attributes:
        flow: where to sample clip for each pixel of ref, displacement (dx, dy) in ref's pixels, float32, shape
            (H, W, 2); None: nothing is to be moved, or the pictures have nothing in common.
        residual: what disagreement is left, 0 none, 1 nothing in common: 1 less the correlation of the locally
            normalised pictures.
    """

    flow: Array | None
    residual: float


def align(clip: Array, ref: Array, mask: NDArray[np.uint8] | None, options: AlignOptions) -> Alignment:
    """Find the flow from ref to clip.

    Args:
        clip, ref: luma, float32, finite, about 0 to 255, both of shape (H, W).
        mask: non-zero where ref is to be ignored, same shape; None: nowhere.
        options: how.
    """
    height, width = ref.shape
    if np.array_equal(clip, ref):
        return Alignment(None, 0.0)
    if min(height, width) < SMALLEST_SIDE or not _comparable(clip, ref, mask):
        return Alignment(None, _plain_residual(clip, ref))
    keep = np.zeros((height + -height % BLOCK, width + -width % BLOCK), np.float32)
    keep[:height, :width] = 1 if mask is None else mask == 0
    masked = mask is not None and bool(mask.any())
    whole = (_padded(ref), _padded(clip), keep)
    found = estimate(*whole, masked, options)
    for _ in range(1, options.iterations):
        found = estimate(*whole, masked, options, found.grid)
    if found.agreement < UNRELATED or found.still:
        return Alignment(None, _residual(found.unmoved))
    flow = np.ascontiguousarray(enlarged(found.grid, keep.shape[0] // found.grid.shape[0])[:height, :width])
    return Alignment(flow, _residual(found.agreement))


def _residual(agreement: float) -> float:
    return min(max(1 - agreement, 0.0), 1.0)


def _comparable(clip: Array, ref: Array, mask: NDArray[np.uint8] | None) -> bool:
    return float(np.ptp(clip)) > 1 and float(np.ptp(ref)) > 1 and (mask is None or not mask.all())


def _plain_residual(clip: Array, ref: Array) -> float:
    return 0.0 if np.abs(clip - ref).max() < 1 else 1.0


def _padded(picture: Array) -> Array:
    height, width = picture.shape
    return cv2.copyMakeBorder(picture, 0, -height % BLOCK, 0, -width % BLOCK, cv2.BORDER_REPLICATE)
