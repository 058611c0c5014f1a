"""The displacement that most of a picture shares: where the network begins when it is far off."""

import torch
from torch import Tensor

from .geometry import Constant, inside, sample
from .looks import agreement

__all__ = ["common_shift"]

# Agreement that a shift has to gain; less may be chance.
_GAIN = 0.1


def common_shift(ref: Tensor, clip: Tensor, keep: Tensor) -> Tensor:
    """Return a shift that brings clip onto ref much better than none does, by phase correlation; else none.

    Args:
        ref, clip: locally normalised pictures, shape (B, 1, H, W); small ones will do.
        keep: 1 where ref counts, 0 where not, same shape.

    Returns:
        The shift ref -> clip, whole pixels of these pictures, shape (B, 2, 1, 1).

    Source:
        Kuglin and Hines, "The phase correlation image alignment method", 1975.
    """
    height, width = ref.shape[-2:]
    window = _hann(ref.device, height)[:, None] * _hann(ref.device, width)
    spectra = torch.fft.rfft2(torch.cat([ref * keep, clip], 1) * window)
    product = spectra[:, :1].conj() * spectra[:, 1:]
    peaks = torch.fft.irfft2(product / product.abs().clamp(min=1e-9), s=(height, width))
    place = peaks.flatten(1).argmax(1)
    x, y = _signed(place % width, width), _signed(place // width, height)
    shift = torch.stack([x, y], 1).float()[..., None, None]
    still, moved = _worth(ref, clip, keep, shift * 0), _worth(ref, clip, keep, shift)
    return shift * (moved > still + _GAIN).float()[..., None, None]


def _worth(ref: Tensor, clip: Tensor, keep: Tensor, shift: Tensor) -> Tensor:
    """Return the agreement under a shift, less where little of ref is found inside clip, shape (B, 1)."""
    flow = shift.expand(-1, -1, *ref.shape[-2:])
    lies = keep * inside(flow, *clip.shape[-2:])
    coverage = lies.mean((2, 3)) / keep.mean((2, 3)).clamp(min=1e-6)
    return agreement(ref, sample(clip, flow), lies) * coverage**0.25


def _signed(place: Tensor, length: int) -> Tensor:
    """Return a place on a ring as a distance from 0, either way."""
    return torch.where(place > length // 2, place - length, place)


@Constant
def _hann(length: int) -> Tensor:
    return torch.hann_window(length, periodic=False, dtype=torch.float64).numpy()
