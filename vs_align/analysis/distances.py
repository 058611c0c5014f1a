"""The distances between the frames of two clips, and what is read from them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..matching.dtw import dtw
from ..matching.excess import without_excess
from ..matching.paths import Band, Steps
from ..matching.window import confidence
from .rough import scaled_penalties, strange_from, usual_distance

__all__ = ["Distances"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Distances:
    """Distances of each ref frame to the clip frames in a band.

    Attributes:
        rows: shape (N, W); infinite where there is none.
        contrast: what confidence is judged by, shape (N, W).
        floor: a difference in ``contrast`` that says nothing.
        band: where they are.
        free: the advances of clip per ref frame that are to be expected.
    """

    rows: Floats
    contrast: Floats
    floor: float
    band: Band
    free: tuple[int, int]

    @cached_property
    def strange(self) -> float:
        """The distance from which two frames are taken for strangers."""
        return strange_from(self.rows, self.band.length)

    @cached_property
    def usual(self) -> float:
        """The usual distance of two frames, whether they match or not."""
        return usual_distance(self.rows)

    @cached_property
    def blind(self) -> NDArray[np.bool_]:
        """Which ref frames cannot be compared, for a pixel that is no number, shape (N,)."""
        return ~np.isfinite(self.rows).any(1)

    def path(self, extra: Floats | None = None) -> Frames:
        """Return the clip frames of the cheapest path, both ends open, shape (N,).

        Args:
            extra: what pairs cost besides, shape (N, W).
        """
        # A frame that cannot be compared may be anywhere.
        told = np.isfinite(self.rows)
        costs = without_excess(np.where(told, self.rows, self.strange), self.band.start, self.usual)
        costs = np.minimum(np.where(self.blind[:, None], 0.0, np.where(told, costs, np.inf)), self.strange)
        if extra is not None:
            costs += extra
        penalties = scaled_penalties(self.usual, self.free)
        return dtw(
            costs, band=self.band, steps=Steps.FRAMES, penalties=penalties, open_begin=True, open_end=True
        ).clip  # fmt: skip

    def at(self, frame: Frames) -> tuple[Floats, Floats]:
        """Return score and confidence of a frame map, shape (N,); confidence 0 where there is no match."""
        column = self._columns(frame)
        sure = [
            confidence(row, int(k), self.floor) if matched else 0.0
            for row, k, matched in zip(self.contrast, column, (frame >= 0) & ~self.blind, strict=True)
        ]
        return self.scores(frame), np.array(sure)

    def scores(self, frame: Frames) -> Floats:
        """Return the score of a frame map, shape (N,); where there is no match, that of some frame."""
        scores: Floats = self.rows[np.arange(len(frame)), self._columns(frame)]
        return scores

    def _columns(self, frame: Frames) -> Frames:
        columns: Frames = np.clip(frame - self.band.start, 0, self.band.width - 1)
        return columns
