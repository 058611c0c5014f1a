"""Precision 1: PlaneStats, the mean absolute difference of plane 0, with exact pruning.

The distance is that of ``std.PlaneStats(a, b)``: the sum of absolute differences over width * height * peak. The chosen
frame is the one an exhaustive search chooses, always. Most candidates are never compared in full: block sums of the
two frames bound the difference from below, and those of the whole window are kept (see ``blocks.py``).
"""

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import frame_bytes, plane, widened
from .blocks import UNITS_PER_PEAK, BlockBound, block_size
from .measure import Delivered, Measure, Scores
from .requests import Steps, batches, requests
from .rows import row_distances
from .store import FeatureStore, RowStore

__all__ = ["PlaneStats"]

# Candidates whose planes are asked for at once when they are no longer at hand.
_ASK = 4
# Smaller blocks are worth their cost on planes at least this large, for this many candidates, while they rule out this
# share of them; after that they are tried again now and then.
_FINE_SIZE = 4
_FINE_FROM_PIXELS = 400_000
_FINE_FROM_CANDIDATES = 10
_FINE_SHARE = 0.25
_FINE_RETRY = 128

type Plane = NDArray[np.generic]
type Best = tuple[float, int]


class PlaneStats(Measure):
    """The mean absolute difference of plane 0.

    Args:
        clip, ref: clips of one format and size.
        capacity: frames in the store: the window and a few to spare.
        budget: bytes of clip's frames held between requests; frames beyond it are asked for again when needed.
    """

    label = "PlaneStats"

    def __init__(self, clip: vs.VideoNode, ref: vs.VideoNode, capacity: int, budget: int) -> None:
        self.clip, self.ref = widened(clip), widened(ref)
        self._coarse = BlockBound(self.clip, block_size(clip.width, clip.height))
        self._fine = BlockBound(self.clip, _FINE_SIZE)
        self._rows = RowStore(capacity, self._coarse.blocks)
        self._planes: FeatureStore[Plane] = FeatureStore(max(1, min(capacity, budget // frame_bytes(self.clip))))
        fine_rows = max(1, min(capacity, budget // 8 // max(1, self._fine.blocks)))
        self._fine_rows: FeatureStore[NDArray[np.uint8]] = FeatureStore(fine_rows)
        self._fine_share, self._fine_wait = 1.0, 0
        peak = 1.0 if self.clip.format.sample_type == vs.FLOAT else float((1 << clip.format.bits_per_sample) - 1)
        self._full_scale = clip.width * clip.height * peak

    def scores(
        self, n: int, candidates: NDArray[np.int64], centre: int, delivered: Delivered, every: bool
    ) -> Steps[Scores]:
        """See `Measure.scores`; the contrast is the distance of the block sums, which grain hardly touches."""
        ref = delivered.ref or (yield requests(self.ref, [n]))[0]
        target = plane(ref, 0)
        row = self._coarse.row(target)
        with self._rows.lock:
            for frame, picture in delivered.clip.items():
                if not self._rows.has(frame):
                    self._add(frame, picture)
            distances, there = self._rows.distances(row, candidates, row_distances)
        for frames in batches(candidates[~there]):
            pictures = yield requests(self.clip, frames)
            with self._rows.lock:
                for frame, picture in zip(frames, pictures, strict=True):
                    distances[frame - candidates[0]] = row_distances(row, self._add(frame, picture)[None])[0]
        sums = yield from self._differences(target, candidates, centre, distances, every)
        values = np.where(np.isnan(sums), np.inf, sums) / self._full_scale
        if not self._coarse.blocks:
            return Scores(values, values, 1 / UNITS_PER_PEAK)
        contrast = np.where(np.isnan(sums), np.inf, distances)
        return Scores(values, contrast, float(self._coarse.blocks))

    def clear(self) -> None:
        """Give back the held planes and block sums."""
        self._rows.clear()
        self._planes.clear()
        self._fine_rows.clear()

    def _add(self, frame: int, picture: vs.VideoFrame) -> NDArray[np.uint8]:
        pixels = plane(picture, 0)
        row = self._coarse.row(pixels)
        self._rows.keep(frame, row)
        self._planes.keep(frame, pixels)
        return row

    def _differences(
        self, target: Plane, candidates: NDArray[np.int64], centre: int, distances: NDArray[np.int64], every: bool
    ) -> Steps[NDArray[np.float64]]:
        """Compare in full, the most promising first, those candidates that the bounds do not rule out.

        Returns:
            The sums of absolute differences, infinite where ruled out, NaN where the pixels are not finite.
        """
        sums = np.full(len(candidates), np.inf)
        ahead = candidates - centre
        rank = 2 * np.abs(ahead) - (ahead > 0)
        key = distances * (2 * len(candidates) + 2 * abs(int(ahead[0])) + 1) + rank
        first = int(key.argmin())
        compare = _Comparison(self, target, candidates, rank, sums)
        if every:
            yield from compare.in_full(np.argsort(key).tolist(), None)
            return sums
        yield from compare.in_full([first], None)
        bounds = self._coarse.below(distances.astype(np.float64))
        left = np.flatnonzero(bounds <= compare.best[0])
        queue = [k for k in left[np.argsort(key[left])].tolist() if k != first]
        if len(queue) >= _FINE_FROM_CANDIDATES and target.size >= _FINE_FROM_PIXELS and self._fine_pays():
            queue = self._refined(target, candidates, queue, bounds, compare.best)
        yield from compare.in_full(queue, bounds)
        return sums

    def at_hand(self, frames: list[int]) -> dict[int, Plane]:
        """Return those of the planes that are held."""
        return self._planes.held(frames)

    def ask(self, frames: list[int]) -> Steps[dict[int, Plane]]:
        """Ask for planes that are no longer held."""
        pictures = yield requests(self.clip, frames)
        planes = {frame: plane(picture, 0) for frame, picture in zip(frames, pictures, strict=True)}
        for frame, pixels in planes.items():
            self._planes.keep(frame, pixels)
        return planes

    def _fine_pays(self) -> bool:
        if self._fine_share >= _FINE_SHARE:
            return True
        self._fine_wait += 1
        return self._fine_wait % _FINE_RETRY == 0

    def _refined(
        self, target: Plane, candidates: NDArray[np.int64], queue: list[int], bounds: NDArray[np.float64], best: Best
    ) -> list[int]:
        """Raise the bounds of the queue by smaller blocks and return those that are still in, the likeliest first."""
        row = self._fine.row(target)
        frames = candidates[queue].tolist()
        rows = self._fine_rows.held(frames)
        planes = self._planes.held([frame for frame in frames if frame not in rows])
        for frame, pixels in planes.items():
            rows[frame] = self._fine.row(pixels)
            self._fine_rows.keep(frame, rows[frame])
        for k, frame in zip(queue, frames, strict=True):
            if frame in rows:
                bounds[k] = max(bounds[k], self._fine.below(cv2.norm(row, rows[frame], cv2.NORM_L1)))
        left = sorted((k for k in queue if bounds[k] <= best[0]), key=bounds.__getitem__)
        self._fine_share = 0.75 * self._fine_share + 0.25 * (1 - len(left) / len(queue))
        return left


class _Comparison:
    """Comparing one ref frame's plane with candidates in full.

    Attributes:
        best: the smallest sum so far and its rank in ties.
    """

    def __init__(
        self,
        measure: PlaneStats,
        target: Plane,
        candidates: NDArray[np.int64],
        rank: NDArray[np.int64],
        sums: NDArray[np.float64],
    ) -> None:
        self.best: Best = (np.inf, 0)
        self._measure = measure
        self._target = target
        self._candidates = candidates
        self._rank = rank
        self._sums = sums

    def in_full(self, queue: list[int], bounds: NDArray[np.float64] | None) -> Steps[None]:
        """Fill in the sums of a queue of candidates; with bounds, those that cannot beat the best are passed over."""
        frames: list[int] = self._candidates[queue].tolist()
        planes = self._measure.at_hand(frames)
        for place, (k, frame) in enumerate(zip(queue, frames, strict=True)):
            if bounds is not None and (bounds[k], self._rank[k]) >= self.best:
                continue
            if frame not in planes:
                missing = [other for other in frames[place:] if other not in planes]
                planes |= yield from self._measure.ask(missing[:_ASK])
            total = cv2.norm(self._target, planes[frame], cv2.NORM_L1)
            if total < np.inf:
                self._sums[k] = total
                self.best = min(self.best, (total, int(self._rank[k])))
            else:
                self._sums[k] = np.nan
