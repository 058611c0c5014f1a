"""Precision 1: PlaneStats, the mean absolute difference of plane 0, with exact pruning.

The distance is that of ``std.PlaneStats(a, b)``: the sum of absolute differences over width * height * peak. The chosen
frame is the one an exhaustive search chooses, always. Most candidates are never compared in full: block sums of the two
frames bound the difference from below, and those of the whole window are kept (see ``blocks.py``).
"""

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import frame_bytes, plane, widened
from ..matching.window import tie_ranks
from .blocks import CoarseBound, Plane
from .measure import Delivered, Measure, Scores
from .requests import Steps, batches, requests
from .store import FeatureStore, RowStore

__all__ = ["PlaneStats"]

# Candidates whose planes are asked for at once when they are no longer at hand.
_ASK = 4
# With this many candidates left after the first few, the distances between clip's own frames are brought in, while they
# rule out this share of them; after that they are tried again now and then. The choice is the same with and without.
_FIRST = 3
_WALK_FROM = 8
_WALK_SHARE = 0.3
_WALK_RETRY = 64
# Sums of floats err by less than this share.
_ROUNDING = 1e-6

type Sums = NDArray[np.float64]


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
        self._coarse = CoarseBound(self.clip)
        self._rows = RowStore(capacity, self._coarse.width)
        self._planes: FeatureStore[Plane] = FeatureStore(max(1, min(capacity, budget // frame_bytes(self.clip))))
        # The distance of a clip frame to the one before it.
        self._steps: FeatureStore[float] = FeatureStore(capacity)
        self._walk_share, self._walk_wait = 1.0, 0
        # Where the last match lay: it decides what is tried first, never what is chosen.
        self._likely_offset = 0
        peak = 1.0 if self.clip.format.sample_type == vs.FLOAT else float((1 << clip.format.bits_per_sample) - 1)
        self._full_scale = clip.width * clip.height * peak

    def scores(
        self, n: int, candidates: NDArray[np.int64], centre: int, delivered: Delivered, every: bool
    ) -> Steps[Scores]:
        """See `Measure.scores`; the contrast is the distance of the block sums, which grain hardly touches."""
        ref = delivered.ref or (yield requests(self.ref, [n]))[0]
        window = _Window(plane(ref, 0), candidates, centre)
        with self._rows.lock:
            for frame, picture in delivered.clip.items():
                if not self._rows.has(frame):
                    self._add(frame, picture)
            row = self._row_of(window, centre + self._likely_offset)
            distances, there = self._rows.distances(row, candidates, self._coarse.by_blocks)
        for frames in [] if there.all() else batches(candidates[~there]):
            pictures = yield requests(self.clip, frames)
            with self._rows.lock:
                for frame, picture in zip(frames, pictures, strict=True):
                    distances[frame - window.first] = self._coarse.by_blocks(row, self._add(frame, picture)[None])[0]
        yield from self._differences(window, row, distances, every)
        if window.best < np.inf:
            self._likely_offset = window.best_frame - centre
        contrast = distances.astype(np.float64)
        for k in window.bad:
            contrast[k] = np.inf
        values = window.sums / self._full_scale
        if not self._coarse.blocks:
            return Scores(values, values, 1 / 2048)
        return Scores(values, contrast, self._coarse.blocks / 2)

    def clear(self) -> None:
        """Give back the held planes and sums."""
        self._rows.clear()
        self._planes.clear()
        self._steps.clear()

    def _add(self, frame: int, picture: vs.VideoFrame) -> NDArray[np.uint8]:
        pixels = plane(picture, 0)
        row = self._coarse.row(pixels)
        self._rows.keep(frame, row)
        self._planes.keep(frame, pixels)
        return row

    def _row_of(self, window: "_Window", likely: int) -> NDArray[np.uint8]:
        """Return the block sums of the ref frame; where it equals the clip frame that it likely matches, that one's."""
        if window.first <= likely <= window.last and self._rows.has(likely):
            pixels = self._planes.held([likely]).get(likely)
            if pixels is not None and window.compare(likely - window.first, pixels) == 0:
                return self._rows.row(likely)
        return self._coarse.row(window.target)

    def _differences(
        self, window: "_Window", row: NDArray[np.uint8], distances: NDArray[np.int64], every: bool
    ) -> Steps[None]:
        """Compare in full, the most promising first, those candidates that the bounds do not rule out."""
        key = distances * (2 * window.spread + 1) + window.rank
        if every:
            yield from self._in_full(window, np.argsort(key).tolist(), None)
            return
        yield from self._in_full(window, [int(key.argmin())], None)
        bounds = self._coarse.below_by_blocks(distances)
        left = window.may_win(bounds)
        if not len(left):
            return
        self._raise_by_groups(window, row, bounds, left)
        left = window.may_win(bounds)
        queue = left[np.argsort(key[left])].tolist()
        yield from self._in_full(window, queue[:_FIRST], bounds)
        queue = [k for k in queue[_FIRST:] if window.may_win_one(bounds[k], k)]
        if len(queue) >= _WALK_FROM and self._walk_pays():
            queue = self._walk(window, queue, bounds)
        yield from self._in_full(window, queue, bounds)

    def _in_full(self, window: "_Window", queue: list[int], bounds: Sums | None) -> Steps[None]:
        """Compare a queue of candidates in full; with bounds, those that cannot beat the best are passed over."""
        frames = [window.first + k for k in queue]
        planes = self._planes.held(frames)
        for place, (k, frame) in enumerate(zip(queue, frames, strict=True)):
            if bounds is not None and not window.may_win_one(bounds[k], k):
                continue
            pixels = planes.get(frame)
            if pixels is None:
                missing = [other for other in frames[place:] if other not in planes][:_ASK]
                pictures = yield requests(self.clip, missing)
                for other, picture in zip(missing, pictures, strict=True):
                    planes[other] = plane(picture, 0)
                    self._planes.keep(other, planes[other])
                pixels = planes[frame]
            window.compare(k, pixels)

    def _raise_by_groups(
        self, window: "_Window", row: NDArray[np.uint8], bounds: Sums, left: NDArray[np.int64]
    ) -> None:
        with self._rows.lock:
            distances, there = self._rows.distances(row, window.candidates[left], self._coarse.by_groups)
        raised = np.maximum(bounds[left], self._coarse.below_by_groups(distances))
        bounds[left[there]] = raised[there]

    def _walk_pays(self) -> bool:
        if self._walk_share >= _WALK_SHARE:
            return True
        self._walk_wait += 1
        return self._walk_wait % _WALK_RETRY == 0

    def _walk(self, window: "_Window", queue: list[int], bounds: Sums) -> list[int]:
        """Compare some of the queue and rule out what lies too near to those along clip.

        The difference is a metric: a candidate differs from ref by at least what another one does, less the way between
        the two through clip's frames. The ways are added up from one distance a frame, which is kept.

        Returns:
            What is left to be compared.
        """
        planes = self._planes.held([window.first + k for k in range(len(window.candidates))])
        way, part = self._way(window, planes)
        compared = 0
        for k in _spread(sorted(queue)):
            pixels = planes.get(window.first + k)
            if pixels is None or not window.may_win_one(bounds[k], k):
                continue
            total = window.compare(k, pixels)
            compared += 1
            if total < np.inf:
                near = total * (1 - _ROUNDING) - np.abs(way - way[k]) * (1 + _ROUNDING)
                np.maximum(bounds, near, out=bounds, where=part == part[k])
        self._walk_share = 0.75 * self._walk_share + 0.25 * (1 - compared / len(queue))
        return [k for k in queue if window.first + k not in planes]

    def _way(self, window: "_Window", planes: dict[int, Plane]) -> tuple[Sums, NDArray[np.int64]]:
        """Return the way to each candidate through clip's frames and the part of the window that it belongs to.

        A new part begins where a frame is not held or not finite: between parts the way says nothing.
        """
        frames = window.candidates[1:].tolist()
        steps = self._steps.held(frames)
        for frame in frames:
            if frame not in steps and frame in planes and frame - 1 in planes:
                steps[frame] = cv2.norm(planes[frame], planes[frame - 1], cv2.NORM_L1)
                self._steps.keep(frame, steps[frame])
        lengths = np.array([0.0, *(steps.get(frame, np.inf) for frame in frames)])
        gap = ~np.isfinite(lengths)
        return np.cumsum(np.where(gap, 0.0, lengths)), np.cumsum(gap)


def _spread(queue: list[int]) -> list[int]:
    """Order a queue so that early ones lie apart and later ones between them."""
    return queue[2::4] + queue[0::4] + queue[1::4] + queue[3::4]


class _Window:
    """One ref frame's plane and what is known of the candidates so far.

    Attributes:
        target: the plane.
        candidates: clip's frames, consecutive; first, last: its ends.
        rank: their places in ties; spread: more than any of them.
        sums: sums of absolute differences, infinite where not compared or not finite.
        bad: positions of candidates whose pixels are not finite.
        best, best_frame: the smallest sum and the frame that has it.
    """

    def __init__(self, target: Plane, candidates: NDArray[np.int64], centre: int) -> None:
        self.target = target
        self.candidates = candidates
        self.first, self.last = int(candidates[0]), int(candidates[-1])
        self.rank = tie_ranks(self.first - centre, self.last - centre)
        self.spread = max(abs(self.first - centre), abs(self.last - centre)) + 1
        self.sums = np.full(len(candidates), np.inf)
        self.bad: list[int] = []
        self.best, self.best_frame = np.inf, self.first
        self._best_rank = 0
        self._done: set[int] = set()

    def compare(self, k: int, pixels: Plane) -> float:
        """Compare candidate ``k`` in full, once, and return its sum."""
        if k in self._done:
            return float(self.sums[k])
        self._done.add(k)
        total = cv2.norm(self.target, pixels, cv2.NORM_L1)
        if not total < np.inf:
            self.bad.append(k)
            return np.inf
        self.sums[k] = total
        if total <= self.best:
            rank = int(self.rank[k])
            if total < self.best or rank < self._best_rank:
                self.best, self._best_rank, self.best_frame = total, rank, self.first + k
        return total

    def may_win(self, bounds: Sums) -> NDArray[np.int64]:
        """Return the positions, not yet compared, whose bound does not rule them out."""
        left = np.flatnonzero(bounds <= self.best)
        if len(left) <= len(self._done) + 2:
            return np.array([k for k in left.tolist() if k not in self._done and self.may_win_one(bounds[k], k)], int)
        return left

    def may_win_one(self, bound: float, k: int) -> bool:
        """Say whether candidate ``k``, of which only a bound is known, may still be the best."""
        return bound < self.best or (bound == self.best and bool(self.rank[k] < self._best_rank))
