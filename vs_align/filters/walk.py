"""The best path through rows of scores: one clip frame for each ref frame, never a step back."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..matching.dtw import dtw
from ..matching.paths import Penalties, Steps
from .scores import Candidates

__all__ = ["Costs", "Walk", "costs_of", "even_pace"]

type Floats = NDArray[np.float64]

# What holding and leaving out cost at least, as a share of the distance of frames that match, and from how many
# distances the usual one is told, where the rows say how much it is.
_LEAST, _ENOUGH = 0.05, 4_000_000
# Rows may be held in single precision.
_MOST = float(np.finfo(np.float32).max)


class Costs(NamedTuple):
    """A row of scores as a path pays for it.

    Attributes:
        row: what each pixel costs, all finite, shape (width,).
        lowest: the smallest distance; infinite where the row says nothing.
    """

    row: Floats
    lowest: float


def costs_of(values: Floats) -> Costs:
    """Make of a row of distances, infinite where there is none, one that any path can pass.

    A candidate without a distance was left out as worse than others, or cannot be compared: it costs twice the most
    that the row has. A row without any distance costs nothing. What lies beyond clip's ends is the band's affair.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return Costs(np.zeros_like(values), np.inf)
    told = values[finite]
    return Costs(np.where(finite, values, min(2 * told.max(), _MOST)), float(told.min()))


def even_pace(rows: NDArray[np.floating], lowest: Floats) -> float:
    """Return what holding a frame and leaving out frames should cost a path where the rows themselves say how much.

    It is the distance of frames that match, times the share of the usual distance that is left in a match, in squares
    as variances are shared out. Where a match stands out from other pairs nearly nothing is left; where it hardly does
    (two people seen from two sides), the rows tell little, and an even pace is likelier than the steps that every small
    difference would be worth.

    Args:
        rows: what `costs_of` makes of the rows, shape (R, width).
        lowest: likewise, shape (R,).
    """
    told = np.isfinite(lowest)
    if not told.any():
        return 0.0
    step = max(1, rows.size // _ENOUGH)
    match, some = float(np.median(lowest[told])), rows[::step][told[::step]]
    usual = float(np.median(some)) if some.size else 0.0
    return match * max(_LEAST, min(1.0, match / usual) ** 2 if usual > 0 else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How a path goes through rows of scores.

    Attributes:
        candidates: where the rows' pixels are.
        penalty: what holding clip or leaving out frames of it costs, as a share of what distances are where frames
            match: the median, over the rows, of the smallest. Where that is 0, in clean copies, it costs nothing.
            None: as `even_pace` says.
    """

    candidates: Candidates
    penalty: float | None

    def path(self, first: int, rows: NDArray[np.floating], lowest: Floats) -> NDArray[np.int64]:
        """Find the path through all rows at once, both ends open.

        Args:
            first: the ref frame of the first row.
            rows: what `costs_of` makes of the rows of consecutive ref frames, shape (R, width).
            lowest: likewise, shape (R,).

        Returns:
            A clip frame for each row, ascending, shape (R,). The path goes on through rows that say nothing; rows that
            have no candidate, because clip has ended, get clip's last frame.
        """
        length = self.candidates.clip_length
        frames = np.full(len(rows), length - 1, np.int64)
        count = next((k for k in range(len(rows)) if not len(self.candidates.window(first + k))), len(rows))
        if not count:
            return frames
        much = self._penalty(rows[:count], lowest[:count])
        rate = self.candidates.rates.ratio
        penalties = Penalties(hold=much, skip=much, free=(int(rate), -int(-rate // 1)))
        # Without tr a row is all of clip; a band as wide would be copied.
        band = None if self.candidates.tr is None else self.candidates.band(first, first + count)
        path = dtw(
            rows[:count], band=band, steps=Steps.FRAMES, penalties=penalties, open_begin=True, open_end=True
        )  # fmt: skip
        frames[:count] = path.clip
        return frames

    def _penalty(self, rows: NDArray[np.floating], lowest: Floats) -> float:
        if self.penalty is None:
            return even_pace(rows, lowest)
        told = lowest[np.isfinite(lowest)]
        return self.penalty * float(np.median(told)) if len(told) else 0.0
