"""Torch twins of `vs_align.flow.thin_plate`: the flow that fits the evidence and bends least.

Everything is divided by the stiffness, so that what the plate itself does is a constant: products with small matrices.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..thin_plate import _BED, _LEAST_CURVED, _LEAST_CURVED_CLEAN, _MOST_CURVED, _NOISY, _ROOM, _cosines
from .geometry import Constant, along_axes, quantile
from .lucas_kanade import Evidence

__all__ = ["learned_curvature", "plated", "settled", "straightened"]

_BED_OVER_STIFFNESS = _BED**-4


def settled(
    evidence: Evidence,
    grid: Tensor,
    stiffness: Tensor | float,
    iterations: int,
    straight: Tensor | None = None,
    begin: Tensor | None = None,
) -> Tensor:
    """Return a grid moved to where evidence and stiffness balance.

    Args:
        evidence: per cell.
        grid: the flow so far, shape (B, 2, h, w), in any unit that evidence shares.
        stiffness: in units of evidence, a number or of shape (B, 1, 1, 1); more gives a straighter field.
        iterations: of the conjugate gradients; all of them are made.
        straight: `straightened` of the grid, where it is known already.
        begin: where they begin; None: at ``grid``.
    """
    straight = straightened(grid, evidence) if straight is None else straight
    tension = _Tension(evidence, stiffness)
    left = evidence.pull / stiffness - tension.bending(grid) + _BED_OVER_STIFFNESS * (straight - grid)
    if begin is None:
        step = torch.zeros_like(grid)
    else:
        step = begin - grid
        left = left - tension.of(step)
    direction = guess = tension.roughly(left)
    size = _dot(left, guess)
    for iteration in range(iterations):
        pulled = tension.of(direction)
        length = size / _dot(direction, pulled)
        step = torch.addcmul(step, length, direction)
        if iteration == iterations - 1:
            break
        left = torch.addcmul(left, length, pulled, value=-1)
        guess = tension.roughly(left)
        before, size = size, _dot(left, guess)
        direction = torch.addcmul(guess, size / before, direction)
    return grid + step


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of each picture's fields, more than 0 where it should be 0, so that it can be divided by."""
    return torch.addcmul(_tiny(a.device), a, b).sum((1, 2, 3), keepdim=True)


@Constant
def _tiny() -> NDArray[np.float64]:
    return np.array(1e-30)


def _times(tensor: Tensor, field: Tensor) -> Tensor:
    """Return a 2x2 matrix for each cell, shape (B, 2, 2, h, w), times a vector for each, shape (B, 2, h, w)."""
    return torch.addcmul(tensor[:, :, 0] * field[:, :1], tensor[:, :, 1], field[:, 1:])


def plated(flow: Tensor, spread: Tensor, stiffness: float, iterations: int) -> Tensor:
    """Return a flow smoothed by a thin plate that follows it the more, the surer it is.

    Args:
        flow: shape (B, 2, h, w).
        spread: the error to expect of each cell, in the flow's unit, shape (B, 1, h, w).
        stiffness: see `settled`.
        iterations: of the conjugate gradients.
    """
    sure = spread**-2
    apart = torch.zeros_like(sure)
    tensor = torch.stack([torch.cat([sure, apart], 1), torch.cat([apart, sure], 1)], 1)
    evidence = Evidence(tensor, torch.zeros_like(flow), torch.zeros_like(sure[..., :1, :1]))
    return settled(evidence, flow, stiffness, iterations)


def learned_curvature(
    evidence: Evidence, grid: Tensor, stiffness: Tensor | float, unit: float, by_chance: float
) -> Tensor:
    """Return how much a flow may be expected to bend, from how much a settled grid does.

    Args:
        evidence: what the grid was settled on.
        grid: as it settled, shape (B, 2, h, w).
        stiffness: with which it did.
        unit: the grid's second difference for a curvature of 1 px per px^2.
        by_chance: how much noise bends it, as a share of what noise would that is independent from cell to cell.

    Returns:
        The curvature to expect, px per px^2, shape (B, 1, 1, 1).
    """
    if min(grid.shape[-2:]) < 3:
        return torch.full_like(evidence.noise, _LEAST_CURVED)
    sure = (evidence.xx + evidence.yy) / 2
    # Second differences have a norm of 20, and noise has the variance of the evidence.
    chance = 40 * sure / (sure + 20 * stiffness) ** 2
    noisy = evidence.noise / _NOISY
    found = _bent(grid) - _mean(chance) * (by_chance * by_chance) * noisy.clamp(max=1)
    clean = (1 / noisy.clamp(min=1e-3)).clamp(_LEAST_CURVED / _LEAST_CURVED_CLEAN, 1.0)
    expected = found.clamp(min=0).sqrt() * (_ROOM / unit)
    return torch.maximum(expected, clean * _LEAST_CURVED_CLEAN).clamp(max=_MOST_CURVED)


def _mean(values: Tensor) -> Tensor:
    return values.mean((1, 2, 3), keepdim=True)


def _bent(grid: Tensor) -> Tensor:
    """Return how much the cells bend in the mean, the squared second differences, shape (B, 1, 1, 1)."""
    inner = 2 * grid[..., 1:-1, 1:-1]
    xx = grid[..., 1:-1, :-2] - inner + grid[..., 1:-1, 2:]
    yy = grid[..., :-2, 1:-1] - inner + grid[..., 2:, 1:-1]
    return 2 * _mean(torch.addcmul(xx * xx, yy, yy))


