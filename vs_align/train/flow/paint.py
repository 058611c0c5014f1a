"""Pictures painted by code: dead leaves, flats with outlines, text, lines, gradients."""

import string

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["picture"]

type Picture = NDArray[np.uint8]
type Colour = tuple[int, int, int]


def picture(rng: np.random.Generator, size: int) -> Picture:
    """Paint a picture of a kind drawn at random: RGB, shape (size, size, 3)."""
    kinds = (_leaves, _flats, _text, _lines, _gradients)
    return kinds[rng.choice(len(kinds), p=(0.42, 0.22, 0.15, 0.16, 0.05))](rng, size)


def _colour(rng: np.random.Generator) -> Colour:
    red, green, blue = (int(x) for x in rng.integers(0, 256, 3))
    return red, green, blue


def _blank(rng: np.random.Generator, size: int) -> Picture:
    return np.full((size, size, 3), _colour(rng), np.uint8)


def _leaves(rng: np.random.Generator, size: int) -> Picture:
    """Shapes over one another, few large and many small (Lee, Mumford and Huang, 2001), some of them textured."""
    canvas = _blank(rng, size)
    textured = rng.random() < 0.6
    for radius in np.sort(size * 0.4 * rng.random(int(rng.integers(60, 300))) ** 3 + 2)[::-1]:
        before = canvas.copy() if textured and radius > 12 else None
        _shape(canvas, rng, float(radius), _colour(rng))
        if before is not None:
            changed = (canvas != before).any(axis=2)
            grain = cv2.GaussianBlur(rng.normal(0, 1, (size, size)).astype(np.float32), (0, 0), rng.uniform(0.6, 3))
            grain = grain * np.float32(rng.uniform(4, 40) / max(float(grain.std()), 1e-3))
            canvas = np.where(changed[..., None], canvas + grain[..., None], canvas).clip(0, 255).astype(np.uint8)
            textured = rng.random() < 0.7
    return canvas


def _shape(canvas: Picture, rng: np.random.Generator, radius: float, colour: Colour) -> None:
    x, y = (float(v) for v in rng.uniform(0, canvas.shape[0], 2))
    kind = rng.integers(3)
    if kind == 0:
        cv2.circle(canvas, (int(x), int(y)), int(radius), colour, -1, cv2.LINE_AA)
    elif kind == 1:
        axes = (int(radius), max(1, int(radius * rng.uniform(0.2, 1))))
        cv2.ellipse(canvas, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
        corners = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], -1)
        cv2.fillPoly(canvas, [corners.astype(np.int32)], colour, cv2.LINE_AA)


def _flats(rng: np.random.Generator, size: int) -> Picture:
    """Flat areas with dark outlines, as in drawn animation."""
    canvas = _blank(rng, size)
    ink = tuple(int(v) for v in rng.integers(0, 60, 3))
    thickness = int(rng.integers(1, 6))
    for _ in range(int(rng.integers(8, 40))):
        middle = rng.uniform(0, size, 2)
        angles = np.linspace(0, 2 * np.pi, 60)
        radius: float | NDArray[np.float64] = size * rng.uniform(0.03, 0.3)
        for turns in (2, 3, 5):
            radius = radius * (1 + 0.25 * rng.random() * np.sin(turns * angles + rng.uniform(0, 6)))
        around = np.stack([np.cos(angles), np.sin(angles)], -1) * np.reshape(radius, (-1, 1))
        corners = (middle + around).astype(np.int32)
        cv2.fillPoly(canvas, [corners], _colour(rng), cv2.LINE_AA)
        cv2.polylines(canvas, [corners], True, ink, thickness, cv2.LINE_AA)
    return canvas


def _text(rng: np.random.Generator, size: int) -> Picture:
    canvas = _blank(rng, size) if rng.random() < 0.5 else _gradients(rng, size)
    letters = list(string.ascii_letters + string.digits + "    .,:;!?-+()")
    for _ in range(int(rng.integers(10, 60))):
        words = "".join(rng.choice(letters, int(rng.integers(3, 25))))
        place = (int(rng.integers(-size // 4, size)), int(rng.integers(0, size)))
        height = float(rng.uniform(0.3, 2.5))
        cv2.putText(
            canvas, words, place, int(rng.integers(8)), height, _colour(rng), max(1, round(height)), cv2.LINE_AA
        )
    return canvas


def _lines(rng: np.random.Generator, size: int) -> Picture:
    """Lines, boxes and grids."""
    canvas = _blank(rng, size)
    if rng.random() < 0.5:
        step, colour = int(rng.integers(8, 60)), _colour(rng)
        canvas[::step] = colour
        canvas[:, :: int(rng.integers(8, 60))] = colour
    for _ in range(int(rng.integers(10, 80))):
        a, b = (tuple(int(v) for v in rng.integers(-size // 8, size + size // 8, 2)) for _ in range(2))
        thickness = int(rng.choice([1, 1, 2, 3, 6, -1]))
        if thickness > 0 and rng.random() < 0.6:
            cv2.line(canvas, a, b, _colour(rng), thickness, cv2.LINE_AA)
        else:
            b = (a[0] + (b[0] - a[0]) // 4, a[1] + (b[1] - a[1]) // 4)
            cv2.rectangle(canvas, a, b, _colour(rng), thickness, cv2.LINE_AA)
    return canvas


def _gradients(rng: np.random.Generator, size: int) -> Picture:
    """Light that changes slowly, and a few soft blobs."""
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j].astype(np.float32)
    canvas = np.empty((size, size, 3), np.float32)
    for channel in range(3):
        slope = rng.normal(0, 60, 2)
        canvas[..., channel] = rng.uniform(40, 215) + slope[0] * (x - 0.5) + slope[1] * (y - 0.5)
    for _ in range(int(rng.integers(0, 12))):
        u, v, width = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.01, 0.2)
        bump = np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * width * width))
        canvas += bump[..., None] * rng.normal(0, 60, 3).astype(np.float32)
    return canvas.clip(0, 255).astype(np.uint8)
