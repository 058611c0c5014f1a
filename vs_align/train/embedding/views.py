"""Samples: two views of one video, padded to one length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from .augment import Augmentation, Look, augmented
from .clips import Clips
from .sampling import Sampler

__all__ = ["Batch", "View", "Views", "batched", "view"]


@dataclass(frozen=True, slots=True)
class View:
    """A view of a video.

    Attributes:
        frames: RGB, (n, S, S, 3).
        numbers: of the frames in their video, (n,).
        length: frames of the video.
    """

    frames: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    length: int


class Batch(NamedTuple):
    """First views, and then as many second ones, padded with zeros.

    Attributes:
        frames: (2 B, T, 3, S, S), uint8.
        valid: (2 B, T), false for padding.
        numbers: (2 B, T), float.
        lengths: (2 B,), float.
    """

    frames: Tensor
    valid: Tensor
    numbers: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Views(Dataset[tuple[View, View]]):
    """Sample number n is the same whoever makes it and when: it depends on the seed and n alone.

    Attributes:
        clips: the videos.
        sampler: which frames of them.
        augmentation: how far views differ in look.
        size: side of the frames in pixels.
        seed: of all that is drawn.
        each: the video of sample n is n modulo their number, for validation; else it is drawn.
    """

    clips: Clips
    sampler: Sampler
    augmentation: Augmentation
    size: int
    seed: int
    each: bool = False

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> tuple[View, View]:
        rng = np.random.default_rng([self.seed, index])
        clip = index % len(self.clips) if self.each else int(rng.integers(len(self.clips)))
        length = self.clips.length(clip)
        one, other = (self._view(clip, length, numbers, rng) for numbers in self.sampler.views(length, rng))
        return one, other

    def _view(self, clip: int, length: int, numbers: NDArray[np.int64], rng: np.random.Generator) -> View:
        # Frames that a file lacks at its end are not there.
        frames = self.clips.frames(clip, numbers)
        return view(frames, numbers[: len(frames)], length, Look.drawn(self.augmentation, self.size, rng), self.size)


def view(frames: NDArray[np.uint8], numbers: NDArray[np.int64], length: int, look: Look, size: int) -> View:
    """Return frames as a look has them."""
    cv2.setNumThreads(1)
    return View(augmented(frames, size, look), numbers, length)


def batched(samples: Sequence[tuple[View, View]]) -> Batch:
    """Return samples as a batch, as long as the longest view."""
    views = [sample[place] for place in range(2) for sample in samples]
    longest = max(len(part.numbers) for part in views)
    side = views[0].frames.shape[1]
    frames = torch.zeros(len(views), longest, 3, side, side, dtype=torch.uint8)
    valid, numbers = torch.zeros(len(views), longest, dtype=torch.bool), torch.zeros(len(views), longest)
    for place, part in enumerate(views):
        count = len(part.numbers)
        frames[place, :count] = torch.from_numpy(np.ascontiguousarray(part.frames.transpose(0, 3, 1, 2)))
        valid[place, :count] = True
        numbers[place, :count] = torch.from_numpy(part.numbers)
    return Batch(frames, valid, numbers, torch.tensor([float(part.length) for part in views]))
