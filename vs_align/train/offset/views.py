"""One scene as two recordings of it might show it: the pictures that made pairs are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Difficulty", "view", "views"]

type Picture = NDArray[np.uint8]
"""Grey, shape (H, W)."""


class Difficulty(StrEnum):
    """How far apart two views of a scene are.

    ``RELEASE``: another encode, up to 2 % of zoom, a mild grade. ``WORN``: up to 8 % of zoom or crop, a strong grade
    that drifts, grain, blur, a logo and subtitles. ``CAMERA``: another viewpoint, as far as a picture can be bent into
    one: perspective, 10 degrees of rotation, up to 1.4 times nearer and off centre, and an exposure that follows its
    own rules. ``ACROSS``: two such viewpoints, one of them mirrored, as from the other side: where something happens is
    no longer the same, when it happens is.
    """

    RELEASE = "release"
    WORN = "worn"
    CAMERA = "camera"
    ACROSS = "across"


@dataclass(frozen=True, slots=True)
class _Limits:
    """What a view may differ by: shares of the picture, degrees, pixels, grey values, JPEG qualities."""

    zoom: float
    off_centre: float
    turn: float
    lean: float
    blur: float
    grain: float
    quality: tuple[int, int]
    grade: float
    drift: float
    flicker: float


_LIMITS = {
    Difficulty.RELEASE: _Limits(0.02, 0.5, 0.0, 0.0, 0.3, 1.5, (50, 90), 0.1, 0.0, 0.0),
    Difficulty.WORN: _Limits(0.08, 1.0, 0.0, 0.0, 1.2, 7.0, (12, 50), 0.4, 0.1, 0.002),
    Difficulty.CAMERA: _Limits(0.4, 1.0, 10.0, 0.12, 0.8, 5.0, (20, 60), 0.4, 0.15, 0.005),
    Difficulty.ACROSS: _Limits(0.4, 1.0, 10.0, 0.12, 0.8, 5.0, (20, 60), 0.4, 0.15, 0.005),
}


def views(
    pictures: Sequence[Picture], difficulty: Difficulty, rng: np.random.Generator
) -> tuple[list[Picture], list[Picture]]:
    """Return a scene as two recordings would show it; see `view`."""
    first, second = view(pictures, difficulty, rng), view(pictures, difficulty, rng)
    if difficulty is Difficulty.ACROSS:
        second = [np.ascontiguousarray(picture[:, ::-1]) for picture in second]
    return first, second


def view(pictures: Sequence[Picture], difficulty: Difficulty, rng: np.random.Generator) -> list[Picture]:
    """Return a scene as another recording would show it.

    What differs is constant over the scene, but for grain, a drift of the exposure, and subtitles.

    Args:
        pictures: the scene.
        difficulty: how far apart.
        rng: what decides.
    """
    limits = _LIMITS[difficulty]
    height, width = pictures[0].shape
    bend = _bend(width, height, limits, rng)
    table = _grade(limits, rng)
    blur, grain = np.array([limits.blur, limits.grain]) * rng.random(2)
    quality = int(rng.integers(*limits.quality))
    gains = _gains(len(pictures), limits, rng)
    letters = _Letters(width, height, rng) if difficulty is Difficulty.WORN else None
    out = []
    for n, picture in enumerate(pictures):
        seen: Any = cv2.warpPerspective(picture, bend, (width, height), borderMode=cv2.BORDER_REPLICATE)
        if blur > 0.2:
            seen = cv2.GaussianBlur(seen, (0, 0), blur)
        seen = cv2.LUT(seen, table)
        if letters is not None:
            letters.draw(seen, n)
        noise = rng.standard_normal(seen.shape, np.float32) * np.float32(grain)
        out.append((_coded(seen, quality) * gains[n] + noise).clip(0, 255).astype(np.uint8))
    return out


def _bend(width: int, height: int, limits: _Limits, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the homography from the scene's pixels to the view's, which shows a part of the picture, or nearly."""
    scale = 1 + limits.zoom * rng.random()
    angle = np.deg2rad(rng.uniform(-limits.turn, limits.turn))
    spare = 0.5 * (1 - 1 / scale) * limits.off_centre
    size = np.array([width, height])
    centre = size * (0.5 + rng.uniform(-spare, spare, 2))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.5 * (1 + limits.lean * rng.uniform(-1, 1, (4, 2)))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = ((corners * size / scale) @ rotation.T + centre).astype(np.float32)
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(source, target), np.float64)


def _grade(limits: _Limits, rng: np.random.Generator) -> Picture:
    """Return a curve from grey value to grey value: gamma, contrast, brightness."""
    gamma, contrast = np.exp(rng.uniform(-limits.grade, limits.grade, 2))
    light = 60 * limits.grade * rng.uniform(-1, 1)
    curve = 255 * (np.arange(256) / 255) ** gamma
    return np.asarray(((curve - 128) * min(1.1, contrast) + 128 + light).clip(0, 255), np.uint8)


def _gains(count: int, limits: _Limits, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return how much brighter each frame is: an exposure that drifts over seconds, and a little flicker."""
    turns = np.arange(count) / rng.uniform(50, 200) + rng.random()
    wave = limits.drift * rng.random() * np.sin(2 * np.pi * turns)
    return np.asarray(1 + wave + limits.flicker * rng.standard_normal(count), np.float32)


def _coded(picture: Picture, quality: int) -> Picture:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


class _Letters:
    """A logo in a corner and subtitles that change, each there or not."""

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        self._logo, self._titles = rng.random(2) < 0.5
        self._every = int(rng.integers(20, 60))
        self._width, self._height = width, height

    def draw(self, picture: Picture, n: int) -> None:
        """Draw frame n's onto a picture."""
        width, height, size = self._width, self._height, self._height / 400
        if self._logo:
            where = (round(0.7 * width), round(0.12 * height))
            cv2.putText(picture, "CHANNEL 5", where, cv2.FONT_HERSHEY_SIMPLEX, size, (230,), 1)
        part = n // self._every
        if self._titles and part % 2 == 0:
            where, text = (round(0.1 * width), round(0.92 * height)), f"A line of dialogue, number {part}."
            for grey, thick in ((0, 3), (255, 1)):
                cv2.putText(picture, text, where, cv2.FONT_HERSHEY_SIMPLEX, size, (grey,), thick)
