"""What the grey values of two pictures say about the flow between them: Lucas-Kanade, per grid cell."""

from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import Array, coordinates, enlarged, reduced, sample

__all__ = ["Evidence", "evidence", "gradients"]


_FLOOR = 0.07
_LEAST_ALONG = 0.01


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a pair says about the step that the flow should take, per cell, shape (h, w), divided by the noise.

    Attributes:
        xx, xy, yy: the structure tensor, mean over the cell's pixels.
        xd, yd: gradient times difference, likewise.
    """

    xx: Array
    xy: Array
    yy: Array
    xd: Array
    yd: Array


def gradients(image: Array) -> tuple[Array, Array]:
    """Return the derivatives along x and y per pixel (Scharr)."""
    x = cv2.Scharr(image, cv2.CV_32F, 1, 0, scale=1 / 32)
    y = cv2.Scharr(image, cv2.CV_32F, 0, 1, scale=1 / 32)
    return x, y


def evidence(ref: Array, clip: Array, grid: Array, cell: int, keep: Array, slopes: tuple[Array, Array]) -> Evidence:
    """Compare ref with clip as a flow brings it.

    Args:
        ref, clip: locally normalised pictures, shape (H, W).
        grid: the flow so far, shape (H / cell, W / cell, 2), in pixels of these pictures.
        cell: pixels of a cell's side.
        keep: weight of each pixel of ref, 0 to 1.
        slopes: ref's `gradients`.

    Source:
        Lucas and Kanade, 1981; gradients averaged over both pictures as in Baker and Matthews' survey, 2004.
    """
    warped = sample(clip, enlarged(grid, cell))
    seen = _seen(grid, cell, *clip.shape)
    x, y = gradients(warped)
    x += slopes[0]
    y += slopes[1]
    difference = ref - warped
    usual = np.float32(max(1.4826 * float(np.median(np.abs(difference[::4, ::4]))), 0.05) ** 2 * 16)
    weight = keep * (usual / (usual + difference * difference))
    wx, wy, wd = weight * x, weight * y, weight * difference
    count = cv2.GaussianBlur(reduced(weight, cell), (0, 0), 1.5) + np.float32(1e-3)
    noise = cv2.GaussianBlur(reduced(wd * difference, cell), (0, 0), 1.5) / count + np.float32(_FLOOR * _FLOOR)
    scale = seen / noise
    quarter, half = np.float32(0.25), np.float32(0.5)
    return _across_edges(
        Evidence(
            xx=reduced(wx * x, cell) * (scale * quarter),
            xy=reduced(wx * y, cell) * (scale * quarter),
            yy=reduced(wy * y, cell) * (scale * quarter),
            xd=reduced(wx * difference, cell) * (scale * half),
            yd=reduced(wy * difference, cell) * (scale * half),
        )
    )


def _across_edges(found: Evidence) -> Evidence:
    """Take away what is said of the direction along an edge where next to nothing is seen of it.

    What is left there of gradient is light that changes slowly, which other looks move about.
    """
    middle, half = (found.xx + found.yy) / 2, (found.xx - found.yy) / 2
    apart = np.sqrt(half * half + found.xy * found.xy)
    strong, weak = middle + apart, np.maximum(middle - apart, 0)
    least = np.float32(_LEAST_ALONG) * strong
    # 1 where the weak direction goes, 0 where it stays.
    gone = least * least / np.maximum(weak * weak + least * least, np.float32(1e-20))
    # The projection on the weak direction is (1 - (2 tensor - trace) / (strong - weak)) / 2.
    turn = np.float32(0.5) * gone / np.maximum(apart, np.float32(1e-12))
    p_xx, p_yy, p_xy = gone / 2 - half * turn, gone / 2 + half * turn, -found.xy * turn
    return Evidence(
        xx=found.xx - weak * p_xx,
        xy=found.xy - weak * p_xy,
        yy=found.yy - weak * p_yy,
        xd=found.xd - (p_xx * found.xd + p_xy * found.yd),
        yd=found.yd - (p_xy * found.xd + p_yy * found.yd),
    )


def _seen(grid: Array, cell: int, height: int, width: int) -> Array:
    """Return 1 for the cells that lie inside clip, 0 for those that reach out of it."""
    margin = np.float32((cell - 1) / 2 - 0.5)
    centres = coordinates(*grid.shape[:2]) * np.float32(cell) + np.float32((cell - 1) / 2) + grid
    x, y = centres[..., 0], centres[..., 1]
    lies = (x >= margin) & (x <= width - 1 - margin) & (y >= margin) & (y <= height - 1 - margin)
    return lies.astype(np.float32)
