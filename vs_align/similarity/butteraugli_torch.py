"""Butteraugli in torch: the perceptual distance of libjxl, with all that concerns one frame computed once.

Follows libjxl 0.7 (``lib/jxl/butteraugli/butteraugli.cc``, as ``butteraugli_main`` calls it); the constants are
libjxl's. What differs is where the work is done: opsin dynamics, frequency bands and blurred activity belong to one
frame and are its features; the original's mask does too (libjxl takes the mask from the original alone). What is left
for a pair is the Malta filter on six bands, a weighted sum of squares, and the maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from vs_align.similarity._malta import (
    DENSE_LINES,
    GAP,
    SPARSE_LINES,
    ConvolvedMalta,
    LineFamily,
    MaltaWorkspace,
    ShiftedMalta,
)
from vs_align.similarity._opsin import (
    Blur,
    activity,
    erode,
    frequency_bands,
    opsin_dynamics,
    srgb_to_linear,
    subsample,
)

__all__ = ["ButteraugliFeatures", "ButteraugliTorch"]

_HF_ASYMMETRY = 0.8  # butteraugli_main's: artefacts that are added count more than detail that is lost
_MIN_SIZE = 8  # smaller pictures are extended, and smaller half-size pictures left out
_HALF_SIZE_WEIGHT = 0.5
_FULL_SIZE_WEIGHT = 1 - 0.3 * _HALF_SIZE_WEIGHT
_CUDA_BATCH_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class _Band:
    """How the Malta filter sees one band.

    ``lost`` weighs the plain difference, ``added`` what the candidate has beyond 0.55..1.05 of the original;
    differences are divided by 1 + (|original| + |candidate|) / ``softness``.
    """

    lines: tuple[LineFamily, ...]
    lost: float
    added: float
    softness: float

    @property
    def is_linear(self) -> bool:
        """Whether the division changes nothing: values stay below 100, so that it is by less than 1.0001."""
        return self.softness > 2e6


def _malta_band(lines: tuple[LineFamily, ...], weight: float, norm: float, asymmetry: float) -> _Band:
    gain = (0.39905817637 if lines is DENSE_LINES else 0.611612573796) / (2 * 3.75 + 1)
    lost, added = 0.5 * weight * asymmetry, 0.33 * weight / asymmetry
    return _Band(lines, gain * lost**0.5, gain * added**0.5, 2 * norm)


# The planes of a frame: ultra high X, Y; high X, Y; medium X, Y, B; activity; low X, Y, B.
_MALTA_BANDS = (
    _malta_band(DENSE_LINES, 173.5, 5.0, _HF_ASYMMETRY),
    _malta_band(DENSE_LINES, 1.10039032555, 71.7800275169, _HF_ASYMMETRY),
    _malta_band(SPARSE_LINES, 6923.99476109, 8051.15833247, _HF_ASYMMETRY**0.5),
    _malta_band(SPARSE_LINES, 18.7237414387, 4498534.45232, _HF_ASYMMETRY**0.5),
    _malta_band(SPARSE_LINES, 8246.75321353, 1009002.70582, 1.0),
    _malta_band(SPARSE_LINES, 37.0819870399, 130262059.556, 1.0),
)
_HIGH = slice(2, 4)
_DETAIL = slice(2, 8)
_LOW = slice(8, 11)
_HIGH_WEIGHTS = (400.0 * 0.8, 1.50815703118 * 0.8)
_DETAIL_WEIGHTS = (
    *(weight * _HF_ASYMMETRY for weight in _HIGH_WEIGHTS),
    *(2150.0, 10.6195433239, 16.2176043152),
    10.0,
)
_LOW_WEIGHTS = (29.2353797994, 0.844626970982, 0.703646627719)
_GLOBAL_SCALE = 1 / (17.8 * 0.79079917404)


@dataclass(frozen=True, slots=True)
class ButteraugliFeatures:
    """What Butteraugli keeps of one frame.

    Eleven planes a pixel at full size and at half size: 55 bytes a pixel (9.6 MB at 480x360).

    Args:
        size: (height, width) of the frame.
        scales: the planes at full size and, unless that is smaller than 8 pixels on a side, at half size; each
            (11, rows, columns + 4), where the last 4 columns are zero.
    """

    size: tuple[int, int]
    scales: tuple[torch.Tensor, ...]

    @property
    def nbytes(self) -> int:
        """The memory that the planes take, in bytes."""
        return sum(planes.nbytes for planes in self.scales)


class ButteraugliTorch:
    """Butteraugli's maximum norm between an original and any number of candidates.

    Args:
        device: where to compute: "cpu", "cuda", "cuda:1".
        intensity_target: the brightness of white, in nits.
    """

    def __init__(self, device: str = "cpu", intensity_target: float = 80.0) -> None:
        self.device = torch.device(device)
        self.intensity_target = intensity_target
        self._blur = Blur(self.device)
        self._malta = ShiftedMalta if self.device.type == "cpu" else ConvolvedMalta

    def features(self, rgb: torch.Tensor) -> ButteraugliFeatures:
        """Do what depends on one frame alone.

        Args:
            rgb: (3, H, W), float32, nonlinear sRGB, nominally 0..1.
        """
        with torch.inference_mode():
            linear = _extend_small(srgb_to_linear(rgb.to(self.device, torch.float32)))
            scales = [self._analyse(linear)]
            half = subsample(linear)
            if min(half.shape[1:]) >= _MIN_SIZE:
                scales.append(self._analyse(half))
        return ButteraugliFeatures((rgb.shape[1], rgb.shape[2]), tuple(scales))

    def distances(
        self, ref: ButteraugliFeatures, candidates: Sequence[ButteraugliFeatures], batch_size: int | None = None
    ) -> npt.NDArray[np.float64]:
        """The maximum norm of ref, as the original, against each candidate.

        Args:
            ref: the original.
            candidates: the distorted frames, of ref's size.
            batch_size: candidates at once; None is 1 on a CPU, where the caches are small, and what fits in about
                1 GB on a GPU.

        Returns:
            One distance per candidate; 0 for an identical one, +inf where a pixel of either frame is not finite.
        """
        size = min(batch_size or self._default_batch(ref), max(1, len(candidates)))
        worst = np.empty(len(candidates))
        with torch.inference_mode():
            scales = self._prepare(ref, size)
            for start in range(0, len(candidates), size):
                batch = candidates[start : start + size]
                squared = [scale.squared_map([c.scales[i] for c in batch]) for i, scale in enumerate(scales)]
                worst[start : start + size] = _maximum(_crop_small(squared, ref.size)).cpu().numpy()
        return np.nan_to_num(worst, nan=np.inf, posinf=np.inf)

    def distance_map(self, ref: ButteraugliFeatures, candidate: ButteraugliFeatures) -> torch.Tensor:
        """The distance at each pixel, (H, W), of ref as the original against one candidate."""
        with torch.inference_mode():
            scales = self._prepare(ref, 1)
            squared = [scale.squared_map([planes]) for scale, planes in zip(scales, candidate.scales, strict=True)]
            full, *half = (values[0].sqrt() for values in _crop_small(squared, ref.size))
            if not half:
                return full
            coarse = half[0].repeat_interleave(2, 0).repeat_interleave(2, 1)
            return _FULL_SIZE_WEIGHT * full + _HALF_SIZE_WEIGHT * coarse[: full.shape[0], : full.shape[1]]

    def _analyse(self, linear: torch.Tensor) -> torch.Tensor:
        xyb = opsin_dynamics(linear, self.intensity_target, self._blur)
        ultra, high, medium, low = frequency_bands(xyb, self._blur)
        low += (linear - linear).sum()  # NaN if any pixel is not finite, else 0
        busy = activity(ultra, high, self._blur)
        return F.pad(torch.cat((ultra, high, medium, busy[None], low)), (0, GAP))

    def _prepare(self, ref: ButteraugliFeatures, batch_size: int) -> list[_Original]:
        originals = []
        for planes in ref.scales:
            _, height, stride = planes.shape
            originals.append(_Original(planes, self._malta(batch_size, height, stride, self.device)))
        return originals

    def _default_batch(self, ref: ButteraugliFeatures) -> int:
        if self.device.type == "cpu":
            return 1
        line_responses: int = 16 * ref.scales[0][0].nbytes
        return max(1, _CUDA_BATCH_BYTES // line_responses)


class _Original:
    """One scale of the original, with what all its pairs share.

    Args:
        planes: (11, rows, columns + 4), as in ``ButteraugliFeatures``.
        malta: memory for a batch of differences.
    """

    def __init__(self, planes: torch.Tensor, malta: MaltaWorkspace) -> None:
        self._shape = planes.shape[1:]
        self._planes = planes.flatten(1)
        self._malta = malta
        bands = self._planes[: len(_MALTA_BANDS)]
        self._lower, self._upper = _sorted_pair(0.55 * bands, 1.05 * bands)
        self._high_lower, self._high_upper = _sorted_pair(0.4 * bands[_HIGH], bands[_HIGH])
        self._buffer = torch.empty((malta.padded.shape[0], malta.length), device=planes.device)
        mask = F.pad(erode(planes[7, :, :-GAP]), (0, GAP)).flatten()
        inside = F.pad(torch.ones_like(planes[7, :, :-GAP]), (0, GAP)).flatten()
        detail = _GLOBAL_SCALE * (1 + 2.5485944793 / (0.451936922203 * mask + 0.829591754942))
        low = _GLOBAL_SCALE * (1 + 0.505054525019 / (3.87449418804 * mask + 0.20025578522))
        # Zero in the gaps, where the Malta filter leaves anything.
        self._detail_mask, self._low_mask = detail.square_() * inside, low.square_() * inside

    def squared_map(self, candidates: Sequence[torch.Tensor]) -> torch.Tensor:
        """The squared distance at each pixel, (candidates, rows, columns)."""
        planes = torch.stack(tuple(candidates)) if len(candidates) > 1 else candidates[0][None]
        planes = planes.flatten(2)
        energy, low = torch.zeros_like(planes[:, 0]), torch.zeros_like(planes[:, 0])
        self._add_squares(planes, _DETAIL, _DETAIL_WEIGHTS, energy)
        self._add_squares(planes, _LOW, _LOW_WEIGHTS, low)
        for i, band in enumerate(_MALTA_BANDS):
            self._write_difference(i, band, planes[:, i])
            self._malta.add_energy(band.lines, energy)
        for i, weight in enumerate(_HIGH_WEIGHTS):
            high = planes[:, _HIGH][:, i]
            excess = torch.clamp(high, self._high_lower[i], self._high_upper[i], out=self._buffer[: len(high)])
            excess -= high
            energy.addcmul_(excess, excess, value=weight / _HF_ASYMMETRY)
        total = energy.mul_(self._detail_mask).addcmul_(low, self._low_mask)
        return total.unflatten(1, self._shape)[..., :-GAP]

    def _add_squares(self, planes: torch.Tensor, which: slice, weights: Sequence[float], energy: torch.Tensor) -> None:
        for original, candidate, weight in zip(self._planes[which], planes[:, which].unbind(1), weights, strict=True):
            difference = torch.sub(candidate, original, out=self._buffer[: len(candidate)])
            energy.addcmul_(difference, difference, value=weight)

    def _write_difference(self, i: int, band: _Band, candidate: torch.Tensor) -> None:
        """Lost and added amounts of one band into the workspace."""
        original, buffer = self._planes[i], self._buffer[: len(candidate)]
        image = torch.clamp(candidate, self._lower[i], self._upper[i], out=self._malta.images(len(candidate)))
        image.sub_(candidate).mul_(band.added)
        image.add_(torch.sub(original, candidate, out=buffer), alpha=band.lost)
        if not band.is_linear:
            magnitudes = torch.abs(candidate, out=buffer).add_(original.abs())
            image /= magnitudes.mul_(1 / band.softness).add_(1)


def _sorted_pair(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.minimum(a, b), torch.maximum(a, b)


def _extend_small(planes: torch.Tensor) -> torch.Tensor:
    """Repeat the edges of a picture smaller than 8 pixels on a side until it is 8.

    So does libjxl's ``ButteraugliDiffmap``; ``butteraugli_main`` goes around that and says 0 for such pictures.
    """
    for axis in (1, 2):
        length = planes.shape[axis]
        if length < _MIN_SIZE:
            index = torch.arange(_MIN_SIZE, device=planes.device) - (_MIN_SIZE - length) // 2
            planes = planes.index_select(axis, index.clamp(0, length - 1))
    return planes


def _crop_small(squared: list[torch.Tensor], size: tuple[int, int]) -> list[torch.Tensor]:
    """Undo ``_extend_small`` on maps (pictures that small have one scale only)."""
    if min(size) >= _MIN_SIZE:
        return squared
    top, left = (max(0, _MIN_SIZE - length) // 2 for length in size)
    return [values[:, top : top + size[0], left : left + size[1]] for values in squared]


def _maximum(squared: list[torch.Tensor]) -> torch.Tensor:
    """The largest distance of each map, where each pixel of the half-size map lies under 2x2 pixels of the other."""
    if len(squared) == 1:
        return squared[0].amax((1, 2)).sqrt()
    full, half = squared
    largest = F.max_pool2d(full[:, None], 2, ceil_mode=True)[:, 0].sqrt()
    return (_FULL_SIZE_WEIGHT * largest + _HALF_SIZE_WEIGHT * half.sqrt()).amax((1, 2))
