"""Torch twins of `vs_align.flow.geometry`: what is said there holds here, but for the shapes.

Convention:
    Images have shape (B, C, H, W), flows and grids (B, 2, h, w) with (dx, dy) in pixels, all float32. Nothing here
    waits for the device or depends on values, so that a CUDA graph can hold it. Enlarging and averaging along an axis
    are products with small matrices: few kernels, whatever the factor.
"""

import math
import threading
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "Constant",
    "along_axes",
    "averaged",
    "convolved",
    "coordinates",
    "enlarged",
    "gaussian",
    "inside",
    "mirrored",
    "quantile",
    "reach_of",
    "reduced",
    "resampled",
    "sample",
    "sampled_around",
    "scalars",
    "taken_at",
]

type Matrix = NDArray[np.float64]

# CUDA sorts so many in one go; more take it ten times as long.
_MOST_SORTED = 4096


class Constant:
    """A table that depends on sizes alone: computed once, then kept on each device that asked for it.

    A CUDA graph holds the addresses of the tensors that it was recorded with. Whoever records one keeps `held` of the
    device for as long as the graph lives; then `forget` takes nothing away from it.

    Args:
        table: from hashable arguments to an array, or a tuple of arrays of different meaning.
    """

    _all: list["Constant"] = []

    def __init__(self, table: Callable[..., Any]) -> None:
        self._table = table
        self._kept: dict[tuple[Any, ...], Tensor] = {}
        self._lock = threading.Lock()
        self._all.append(self)
        update_wrapper(self, table)

    def __call__(self, device: torch.device, *arguments: Any) -> Tensor:
        """Return the table as a float32 (or int64) tensor on a device."""
        key = (device, *arguments)
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                array = np.ascontiguousarray(self._table(*arguments))
                kind = torch.int64 if array.dtype.kind == "i" else torch.float32
                found = self._kept[key] = torch.from_numpy(array).to(device, kind)
        return found

    @classmethod
    def held(cls) -> list[Tensor]:
        """Return all tensors that are kept now."""
        return [tensor for constant in cls._all for tensor in constant._tensors()]

    @classmethod
    def forget(cls) -> None:
        """Let go of all tensors; they are made again when they are asked for."""
        for constant in cls._all:
            with constant._lock:
                constant._kept.clear()

    def _tensors(self) -> list[Tensor]:
        with self._lock:
            return list(self._kept.values())


# ---------------------------------------------------------------- sizes


def reduced(image: Tensor, factor: int) -> Tensor:
    """Return the means of ``factor`` x ``factor`` blocks; both sides are multiples of ``factor``."""
    return F.avg_pool2d(image, factor) if factor > 1 else image


def enlarged(grid: Tensor, factor: int) -> Tensor:
    """Return a grid at ``factor`` times its size, a power of two; at the border it goes on as a straight line."""
    if factor == 1:
        return grid
    height, width = grid.shape[-2:]
    return along_axes(_enlarging(grid.device, height, factor), grid, _enlarging(grid.device, width, factor))


