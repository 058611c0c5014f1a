"""Random displacement fields: shifts, projective maps, smooth elastic fields."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Field", "field"]

type Points = NDArray[np.float32]

_MOST_PX = 60.0
_LEAST_PX = 0.15


class Field:
    """A displacement for each point of the plane, in pixels, as a sum of a linear map and slow waves.

    Args:
        matrix: shape (2, 3), applied to (x, y, 1) about the picture's middle.
        tilt: per pixel, the projective part.
        waves: rows (fx, fy, phase, ax, ay), shape (n, 5): radians per pixel and pixels.
    """

    def __init__(self, matrix: NDArray[np.float64], tilt: NDArray[np.float64], waves: NDArray[np.float64]) -> None:
        self._matrix, self._tilt, self._waves = matrix, tilt, waves

    def at(self, x: Points, y: Points) -> tuple[Points, Points]:
        """Return (dx, dy) at points relative to the picture's middle."""
        m = self._matrix.astype(np.float32)
        w = 1 + np.float32(self._tilt[0]) * x + np.float32(self._tilt[1]) * y
        d_x = ((1 + m[0, 0]) * x + m[0, 1] * y + m[0, 2]) / w - x
        d_y = (m[1, 0] * x + (1 + m[1, 1]) * y + m[1, 2]) / w - y
        for f_x, f_y, phase, a_x, a_y in self._waves.astype(np.float32):
            wave = np.sin(f_x * x + f_y * y + phase)
            d_x = d_x + a_x * wave
            d_y = d_y + a_y * wave
        return d_x, d_y


def field(rng: np.random.Generator, size: int) -> Field:
    """Draw a field for a picture of that side: an identity in one of eight, else of 0.15 to 60 px, most below 10."""
    matrix, tilt, waves = np.zeros((2, 3)), np.zeros(2), np.zeros((0, 5))
    if rng.random() < 1 / 8:
        return Field(matrix, tilt, waves)
    kind = rng.random()
    if kind < 0.8:
        matrix[:, 2] = _length(rng) * _direction(rng)
    if kind > 0.25:
        matrix[:, :2] = _linear(rng, size)
        if rng.random() < 0.3:
            tilt = rng.normal(0, 0.02, 2) / size
    if kind > 0.5:
        waves = _waves(rng, size)
    return Field(matrix, tilt, waves)


def _length(rng: np.random.Generator) -> float:
    """Draw a length in pixels, evenly on a logarithmic scale up to 12, rarely more."""
    most = 12.0 if rng.random() < 0.85 else _MOST_PX
    return float(np.exp(rng.uniform(np.log(_LEAST_PX), np.log(most))))


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _linear(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Draw scale, rotation and shear whose displacement at the picture's edge is a length."""
    most = min(2 * _length(rng) / size, 0.15)
    scale, turn, along, shear = rng.normal(0, 0.6, 4) * most
    return np.array([[scale + along, shear - turn], [shear + turn, scale - along]])


def _waves(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Draw slow waves, steep by 0.12 px per px at most, so that nothing folds over."""
    count = int(rng.integers(2, 7))
    angle, length = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.35, 1.6, count) * size
    turns = 2 * np.pi / length
    height = np.minimum(_length(rng) * rng.uniform(0.3, 1, count), 0.12 / turns)
    a_x, a_y = (height * rng.normal(0, 0.7, count) for _ in range(2))
    phase = rng.uniform(0, 2 * np.pi, count)
    return np.stack([turns * np.cos(angle), turns * np.sin(angle), phase, a_x, a_y], -1)
