"""Precision 1: PlaneStats, the mean absolute difference of plane 0, with exact pruning.

The distance is that of ``std.PlaneStats(a, b)``: the sum of absolute differences over width * height * peak. The chosen
frame is the one an exhaustive search chooses, always. Most candidates are never compared in full: block sums of the two
frames bound the difference from below, and those of the whole window are kept (see ``blocks.py``). What a byte a block
leaves open, sums of short columns mostly decide, at a fraction of the cost of comparing the planes.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import frame_bytes, plane, widened
from ..matching.window import tie_ranks
from .blocks import COLUMN, CoarseBound, Columns, Plane, column_sums
from .measure import Delivered, Measure, Scores
from .requests import Steps, batches, requests
from .store import FeatureStore, RowStore, row_distances

__all__ = ["PlaneStats"]

# Candidates whose planes are asked for at once when they are no longer at hand.
_ASK = 4
# Column sums are compared while they rule out this share of the candidates; after that they are tried again now and
# then. The choice is the same with and without.
_RULED_OUT = 0.2
_RETRY = 32

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
        self._rows = RowStore(capacity, self._coarse.blocks)
        fits = budget // (frame_bytes(self.clip) + _column_bytes(self.clip))
        self._planes: FeatureStore[_Held] = FeatureStore(max(1, min(capacity, fits)))
        self._ruled_out, self._wait = 1.0, 0
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
            distances, there = self._rows.distances(row, candidates)
        for frames in [] if there.all() else batches(candidates[~there]):
            pictures = yield requests(self.clip, frames)
            with self._rows.lock:
                for frame, picture in zip(frames, pictures, strict=True):
                    distances[frame - window.first] = row_distances(row, self._add(frame, picture)[None])[0]
        yield from self._differences(window, distances, every)
        if window.best < math.inf:
            self._likely_offset = window.best_frame - centre
        contrast = distances.astype(np.float64)
        for k in window.bad:
            contrast[k] = math.inf
        values = window.sums / self._full_scale
        if not self._coarse.blocks:
            return Scores(values, values, 1 / 2048)
        return Scores(values, contrast, self._coarse.blocks / 2)

    def clear(self) -> None:
        """Give back the held planes and sums."""
        self._rows.clear()
        self._planes.clear()

    def _add(self, frame: int, picture: vs.VideoFrame) -> NDArray[np.uint8]:
        pixels = plane(picture, 0)
        columns = column_sums(pixels)
        row = self._coarse.row(pixels, columns)
        self._rows.keep(frame, row)
        self._planes.keep(frame, _Held(pixels, columns))
        return row

    def _row_of(self, window: "_Window", likely: int) -> NDArray[np.uint8]:
        """Return the block sums of the ref frame; where it equals the clip frame that it likely matches, that one's."""
        if window.first <= likely <= window.last and self._rows.has(likely):
            held = self._planes.held([likely]).get(likely)
            if held is not None and window.compare(likely - window.first, held.pixels) == 0:
                return self._rows.row(likely)
        window.columns = column_sums(window.target)
        return self._coarse.row(window.target, window.columns)

    def _differences(self, window: "_Window", distances: NDArray[np.int64], every: bool) -> Steps[None]:
        """Compare in full, the most promising first, those candidates that the bounds do not rule out."""
        if every:
            yield from self._in_full(window, range(len(distances)))
            return
        if not window.done:
            yield from self._in_full(window, [int(distances.argmin())])
        below = self._coarse.below(distances)
        left = np.flatnonzero(below <= window.best)
        if len(left) <= len(window.done) and window.done.issuperset(left.tolist()):
            return
        bounds: list[float] = below.tolist()
        queue = [k for k in left[distances[left].argsort()].tolist() if window.may_win(k, bounds[k])]
        if self._columns_pay():
            self._raise_by_columns(window, bounds, queue)
            queue = sorted((k for k in queue if window.may_win(k, bounds[k])), key=bounds.__getitem__)
        yield from self._in_full(window, queue, bounds)

    def _in_full(self, window: "_Window", queue: Sequence[int], bounds: list[float] | None = None) -> Steps[None]:
        """Compare a queue of candidates in full; with bounds, those that cannot beat the best are passed over."""
        held = self._planes.held([window.first + k for k in queue])
        for place, k in enumerate(queue):
            if bounds is not None and not window.may_win(k, bounds[k]):
                continue
            frame = window.first + k
            if frame not in held:
                missing = [window.first + other for other in queue[place:] if window.first + other not in held][:_ASK]
                pictures = yield requests(self.clip, missing)
                for other, picture in zip(missing, pictures, strict=True):
                    pixels = plane(picture, 0)
                    held[other] = _Held(pixels, column_sums(pixels))
                    self._planes.keep(other, held[other])
            window.compare(k, held[frame].pixels)

    def _columns_pay(self) -> bool:
        if self._coarse.blocks == 0:
            return False
        if self._ruled_out >= _RULED_OUT:
            return True
        self._wait += 1
        return self._wait % _RETRY == 0

    def _raise_by_columns(self, window: "_Window", bounds: list[float], queue: list[int]) -> None:
        """Raise the bounds of those candidates that are at hand."""
        if window.columns is None:
            window.columns = column_sums(window.target)
        out = 0
        for frame, held in self._planes.held([window.first + k for k in queue]).items():
            k = frame - window.first
            below = self._coarse.below_by_columns(window.columns, held.columns)
            # False where it is not a number.
            if bounds[k] < below < math.inf:
                bounds[k] = below
                out += below > window.best
        self._ruled_out = 0.75 * self._ruled_out + 0.25 * out / max(1, len(queue))


