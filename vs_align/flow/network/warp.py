"""Torch twin of `vs_align.flow.warp`: the one final warp.

Convention:
    Planes are (C, Hc, Wc), float32; a flow is (1, 2, H, W) in ref pixels. The clip position of ref pixel (x, y) is

        ((x + dx + 0.5) * clip_width / width - 0.5, ((y + dy + 0.5) * clip_height / height - 0.5)

    Outside the clip its border is replicated.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from numpy.typing import NDArray
from torch import Tensor

from ..warp import _ROUNDING, _WHOLE
from .geometry import Constant, convolved, gaussian

__all__ = ["coverage", "shift_statistics", "warp_planes"]


def warp_planes(planes: Tensor, flow: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Sample the planes of a picture where a flow says: see `vs_align.flow.warp.warp_planes`.

    The cubic convolution of `grid_sample` is OpenCV's (a = -0.75), and its positions are corrected likewise. Where
    every displacement is whole and the sizes are the same, the samples come out as they are.

    Args:
        planes: shape (C, Hc, Wc), float32, finite.
        flow: shape (1, 2, H, W); None: no displacement, the planes are only brought to ``size``.
        size: the result's (W, H). Where the planes are larger they are blurred first, against aliasing.

    Returns:
        The planes, shape (C, H, W), not clipped to any range.
    """
    source = planes[None]
    same = planes.shape[-2:] == (size[1], size[0])
    if flow is None and same:
        return planes
    positions = _positions(flow, planes.shape[-2:], size, planes.device)
    cubic = _taken(_low_passed(source, size), _meet_kernel(positions), "bicubic")[0]
    if flow is None or not same:
        return cubic
    whole = (flow - flow.round()).abs().amax() < _WHOLE
    return torch.where(whole, _taken(source, positions.round(), "nearest")[0], cubic)


def coverage(flow: Tensor, clip_shape: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Tell which pixels of a warp come from inside the clip.

    Args:
        flow: shape (1, 2, H, W).
        clip_shape: the clip's (Hc, Wc).
        size: the result's (W, H).

    Returns:
        True where the sampled position lies on one of the clip's pixels, shape (H, W).
    """
    positions = _positions(flow, clip_shape, size, flow.device)
    middle, half = _extent(flow.device, *clip_shape)
    return ((positions - middle).abs() <= half).all(dim=1)[0]


def shift_statistics(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the largest length of the displacements, in pixels of the flow; no dimensions."""
    lengths = torch.hypot(flow[:, 0], flow[:, 1])
    return lengths.mean(), lengths.amax()


def _positions(flow: Tensor | None, clip_shape: tuple[int, int], size: tuple[int, int], device: torch.device) -> Tensor:
    """Return the clip positions that the pixels sample, shape (1, 2, H, W)."""
    places = _places(device, tuple(clip_shape), size)
    if flow is None:
        return places
    if tuple(clip_shape) == (size[1], size[0]):
        return places + flow
    return torch.addcmul(places, flow, _scale(device, tuple(clip_shape), size))


@Constant
def _places(clip_shape: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float64]:
    (width, height), (clip_height, clip_width) = size, clip_shape
    x = (np.arange(width) + 0.5) * (clip_width / width) - 0.5
    y = (np.arange(height) + 0.5) * (clip_height / height) - 0.5
    return np.stack(np.meshgrid(x, y))[None]


@Constant
def _scale(clip_shape: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float64]:
    return np.array([clip_shape[1] / size[0], clip_shape[0] / size[1]])[:, None, None]


@Constant
def _extent(height: int, width: int) -> NDArray[np.float64]:
    """Return the middle of a picture and half its extent, each of shape (2, 1, 1)."""
    half = [width / 2 + _ROUNDING, height / 2 + _ROUNDING]
    return np.array([[(width - 1) / 2, (height - 1) / 2], half])[..., None, None]


def _meet_kernel(positions: Tensor) -> Tensor:
    """Return the positions at which the kernel gives what belongs at the given ones."""
    nearest = positions.round()
    distance = positions - nearest
    # d - 0.4 d (1/2 - 2 d^2)
    return torch.addcmul(nearest, distance * 0.8, distance * distance + 1)


def _taken(source: Tensor, positions: Tensor, mode: str) -> Tensor:
    height, width = source.shape[-2:]
    factor, offset = _units(source.device, height, width)
    where = torch.addcmul(offset, positions.permute(0, 2, 3, 1), factor)
    return F.grid_sample(source, where, mode=mode, padding_mode="border", align_corners=False)


@Constant
def _units(height: int, width: int) -> NDArray[np.float64]:
    """Return what positions are multiplied by, and what is added, to be in the units of ``grid_sample``."""
    return np.array([[2 / width, 2 / height], [1 / width - 1, 1 / height - 1]])


def _low_passed(source: Tensor, size: tuple[int, int]) -> Tensor:
    """Blur what will be sampled more coarsely than it is: by the Gaussian that takes the place of each pixel's area."""
    height, width = source.shape[-2:]
    for axis, scale in ((3, width / size[0]), (2, height / size[1])):
        # Of a pixel of width 1 and one of width s, the difference of the variances.
        sigma = 0.5 * max(scale * scale - 1, 0.0) ** 0.5
        if sigma > 0:
            source = _blurred_along(source, sigma, axis)
    return source


def _blurred_along(source: Tensor, sigma: float, axis: int) -> Tensor:
    taps = _gaussian(source.device, sigma)
    reach = len(taps) // 2
    sides = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
    kernel = taps.view(1, 1, -1) if axis == 3 else taps.view(1, -1, 1)
    return convolved(F.pad(source, sides, mode="replicate"), kernel.expand(source.shape[1], -1, -1))


@Constant
def _gaussian(sigma: float) -> NDArray[np.float64]:
    return gaussian(max(1, math.ceil(4 * sigma)), sigma)
