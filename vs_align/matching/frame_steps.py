"""The cheapest path with exactly one clip frame for every ref frame.

From one ref frame to the next clip holds, advances freely, or leaves out any number of frames. The best of all such
skips is a running minimum over the row before, so that a row of W candidates costs O(W).

Rows are taken in blocks and only the last row before each block is kept; on the way back a block is computed once more.
What fits is one block. (The recurrence is that of Viterbi, 1967, with the costs in place of log-likelihoods.)
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .costs import Costs
from .paths import Penalties

__all__ = ["warp_frames"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

# Accumulated costs that are held at once.
_HELD = 1 << 24


def warp_frames(costs: Costs, penalties: Penalties, open_begin: bool, open_end: bool) -> tuple[Frames, float]:
    """Find the cheapest sequence of clip frames.

    Args:
        costs: of each pair.
        penalties: of the steps.
        open_begin: ref frame 0 may show any clip frame, else 0.
        open_end: the last ref frame may show any clip frame, else the last.

    Returns:
        A clip frame for each ref frame, shape (N,), and the total, infinite (and no frames) where every path meets an
        infinite cost. Of equal ends the one nearest to the middle of the window wins, of equal ways the free step.
    """
    search = _Search(costs, penalties, open_begin)
    last = search.forward()
    band = costs.band
    # A matrix without a band has no middle; there the same frame number comes first.
    middle = band.width // 2 if band.width < band.length else len(band.start) - 1
    column = _nearest_minimum(last, middle) if open_end else band.length - 1 - int(band.start[-1])
    if not 0 <= column < band.width or not math.isfinite(last[column]):
        return np.empty(0, np.int64), math.inf
    return search.back(column), float(last[column])


def _nearest_minimum(row: Floats, middle: int) -> int:
    """Return where the smallest value is; of several the nearest to ``middle``, then the later one."""
    equal = np.flatnonzero(row == row.min())
    return int(equal[(2 * np.abs(equal - middle) - (equal > middle)).argmin()])


@dataclass(slots=True)
class _Rows:
    """Accumulated costs of some ref frames.

    Attributes:
        first: the ref frame of row 1; row 0 is the one before.
        costs: of rows 1 on, shape (R, W).
        sums: shape (R + 1, left + W + right), infinite on both sides of the window.
    """

    first: int
    costs: Floats
    sums: Floats


class _Search:
    """One search, forward over all rows and back along the path."""

    def __init__(self, costs: Costs, penalties: Penalties, open_begin: bool) -> None:
        self.costs, self.penalties, self.open_begin = costs, penalties, open_begin
        band = costs.band
        self._low, self._high = penalties.free
        self._left = self._high + 1
        # Where a window moves on by more than its width, all that was before lies to its left.
        self._moves = np.diff(band.start, prepend=band.start[:1])
        self._shifts = np.minimum(self._moves, band.width + self._high)
        self._padded = self._left + band.width + int(self._shifts.max())
        self._height = max(1, _HELD // self._padded)
        self._before: list[Floats] = []
        self._latest: _Rows | None = None

    def forward(self) -> Floats:
        """Accumulate; return the last row, shape (W,)."""
        sums = np.full(self._padded, np.inf)
        for first in range(0, len(self.costs.band.start), self._height):
            self._before.append(sums)
            self._latest = self._accumulated(first, sums)
            sums = self._latest.sums[-1].copy()
        return sums[self._left : self._left + self.costs.band.width]

    def _accumulated(self, first: int, before: Floats) -> _Rows:
        """Accumulate a block that begins at ref frame ``first``, from the row before it."""
        stop = min(first + self._height, len(self.costs.band.start))
        sums = np.full((stop - first + 1, self._padded), np.inf)
        sums[0] = before
        window = slice(self._left, self._left + self.costs.band.width)
        costs = self.costs.rows(first, stop)
        sums[1:, window] = costs
        rows = iter(sums)
        previous = next(rows)
        arriving = _Arrival(self.penalties, self.costs.band.width, self._padded)
        for n, row in enumerate(rows, first):
            if n == 0:
                self._begin(row)
            else:
                row[window] += arriving.best(previous, int(self._shifts[n]), int(self._moves[n]))
            previous = row
        return _Rows(first, costs, sums)

    def _begin(self, row: Floats) -> None:
        """Leave of the first row what a path may begin at."""
        if not self.open_begin:
            only = self._left - int(self.costs.band.start[0])
            at_zero = row[only] if self._left <= only < len(row) else np.inf
            row[:] = np.inf
            if math.isfinite(at_zero):
                row[only] = at_zero

    def back(self, column: int) -> Frames:
        """Follow the best path back from a column of the last row."""
        band = self.costs.band
        columns = np.empty(len(band.start), np.int64)
        for block in range(len(self._before) - 1, -1, -1):
            first = block * self._height
            if self._latest is None or self._latest.first != first:
                self._latest = self._accumulated(first, self._before[block])
            column = self._followed(self._latest, column, columns)
        return columns + band.start

    def _followed(self, rows: _Rows, column: int, columns: Frames) -> int:
        """Write the columns of one block and return that of the row before it."""
        free, hold = range(self._low, self._high + 1), range(self._low)
        sums, shifts = rows.sums, self._shifts.tolist()
        cost, value = rows.costs.item, rows.sums.item
        for k in range(len(sums) - 1, 0, -1):
            n = rows.first + k - 1
            columns[n] = column
            if n == 0:
                break
            here, came = self._left + column + shifts[n], column
            best = math.inf
            for advance in free:
                if value(k - 1, here - advance) < best:
                    best, came = value(k - 1, here - advance), column + shifts[n] - advance
            for advance in hold:
                if value(k - 1, here - advance) + self.penalties.hold < best:
                    best, came = value(k - 1, here - advance) + self.penalties.hold, column + shifts[n] - advance
            # Nothing else was better if this gives the very sum that was found.
            if cost(k - 1, column) + best != value(k, self._left + column):
                came = self._skipped_from(sums[k - 1], column, n)
            column = came
        return column

    def _skipped_from(self, previous: Floats, column: int, n: int) -> int:
        """Return the column of the row before ``n`` that the best skip to ``column`` begins at."""
        stop = min(column + int(self._shifts[n]) - self._high, self.costs.band.width)
        at = np.arange(stop)
        ways = previous[self._left : self._left + stop] - self.penalties.skipped * at
        return stop - 1 - int(ways[::-1].argmin())


class _Arrival:
    """The cheapest way to each cell of a row from the row before; buffers are reused."""

    def __init__(self, penalties: Penalties, width: int, padded: int) -> None:
        self._width, (self._low, self._high) = width, penalties.free
        self._hold, self._skip, self._skipped = penalties.hold, penalties.skip, penalties.skipped
        self._left = self._high + 1
        self._ramp = penalties.skipped * np.arange(width)
        self._running = np.full(padded, np.inf)
        self._best, self._other = np.empty((2, width))

    def best(self, previous: Floats, shift: int, move: int) -> Floats:
        """Return what it costs to arrive, shape (W,), valid until the next call.

        Args:
            previous: accumulated costs of the row before, infinite on both sides.
            shift: by how much the window moves on, no more than leaves nothing in common.
            move: by how much it really does.
        """
        left, width, best, other = self._left, self._width, self._best, self._other
        running = self._running[left : left + width]
        source = previous[left : left + width]
        if self._skipped:
            source = np.subtract(source, self._ramp, out=other)
        np.minimum.accumulate(source, out=running)
        beyond = shift - self._high - 1
        if beyond > 0:
            self._running[left + width : left + width + beyond] = running[-1]
        np.add(self._running[shift : shift + width], self._skip + self._skipped * (move - self._high), out=best)
        if self._skipped:
            np.add(best, self._ramp, out=best)
        for advance in range(self._high + 1):
            at = left + shift - advance
            ways = previous[at : at + width]
            if advance < self._low:
                ways = np.add(ways, self._hold, out=other)
            np.minimum(best, ways, out=best)
        return best
