"""Precision 1: PlaneStats, the mean absolute difference of plane 0, with exact pruning.

The distance is that of ``std.PlaneStats(a, b)``: the sum of absolute differences over width * height * peak. The chosen
frame is the one an exhaustive search chooses, always. Most candidates are never compared in full: block sums of the
two frames bound the difference from below, and they are kept, folded into one byte a block, for the whole window.
"""

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import frame_bytes, plane
from .blocks import block_size, block_sums
from .measure import Delivered, Measure, Scores
from .requests import Steps, batches, requests
from .rows import row_distances
from .store import FeatureStore, RowStore

__all__ = ["PlaneStats"]

# One unit of a folded block sum, as a share of the peak: an eighth of an 8 bit step, averaged over the block.
_UNITS_PER_PEAK = 8 * 256
# Candidates whose planes are asked for at once when they are no longer at hand.
_ASK = 4

type Plane = NDArray[np.generic]


class PlaneStats(Measure):
    """The mean absolute difference of plane 0.

    Args:
        clip, ref: clips of one format and size.
        capacity: frames in the store: the window and a few to spare.
        budget: bytes of clip's frames held between requests; frames beyond it are asked for again when needed.
    """

    label = "PlaneStats"

    def __init__(self, clip: vs.VideoNode, ref: vs.VideoNode, capacity: int, budget: int) -> None:
        self.clip, self.ref = _readable(clip), _readable(ref)
        self._size = block_size(clip.width, clip.height)
        blocks = (clip.width // self._size) * (clip.height // self._size)
        self._rows = RowStore(capacity, blocks)
        self._planes: FeatureStore[Plane] = FeatureStore(max(1, min(capacity, budget // frame_bytes(self.clip))))
        fmt = self.clip.format
        self._float = fmt.sample_type == vs.FLOAT
        peak = 1.0 if self._float else float((1 << fmt.bits_per_sample) - 1)
        self._unit = self._size**2 * (1.0 if self._float else float(1 << fmt.bits_per_sample)) / _UNITS_PER_PEAK
        self._full_scale = clip.width * clip.height * peak
        self._blocks = blocks
        self._largest = 1.0

    def scores(
        self, n: int, candidates: NDArray[np.int64], centre: int, delivered: Delivered, every: bool
    ) -> Steps[Scores]:
        """See `Measure.scores`; the contrast is the distance of the block sums, which grain hardly touches."""
        ref = delivered.ref or (yield requests(self.ref, [n]))[0]
        target = plane(ref, 0)
        row = self._row(target)
        with self._rows.lock:
            for frame, picture in delivered.clip.items():
                if not self._rows.has(frame):
                    self._add(frame, picture)
            distances, there = self._rows.distances(row, candidates, row_distances)
        for frames in batches(candidates[~there]):
            pictures = yield requests(self.clip, frames)
            with self._rows.lock:
                for frame, picture in zip(frames, pictures, strict=True):
                    found = self._add(frame, picture)
                    distances[frame - candidates[0]] = row_distances(row, found[None])[0]
        sums = yield from self._differences(target, candidates, centre, distances, every)
        contrast = np.where(np.isnan(sums), np.inf, distances.astype(np.float64))
        values = np.where(np.isfinite(sums), sums, np.inf) / self._full_scale
        if not self._blocks:
            return Scores(values, values, 1 / _UNITS_PER_PEAK)
        return Scores(values, contrast, float(self._blocks))

    def clear(self) -> None:
        """Give back the held planes and block sums."""
        self._rows.clear()
        self._planes.clear()

    def _add(self, frame: int, picture: vs.VideoFrame) -> NDArray[np.uint8]:
        pixels = plane(picture, 0)
        row = self._row(pixels)
        self._rows.keep(frame, row)
        self._planes.keep(frame, pixels)
        return row

    def _row(self, pixels: Plane) -> NDArray[np.uint8]:
        """Fold block sums into bytes.

        The fold is a triangle wave of the sum in units: it never moves two values further apart, so the bound stays a
        bound, and it keeps the fine steps that a plain byte would lose.
        """
        sums = block_sums(pixels, self._size)
        if self._float:
            largest = cv2.norm(pixels, cv2.NORM_INF)
            if np.isfinite(largest):
                self._largest = max(self._largest, largest)
            sums = np.clip(np.nan_to_num(sums), -1e6 * self._unit, 1e6 * self._unit)
        units = np.floor(sums * (1 / self._unit)).astype(np.int32)
        odd = ((units >> 8) & 1).astype(np.uint8)
        return units.astype(np.uint8) ^ (odd * np.uint8(255))

    def _bounds(self, distances: NDArray[np.int64]) -> NDArray[np.float64]:
        """Bound the sums of absolute differences from below; rounding costs up to one unit a block."""
        lost = 1.0 if not self._float else 1.01 + 0.01 * self._largest
        return np.maximum(distances - self._blocks * lost, 0.0) * self._unit

    def _differences(
        self, target: Plane, candidates: NDArray[np.int64], centre: int, distances: NDArray[np.int64], every: bool
    ) -> Steps[NDArray[np.float64]]:
        """Compare in full, the most promising first, until the bounds say that no better one is left."""
        sums = np.full(len(candidates), np.inf)
        ahead = candidates - centre
        rank = 2 * np.abs(ahead) - (ahead > 0)
        bounds = self._bounds(distances)
        order = np.argsort(distances * (int(rank.max()) + 1) + rank)
        best, best_rank, position = np.inf, 0, 0
        while position < len(order):
            if not every:
                order = order[position:]
                position = 0
                order = order[_may_win(bounds[order], rank[order], best, best_rank)]
            ask = order[position : position + (1 if np.isinf(best) else _ASK)]
            planes = yield from self._at_hand(candidates[ask].tolist())
            for index in ask.tolist():
                if every or bounds[index] < best or (bounds[index] == best and rank[index] < best_rank):
                    total = cv2.norm(target, planes[int(candidates[index])], cv2.NORM_L1)
                    sums[index] = total
                    if total < best or (total == best and rank[index] < best_rank):
                        best, best_rank = total, int(rank[index])
            position += len(ask)
        return sums

    def _at_hand(self, frames: list[int]) -> Steps[dict[int, Plane]]:
        planes = self._planes.held(frames)
        missing = [frame for frame in frames if frame not in planes]
        if missing:
            pictures = yield requests(self.clip, missing)
            for frame, picture in zip(missing, pictures, strict=True):
                planes[frame] = plane(picture, 0)
                self._planes.keep(frame, planes[frame])
        return planes


def _may_win(
    bounds: NDArray[np.float64], ranks: NDArray[np.int64], best: float, best_rank: int
) -> NDArray[np.bool_]:
    return (bounds < best) | ((bounds == best) & (ranks < best_rank))


def _readable(clip: vs.VideoNode) -> vs.VideoNode:
    """Widen half floats, which OpenCV does not compare; every other format is read as it is."""
    fmt = clip.format
    if fmt.sample_type == vs.FLOAT and fmt.bits_per_sample == 16:
        first = clip if fmt.num_planes == 1 else vs.core.std.ShufflePlanes(clip, 0, vs.GRAY)
        return first.std.Expr("x", vs.GRAYS)
    return clip