class _Held(NamedTuple):
    """A clip frame's plane and its column sums."""

    pixels: Plane
    columns: Columns


def _column_bytes(clip: vs.VideoNode) -> int:
    columns: int = clip.width * clip.height // COLUMN
    return columns * (2 if clip.format.bytes_per_sample == 1 else 4)


class _Window:
    """One ref frame's plane and what is known of the candidates so far.

    Attributes:
        target: the plane; columns: its column sums, None until they are needed.
        candidates: clip's frames, consecutive; first, last: its ends.
        rank: their places in ties.
        sums: sums of absolute differences, infinite where not compared or not finite.
        done: positions of the candidates compared.
        bad: positions of candidates whose pixels are not finite.
        best, best_frame: the smallest sum and the frame that has it.
    """

    def __init__(self, target: Plane, candidates: NDArray[np.int64], centre: int) -> None:
        self.target = target
        self.columns: Columns | None = None
        self.candidates = candidates
        self.first, self.last = int(candidates[0]), int(candidates[-1])
        self.rank = tie_ranks(self.first - centre, self.last - centre)
        self.sums = np.full(len(candidates), math.inf)
        self.bad: list[int] = []
        self.best, self.best_frame = math.inf, self.first
        self._best_rank = 0
        self.done: set[int] = set()

    def compare(self, k: int, pixels: Plane) -> float:
        """Compare candidate ``k`` in full, once, and return its sum."""
        if k in self.done:
            return float(self.sums[k])
        self.done.add(k)
        total = cv2.norm(self.target, pixels, cv2.NORM_L1)
        if not total < math.inf:
            self.bad.append(k)
            return math.inf
        self.sums[k] = total
        if total <= self.best:
            rank = int(self.rank[k])
            if total < self.best or rank < self._best_rank:
                self.best, self._best_rank, self.best_frame = total, rank, self.first + k
        return total

    def may_win(self, k: int, bound: float) -> bool:
        """Say whether candidate ``k``, of which a bound is known, may still be the best and is not compared yet."""
        if bound > self.best or k in self.done:
            return False
        return bound < self.best or bool(self.rank[k] < self._best_rank)
