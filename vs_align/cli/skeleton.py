"""Skeletons drawn on pictures, with the joints that differ most in colour."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from ..poses.skeleton import ANGLES, SKELETON

__all__ = ["JOINT_OF_ANGLE", "draw_skeleton", "heat"]

type Canvas = NDArray[np.uint8]
type Colour = tuple[int, int, int]

JOINT_OF_ANGLE = tuple(angle[1] for angle in ANGLES)
"""The keypoint that each angle is at."""

# A joint that is less sure is not drawn.
_SHOWN = 0.2
_LEFT, _RIGHT, _MIDDLE, _EDGE = (120, 225, 120), (255, 190, 90), (235, 235, 235), (20, 20, 20)
# Differences, in degrees, that are drawn green and red.
_SMALL, _LARGE = 10.0, 45.0
# Of a circle, its middle and its size are in parts of a pixel.
_PARTS = 4


def heat(degrees: float) -> Colour:
    """Return the colour of a difference: green, yellow, red."""
    share = min(1.0, max(0.0, (degrees - _SMALL) / (_LARGE - _SMALL)))
    return round(255 * min(1.0, 2 * share)), round(235 * min(1.0, 2 - 2 * share)), 40


def draw_skeleton(
    canvas: Canvas, points: NDArray[np.float64], colours: Mapping[int, Colour], marked: Mapping[int, Colour]
) -> None:
    """Draw a person's joints and what joins them.

    Args:
        canvas: RGB, shape (H, W, 3), contiguous; it is drawn on.
        points: x, y in its pixels, from its left top corner, and confidence, shape (17, 3).
        colours: of keypoints that have one.
        marked: keypoints that are ringed, and in which colour.
    """
    thick = max(2, round(canvas.shape[0] / 200))
    at = {k: _place(points[k]) for k in range(len(points)) if points[k, 2] >= _SHOWN}
    for colour, width in ((_EDGE, thick + 2), (None, thick)):
        for a, b in SKELETON:
            if a in at and b in at:
                own = colour or (_MIDDLE if (a % 2) != (b % 2) or 0 in (a, b) else _LEFT if a % 2 else _RIGHT)
                cv2.line(canvas, at[a], at[b], own, width, cv2.LINE_AA, _PARTS)
    for k, place in at.items():
        radius = (thick + 1) << _PARTS
        cv2.circle(canvas, place, radius + (1 << _PARTS), _EDGE, -1, cv2.LINE_AA, _PARTS)
        cv2.circle(canvas, place, radius, colours.get(k, _MIDDLE), -1, cv2.LINE_AA, _PARTS)
    for k, colour in marked.items():
        if k in at:
            cv2.circle(canvas, at[k], (5 * thick) << _PARTS, _EDGE, thick + 2, cv2.LINE_AA, _PARTS)
            cv2.circle(canvas, at[k], (5 * thick) << _PARTS, colour, thick, cv2.LINE_AA, _PARTS)


def _place(point: NDArray[np.float64]) -> tuple[int, int]:
    """Return a place in parts of a pixel; OpenCV counts from the middle of the first one."""
    x, y = (round(float(np.clip(value - 0.5, -2000, 8000)) * (1 << _PARTS)) for value in point[:2])
    return x, y
