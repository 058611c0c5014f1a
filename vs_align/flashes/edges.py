"""Where along the rows a flash begins and ends, to a part of a row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ramp", "band", "ramp", "smooth"]

type Floats = NDArray[np.float64]

# Rows of darkness before an edge that are fitted with it, and at least; rows of light after it, at most.
_BEFORE, _LEAST_DARK = 10, 3
_AFTER = 48
_WIDTHS = np.array([0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40])
_REACH, _FINE = 8, 8
# How unevenly a scene throws light back: a change as large as the light itself over so many rows is unlikely.
_SLOPE_ROWS, _EVEN = 30.0, 20.0
# A camera's edges are about as wide as each other, and what is left of rows side by side is alike.
_WIDTH_SPREAD, _ALIKE = 0.25, 3.0
_LEAST_NOISE, _UNEVEN = 0.5, 0.2


@dataclass(frozen=True, slots=True)
class Ramp:
    """An edge: dark until ``row``, then brighter evenly over ``width`` rows, then ``height`` grey values brighter.

    ``error`` is the standard error of row, by how well that describes the light.
    """

    row: float
    width: float
    height: float
    error: float


def band(light: Floats, low: float, high: float) -> tuple[int, int] | None:
    """Return the first and the last lit row, or None.

    Args:
        light: brightness above the background, shape (R,).
        low: what is above it belongs to a band that rises above high.
        high: in grey values.
    """
    bright = np.flatnonzero(light > high)
    if not len(bright):
        return None
    gaps = np.flatnonzero(np.diff(bright) > max(4, len(light) // 6))
    starts, stops = np.concatenate([[0], gaps + 1]), np.concatenate([gaps, [len(bright) - 1]])
    sums = [float(light[bright[a] : bright[b] + 1].sum()) for a, b in zip(starts, stops, strict=True)]
    k = int(np.argmax(sums))
    first, last = int(bright[starts[k]]), int(bright[stops[k]])
    dark = np.flatnonzero(light <= low)
    before, after = dark[dark < first], dark[dark > last]
    return int(before[-1]) + 1 if len(before) else 0, int(after[0]) - 1 if len(after) else len(light) - 1


def ramp(light: Floats, first: int, last: int, noise: float, usual: float | None = None) -> Ramp | None:
    """Fit the edge before the lit rows first..last; None where light begins at the picture's border.

    Least squares over start and width, the height and how much it changes along the rows following from them. Where the
    ramp meets the dark is what an edge's time is read from: that point depends neither on how bright the flash is nor
    on how long. Scenes throw light back unevenly, by a share of it, so that dark rows count most.

    Args:
        light: brightness above the background in the order in which rows are read, shape (R,).
        first, last: the lit band.
        noise: standard deviation of a dark row, in grey values.
        usual: width of the camera's other edges, in rows, which this one's is likely to be near; None: not known.
    """
    if first < _LEAST_DARK:
        return None
    start = max(0, first - _BEFORE)
    stop = min(len(light), first + max(4, min(_AFTER, (last - first + 2) // 2)))
    rows, values = np.arange(start, stop, dtype=np.float64), light[start:stop]
    weight = 1 / np.hypot(max(noise, _LEAST_NOISE), _UNEVEN * np.maximum(smooth(light)[start:stop], 0))
    widths = _WIDTHS[stop - first + 2 >= _WIDTHS]
    if usual is not None:
        widths = np.unique(np.clip(usual * np.geomspace(0.4, 2.5, 15), _WIDTHS[0], max(1, stop - first + 2)))
    starts, step = first + np.arange(-_REACH, 5.0), 1.0
    centre = width = 0.0
    for _ in range(3):
        cost = _errors(rows, values, weight, starts, widths)
        if usual is not None:
            cost = cost + _unusual(widths, usual) * cost.min() / max(1, len(rows) - 4)
        best = np.unravel_index(int(cost.argmin()), cost.shape)
        centre, width, step = float(starts[best[0]]), float(widths[best[1]]), step / 4
        starts = centre + np.arange(-_FINE // 2, _FINE // 2 + 1) * step
        widths = np.clip(width * np.linspace(1 - step, 1 + step, 5), 0.1, None)
    terms = _basis(rows, np.array([centre]), np.array([width]))[0, 0]
    height, slope = _heights(terms, values, weight)
    if height <= 0 or centre < _LEAST_DARK - 1:
        return None
    fitted = centre, width, float(height), float(slope)
    return Ramp(*fitted[:3], _error(rows, values, weight, fitted))


def smooth(light: Floats) -> Floats:
    """Return the mean of three rows each, along the last axis."""
    padded = np.concatenate([light[..., :1], light, light[..., -1:]], axis=-1)
    return np.asarray((padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]) / 3)


def _unusual(widths: Floats, usual: float) -> Floats:
    """Return what a width costs, in variances of a row."""
    return np.asarray(_ALIKE * (np.log(widths / usual) / _WIDTH_SPREAD) ** 2)


def _basis(rows: Floats, starts: Floats, widths: Floats) -> Floats:
    """Return a ramp, and one that goes on rising, for each start and width, shape (starts, widths, rows, 2)."""
    beyond = rows - starts[:, None, None]
    shape = np.clip(beyond / widths[:, None], 0, 1)
    return np.stack([shape, shape * beyond / _SLOPE_ROWS], axis=-1)


def _heights(terms: Floats, values: Floats, weight: Floats) -> Floats:
    """Return height and slope by least squares, a slope being unlikely; shape (..., 2)."""
    terms, values = terms * weight[:, None], values * weight
    normal = np.swapaxes(terms, -1, -2) @ terms
    normal[..., 1, 1] += _EVEN * normal[..., 0, 0] / terms.shape[-2]
    normal += 1e-9 * np.eye(2)
    return np.asarray(np.linalg.solve(normal, np.swapaxes(terms, -1, -2) @ values[:, None])[..., 0])


def _errors(rows: Floats, values: Floats, weight: Floats, starts: Floats, widths: Floats) -> Floats:
    """Return the squared error of each pair of start and width, shape (starts, widths)."""
    terms = _basis(rows, starts, widths)
    left = values - (terms @ _heights(terms, values, weight)[..., None])[..., 0]
    return np.asarray(((left * weight) ** 2).sum(axis=-1))


def _error(rows: Floats, values: Floats, weight: Floats, fitted: tuple[float, float, float, float]) -> float:
    """Return the standard error of the start, from what is left and how much each unknown moves the curve."""

    def curve(row: float, width: float, height: float, slope: float) -> Floats:
        terms = _basis(rows, np.array([row]), np.array([width]))[0, 0]
        return np.asarray(terms @ (height, slope))

    steps = 0.25, 0.1 * fitted[1], 0.1 * fitted[2], 0.1 * fitted[2]
    slopes = []
    for k, step in enumerate(steps):
        up, down = list(fitted), list(fitted)
        up[k], down[k] = up[k] + step, down[k] - step
        slopes.append((curve(*up) - curve(*down)) / (2 * step))
    terms = np.stack(slopes, axis=1) * weight[:, None]
    left = float((((values - curve(*fitted)) * weight) ** 2).sum()) / max(1, len(rows) - 4)
    return float(np.sqrt(left * np.linalg.pinv(terms.T @ terms)[0, 0]))
