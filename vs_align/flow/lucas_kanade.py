"""What the grey values of two pictures say about the flow between them: Lucas-Kanade, per grid cell."""

from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import Array, Bands, coordinates, reduced, taken_at

__all__ = ["Evidence", "evidence", "gradients"]


# Deviation of the normalised pictures that is assumed at least.
_FLOOR = 0.07
# Mean squared gradient below which a cell is taken for flat.
_FAINT = 0.01
# A direction along an edge counts where this share of the gradient's energy lies in it.
_LEAST_ALONG = 0.01
# Differences beyond this many usual ones, squared, weigh less than half.
_WIDTH = np.float32(16)
_LEAST_USUAL = 0.05
# Cells over which the noise is averaged, a Gaussian's sigma.
_AROUND = 1.5
# What is worked on at once.
_BAND_PIXELS = 1 << 16


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a pair says about the step that the flow should take, per cell, shape (h, w), divided by the noise.

    Attributes:
        xx, xy, yy: the structure tensor, mean over the cell's pixels.
        xd, yd: gradient times difference, likewise.
        noise: the mean squared difference that is left, in the median cell.
    """

    xx: Array
    xy: Array
    yy: Array
    xd: Array
    yd: Array
    noise: float


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
        cell: pixels of a cell's side, a power of two, 2 and up.
        keep: weight of each pixel of ref, 0 to 1.
        slopes: ref's `gradients`.

    Source:
        Lucas and Kanade, 1981; gradients averaged over both pictures as in Baker and Matthews' survey, 2004.
    """
    bands = Bands(grid, cell)
    usual = _usual_difference(ref, clip, grid, cell)
    sums = np.empty((7, *grid.shape[:2]), np.float32)
    rows = max(1, _BAND_PIXELS // (cell * ref.shape[1]))
    for first in range(0, grid.shape[0], rows):
        last = min(first + rows, grid.shape[0])
        pixels = slice(first * cell, last * cell)
        warped = bands.sampled(clip, pixels.start, pixels.stop)
        slope = (slopes[0][pixels], slopes[1][pixels])
        _add_up(ref[pixels], warped, keep[pixels], slope, usual, cell, sums[:, first:last])
    return _across_edges(_by_noise(sums, _seen(grid, cell, *clip.shape)))


def _usual_difference(ref: Array, clip: Array, grid: Array, cell: int) -> np.float32:
    """Return the deviation of ref from clip that is usual, from one pixel in each cell."""
    centre = cell // 2
    at = coordinates(*grid.shape[:2]) * np.float32(cell) + np.float32(centre) + grid
    away = np.abs(ref[centre::cell, centre::cell] - taken_at(clip, at))
    return np.float32(max(1.4826 * float(np.median(away)), _LEAST_USUAL))


def _add_up(
    ref: Array, warped: Array, keep: Array, slopes: tuple[Array, Array], usual: np.float32, cell: int, sums: Array
) -> None:
    """Fill in a band's means over cells: weight, weighted square, products; ``warped`` has a row more each way."""
    x, y = (slope[1:-1] for slope in gradients(warped))
    x += slopes[0]
    y += slopes[1]
    difference = ref - warped[1:-1]
    weight = difference * difference
    weight += _WIDTH * usual * usual
    np.divide(_WIDTH * usual * usual, weight, out=weight)
    weight *= keep
    wx, wy, wd = weight * x, weight * y, weight * difference
    for target, pixels in zip(sums, (weight, wd * difference, wx * x, wx * y, wy * y, wd * x, wd * y), strict=True):
        target[:] = reduced(pixels, cell)


def _by_noise(sums: Array, seen: Array) -> Evidence:
    """Divide what was added up by the noise around each cell; cells that are not ``seen`` say nothing."""
    count = cv2.GaussianBlur(sums[0], (0, 0), _AROUND) + np.float32(1e-3)
    noise = cv2.GaussianBlur(sums[1], (0, 0), _AROUND) / count + np.float32(_FLOOR * _FLOOR)
    # Light that changes slowly has a gradient, too, but looks and rounding move it about.
    strength = (sums[2] + sums[4]) * np.float32(0.25)
    strength *= strength
    scale = seen * strength / ((strength + np.float32(_FAINT * _FAINT)) * noise)
    # x and y are the sums of two gradients.
    xx, xy, yy = (part * (scale * np.float32(0.25)) for part in sums[2:5])
    xd, yd = (part * (scale * np.float32(0.5)) for part in sums[5:])
    return Evidence(xx, xy, yy, xd, yd, float(np.median(noise)) - _FLOOR * _FLOOR)


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
        noise=found.noise,
    )


def _seen(grid: Array, cell: int, height: int, width: int) -> Array:
    """Return 1 for the cells that lie inside clip, 0 for those that reach out of it."""
    margin = np.float32((cell - 1) / 2 - 0.5)
    centres = coordinates(*grid.shape[:2]) * np.float32(cell) + np.float32((cell - 1) / 2) + grid
    x, y = centres[..., 0], centres[..., 1]
    lies = (x >= margin) & (x <= width - 1 - margin) & (y >= margin) & (y <= height - 1 - margin)
    return lies.astype(np.float32)