def straightened(grid: Tensor, evidence: Evidence) -> Tensor:
    """Return the affine field nearest to a grid, where there is evidence; shape (B, 2, h, w)."""
    batch, _, height, width = grid.shape
    terms, products = _terms(grid.device, height, width), _products(grid.device, height, width)
    values = grid.flatten(2)
    sure = (evidence.xx + evidence.yy).flatten(2)
    weight = sure / (sure + quantile(sure, 0.5)[..., None] + 1e-6)
    field = values
    for _ in range(2):
        system = (weight @ products).view(batch, 3, 3)
        # The ridge keeps the slopes small where nothing determines them. The first term is 1.
        system = system + _ridge(grid.device) * system[:, :1, :1].clamp(min=1e-3)
        field = _solved(system, (weight * values) @ terms.T) @ terms
        off = ((values - field) ** 2).sum(1, keepdim=True)
        usual = 4 * quantile(off, 0.5)[..., None] + 1e-4
        weight = weight * usual / (usual + off)
    return field.view_as(grid)


def _solved(system: Tensor, wanted: Tensor) -> Tensor:
    """Return x with x @ system = wanted for symmetric 3x3 systems, by cofactors: nothing waits for the device."""
    cofactors = torch.linalg.cross(system.roll(-1, 1), system.roll(-2, 1), dim=2)
    determinant = (system[:, :1] * cofactors[:, :1]).sum(2, keepdim=True)
    return wanted @ (cofactors / determinant)


@Constant
def _terms(height: int, width: int) -> NDArray[np.float64]:
    """Return 1, x and y of each cell, from -1 to 1, shape (3, height * width)."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.stack([np.ones_like(x), x, y]).reshape(3, -1)


@Constant
def _products(height: int, width: int) -> NDArray[np.float64]:
    """Return the products of the terms with each other, shape (height * width, 9)."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y]).reshape(3, -1)
    return np.asarray(terms[:, None] * terms[None]).reshape(9, -1).T


@Constant
def _ridge() -> NDArray[np.float64]:
    return np.diag([1e-6, 1e-2, 1e-2])


class _Tension:
    """The linear operator of `settled` over the stiffness, and its rough inverse."""

    def __init__(self, evidence: Evidence, stiffness: Tensor | float) -> None:
        tensor = evidence.tensor / (stiffness[:, None] if isinstance(stiffness, Tensor) else stiffness)
        height, width = tensor.shape[-2:]
        device = tensor.device
        identity = _identity(device)
        self._tensor = tensor + _BED_OVER_STIFFNESS * identity
        self._rows, self._columns = _cosine_matrix(device, height), _cosine_matrix(device, width)
        self._down, self._along = _plate_down(device, height), _plate_along(device, width)
        middle = (tensor[:, 0, :1] + tensor[:, 1, 1:]) / 2
        even = _mean((middle + 0.01).log()).exp()
        self._even = 1 / (even + _bending_spectrum(device, height, width))
        own = tensor + 20 * identity
        xx, xy, yy = own[:, 0, 0], own[:, 0, 1], own[:, 1, 1]
        scale = 1 / (xx * yy - xy * xy)
        self._own = torch.stack([yy, -xy, -xy, xx], 1).unflatten(1, (2, 2)) * scale[:, None, None]

    def bending(self, grid: Tensor) -> Tensor:
        """Return the gradient of half the bending energy of a grid."""
        field = self._bent_along(grid)
        return torch.bmm(self._down.expand(len(field), -1, -1), field).view_as(grid)

    def of(self, grid: Tensor) -> Tensor:
        own = _times(self._tensor, grid)
        return _added(own, self._down, self._bent_along(grid))

    def roughly(self, grid: Tensor) -> Tensor:
        own = _times(self._own, grid)
        spectrum = along_axes(self._rows, grid, self._columns) * self._even
        return _added(own, self._rows.T, spectrum.flatten(0, 1) @ self._columns)

    def _bent_along(self, grid: Tensor) -> Tensor:
        """Return three rows for each row of a grid, what is combined along the columns: shape (2 B, 3 h, w)."""
        height, width = grid.shape[-2:]
        return (grid.flatten(0, 1) @ self._along).view(-1, 3 * height, width)


def _added(base: Tensor, matrix: Tensor, field: Tensor) -> Tensor:
    """Return base, which is overwritten, + matrix @ field for each channel; the field has shape (2 B, n, w)."""
    return base.flatten(0, 1).baddbmm_(matrix.expand(len(field), -1, -1), field).view_as(base)


def _squares(length: int, order: int) -> NDArray[np.float64]:
    """Return D' D of the differences of an order along an axis."""
    differences = np.diff(np.eye(length), order, axis=0)
    return np.asarray(differences.T @ differences)


@Constant
def _plate_along(length: int) -> NDArray[np.float64]:
    """Return what bending does along the rows: second differences, none, first differences; shape (n, 3 n)."""
    return np.concatenate([_squares(length, 2), np.eye(length), _squares(length, 1)], 1)


@Constant
def _plate_down(length: int) -> NDArray[np.float64]:
    """Return what belongs to it along the columns: none, second differences, twice the first, in turn; (n, 3 n)."""
    return np.stack([np.eye(length), _squares(length, 2), 2 * _squares(length, 1)], 2).reshape(length, -1)


@Constant
def _cosine_matrix(length: int) -> NDArray[np.float32]:
    return _cosines(length)


@Constant
def _bending_spectrum(height: int, width: int) -> NDArray[np.float64]:
    y, x = (2 - 2 * np.cos(np.pi * np.arange(count) / count) for count in (height, width))
    return np.asarray((y[:, None] + x) ** 2)


@Constant
def _identity() -> NDArray[np.float64]:
    return np.eye(2)[:, :, None, None]
