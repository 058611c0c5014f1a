"""Torch twins of `vs_align.flow.looks`: noise measured, light and contrast taken out, blur matched; all on the device.

Images have shape (B, C, H, W); what is one number for a picture has shape (B, 1, 1, 1).
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import Array
from ..looks import _ALIKE, _BLOCK, _BLURS, _GAIN, _IMMERKAER, _QUIET, _STEP
from .geometry import Constant, convolved, gaussian, mirrored, quantile, reach_of, reduced

__all__ = ["agreement", "blurred", "correlation", "matching_blur", "neighbourhood", "noise", "normalised", "smoothed"]

_LARGEST = reach_of(max(_BLURS))


def noise(image: Tensor) -> Tensor:
    """Return the standard deviation of the noise in each channel, in its own unit, from its quieter blocks; (B, C)."""
    taps = _immerkaer(image.device).expand(image.shape[1], -1, -1)
    blocks = reduced(convolved(mirrored(image, 1, 1), taps).abs(), _BLOCK)
    return quantile(blocks.flatten(2), _QUIET) * (np.pi / 2) ** 0.5


@Constant
def _immerkaer() -> Array:
    return _IMMERKAER


def smoothed(image: Tensor, sigma: float) -> Tensor:
    """Return a Gaussian-smoothed image; sigma in pixels, 0 leaves it as it is."""
    return _separably(image, _gaussian(image.device, sigma).expand(image.shape[1], -1)) if sigma > 0 else image


@Constant
def _gaussian(sigma: float) -> NDArray[np.float64]:
    return gaussian(reach_of(sigma), sigma)


def _separably(image: Tensor, taps: Tensor) -> Tensor:
    """Correlate with taps along both axes, shape (C, n) or (B, C, n), n odd; the border is mirrored."""
    reach = taps.shape[-1] // 2
    return convolved(convolved(mirrored(image, reach, reach), taps[..., None]), taps[..., None, :])


def neighbourhood(sigma: Tensor, most: float) -> Tensor:
    """Return the weights of a neighbourhood for `normalised`, shape (B, n).

    Args:
        sigma: its size in pixels, a Gaussian's, shape (B, 1).
        most: the largest sigma there can be.
    """
    return _taps(sigma / _STEP, reach_of(most / _STEP))


def normalised(image: Tensor, around: Tensor, floor: float) -> Tensor:
    """Subtract the local mean and divide by the local deviation.

    Args:
        image: sides multiples of 4.
        around: the `neighbourhood`.
        floor: deviation in the image's unit below which a place counts as flat.
    """
    parts = reduced(torch.cat([image, image * image], 1), _STEP)
    mean, square = _separably(parts, around[:, None].expand(-1, parts.shape[1], -1)).chunk(2, 1)
    gain = ((square - mean * mean).clamp(min=0) + floor * floor).rsqrt()
    mean, gain = F.interpolate(torch.cat([mean, gain], 1), scale_factor=float(_STEP), mode="bilinear").chunk(2, 1)
    return (image - mean) * gain


def _taps(sigma: Tensor, reach: int) -> Tensor:
    """Return Gaussians' weights, shape (B, 2 reach + 1), for sigmas of shape (B, 1); cut off where OpenCV does."""
    distance = _distances(sigma.device, reach)
    # Half of an odd length, as `reach_of` has it.
    within = distance <= ((8 * sigma + 1).round() / 2).floor()
    weights = torch.exp(-0.5 * (distance / sigma) ** 2) * within
    return weights / weights.sum(1, keepdim=True)


@Constant
def _distances(reach: int) -> NDArray[np.float64]:
    return np.abs(np.arange(-reach, reach + 1.0))


def agreement(ref: Tensor, clip: Tensor, keep: Tensor) -> Tensor:
    """Return the correlation of two locally normalised pictures where ``keep`` says, -1 to 1."""
    return correlation(ref * keep, clip * keep)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return the correlation of each of ``a`` with each of ``b``, shape (B, n) for channels that broadcast to n."""
    return _sum(a * b) * (_sum(a * a) * _sum(b * b)).clamp(min=1e-12).rsqrt()


def _sum(image: Tensor) -> Tensor:
    return image.sum((2, 3))


def matching_blur(ref: Tensor, clip: Tensor, keep: Tensor) -> Tensor:
    """Return by how much the sharper of two aligned pictures has to be blurred to be like the other.

    Returns:
        What `blurred` takes for ref and for clip, shape (B, 2, n): the weights of a Gaussian, or of none.
    """
    rows, columns = (slice(side // 4, side - side // 4) for side in ref.shape[-2:])
    pair = torch.cat([ref, clip], 1)[..., rows, columns]
    detail = (pair - smoothed(pair, 2.0)) * keep[..., rows, columns]
    count = len(_BLURS)
    tried = _separably(detail.repeat_interleave(count, 1), _blurs(ref.device).repeat(2, 1))
    plain = correlation(detail[:, :1], detail[:, 1:])
    by_ref, by_clip = correlation(tried[:, :count], detail[:, 1:]), correlation(detail[:, :1], tried[:, count:])
    found = torch.cat([(plain + _GAIN).clamp(min=_ALIKE), by_ref, by_clip], 1)
    return _choices(ref.device).index_select(0, found.argmax(1))


@Constant
def _blurs() -> NDArray[np.float64]:
    """Return the weights of the Gaussians to be tried, shape (count, n)."""
    return np.stack([_padded_gaussian(sigma) for sigma in _BLURS])


@Constant
def _choices() -> NDArray[np.float64]:
    """Return the weights for (ref, clip) of each choice: none, ref blurred, clip blurred; shape (1 + 2 count, 2, n)."""
    none = np.zeros(2 * _LARGEST + 1)
    none[_LARGEST] = 1
    each = [_padded_gaussian(sigma) for sigma in _BLURS]
    return np.array([[none, none], *([blur, none] for blur in each), *([none, blur] for blur in each)])


def _padded_gaussian(sigma: float) -> NDArray[np.float64]:
    return np.pad(gaussian(reach_of(sigma), sigma), _LARGEST - reach_of(sigma))


def blurred(image: Tensor, taps: Tensor) -> Tensor:
    """Return an image whose channels are smoothed by weights of their own, shape (B, C, n)."""
    return _separably(image, taps)
