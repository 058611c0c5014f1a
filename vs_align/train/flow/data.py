"""Pairs made on the fly: one picture twice, warped against itself, each side with a look of its own."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from . import warps
from .looks import LOOKS, dressed
from .sources import Bank

__all__ = ["Pairs", "Sample"]

type Sample = dict[str, Tensor]
"""ref, clip: luma, 0 to 255, (1, S, S). flow: ref -> clip, pixels, (2, S, S). seen: 1 where it is inside, (1, S, S)."""

_BT709 = np.array([0.2126, 0.7152, 0.0722], np.float32)
# Of the picture at twice the size, against aliasing when it is halved.
_ANTIALIAS_SIGMA = 1.0
_ZOOM = (0.4, 1.1)


@dataclass(frozen=True)
class Pairs(Dataset[Sample]):
    """Pair number n is the same whoever makes it and when: it depends on the seed and n alone.

    Attributes:
        bank: the pictures.
        size: side of a pair in pixels, a multiple of 32.
        seed: of all that is drawn.
        looks: names out of `looks.LOOKS`.
        plain: share of sides that keep their look.
        length: how many there are.
    """

    bank: Bank
    size: int
    seed: int
    looks: tuple[str, ...] = tuple(LOOKS)
    plain: float = 0.25
    length: int = 1 << 40

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        source = _turned(self.bank.draw(rng, 2 * self.size), rng)
        ref, clip, flow = _warped(source, rng, self.size)
        seen = _inside(flow)
        ref, clip = (dressed(side, rng, self.looks, self.plain) @ _BT709 for side in (ref, clip))
        return {
            "ref": torch.from_numpy(np.ascontiguousarray(ref[None])),
            "clip": torch.from_numpy(np.ascontiguousarray(clip[None])),
            "flow": torch.from_numpy(flow),
            "seen": torch.from_numpy(seen[None]),
        }


def _turned(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    turned = np.rot90(picture, int(rng.integers(4)))
    return np.ascontiguousarray(turned[:, ::-1] if rng.random() < 0.5 else turned)


def _warped(
    source: NDArray[np.uint8], rng: np.random.Generator, size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return ref, clip (S, S, 3) and the flow between them (2, S, S).

    Clip is a part of the source, ref is what the field finds there; both at twice the size first.
    """
    height, width = source.shape[:2]
    # Source pixels for one of the pair's.
    zoom = np.exp(rng.uniform(*np.log(_ZOOM)))
    per_pixel = min(1 / zoom, height / size, width / size)
    if per_pixel > 2:
        factor = 2 / per_pixel
        source = np.asarray(cv2.resize(source, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
        (height, width), per_pixel = source.shape[:2], 2.0
    room_x, room_y = width - size * per_pixel, height - size * per_pixel
    middle = np.array(
        [width / 2 + (rng.random() - 0.5) * room_x, height / 2 + (rng.random() - 0.5) * room_y], np.float32
    )
    at = np.asarray((np.arange(2 * size, dtype=np.float32) - (size - 0.5)) / 2, np.float32)[None]
    x, y = np.repeat(at, 2 * size, 0), np.repeat(at.T, 2 * size, 1)
    d_x, d_y = warps.field(rng, size).at(x, y)
    clip = _rendered(source, x, y, middle, per_pixel)
    ref = _rendered(source, x + d_x, y + d_y, middle, per_pixel)
    flow = np.stack([_halved(np.ascontiguousarray(d)) for d in (d_x, d_y)])
    return ref, clip, flow.astype(np.float32)


def _rendered(
    source: NDArray[np.uint8],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    middle: NDArray[np.float32],
    per_pixel: float,
) -> NDArray[np.float32]:
    across = x * np.float32(per_pixel) + (middle[0] - np.float32(0.5))
    down = y * np.float32(per_pixel) + (middle[1] - np.float32(0.5))
    large = cv2.remap(source, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return _halved(np.asarray(cv2.GaussianBlur(large, (0, 0), _ANTIALIAS_SIGMA)))


def _halved(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    half = (picture.shape[1] // 2, picture.shape[0] // 2)
    return np.asarray(cv2.resize(picture, half, interpolation=cv2.INTER_AREA), np.float32)


def _inside(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    size = flow.shape[1]
    at = np.arange(size, dtype=np.float32)
    x, y = flow[0] + at, flow[1] + at[:, None]
    return np.asarray((x >= 0) & (x <= size - 1) & (y >= 0) & (y <= size - 1), np.float32)
