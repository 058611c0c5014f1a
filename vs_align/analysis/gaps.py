"""Between the passages of one offset: the simplest that can have happened there."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..matching.segments import Segment
from .alignment import Alignment
from .distances import Distances

__all__ = ["without_gaps"]

type Frames = NDArray[np.int64]

# Evidence of less than this, in usual distances of two frames, is none.
_EVIDENCE = 0.25
# From this difference of offsets on something was cut; below, frames may have been dropped or repeated one by one.
_CUT = 8


def without_gaps(found: Alignment, distances: Distances) -> Frames:
    """Go on with passages of one offset into what lies between them, and leave out passages without evidence.

    Where both clips have frames between two passages, the simplest that can have happened is that no more is missing or
    inserted than the difference of their offsets. So as many frames as both have are put on the offset before, and from
    the place where that fits best on the offset after; up to the first that is a stranger there. Where that is nearly
    as good for a passage between two others, there is no such passage. In static pictures, where a path may stop and go
    anywhere, this is what would have happened. Within a passage strangers are put on its offset.

    Args:
        found: the matches.
        distances: of the pairs that were compared.

    Returns:
        The frame map, shape (N,).
    """
    frame, rate = found.frame.copy(), float(found.rate_of_segments)
    kept = list(found.segments)
    # The shortest first; what is left out may make its neighbours neighbours of each other.
    for segment in sorted(found.segments, key=lambda each: each.last - each.first):
        k = kept.index(segment)
        if not 0 < k < len(kept) - 1 or not _cut(kept[k - 1], kept[k + 1]):
            continue
        hole = slice(kept[k - 1].last + 1, kept[k + 1].first)
        without = frame.copy()
        without[hole] = -1
        bridged = _bridged(without, kept[k - 1], kept[k + 1], rate, distances)
        if _as_good(bridged, hole, segment, frame, distances):
            frame = bridged
            del kept[k]
    for before, after in pairwise(kept):
        if _cut(before, after):
            frame = _bridged(frame, before, after, rate, distances)
    strangers = (distances.scores(frame) > distances.strange) & (frame >= 0)
    for passage in kept:
        _straighten(frame, strangers, passage, rate)
    return frame


def _straighten(frame: Frames, strangers: NDArray[np.bool_], passage: Segment, rate: float) -> None:
    """Put strangers within a passage, where the path has nothing to go by, on the passage's offset."""
    inside = np.arange(passage.first, passage.last + 1)
    known = inside[~strangers[inside] & (frame[inside] >= 0)]
    if not len(known):
        return
    line = passage.clip_first + np.rint(rate * (inside - passage.first)).astype(np.int64)
    # Between the neighbours that are none.
    before, after = np.searchsorted(known, inside, "right") - 1, np.searchsorted(known, inside)
    low = frame[known[np.maximum(before, 0)]]
    high = frame[known[np.minimum(after, len(known) - 1)]]
    frame[inside] = np.where(strangers[inside], np.clip(line, low, high), frame[inside])


def _cut(before: Segment, after: Segment) -> bool:
    return abs(after.offset - before.offset) >= _CUT


def _as_good(bridged: Frames, hole: slice, segment: Segment, frame: Frames, distances: Distances) -> bool:
    """Say whether a hole that is bridged has as many matches as the passage in it has frames, and as good ones."""
    new, old = bridged[hole] >= 0, slice(segment.first, segment.last + 1)
    cost, before = distances.scores(bridged)[hole][new].sum(), distances.scores(frame)[old].sum()
    return bool(new.sum() > segment.last - segment.first and cost <= before + _EVIDENCE * distances.usual)


def _bridged(frame: Frames, before: Segment, after: Segment, rate: float, distances: Distances) -> Frames:
    """Return the map with both passages gone on with as far as both clips have frames.

    Frames between them that were shown one that belongs to either are without a match.
    """
    missing, inserted = after.first - before.last - 1, after.clip_first - before.clip_last - 1
    common = max(0, int(min(inserted / rate, missing)))
    steps = np.arange(1, common + 1)
    ahead = np.rint(rate * steps).astype(np.int64)
    early = _Side(before.last + steps, before.clip_last + ahead, distances)
    # From the passage after backwards.
    late = _Side(after.first - steps, after.clip_first - ahead, distances)
    # The first k on the offset before, the others on that after; of equals the passage before goes on.
    sums = _sums(early.off) + _sums(late.off)[::-1]
    k = common - int(sums[::-1].argmin())
    going = early.familiar(k), late.familiar(common - k)
    last = early.clip[going[0] - 1] if going[0] else before.clip_last
    first = late.clip[going[1] - 1] if going[1] else after.clip_first
    out = frame.copy()
    hole = out[before.last + 1 : after.first]
    hole[(hole <= last) | (hole >= first)] = -1
    for side, count in zip((early, late), going, strict=True):
        out[side.ref[:count]] = side.clip[:count]
    return out


class _Side:
    """A passage of one offset, gone on with.

    Args:
        ref, clip: the frames, away from the passage, shape (K,).
        distances: of the pairs that were compared.
    """

    def __init__(self, ref: Frames, clip: Frames, distances: Distances) -> None:
        self.ref, self.clip, self._strange = ref, clip, distances.strange
        column = clip - distances.band.start[ref]
        there = (column >= 0) & (column < distances.band.width)
        rows = distances.rows[ref, np.where(there, column, 0)]
        self.off = np.minimum(np.where(there, rows, np.inf), 2 * self._strange)

    def familiar(self, most: int) -> int:
        """Return how many frames it is to the first stranger, no more than ``most``."""
        strangers = np.flatnonzero(self.off[:most] > self._strange)
        return int(strangers[0]) if len(strangers) else most


def _sums(off: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], off.cumsum()])
