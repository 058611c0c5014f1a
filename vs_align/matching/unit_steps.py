"""Textbook dynamic time warping.

The accumulated cost of a cell needs its neighbours above, on the left, and above on the left. All cells of one
anti-diagonal are therefore independent, and each follows from the two anti-diagonals before it in three array
operations, without the rounding that cumulative sums along a row would bring.

Anti-diagonals are taken in blocks. Where the whole fits, a byte for each cell says where the best path to it came from.
Else only the two anti-diagonals before each block are kept. The path goes back through a block by as many ref frames
as the block has anti-diagonals at the most, so that computing that corner again costs little.

Source of the recurrence: Sakoe and Chiba, Dynamic programming algorithm optimization for spoken word recognition, 1978;
Müller, Information Retrieval for Music and Motion, 2007, chapter 4.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .costs import Costs
from .paths import Penalties

__all__ = ["warp"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

_DIAGONAL, _HOLD, _SKIP = 0, 1, 2
# The most bytes that say where paths came from; above it they are computed again, corner by corner.
_KEPT = 1 << 26
_LEAST_BLOCK = 64


@dataclass(slots=True)
class _Block:
    """Some anti-diagonals.

    Attributes:
        diagonal: the number of the first, ref plus clip.
        count: how many.
        first, stop: the ref frames that they touch.
        before: accumulated costs of the two anti-diagonals before them, for ref frames first - 1 to stop - 1,
            shape (2, stop - first + 1); None where ``came_from`` is kept.
        came_from: for each cell the step to it, shape (count, stop - first).
    """

    diagonal: int
    count: int
    first: int
    stop: int
    before: Floats | None = None
    came_from: NDArray[np.uint8] | None = None


def warp(costs: Costs, penalties: Penalties, open_begin: bool, open_end: bool) -> tuple[Frames, Frames, float]:
    """Find the cheapest path.

    Args:
        costs: of each pair.
        penalties: ``hold`` and ``skip`` count.
        open_begin: the path may begin at any clip frame, else at 0.
        open_end: it may end at any clip frame, else at the last.

    Returns:
        Ref frames and clip frames of the path and its total; the total is infinite and the path empty where every
        path meets an infinite cost.
    """
    search = _Search(costs, penalties, open_begin)
    last_row = search.forward()
    m = int(last_row.argmin()) if open_end else len(last_row) - 1
    total = float(last_row[m])
    if not math.isfinite(total):
        return np.empty(0, np.int64), np.empty(0, np.int64), math.inf
    n = len(costs.band.start) - 1
    return *search.back(n, m), total


class _Search:
    """One search, forward over all blocks and back along the path."""

    def __init__(self, costs: Costs, penalties: Penalties, open_begin: bool) -> None:
        self.costs, self.penalties, self.open_begin = costs, penalties, open_begin
        band = costs.band
        n = np.arange(len(band.start))
        self._begins = n + np.maximum(band.start, 0)
        self._ends = n + np.minimum(band.start + band.width, band.length)
        self.blocks = self._planned()
        self.keep = sum(b.count * (b.stop - b.first) for b in self.blocks) <= _KEPT

    def _planned(self) -> list[_Block]:
        """Cut the anti-diagonals into blocks: long enough to keep few, short enough to stay in the cache."""
        end = int(self._ends[-1])
        count = max(_LEAST_BLOCK, math.isqrt(end) if self.costs.band.width > 4 * _LEAST_BLOCK else 0)
        diagonals = np.arange(0, end, count)
        firsts = np.searchsorted(self._ends, diagonals, "right")
        stops = np.searchsorted(self._begins, np.minimum(diagonals + count, end) - 1, "right")
        return [
            _Block(d, min(count, end - d), first, max(first, stop))
            for d, first, stop in zip(diagonals.tolist(), firsts.tolist(), stops.tolist(), strict=True)
        ]

    def forward(self) -> Floats:
        """Accumulate; return the last ref frame's accumulated costs, shape (M,)."""
        last = len(self.costs.band.start)
        last_row = np.full(self.costs.band.length, np.inf)
        # Ref frame -1 stands for the beginning: from clip frame -1 of it the path steps to (0, 0).
        before, at = np.full((2, 1), np.inf), -1
        before[0, 0] = 0.0
        if self.open_begin:
            before[:] = 0.0
        for block in self.blocks:
            before = _moved(before, at, block.first - 1, block.stop)
            at = block.first - 1
            block.before = before
            sums = self._accumulated(block)
            if block.stop == last:
                m = block.diagonal + np.arange(block.count) - (last - 1)
                valid = (m >= 0) & (m < len(last_row))
                last_row[m[valid]] = sums[2:, -1][valid]
            if self.keep:
                block.came_from, block.before = self._came_from(sums), None
            before = sums[-2:].copy()
        return last_row

    def _accumulated(self, block: _Block) -> Floats:
        """Return accumulated costs with two anti-diagonals and one ref frame before, shape (count + 2, R + 1)."""
        assert block.before is not None
        hold, skip = self.penalties.hold, self.penalties.skip
        sums = np.empty((block.count + 2, block.stop - block.first + 1))
        sums[:2] = block.before
        sums[2:, 0] = 0.0 if self.open_begin and block.first == 0 else np.inf
        sums[2:, 1:] = self.costs.skewed(block.diagonal, block.count, block.first, block.stop)
        best, other = np.empty((2, block.stop - block.first))
        above, here = iter(sums[:, :-1]), iter(sums[:, 1:])
        both, up, _, left = next(above), next(above), next(here), next(here)
        minimum, add = np.minimum, np.add
        for up_next, cell in zip(above, here, strict=True):
            if hold or skip:
                minimum(add(up, hold, out=best), add(left, skip, out=other), out=best)
            else:
                minimum(up, left, out=best)
            minimum(best, both, out=best)
            add(cell, best, out=cell)
            both, up, left = up, up_next, cell
        return sums

    def _came_from(self, sums: Floats) -> NDArray[np.uint8]:
        """Return the step to each cell, shape (count, R): together if that is best, else hold, else skip."""
        up, left = sums[1:-1, :-1], sums[1:-1, 1:]
        if self.penalties.hold or self.penalties.skip:
            up, left = up + self.penalties.hold, left + self.penalties.skip
        alone = np.minimum(up, left) < sums[:-2, :-1]
        return alone.view(np.uint8) * (1 + (left < up).view(np.uint8))

    def back(self, n: int, m: int) -> tuple[Frames, Frames]:
        """Follow the best path back from ref frame ``n`` and clip frame ``m``."""
        ref: list[int] = []
        diagonals: list[int] = []
        diagonal = n + m
        for block in reversed(self.blocks):
            if n < 0:
                break
            if diagonal >= block.diagonal:
                corner = self._corner(block, n)
                n, diagonal = _followed(corner, n, diagonal, ref, diagonals)
        rows = np.array(ref[::-1], np.int64)
        return rows, np.array(diagonals[::-1], np.int64) - rows

    def _corner(self, block: _Block, n: int) -> _Block:
        """Return a block that says where paths to ref frame ``n`` came from."""
        if block.came_from is not None:
            return block
        assert block.before is not None
        first = max(block.first, n - block.count)
        before = block.before[:, first - block.first : n + 2 - block.first]
        corner = _Block(block.diagonal, block.count, first, n + 1, before)
        corner.came_from = self._came_from(self._accumulated(corner))
        return corner


def _moved(sums: Floats, at: int, first: int, stop: int) -> Floats:
    """Return the columns of ref frames ``first`` to ``stop - 1`` of sums that begin at ref frame ``at``."""
    out = np.full((2, stop - first), np.inf)
    kept = sums[:, first - at : first - at + out.shape[1]]
    out[:, : kept.shape[1]] = kept
    return out


def _followed(block: _Block, n: int, diagonal: int, ref: list[int], diagonals: list[int]) -> tuple[int, int]:
    """Follow the path back through one block, adding its cells; return where it leaves it."""
    assert block.came_from is not None
    steps = block.came_from.tobytes()
    first, width, begin = block.first, block.stop - block.first, block.diagonal
    while diagonal >= begin and n >= 0:
        ref.append(n)
        diagonals.append(diagonal)
        step = steps[(diagonal - begin) * width + n - first]
        diagonal -= 1
        if step != _SKIP:
            n -= 1
            diagonal -= step == _DIAGONAL
    return n, diagonal
