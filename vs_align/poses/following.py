"""One person among those that a detector finds, followed over time, and the square that is cut out around them.

Convention: a box is left, top, right, bottom in pixels, and how sure the detector is.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Followed", "between", "completed", "filled", "followed", "squares"]

type Floats = NDArray[np.float64]
type Another = Callable[[int, int, float], Floats]

# What going on as somebody else costs, in seconds with the largest person; for how long a person may be out of sight
# and still be looked for where they were; and how long a frame counts at most.
_JUMP_S, _MEMORY_S, _LONGEST_S = 1.2, 1.0, 0.5
# And at least so many of the usual steps from one frame with people to the next, as in a clip of slow rate.
_STEPS = 1.5
# How far somebody may be from where they were, in their own heights: at once, and in a second; twice that is another.
_NOISE, _FAST = 0.06, 3.0
# How much larger or smaller somebody may look at once, as a logarithm; and how much more is another.
_GROWN, _OTHER = 0.12, 0.35
# How unlikely one person must be to be another for nothing to lie between them.
_TORN = 0.5
# Frames before each that it may go on from: the latest ones, and others spread over the time that is remembered.
_LATEST, _SPREAD = 3, 5
# How much of a box may lie in another before both are the same person.
_SAME = 0.6
# The share of the boxes that the square is large enough for, and what is left around them.
_ENOUGH, _AROUND = 0.95, 1.2


class Followed(NamedTuple):
    """One person followed through frames.

    Attributes:
        boxes: theirs, shape (N, 4); where none was found, those between the neighbours.
        places: which box of each frame it is, -1 where none, shape (N,).
        torn: whether it is somebody else from the next frame on, shape (N - 1,).
        more: whether a frame showed another person besides, of a quarter of the size or more.
    """

    boxes: Floats
    places: NDArray[np.int64]
    torn: NDArray[np.bool_]
    more: bool


def followed(boxes: Sequence[Floats], times_s: Floats, another: Another | None = None) -> Followed:
    """Choose one person: the largest, but for jumps.

    Of all ways through the people, one at most in a frame, the best one is found: a person is worth their size as a
    share of the largest one's, times how sure it is and how long the frame lasts; a frame that is passed over costs its
    length; and going on as somebody else costs some seconds. So neither a second person who walks through nor a missed
    frame makes it jump.

    Args:
        boxes: what was found in each frame, shape (K, 5) each, K from 0 up.
        times_s: when, ascending, shape (N,).
        another: from the numbers of two frames and the seconds between them, how unlikely it is that each person of one
            is each of the other, 0 to 1, shape (K, L). None: as their boxes say.

    Raises:
        ValueError: there is no box at all.
    """
    every = [np.asarray(found, np.float64).reshape(-1, 5) for found in boxes]
    if not any(len(found) for found in every):
        raise ValueError("followed: no person is in any frame.")
    unlike = another or (lambda k, n, s: _other_box(every[k], every[n], s))
    chosen = _best_way(every, times_s, unlike)
    known = np.array([found[k, :4] if k >= 0 else np.full(4, np.nan) for found, k in zip(every, chosen, strict=True)])
    more = any(_has_another(found, k) for found, k in zip(every, chosen, strict=True))
    places = np.array(chosen, np.int64)
    there = np.flatnonzero(places >= 0)
    out, torn = filled(known, places >= 0, times_s), np.zeros(max(0, len(every) - 1), bool)
    for a, b in zip(there[:-1].tolist(), there[1:].tolist(), strict=True):
        if unlike(a, b, float(times_s[b] - times_s[a]))[places[a], places[b]] >= _TORN:
            middle = (a + b + 1) // 2
            out[a:middle], out[middle:b], torn[middle - 1] = out[a], out[b], True
    return Followed(out, places, torn, more)


def _best_way(every: list[Floats], times_s: Floats, another: Another) -> list[int]:
    """Return the box of each frame on the best way; -1 where it has none."""
    side = [_sides(found) for found in every]
    largest = max(float(s.max()) for s in side if len(s))
    memory_s = max(_MEMORY_S, _STEPS * _usual_step(every, times_s))
    lasting = np.minimum(np.diff(times_s, append=times_s[-1] + _LONGEST_S), _LONGEST_S)
    # Of each frame with people: the best sum up to each, counted from what passing over all would cost, and who is
    # before them on that way.
    sums: dict[int, Floats] = {}
    before: dict[int, list[tuple[int, int]]] = {}
    told: list[int] = []
    oldest, record, holder = 0, 0.0, (-1, -1)
    for n, found in enumerate(every):
        if not len(found):
            continue
        while oldest < len(told) and times_s[told[oldest]] < times_s[n] - memory_s:
            top = int(sums[told[oldest]].argmax())
            if sums[told[oldest]][top] > record:
                record, holder = float(sums[told[oldest]][top]), (told[oldest], top)
            oldest += 1
        total = np.full(len(found), record - _JUMP_S if holder[0] >= 0 else 0.0)
        source = [holder] * len(found)
        for k in _some(told[oldest:]):
            gained = sums[k][:, None] - _JUMP_S * another(k, n, float(times_s[n] - times_s[k]))
            for j in np.flatnonzero(gained.max(0) > total).tolist():
                best = int(gained[:, j].argmax())
                total[j], source[j] = gained[best, j], (k, best)
        # One that is taken earns what it is worth, and saves what passing over would have cost.
        sums[n], before[n] = total + lasting[n] * (1 + found[:, 4] * side[n] / largest), source
        told.append(n)
    return _walked_back(sums, before, len(every))


def _usual_step(every: list[Floats], times_s: Floats) -> float:
    """Return the usual time from one frame that shows people to the next."""
    steps = np.diff(times_s[[n for n, found in enumerate(every) if len(found)]])
    return float(np.median(steps)) if len(steps) else 0.0


def _some(frames: list[int]) -> list[int]:
    """Return the latest of some frames, and a few of the others."""
    if len(frames) <= _LATEST + _SPREAD:
        return frames
    step = -(-(len(frames) - _LATEST) // _SPREAD)
    return frames[:-_LATEST:step] + frames[-_LATEST:]


def _walked_back(sums: dict[int, Floats], before: dict[int, list[tuple[int, int]]], length: int) -> list[int]:
    chosen = [-1] * length
    n = max(sums, key=lambda k: float(sums[k].max()))
    j = int(sums[n].argmax())
    while n >= 0:
        chosen[n] = j
        n, j = before[n][j]
    return chosen


def _sides(boxes: Floats) -> Floats:
    return np.sqrt(np.maximum(boxes[:, 2] - boxes[:, 0], 1.0) * np.maximum(boxes[:, 3] - boxes[:, 1], 1.0))


def _other_box(first: Floats, second: Floats, seconds: float) -> Floats:
    """Return 0 where a box may well have become another in some time, to 1 where it must be somebody else."""
    middles = [(boxes[:, :2] + boxes[:, 2:4]) / 2 for boxes in (first, second)]
    longer = [np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) for boxes in (first, second)]
    moved = np.linalg.norm(middles[0][:, None] - middles[1][None], axis=-1)
    moved /= np.maximum(1.0, np.maximum(longer[0][:, None], longer[1][None]))
    reach = _NOISE + _FAST * seconds
    sides = [_sides(boxes) for boxes in (first, second)]
    grown = np.abs(np.log(sides[0][:, None] / sides[1][None]))
    share: Floats = np.maximum(moved - reach, 0.0) / reach + (np.maximum(grown - _GROWN, 0.0) / _OTHER) ** 2
    return np.minimum(1.0, share)


def _has_another(found: Floats, chosen: int) -> bool:
    """Say whether a frame shows a person besides the one chosen."""
    if chosen < 0 or len(found) < 2:
        return False
    own = found[chosen]
    for k, box in enumerate(found):
        across, down = (min(own[i + 2], box[i + 2]) - max(own[i], box[i]) for i in (0, 1))
        area = max(1.0, (box[2] - box[0]) * (box[3] - box[1]))
        inside = max(0.0, across) * max(0.0, down) / area
        if k != chosen and inside < _SAME and area > 0.25 * (own[2] - own[0]) * (own[3] - own[1]):
            return True
    return False


def filled(values: Floats, known: NDArray[np.bool_], times_s: Floats) -> Floats:
    """Return values with those that are not known put on the line between their neighbours in time, or held.

    Args:
        values: shape (N, ...).
        known: at least one of them, shape (N,).
        times_s: shape (N,).
    """
    flat = values.reshape(len(values), -1)
    out = np.empty_like(flat)
    for column in range(flat.shape[1]):
        out[:, column] = np.interp(times_s, times_s[known], flat[known, column])
    return out.reshape(values.shape)


def between(values: Floats, places: NDArray[np.int64], torn: NDArray[np.bool_], count: int) -> Floats:
    """Return values for every frame from those at some: on the line between, or the nearest where that is torn.

    Args:
        values: shape (N, ...).
        places: the frames they are of, ascending, shape (N,).
        torn: whether one value and the next have nothing between them, shape (N - 1,).
        count: of frames.
    """
    spread = np.zeros((count, *values.shape[1:]))
    spread[places] = values
    out = filled(spread, np.isin(np.arange(count), places), np.arange(count, dtype=np.float64))
    for k in np.flatnonzero(torn).tolist():
        first, last = int(places[k]), int(places[k + 1])
        middle = (first + last + 1) // 2
        out[first:middle], out[middle:last] = values[k], values[k + 1]
    return out


def squares(boxes: Floats, seen: NDArray[np.bool_], size: tuple[int, int]) -> Floats:
    """Return the square that is cut out of each frame: of one side for all, and inside the picture where it fits.

    Args:
        boxes: of the person, shape (N, 4).
        seen: which of them were found, shape (N,).
        size: the picture's width and height, in the unit of the boxes.

    Returns:
        Left, top and side, shape (N, 3). A side that is longer than the picture's is centred on it there.

    Source: PoseSync (arXiv 2308.12600): the 95th percentile of the boxes.
    """
    extents = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    side = _AROUND * float(np.quantile(extents[seen], _ENOUGH))
    side = min(max(side, 2.0), float(max(size)))
    corners = (boxes[:, :2] + boxes[:, 2:4]) / 2 - side / 2
    for axis, length in enumerate(size):
        spare = length - side
        corners[:, axis] = spare / 2 if spare < 0 else np.clip(corners[:, axis], 0, spare)
    return np.column_stack([corners, np.full(len(corners), side)])


def completed(points: Floats, seen: NDArray[np.bool_], times_s: Floats) -> Floats:
    """Return keypoints with those of frames in which nobody was seen put between their neighbours'.

    Args:
        points: shape (T, 17, 3).
        seen: in which frames the person is, at least one, shape (T,).
        times_s: shape (T,).

    Returns:
        Same shape. The confidence there is half of what the line between the neighbours has, and 0 where these are more
        than a second apart or one is missing.
    """
    if seen.all():
        return points
    out = filled(points, seen, times_s)
    known = times_s[seen]
    gap = np.searchsorted(known, times_s[~seen])
    left, right = (known[np.clip(gap - back, 0, len(known) - 1)] for back in (1, 0))
    short = (gap > 0) & (gap < len(known)) & (right - left <= _MEMORY_S)
    out[~seen, :, 2] *= np.where(short, 0.5, 0.0)[:, None]
    return out
