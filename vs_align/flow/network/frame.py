"""The work on one frame, from samples to samples, all of it on one device: luma, size, flow, warp, rounding.

It never waits for the device and never looks at a value, so a CUDA graph can hold all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..options import AlignOptions
from ..stages import BLOCK
from .align import align
from .warp import coverage, shift_statistics, warp_planes

__all__ = ["CELL", "Buffer", "FrameWork", "Job", "Picture", "Setup", "cells"]

CELL = 8
"""Pixels of a cell of the flow that the network is given to begin with."""

# BT.709, as `frames.light` weighs the planes of RGB.
_LUMA = (0.2126, 0.7152, 0.0722)
_MOST_HALF = float(np.finfo(np.float16).max)
# Of OpenCV's cubic convolution.
_CUBIC_A = -0.75

# PyTorch knew no unsigned integers of 16 bits before 2.3, and computes little with them since.
_TENSOR_TYPES = {
    "uint8": torch.uint8,
    "uint16": torch.int16,
    "float16": torch.float16,
    "float32": torch.float32,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """The three planes of an RGB format.

    Attributes:
        width, height: in pixels.
        dtype: of their samples: "uint8", "uint16", "float16" or "float32".
        peak: the largest sample of an integer format; None: float.
    """

    width: int
    height: int
    dtype: str
    peak: int | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width


@dataclass(frozen=True, slots=True)
class Job:
    """What is done with a frame.

    Attributes:
        flow: give the flow, do not warp.
        masked: some of ref is to be ignored.
        started: there is a flow to begin with.
    """

    flow: bool = False
    masked: bool = False
    started: bool = False


@dataclass(frozen=True, slots=True)
class Buffer:
    """What a frame goes through on its way in or out: several parts of one shape.

    Attributes:
        shape: parts and their shape.
        dtype: a NumPy type.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def tensor(self, device: torch.device, pinned: bool = False) -> Tensor:
        """Return memory for it, filled with zeros."""
        return torch.zeros(self.shape, dtype=_TENSOR_TYPES[self.dtype], device=device, pin_memory=pinned)

    def array(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        """Return a tensor on the CPU as the array that it is."""
        array: np.ndarray[Any, Any] = tensor.numpy().view(self.dtype)
        return array


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is the same for all frames.

    Attributes:
        clip, ref: their formats.
        options: how they are aligned.
        alpha: whether it is asked what comes from inside clip.
    """

    clip: Picture
    ref: Picture
    options: AlignOptions
    alpha: bool = False

    def given(self, job: Job) -> dict[str, Buffer]:
        """Return what a job needs: samples of clip and ref; mask, 1 where ref is ignored; start, a flow on cells."""
        pictures = (("clip", self.clip), ("ref", self.ref))
        buffers = {name: Buffer((3, *part.shape), part.dtype) for name, part in pictures}
        if job.masked:
            buffers["mask"] = Buffer((1, *self.ref.shape), "uint8")
        if job.started:
            buffers["start"] = Buffer((2, *cells(self.ref.shape)), "float32")
        return buffers

    def wanted(self, job: Job) -> dict[str, Buffer]:
        """Return what a job gives: numbers (see `_numbers`) and flow, (H, W, 2), or planes and perhaps cover."""
        numbers = {"numbers": Buffer((1, 4), "float32")}
        if job.flow:
            return numbers | {"flow": Buffer((1, *self.ref.shape, 2), "float32")}
        numbers["planes"] = Buffer((3, *self.ref.shape), self.clip.dtype)
        return numbers | ({"cover": Buffer((1, *self.ref.shape), "uint8")} if self.alpha else {})


class FrameWork:
    """The work on one frame.

    Args:
        net: the network, on ``device``.
        setup: what is the same for all frames.
        device: where the work is done.
    """

    def __init__(self, net: Any, setup: Setup, device: torch.device) -> None:
        self.setup = setup
        self._net = net
        self._device = device
        self._to_size = _Resizing(setup.clip.shape, setup.ref.shape, device)

    def __call__(self, job: Job, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Do a job; see `Setup.given` and `Setup.wanted`."""
        setup = self.setup
        planes = _floats(given["clip"])
        clip = self._to_size(_light(planes, setup.clip.peak))[None, None]
        ref = _light(_floats(given["ref"]), setup.ref.peak)[None, None]
        mask = given["mask"][None] if job.masked else None
        start = given["start"][None] if job.started else None
        found = align(self._net, clip, ref, mask, setup.options, start)
        results = {"numbers": _numbers(found)}
        if job.flow:
            return results | {"flow": found.flow.permute(0, 2, 3, 1)}
        size = (setup.ref.width, setup.ref.height)
        results["planes"] = _samples(warp_planes(planes, found.flow, size), setup.clip)
        if setup.alpha:
            results["cover"] = coverage(found.flow, setup.clip.shape, size).reshape(1, *setup.ref.shape)
        return results


def cells(shape: tuple[int, int]) -> tuple[int, int]:
    """Return how many cells of 8 px a picture has, once it is filled up to whole blocks."""
    rows, columns = (-(-side // BLOCK) * (BLOCK // CELL) for side in shape)
    return rows, columns


def _numbers(found: Any) -> Tensor:
    """Return whether anything is moved, the residual, the mean and the largest displacement in pixels."""
    parts = (found.moved, found.residual, *shift_statistics(found.flow))
    return torch.stack([part.reshape(()).float() for part in parts])[None]


def _floats(samples: Tensor) -> Tensor:
    if samples.dtype == torch.int16:
        # The bits are those of an unsigned integer.
        return (samples.to(torch.int32) & 0xFFFF).float()
    return samples.float()


def _samples(planes: Tensor, picture: Picture) -> Tensor:
    """Return planes in a format's own type; integers are rounded and clipped to its range."""
    if picture.peak is not None:
        whole = planes.round().clamp(0, picture.peak)
        return whole.to(torch.uint8) if picture.dtype == "uint8" else whole.to(torch.int32).to(torch.int16)
    return planes.clamp(-_MOST_HALF, _MOST_HALF).half() if picture.dtype == "float16" else planes


def _light(planes: Tensor, peak: int | None) -> Tensor:
    """Return the luma of RGB, 0 black to 255 white, shape (H, W); see `frames.light`."""
    if peak is None:
        planes = torch.where(planes > 1, 1 + planes.clamp(min=1).log(), planes).clamp(min=-1)
    red, green, blue = (255 / (peak or 1) * weight for weight in _LUMA)
    return planes[0] * red + planes[1] * green + planes[2] * blue


class _Resizing:
    """Brings a picture to another size as OpenCV does: averaged where it gets smaller, cubic where it gets larger.

    Args:
        shape, target: rows and columns, before and after.
        device: where the tables are kept.
    """

    def __init__(self, shape: tuple[int, int], target: tuple[int, int], device: torch.device) -> None:
        self._tables = []
        for axis, (length, wanted) in enumerate(zip(shape, target, strict=True)):
            if length != wanted:
                index, weight = _shares(length, wanted) if wanted < length else _cubic(length, wanted)
                taps = (torch.from_numpy(index.ravel()).to(device), torch.from_numpy(weight).to(device))
                self._tables.append((axis, wanted < length, *taps))
        # Averaged first, so that less is interpolated.
        self._tables.sort(key=lambda table: not table[1])

    def __call__(self, picture: Tensor) -> Tensor:
        for axis, _, index, weight in self._tables:
            taken = picture.index_select(axis, index)
            if axis == 0:
                picture = (taken.view(*weight.shape, -1) * weight[..., None]).sum(1)
            else:
                picture = (taken.view(-1, *weight.shape) * weight).sum(2)
        return picture


def _shares(length: int, wanted: int) -> tuple[Any, Any]:
    """Return which samples lie in each of fewer, larger ones, and the share of it that each covers."""
    scale = length / wanted
    first = np.arange(wanted)[:, None] * scale
    index = np.floor(first).astype(np.int64) + np.arange(int(np.ceil(scale)) + 1)
    covered = np.minimum(index + 1, first + scale) - np.maximum(index, first)
    weight = np.maximum(covered, 0) / scale
    return np.minimum(index, length - 1), (weight / weight.sum(1, keepdims=True)).astype(np.float32)


def _cubic(length: int, wanted: int) -> tuple[Any, Any]:
    """Return the four samples around each of more, smaller ones, and the weights of cubic convolution."""
    centre = (np.arange(wanted)[:, None] + 0.5) * (length / wanted) - 0.5
    index = np.floor(centre).astype(np.int64) + np.arange(-1, 3)
    away = np.abs(centre - index)
    near = ((_CUBIC_A + 2) * away - (_CUBIC_A + 3)) * away * away + 1
    far = ((_CUBIC_A * away - 5 * _CUBIC_A) * away + 8 * _CUBIC_A) * away - 4 * _CUBIC_A
    return np.clip(index, 0, length - 1), np.where(away <= 1, near, far).astype(np.float32)
