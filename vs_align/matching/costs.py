"""Where the kernels take their costs from: a matrix, the rows of a band, or features."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .paths import Band

__all__ = ["BandCosts", "Costs", "FeatureCosts", "MatrixCosts", "Metric"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

# Rows that are laid along the diagonals together: what they touch stays in the processor's nearest cache.
_SKEWED_ROWS = 64
# Values of a block of differences between features.
_DIFFERENCES = 1 << 20
# A squared distance below this share of the squared lengths has lost its digits to rounding.
_CANCELLED = 1e-6


class Metric(StrEnum):
    """The distance between two features: of Euclid, or the sum of absolute differences."""

    EUCLIDEAN = "euclidean"
    L1 = "l1"


class Costs(Protocol):
    """The cost of pairing ref's frame n with clip's frame m; infinite where that is not a candidate."""

    @property
    def band(self) -> Band:
        """The candidates of each ref frame."""
        ...

    def rows(self, first: int, stop: int) -> Floats:
        """Return the windows of ref frames ``first`` to ``stop - 1``, shape (stop - first, width)."""
        ...

    def skewed(self, diagonal: int, count: int, first: int, stop: int) -> Floats:
        """Return anti-diagonals: entry [d, n] is ref ``first + n`` with clip ``diagonal + d - first - n``.

        Shape (count, stop - first).
        """
        ...

    def at(self, ref: Frames, clip: Frames) -> Floats:
        """Return the costs of pairs, shape (L,)."""
        ...


class _Blocks:
    """Anti-diagonals out of rectangles of a full matrix, whether it exists or is computed."""

    def __init__(self, ref_length: int, clip_length: int) -> None:
        self.band = Band(np.zeros(ref_length, np.int64), clip_length, clip_length)

    def _block(self, first: int, stop: int, left: int, right: int) -> Floats:
        raise NotImplementedError

    def rows(self, first: int, stop: int) -> Floats:
        return np.asarray(self._block(first, stop, 0, self.band.length), np.float64)

    def skewed(self, diagonal: int, count: int, first: int, stop: int) -> Floats:
        out = np.empty((count, stop - first))
        for top in range(first, stop, _SKEWED_ROWS):
            end = min(top + _SKEWED_ROWS, stop)
            block = self._padded(top, end, diagonal - end + 1, diagonal + count - top)
            down, right = block.strides
            slanted = as_strided(block[:, end - top - 1 :], (end - top, count), (down - right, right), writeable=False)
            out[:, top - first : end - first] = slanted.T
        return out

    def _padded(self, first: int, stop: int, left: int, right: int) -> Floats:
        """Return a rectangle of which a part may lie beside the matrix."""
        inner_left, inner_right = max(left, 0), min(right, self.band.length)
        if (inner_left, inner_right) == (left, right):
            return self._block(first, stop, left, right)
        out = np.full((stop - first, right - left), np.inf)
        if inner_left < inner_right:
            out[:, inner_left - left : inner_right - left] = self._block(first, stop, inner_left, inner_right)
        return out


class MatrixCosts(_Blocks):
    """A full matrix, shape (N, M)."""

    def __init__(self, matrix: Floats) -> None:
        super().__init__(*matrix.shape)
        self._matrix = matrix

    def _block(self, first: int, stop: int, left: int, right: int) -> Floats:
        return self._matrix[first:stop, left:right]

    def at(self, ref: Frames, clip: Frames) -> Floats:
        """Return the costs of pairs, shape (L,)."""
        return self._matrix[ref, clip].astype(np.float64)


class BandCosts:
    """The rows of a band, shape (N, width); what lies beyond clip's ends is infinite."""

    def __init__(self, rows: Floats, band: Band) -> None:
        self.band = band
        # A column on the right stands for all that the window does not hold.
        self._rows = np.empty((len(rows), band.width + 1))
        self._rows[:, :-1] = rows
        self._rows[:, -1] = np.inf
        over = np.flatnonzero((band.start < 0) | (band.start + band.width > band.length))
        self._rows[over, :-1] = np.where(band.inside(over), rows[over], np.inf)

    def rows(self, first: int, stop: int) -> Floats:
        """Return the windows of ref frames ``first`` to ``stop - 1``, shape (stop - first, width)."""
        return self._rows[first:stop, :-1]

    def skewed(self, diagonal: int, count: int, first: int, stop: int) -> Floats:
        """Return anti-diagonals, see `Costs`."""
        n = np.arange(first, stop)
        column = np.arange(diagonal, diagonal + count)[:, None] - (n + self.band.start[first:stop])
        column[(column < 0) | (column > self.band.width)] = self.band.width
        return self._rows.take(column + n * (self.band.width + 1))

    def at(self, ref: Frames, clip: Frames) -> Floats:
        """Return the costs of pairs, shape (L,)."""
        costs: Floats = self._rows[ref, clip - self.band.start[ref]]
        return costs


