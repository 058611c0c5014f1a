"""The flow that fits the evidence and bends least: a thin plate through what Lucas-Kanade says of each cell."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .geometry import Array
from .lucas_kanade import Evidence

__all__ = ["learned_curvature", "settled"]


# Cells over which a place without evidence falls back to the straight field.
_BED = 12.0
# Bounds of the curvature to expect, px per px^2, the middle one where the pictures are clean: where the mean squared
# difference of the normalised pictures is below _NOISY.
_LEAST_CURVED, _LEAST_CURVED_CLEAN, _MOST_CURVED = 0.0015, 0.004, 0.03
_NOISY = 0.02
# The expected curvature over that found, root mean squares: some places bend more than others.
_ROOM = 7.5


def _bending(grid: Array) -> Array:
    """Return the gradient of half the bending energy of a grid, shape (h, w, 2).

    The energy is the sum of the squared second differences, dxx, twice dxy and dyy, inside the grid: straight fields
    cost nothing, at the border neither.
    """
    out = np.zeros_like(grid)
    xx = grid[:, :-2] - 2 * grid[:, 1:-1] + grid[:, 2:]
    out[:, :-2] += xx
    out[:, 1:-1] -= 2 * xx
    out[:, 2:] += xx
    yy = grid[:-2] - 2 * grid[1:-1] + grid[2:]
    out[:-2] += yy
    out[1:-1] -= 2 * yy
    out[2:] += yy
    xy = 2 * (grid[1:, 1:] - grid[1:, :-1] - grid[:-1, 1:] + grid[:-1, :-1])
    out[1:, 1:] += xy
    out[1:, :-1] -= xy
    out[:-1, 1:] -= xy
    out[:-1, :-1] += xy
    return out


def _bent(grid: Array) -> Array:
    """Return how much each cell bends, the squared second differences, shape (h, w)."""
    padded = np.pad(grid, ((1, 1), (1, 1), (0, 0)), mode="edge")
    xx = (padded[1:-1, :-2] - 2 * grid + padded[1:-1, 2:])[1:-1, 1:-1]
    yy = (padded[:-2, 1:-1] - 2 * grid + padded[2:, 1:-1])[1:-1, 1:-1]
    energy: Array = (xx * xx + yy * yy).sum(axis=-1)
    return energy


def settled(
    evidence: Evidence,
    grid: Array,
    stiffness: float,
    iterations: int,
    begin: Array | None = None,
    enough: float = 0.0,
) -> Array:
    """Return a grid moved to where evidence and stiffness balance.

    Minimises over the step s: the sum over cells of s' T s - 2 s' b, T the structure tensor and b gradient times
    difference, both by the noise, plus ``stiffness`` times the bending energy of grid + s. Conjugate gradients; the
    preconditioner is the sum of the exact inverse for even evidence, by cosine transforms, and that of each cell alone.

    Args:
        evidence: per cell, shape (h, w).
        grid: the flow so far, shape (h, w, 2), in any unit that evidence shares.
        stiffness: in units of evidence; more gives a straighter field.
        iterations: of the conjugate gradients.
        begin: where they begin; None: at ``grid``.
        enough: share of the energy that is left at which they stop earlier.
    """
    stiff = np.float32(stiffness)
    bed = stiff * np.float32(_BED**-4)
    tension = _Tension(evidence, stiff, bed)
    step = np.zeros_like(grid) if begin is None else begin - grid
    left = np.dstack([evidence.xd, evidence.yd]) - stiff * _bending(grid) + bed * (_straightened(grid, evidence) - grid)
    if begin is not None:
        left -= tension.of(step)
    guess = tension.roughly(left)
    direction = guess
    size = float(np.vdot(left, guess))
    small = enough * size
    for _ in range(iterations):
        if size <= small:
            break
        pulled = tension.of(direction)
        length = np.float32(size / max(float(np.vdot(direction, pulled)), 1e-30))
        step += length * direction
        left -= length * pulled
        guess = tension.roughly(left)
        before, size = size, float(np.vdot(left, guess))
        direction = guess + np.float32(size / max(before, 1e-30)) * direction
    return grid + step


def learned_curvature(evidence: Evidence, grid: Array, stiffness: float, unit: float, by_chance: float) -> float:
    """Return how much a flow may be expected to bend, from how much a settled grid does.

    Noise bends it as well; that is taken off. Where there is little noise, places may bend more than the rest without
    harm, so that the expectation does not fall as low.

    Args:
        evidence: what the grid was settled on.
        grid: as it settled, shape (h, w, 2).
        stiffness: with which it did.
        unit: the grid's second difference for a curvature of 1 px per px^2.
        by_chance: how much noise bends it, as a share of what noise would that is independent from cell to cell.

    Returns:
        The curvature to expect, px per px^2.
    """
    if min(grid.shape[:2]) < 3:
        return _LEAST_CURVED
    sure = (evidence.xx + evidence.yy) / 2
    # Second differences have a norm of 20, and noise has the variance of the evidence.
    chance = 40 * sure / (sure + np.float32(20 * stiffness)) ** 2
    noisy = evidence.noise / _NOISY
    found = float(_bent(grid).mean()) - float(chance.mean()) * by_chance * by_chance * min(noisy, 1.0)
    clean = min(max(1 / max(noisy, 1e-3), _LEAST_CURVED / _LEAST_CURVED_CLEAN), 1.0)
    expected = float(_ROOM * max(found, 0.0) ** 0.5 / unit)
    return min(max(expected, clean * _LEAST_CURVED_CLEAN), _MOST_CURVED)


def _straightened(grid: Array, evidence: Evidence) -> Array:
    """Return the affine field nearest to a grid, where there is evidence; shape (h, w, 2)."""
    height, width = grid.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y], -1).reshape(-1, 3)
    values = grid.reshape(-1, 2)
    sure = (evidence.xx + evidence.yy).reshape(-1)
    weight = sure / (sure + np.float32(np.median(sure) + 1e-6))
    field = np.zeros_like(values)
    for _ in range(2):
        weighted = terms * weight[:, None]
        # The ridge keeps the slopes small where nothing determines them.
        ridge = np.diag([1e-6, 1e-2, 1e-2]) * max(float(weight.sum()), 1e-3)
        field = terms @ np.linalg.solve(weighted.T @ terms + ridge, weighted.T @ values).astype(np.float32)
        off = ((values - field) ** 2).sum(axis=1)
        usual = np.float32(4 * np.median(off) + 1e-4)
        weight = weight * (usual / (usual + off))
    return field.reshape(grid.shape)


class _Tension:
    """The linear operator of `settled`, and its rough inverse."""

    def __init__(self, evidence: Evidence, stiffness: np.float32, bed: np.float32) -> None:
        self._tensor = (evidence.xx + bed, evidence.xy, evidence.yy + bed)
        self._stiffness = stiffness
        height, width = evidence.xx.shape
        self._rows, self._columns = _cosines(height), _cosines(width)
        even = np.exp(np.log((evidence.xx + evidence.yy) / 2 + stiffness * np.float32(0.01)).mean())
        self._even = 1 / (even + stiffness * _bending_spectrum(height, width))
        own = 20 * stiffness
        xx, yy = evidence.xx + own, evidence.yy + own
        scale = 1 / (xx * yy - evidence.xy * evidence.xy)
        self._own = (yy * scale, -evidence.xy * scale, xx * scale)

    def of(self, grid: Array) -> Array:
        out = self._stiffness * _bending(grid)
        out += _times(self._tensor, grid)
        return out

    def roughly(self, grid: Array) -> Array:
        out = _times(self._own, grid)
        for axis in (0, 1):
            spectrum = self._rows @ grid[..., axis] @ self._columns.T
            out[..., axis] += self._rows.T @ (spectrum * self._even) @ self._columns
        return out


def _times(tensor: tuple[Array, Array, Array], grid: Array) -> Array:
    xx, xy, yy = tensor
    x, y = grid[..., 0], grid[..., 1]
    out = np.empty_like(grid)
    out[..., 0] = xx * x + xy * y
    out[..., 1] = xy * x + yy * y
    return out


@lru_cache(maxsize=64)
def _cosines(length: int) -> NDArray[np.float32]:
    """Return the orthonormal cosine transform (DCT-II) as a matrix."""
    k = np.arange(length)[:, None]
    matrix = np.sqrt(2 / length) * np.cos(np.pi * k * (np.arange(length) + 0.5) / length)
    matrix[0] *= np.sqrt(0.5)
    return np.asarray(matrix, np.float32)


@lru_cache(maxsize=64)
def _bending_spectrum(height: int, width: int) -> NDArray[np.float32]:
    y = 2 - 2 * np.cos(np.pi * np.arange(height) / height)
    x = 2 - 2 * np.cos(np.pi * np.arange(width) / width)
    return np.asarray((y[:, None] + x) ** 2, np.float32)
