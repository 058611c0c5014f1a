"""Torch twins of `vs_align.flow.lucas_kanade`: what the grey values say about the flow, per grid cell."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..lucas_kanade import _AROUND, _FAINT, _FLOOR, _LEAST_ALONG, _LEAST_USUAL, _WIDTH
from .geometry import (
    Constant,
    along_axes,
    convolved,
    coordinates,
    gaussian,
    mirrored,
    quantile,
    reach_of,
    reduced,
    sampled_around,
    scalars,
    taken_at,
)

__all__ = ["Evidence", "evidence", "gradients"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a pair says about the step that the flow should take, per cell, divided by the noise.

    Attributes:
        tensor: the structure tensor [[xx, xy], [xy, yy]], mean over the cell's pixels, shape (B, 2, 2, h, w).
        pull: gradient times difference, likewise, shape (B, 2, h, w).
        noise: the mean squared difference that is left, in the median cell, shape (B, 1, 1, 1).
    """

    tensor: Tensor
    pull: Tensor
    noise: Tensor

    @property
    def xx(self) -> Tensor:
        """Shape (B, 1, h, w)."""
        return self.tensor[:, 0, :1]

    @property
    def xy(self) -> Tensor:
        """Shape (B, 1, h, w)."""
        return self.tensor[:, 0, 1:]

    @property
    def yy(self) -> Tensor:
        """Shape (B, 1, h, w)."""
        return self.tensor[:, 1, 1:]


@Constant
def _scharr(sign: int) -> NDArray[np.float32]:
    """Return the derivatives along x and along y, and the picture itself times a sign, as kernels."""
    along_x = np.outer([3, 10, 3], [-1, 0, 1]) / 32
    itself = np.zeros((3, 3))
    itself[1, 1] = sign
    return np.stack([along_x, along_x.T, itself]).astype(np.float32)


def gradients(image: Tensor) -> Tensor:
    """Return the derivatives along x and y per pixel (Scharr), and the image as it is: shape (B, 3, H, W)."""
    return convolved(mirrored(image, 1, 1).expand(-1, 3, -1, -1), _scharr(image.device, 1))


def evidence(ref: Tensor, clip: Tensor, grid: Tensor, cell: int, keep: Tensor) -> Evidence:
    """Compare ref with clip as a flow brings it.

    Args:
        ref: `gradients` of the locally normalised picture, shape (B, 3, H, W).
        clip: likewise normalised, shape (B, 1, H, W).
        grid: the flow so far, shape (B, 2, H / cell, W / cell), in pixels of these pictures.
        cell: pixels of a cell's side, a power of two, 2 and up.
        keep: weight of each pixel of ref, 0 to 1, shape (B, 1, H, W).
    """
    around = sampled_around(clip.expand(-1, 3, -1, -1), grid, cell)
    # Both gradients added up; ref less clip.
    seen = ref + convolved(around, _scharr(clip.device, -1))
    width = _WIDTH * _usual_difference(ref[:, 2:], clip, grid, cell) ** 2
    weight = keep * width / torch.addcmul(width, seen[:, 2:], seen[:, 2:])
    products = (weight * seen)[:, :, None] * seen[:, None]
    sums = reduced(products.flatten(1, 2), cell).unflatten(1, (3, 3))
    return _across_edges(_by_noise(reduced(weight, cell), sums, _reaches(grid, cell, *clip.shape[-2:])))


def _usual_difference(ref: Tensor, clip: Tensor, grid: Tensor, cell: int) -> Tensor:
    """Return the deviation of ref from clip that is usual, from one pixel in each cell."""
    centre = cell // 2
    at = coordinates(grid) * cell + centre + grid
    away = (ref[..., centre::cell, centre::cell] - taken_at(clip, at)).abs()
    return scalars(1.4826 * quantile(away.flatten(1), 0.5)).clamp(min=_LEAST_USUAL)


def _by_noise(weight: Tensor, sums: Tensor, seen: Tensor) -> Evidence:
    """Divide what was added up by the noise around each cell; cells that are not ``seen`` say nothing.

    Args:
        weight: mean over cells, shape (B, 1, h, w).
        sums: products of (gradient along x, along y, difference) with themselves, shape (B, 3, 3, h, w).
        seen: 1 or 0, shape (B, 1, h, w).
    """
    height, width = weight.shape[-2:]
    down, along = _around(weight.device, height), _around(weight.device, width)
    count, square = along_axes(down, torch.cat([weight, sums[:, 2, 2:]], 1), along).chunk(2, 1)
    noise = square / (count + 1e-3) + _FLOOR * _FLOOR
    # Light that changes slowly has a gradient, too, but looks and rounding move it about.
    strength = ((sums[:, 0, :1] + sums[:, 1, 1:2]) * 0.25) ** 2
    scale = seen * strength / ((strength + _FAINT * _FAINT) * noise)
    # x and y are the sums of two gradients.
    tensor, pull = sums[:, :2, :2] * (0.25 * scale)[:, None], sums[:, 2, :2] * (0.5 * scale)
    return Evidence(tensor, pull, scalars(quantile(noise.flatten(1), 0.5) - _FLOOR * _FLOOR))


@Constant
def _around(length: int) -> NDArray[np.float64]:
    """Return the matrix that averages cells with those around them; mirrored at the border."""
    reach = reach_of(_AROUND)
    period = max(2 * (length - 1), 1)
    matrix = np.zeros((length, length))
    for row in range(length):
        for distance, weight in zip(range(-reach, reach + 1), gaussian(reach, _AROUND), strict=True):
            at = abs(row + distance) % period
            matrix[row, min(at, period - at) if length > 1 else 0] += weight
    return matrix


def _across_edges(found: Evidence) -> Evidence:
    """Take away what is said of the direction along an edge where next to nothing is seen of it."""
    middle = (found.xx + found.yy)[:, None] / 2
    identity = _identity(middle.device)
    # With (strong, weak) for eigenvalues, that of the tensor less its mean are (apart, -apart).
    turned = torch.addcmul(found.tensor, middle, identity, value=-1)
    apart = torch.hypot(turned[:, :1, :1], turned[:, :1, 1:])
    strong, weak = middle + apart, (middle - apart).clamp(min=0)
    least, less = (_LEAST_ALONG * strong) ** 2, weak * weak
    # 1/2 where the weak direction goes, 0 where it stays.
    half_gone = 0.5 * least / (less + least).clamp(min=1e-20)
    projection = torch.addcmul(half_gone * identity, half_gone / apart.clamp(min=1e-12), turned, value=-1)
    tensor = torch.addcmul(found.tensor, weak, projection, value=-1)
    return Evidence(tensor, found.pull - (projection * found.pull[:, None]).sum(2), found.noise)


@Constant
def _identity() -> NDArray[np.float64]:
    return np.eye(2)[:, :, None, None]


def _reaches(grid: Tensor, cell: int, height: int, width: int) -> Tensor:
    """Return 1 for the cells that lie inside clip, 0 for those that reach out of it; shape (B, 1, h, w)."""
    middle, half = _limits(grid.device, cell, height, width)
    away = coordinates(grid) * cell + grid - middle
    return (away.abs() <= half).all(dim=1, keepdim=True).float()


@Constant
def _limits(cell: int, height: int, width: int) -> NDArray[np.float64]:
    """Return the middle and half the extent of where a cell's first pixel may lie, plus half a pixel; (2, 2, 1, 1)."""
    offset = (cell - 1) / 2
    margin = offset - 0.5
    size = np.array([width, height])
    return np.stack([(size - 1) / 2 - offset, (size - 1) / 2 - margin])[..., None, None]