class FeatureCosts(_Blocks):
    """Distances between features, computed where they are asked for.

    Args:
        ref: shape (N, F).
        clip: shape (M, F).
        metric: the distance.
    """

    def __init__(self, ref: Floats, clip: Floats, metric: Metric) -> None:
        super().__init__(len(ref), len(clip))
        # The distance of Euclid between single numbers is their difference.
        self._metric = Metric.L1 if ref.shape[1] == 1 else metric
        # Distances are small beside the features' common part, which would cost digits.
        middle = clip.mean(0)
        self._ref, self._clip = ref - middle, clip - middle
        self._ref_squared, self._clip_squared = (np.einsum("nf,nf->n", x, x) for x in (self._ref, self._clip))

    def _block(self, first: int, stop: int, left: int, right: int) -> Floats:
        ref, clip = self._ref[first:stop], self._clip[left:right]
        if self._metric is Metric.L1:
            out = np.zeros((len(ref), len(clip)))
            part = np.empty_like(out)
            for ref_value, clip_value in zip(ref.T, clip.T, strict=True):
                np.abs(np.subtract(ref_value[:, None], clip_value, out=part), out=part)
                out += part
            return out
        lengths = self._ref_squared[first:stop, None] + self._clip_squared[left:right]
        squared = lengths - 2 * (ref @ clip.T)
        n, m = np.nonzero(squared <= _CANCELLED * lengths)
        squared[n, m] = self.at(n + first, m + left) ** 2
        distances: Floats = np.sqrt(squared)
        return distances

    def at(self, ref: Frames, clip: Frames) -> Floats:
        """Return the distances of pairs, shape (L,)."""
        out = np.empty(len(ref))
        step = max(1, _DIFFERENCES // max(1, self._ref.shape[1]))
        for k in range(0, len(ref), step):
            difference = self._ref[ref[k : k + step]] - self._clip[clip[k : k + step]]
            if self._metric is Metric.L1:
                out[k : k + step] = np.abs(difference).sum(1)
            else:
                out[k : k + step] = np.sqrt(np.einsum("nf,nf->n", difference, difference))
        return out

    def banded(self, band: Band) -> BandCosts:
        """Compute the windows of a band alone."""
        rows = np.full((len(band.start), band.width), np.inf)
        for first, stop in _overlapping(band):
            column = band.start[first:stop, None] + np.arange(band.width)
            left = int(np.clip(column[0, 0], 0, band.length - 1))
            right = int(np.clip(column[-1, -1], 0, band.length - 1)) + 1
            block = self._block(first, stop, left, right)
            picked = np.take_along_axis(block, np.clip(column - left, 0, right - left - 1), 1)
            rows[first:stop] = np.where(band.inside(slice(first, stop)), picked, np.inf)
        return BandCosts(rows, band)


def _overlapping(band: Band) -> Iterator[tuple[int, int]]:
    """Group rows whose windows overlap, so that their costs make one small rectangle."""
    first = 0
    while first < len(band.start):
        stop = int(np.searchsorted(band.start, band.start[first] + band.width, "left"))
        stop = min(stop, first + max(_SKEWED_ROWS, band.width))
        yield first, stop
        first = stop
