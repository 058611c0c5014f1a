"""Passages of constant offset, and what happened between them: cuts, missing and inserted frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .fits import matches

__all__ = ["Break", "Segment", "breaks", "segments"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

_MOST_OFFSETS = 1024
# What one match counts at most, in mean weights.
_MOST_WEIGHT = 2.0
# With a rate that is no whole number, matches scatter by one frame around the line; offsets then lie on a finer grid.
_GRID = 0.25


@dataclass(frozen=True, slots=True)
class Segment:
    """A passage of constant offset.

    Attributes:
        first, last: ref frames, both included; both have the offset.
        clip_first, clip_last: the clip frames there.
        offset: clip frame minus ``rate * ref frame``, in clip frames.
        share: 0..1, how much of the weight in between has that offset.
    """

    first: int
    last: int
    clip_first: int
    clip_last: int
    offset: float
    share: float


@dataclass(frozen=True, slots=True)
class Break:
    """What lies between two segments.

    Attributes:
        ref_frame: the first ref frame after the segment before.
        clip_frame: the first clip frame after it.
        missing: ref frames that clip does not have.
        inserted: clip frames that ref does not have; negative where clip goes back.
    """

    ref_frame: int
    clip_frame: int
    missing: int
    inserted: int


def segments(
    frame_map: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    rate: Fraction | float = Fraction(1),
    penalty: float = 5.0,
) -> list[Segment]:
    """Cut a frame map into passages of constant offset.

    Of all ways to give each ref frame an offset, the one is taken that leaves least to pay: the weight of each match
    that has another offset, and ``penalty`` for each change (the Potts functional, solved exactly by dynamic
    programming; a change to any offset costs the same, so that a frame takes O(offsets)). A wrong run of less than
    twice ``penalty`` frames makes no segment of its own. Ref frames between the segments have none of their offsets.

    Where clip lacks a passage, a path holds a frame in its place, which then looks right at both ends; the end of more
    weight keeps it, without weights the earlier one.

    Args:
        frame_map: the clip frame of each ref frame, shape (N,); negative: no match.
        weights: how much each counts, shape (N,); they are taken relative to their mean, up to twice that.
        rate: clip frames per ref frame, such as `LinearFit.rate`.
        penalty: for each change, in frames of mean weight.

    Returns:
        The segments in the order of ref.

    Raises:
        ValueError: nothing is matched, or the arguments do not fit each other.
    """
    frames, weight = matches("segments", frame_map, weights)
    if penalty <= 0 or rate <= 0:
        raise ValueError(f"segments: penalty and rate must be positive, not {penalty} and {rate}.")
    # So that no few frames, however sure, are a passage.
    weight = np.minimum(weight / weight[frames >= 0].mean(), _MOST_WEIGHT)
    offsets, tolerance = _offsets(frames, rate)
    states = _states(offsets, weight, tolerance, penalty)
    chosen = states[_labels(offsets, weight, states, tolerance, penalty)]
    agree = (np.abs(offsets - chosen) <= tolerance) & (frames >= 0)
    edges = np.flatnonzero(np.diff(chosen)) + 1
    found = [
        segment
        for first, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(frames)], strict=True)
        if (segment := _trimmed(first, stop, frames, offsets, weight, agree)) is not None
    ]
    return _apart(found, frames, weight, agree)


def breaks(found: Sequence[Segment]) -> list[Break]:
    """Say what lies between segments."""
    return [
        Break(
            before.last + 1,
            before.clip_last + 1,
            after.first - before.last - 1,
            after.clip_first - before.clip_last - 1,
        )
        for before, after in pairwise(found)
    ]


def _offsets(frames: Frames, rate: Fraction | float) -> tuple[Floats, float]:
    """Return the offset of each match from ``rate * n``, and how far those of one passage lie from its own."""
    n = np.arange(len(frames))
    if rate == int(rate):
        return (frames - n * int(rate)).astype(np.float64), 0.0
    return frames - n * float(rate), 0.5 + _GRID / 2


def _states(offsets: Floats, weight: Floats, tolerance: float, penalty: float) -> Floats:
    """Return the offsets that may be worth a change: those that more weight has than a change costs."""
    order = offsets.argsort()
    sums = np.concatenate([[0.0], weight[order].cumsum()])
    matched = offsets[weight > 0]
    states = np.unique(matched if tolerance == 0 else np.round(matched / _GRID) * _GRID)
    right = np.searchsorted(offsets[order], states + tolerance, "right")
    left = np.searchsorted(offsets[order], states - tolerance, "left")
    support = sums[right] - sums[left]
    worth = np.flatnonzero((support > penalty) | (support >= support.max()))
    most = worth[np.argsort(-support[worth], kind="stable")[:_MOST_OFFSETS]]
    return states[np.sort(most)]


def _labels(offsets: Floats, weight: Floats, states: Floats, tolerance: float, penalty: float) -> Frames:
    """Return the position in ``states`` of each frame's offset on the cheapest sequence."""
    left = np.searchsorted(states, offsets - tolerance, "left").tolist()
    right = np.searchsorted(states, offsets + tolerance, "right").tolist()
    gain = weight.tolist()
    # What agreement saves is subtracted, rather than adding the weight to all the others.
    cost = np.zeros(len(states))
    changed = np.zeros((len(offsets), len(states)), np.bool_)
    best = np.zeros(len(offsets), np.int64)
    for n in range(len(offsets)):
        k = int(cost.argmin())
        best[n] = k
        change = cost[k] + penalty
        np.greater(cost, change, out=changed[n])
        np.minimum(cost, change, out=cost)
        cost[left[n] : right[n]] -= gain[n]
    labels = np.empty(len(offsets), np.int64)
    state = int(cost.argmin())
    for n in range(len(offsets) - 1, -1, -1):
        labels[n] = state
        if changed[n, state]:
            state = int(best[n])
    return labels


def _trimmed(
    first: int, stop: int, frames: Frames, offsets: Floats, weight: Floats, agree: NDArray[np.bool_]
) -> Segment | None:
    """Return the segment of a range from the first frame that agrees to the last."""
    inside = np.flatnonzero(agree[first:stop]) + first
    if not len(inside):
        return None
    first, last = int(inside[0]), int(inside[-1])
    total = float(weight[first : last + 1].sum())
    share = float(weight[inside].sum()) / total if total else 1.0
    return Segment(first, last, int(frames[first]), int(frames[last]), float(np.median(offsets[inside])), share)


def _apart(found: list[Segment], frames: Frames, weight: Floats, agree: NDArray[np.bool_]) -> list[Segment]:
    """Leave a clip frame that is both the last of one segment and the first of the next to one of them."""
    out = found[:1]
    for after in found[1:]:
        before = out[-1]
        if before.clip_last != after.clip_first:
            out.append(after)
            continue
        earlier = np.flatnonzero(agree[before.first : before.last]) + before.first
        later = np.flatnonzero(agree[after.first + 1 : after.last + 1]) + after.first + 1
        if len(later) and (weight[before.last] >= weight[after.first] or not len(earlier)):
            n = int(later[0])
            out.append(replace(after, first=n, clip_first=int(frames[n])))
        elif len(earlier):
            n = int(earlier[-1])
            out[-1:] = [replace(before, last=n, clip_last=int(frames[n])), after]
        else:
            out.append(after)
    return out