def resampled(grid: Tensor, rows: int) -> Tensor:
    """Return a grid with another number of rows, that of now times or over a power of two."""
    if rows >= grid.shape[-2]:
        return enlarged(grid, rows // grid.shape[-2])
    return reduced(grid, grid.shape[-2] // rows)


def averaged(grid: Tensor, sigma: float) -> Tensor:
    """Return a grid smoothed by a Gaussian, sigma in cells; straight fields stay as they are, also at the border."""
    height, width = grid.shape[-2:]
    return along_axes(_averaging(grid.device, height, sigma), grid, _averaging(grid.device, width, sigma))


def along_axes(down: Tensor, grid: Tensor, along: Tensor) -> Tensor:
    """Return ``down`` @ grid @ ``along``.T for each channel: a linear map along the columns, one along the rows."""
    flat = grid.flatten(0, 1)
    # Broadcasting by itself would copy.
    return torch.bmm(down.expand(len(flat), -1, -1), flat @ along.T).unflatten(0, grid.shape[:2])


@Constant
def _enlarging(length: int, factor: int) -> Matrix:
    """Return the matrix (length * factor, length) of `enlarged` along one axis."""
    return _enlarging_beyond(length, factor)[1:-1]


@Constant
def _enlarging_rows(length: int, factor: int) -> Matrix:
    """Return the same with one row more at each end, where the field goes on."""
    return _enlarging_beyond(length, factor)


@Constant
def _enlarging_columns(length: int, factor: int) -> Matrix:
    """Return the same with one row more at each end: the second and the last but one again."""
    inner = _enlarging_beyond(length, factor)[1:-1]
    return np.concatenate([inner[1:2], inner, inner[-2:-1]])


def _enlarging_beyond(length: int, factor: int) -> Matrix:
    matrix = np.eye(length)
    # Catmull-Rom a quarter of the way to the sample before and to the one after.
    after = np.array([0, -0.0703125, 0.8671875, 0.2265625, -0.0234375])
    while factor > 2:
        padded = _extrapolated(matrix, 2)
        matrix = _interleaved(*(_correlated(padded, taps) for taps in (after[::-1], after)))
        factor //= 2
    padded = _extrapolated(matrix, 2)
    before, after = np.array([0.25, 0.75, 0]), np.array([0, 0.75, 0.25])
    doubled = _interleaved(*(_correlated(padded, taps) for taps in (before, after)))
    return doubled[1:-1]


def _interleaved(even: Matrix, odd: Matrix) -> Matrix:
    return np.stack([even, odd], 1).reshape(2 * len(even), -1)


def _correlated(rows: Matrix, taps: Matrix) -> Matrix:
    count = len(rows) - len(taps) + 1
    return sum((tap * rows[k : k + count] for k, tap in enumerate(taps)), np.zeros((count, rows.shape[1])))


def _extrapolated(rows: Matrix, cells: int) -> Matrix:
    """Return a matrix with more rows at both ends, on the line through the two next to them."""
    slope_first, slope_last = (rows[0] - rows[1], rows[-1] - rows[-2]) if len(rows) > 1 else (0 * rows[0],) * 2
    before = [rows[0] + cell * slope_first for cell in range(cells, 0, -1)]
    after = [rows[-1] + cell * slope_last for cell in range(1, cells + 1)]
    return np.concatenate([before, rows, after])


@Constant
def _averaging(length: int, sigma: float) -> Matrix:
    reach = max(1, round(3 * sigma))
    return _correlated(_extrapolated(np.eye(length), reach), gaussian(reach, sigma))


# ---------------------------------------------------------------- sampling


def sample(image: Tensor, flow: Tensor) -> Tensor:
    """Return an image where a flow of its size points to, linearly interpolated; outside it, its border goes on."""
    rows, columns = flow.shape[-2:]
    return _taken(image, flow, _places(flow.device, rows, columns, 0, *image.shape[-2:]))


def taken_at(image: Tensor, positions: Tensor) -> Tensor:
    """Return an image at positions (x, y), shape (B, 2, h, w), linearly interpolated; outside, its border goes on."""
    return _taken(image, positions, _origin(positions.device, *image.shape[-2:]))


def sampled_around(image: Tensor, grid: Tensor, factor: int) -> Tensor:
    """Return an image where a grid points to, and what is needed around it for its gradients.

    Args:
        image: shape (B, C, H, W).
        grid: one value for ``factor`` by ``factor`` pixels, a power of two, 2 and up.

    Returns:
        Shape (B, C, H + 2, W + 2): the flow goes on by one row each way; the columns are mirrored at the sides.
    """
    height, width = grid.shape[-2:]
    down, along = (
        make(grid.device, count, factor) for make, count in ((_enlarging_rows, height), (_enlarging_columns, width))
    )
    places = _places(grid.device, height * factor, width * factor, 1, *image.shape[-2:])
    return _taken(image, along_axes(down, grid, along), places)


def _taken(image: Tensor, displacement: Tensor, places: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    where = torch.addcmul(places, displacement.permute(0, 2, 3, 1), _to_units(image.device, height, width))
    return F.grid_sample(image, where, mode="bilinear", padding_mode="border", align_corners=False)


@Constant
def _places(rows: int, columns: int, around: int, height: int, width: int) -> Matrix:
    """Return where each pixel lies in the units of ``grid_sample``, shape (1, rows, columns, 2).

    With ``around`` there is one more on each side; that of the columns is mirrored.
    """
    x, y = np.arange(columns, dtype=np.float64), np.arange(-around, rows + around, dtype=np.float64)
    if around:
        x = np.concatenate([x[1:2], x, x[-2:-1]])
    return np.stack(np.meshgrid((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), -1)[None]


@Constant
def _origin(height: int, width: int) -> Matrix:
    return np.array([1 / width - 1, 1 / height - 1])


@Constant
def _to_units(height: int, width: int) -> Matrix:
    return np.array([2 / width, 2 / height])


@Constant
def _pixels(height: int, width: int) -> Matrix:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)))[None].astype(np.float64)


def coordinates(flow: Tensor) -> Tensor:
    """Return (x, y) of each of a flow's pixels, shape (1, 2, H, W), not to be written to."""
    return _pixels(flow.device, *flow.shape[-2:])


def inside(flow: Tensor, height: int, width: int) -> Tensor:
    """Return where a flow points into a picture, shape (B, 1, H, W)."""
    positions = coordinates(flow) + flow
    middle, half = _extent(flow.device, height, width)
    return ((positions - middle).abs() < half).all(dim=1, keepdim=True)


@Constant
def _extent(height: int, width: int) -> Matrix:
    """Return a picture's middle and half its extent, each of shape (2, 1, 1)."""
    return np.array([[(width - 1) / 2, (height - 1) / 2], [width / 2, height / 2]])[..., None, None]


# ---------------------------------------------------------------- filters and order statistics


def gaussian(reach: int, sigma: float) -> Matrix:
    """Return the weights of a Gaussian, sum 1, at the distances -reach to reach."""
    distance = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    return np.asarray(weights / weights.sum())


def reach_of(sigma: float) -> int:
    """Return how far OpenCV's Gaussian of a sigma reaches on float images, in pixels."""
    return round(8 * sigma + 1) // 2


def mirrored(image: Tensor, down: int, along: int) -> Tensor:
    """Return an image with more rows and columns at each side, mirrored about the outermost ones."""
    height, width = image.shape[-2:]
    if down < height and along < width:
        return F.pad(image, (along, along, down, down), mode="reflect")
    rows, columns = _mirror(image.device, height, down), _mirror(image.device, width, along)
    return image.index_select(-2, rows).index_select(-1, columns)


@Constant
def _mirror(length: int, reach: int) -> NDArray[np.int64]:
    period = max(2 * (length - 1), 1)
    at = np.abs(np.arange(-reach, length + reach)) % period
    return np.minimum(at, period - at) if length > 1 else 0 * at


def convolved(image: Tensor, taps: Tensor) -> Tensor:
    """Correlate each channel of each picture with a kernel of its own; what reaches beyond the border is left out.

    Args:
        image: shape (B, C, H, W).
        taps: shape (C, h, w), the same for all pictures, or (B, C, h, w).

    Returns:
        Shape (B, C, H - h + 1, W - w + 1).
    """
    return _shifted(image, taps) if image.device.type == "cpu" else _filtered(image, taps)


def _shifted(image: Tensor, taps: Tensor) -> Tensor:
    """Do it tap by tap: on a CPU ten times as fast as a convolution of few channels."""
    rows, columns = taps.shape[-2:]
    height, width = image.shape[-2] - rows + 1, image.shape[-1] - columns + 1
    found = None
    for row in range(rows):
        for column in range(columns):
            part, tap = image[..., row : row + height, column : column + width], taps[..., row, column, None, None]
            found = part * tap if found is None else found.addcmul_(part, tap)
    assert found is not None
    return found


def _filtered(image: Tensor, taps: Tensor) -> Tensor:
    """Do it in one kernel."""
    if image.shape[-3] * (image.shape[0] if taps.ndim == 4 else 1) == 1:
        # A single channel would be left to cuDNN, which may round to TF32; two are not.
        return _filtered(image.expand(-1, 2, -1, -1), taps.expand(*taps.shape[:-3], 2, -1, -1))[:, :1]
    if taps.ndim == 3:
        return F.conv2d(image, taps[:, None], groups=taps.shape[0])
    found = F.conv2d(image.flatten(0, 1)[None], taps.flatten(0, 1)[:, None], groups=image.shape[0] * image.shape[1])
    return found[0].unflatten(0, image.shape[:2])


def quantile(values: Tensor, share: float) -> Tensor:
    """Return a quantile along the last axis, interpolated as NumPy does; of many values, of evenly spaced ones."""
    values = values[..., :: -(-values.shape[-1] // _MOST_SORTED)]
    place = share * (values.shape[-1] - 1)
    lower = math.floor(place)
    ordered = values.sort(dim=-1).values
    if lower == place:
        return ordered[..., lower]
    return torch.lerp(ordered[..., lower], ordered[..., lower + 1], place - lower)


def scalars(values: Tensor) -> Tensor:
    """Return one value a picture, shape (B,) or more, as (B, 1, 1, 1)."""
    return values.reshape(-1, 1, 1, 1)
