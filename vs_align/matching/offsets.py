"""One constant offset out of two passages of equal length.

Convention: an offset is j - i where clip's frame j shows what ref's frame i shows, counted from the beginning of each
passage: positive where clip is late. All predictors answer within `REACH` frames.

Source: "Beyond Audio and Pose: A General-Purpose Framework for Video Synchronization", arXiv 2506.15937, for the mean,
the median, the path and the matrix. The mean along diagonals is the cross-correlation of two sequences, written as
distances.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .dtw import dtw

__all__ = [
    "LIGHT_SHAPE", "PREDICTORS", "REACH", "SIDE", "Sight", "by_brightness", "by_diagonals", "by_mean", "by_median",
    "by_motion", "by_path", "excess", "profile", "similarity_matrix",
]  # fmt: skip

type Floats = NDArray[np.float64]

REACH = 30
"""The largest offset that is looked for, in frames, either way."""
SIDE = 256
"""The longest passage, in frames: the side of the matrix that learned predictors see."""
LIGHT_SHAPE = (8, 12)
"""Cells of the small pictures of mean luma: rows, columns."""

_OFFSETS = np.arange(-REACH, REACH + 1)
# Pairs of frames that a diagonal must have to be heard.
_LEAST = 4
# How sharply a row of similarities is told apart.
_SHARP = 2.0
# A mean change of cells, in 8 bit steps, that noise and coding make.
_STILL = 0.3
# Cells that are averaged into one, rows and columns, and the frames around whose mean in time is taken off.
_LIGHT_CHANNELS = ((8, 12, 9), (4, 4, 9), (2, 2, 15), (1, 1, 15))


@dataclass(frozen=True, eq=False)
class Sight:
    """What is known of two passages of L frames.

    Attributes:
        distances: entry [i, j] compares ref's frame i with clip's frame j, smaller is more alike, infinite where they
            cannot be compared, shape (L, L).
        ref_light, clip_light: mean luma in 12 by 8 cells of each frame's picture, shape (L, 8, 12).
    """

    distances: Floats
    ref_light: Floats
    clip_light: Floats

    def __len__(self) -> int:
        return len(self.distances)

    @cached_property
    def profiles(self) -> Floats:
        """How alike the passages are at each offset, by several accounts.

        Shape (6, 2 * REACH + 1), 0 and up, larger is more alike; minus infinity where too few frames overlap. The unit
        is a deviation over all pairs of frames, so that an account which tells frames apart speaks up, and one that
        sees nothing but noise, as all do in a still scene, hardly does; what is less alike than usual counts as usual.
        The accounts are the measure; how much moves, wherever in the picture, which is all that cameras across from
        each other share; and changes of light against its mean in time over some frames around, which another
        viewpoint, crop or grade leaves much as it was, in cells from fine to coarse.
        """
        moving = (_movement(light) for light in (self.ref_light, self.clip_light))
        found = [profile(self.distances), profile(_apart(*moving))]
        for rows, columns, around in _LIGHT_CHANNELS:
            ref, clip = (_changes(light, rows, columns, around) for light in (self.ref_light, self.clip_light))
            found.append(profile(_apart(ref, clip)))
        return np.array([np.where(np.isfinite(each), np.maximum(-each, 0.0), -np.inf) for each in found])


def similarity_matrix(distances: Floats) -> Floats:
    """Return what learned predictors see: S_ij = -||a_i - b_j||^2, softmaxed along rows.

    Squared distances are divided by how far they usually differ, since each measure has a unit of its own.

    Args:
        distances: shape (N, M).

    Returns:
        Same shape; rows sum to 1, or to 0 where nothing of a row can be compared.
    """
    told = np.isfinite(distances)
    squared = np.where(told, np.where(told, distances, 0.0) ** 2, np.inf)
    rows = told.any(1)
    least = np.where(rows, squared.min(1, initial=np.inf), 0.0)
    spread = float(squared[told].std()) if told.any() else 0.0
    lost = squared - least[:, None]
    weights = np.exp(-_SHARP * lost / spread) if spread > 0 else np.where(told, 1.0, 0.0)
    return np.asarray(weights / np.maximum(weights.sum(1, keepdims=True), 1e-300))


def excess(distances: Floats) -> Floats:
    """Return by how much pairs are worse than is usual for their two frames.

    A frame that is like every other (a title, black) has small distances to all; what it is nearer to than to others
    is all that it says.

    Args:
        distances: shape (N, M).

    Returns:
        Same shape, in deviations, smaller is more alike; 0 where a pair cannot be compared, or nothing differs.
    """
    told = np.isfinite(distances)
    if not told.any():
        return np.zeros(distances.shape)
    filled = np.where(told, distances, np.median(distances[told]))
    centred = filled - filled.mean(1, keepdims=True) - filled.mean(0, keepdims=True) + filled.mean()
    spread = float(centred.std())
    # What rounding leaves of nothing says nothing.
    if not spread > 1e-9 * float(np.abs(filled).max()):
        return np.zeros(distances.shape)
    return np.asarray(np.where(told, centred / spread, 0.0))


def profile(distances: Floats) -> Floats:
    """Return the mean excess along the diagonal of each offset, -REACH to REACH, smaller is more alike.

    Args:
        distances: shape (L, L).

    Returns:
        Shape (2 * REACH + 1,); infinite where too few pairs are left.
    """
    cells, told = excess(distances), np.isfinite(distances)
    found = np.full(len(_OFFSETS), np.inf)
    for k, offset in enumerate(_OFFSETS.tolist()):
        count = int(np.diagonal(told, offset).sum()) if abs(offset) < len(cells) else 0
        if count >= min(_LEAST, len(cells)):
            found[k] = np.diagonal(cells, offset).sum() / count
    return found


def by_median(sight: Sight) -> int:
    """Return the median of j - i over the nearest clip frame j of each ref frame i."""
    return _rounded(np.median(_nearest(sight.distances)))


def by_mean(sight: Sight) -> int:
    """Return the mean of j - i over the nearest clip frame j of each ref frame i."""
    return _rounded(np.mean(_nearest(sight.distances)))


def by_path(sight: Sight) -> int:
    """Return the median of j - i along the cheapest warping path, both ends open."""
    told = np.isfinite(sight.distances)
    if not told.any():
        return 0
    cost = np.where(told, sight.distances, sight.distances[told].max())
    path = dtw(cost, open_begin=True, open_end=True)
    return _rounded(np.median(path.clip - path.ref))


def by_diagonals(sight: Sight) -> int:
    """Return the offset along whose diagonal the measure's excess is smallest on average."""
    return best(-profile(sight.distances))


def by_brightness(sight: Sight) -> int:
    """Return the offset at which the mean brightness of the two correlates most."""
    ref, clip = (light.mean((1, 2)) for light in (sight.ref_light, sight.clip_light))
    found = np.full(len(_OFFSETS), -np.inf)
    for k, offset in enumerate(_OFFSETS.tolist()):
        if len(ref) - abs(offset) >= _LEAST:
            first = ref[max(0, -offset) : len(ref) - max(0, offset)]
            second = clip[max(0, offset) : len(clip) + min(0, offset)]
            first, second = first - first.mean(), second - second.mean()
            scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
            found[k] = float(first @ second) / scale if scale > 1e-9 else 0.0
    return best(found)


def by_motion(sight: Sight) -> int:
    """Return the offset at which how much moves from frame to frame correlates most."""
    ref, clip = (_movement(light) for light in (sight.ref_light, sight.clip_light))
    return best(-profile(_apart(ref, clip)))


PREDICTORS: dict[str, Callable[[Sight], int]] = {
    "median": by_median,
    "mean": by_mean,
    "dtw": by_path,
    "diagonals": by_diagonals,
    "brightness": by_brightness,
    "motion": by_motion,
}
"""Predictors that nothing was fitted for, by name."""


def best(likely: Floats) -> int:
    """Return the offset of the largest value, shape (2 * REACH + 1,); the one nearest 0 among equals."""
    ties = _OFFSETS[likely >= likely.max()]
    return int(ties[np.abs(ties).argmin()])


def _nearest(distances: Floats) -> NDArray[np.int64]:
    rows = np.flatnonzero(np.isfinite(distances).any(1))
    if not len(rows):
        return np.zeros(1, np.int64)
    return np.asarray(distances[rows].argmin(1) - rows)


def _rounded(value: float) -> int:
    """Round to a whole offset within reach, halves towards 0."""
    return int(np.clip(np.sign(value) * np.ceil(abs(value) - 0.5), -REACH, REACH))


def _apart(ref: Floats, clip: Floats) -> Floats:
    """Return the squared distances of all features, shape (L, cells) each, as a matrix (L, L)."""
    return np.asarray(((ref[:, None] - clip[None]) ** 2).sum(2))


def _movement(light: Floats) -> Floats:
    """Return the logarithm of how much each frame differs from the one before, in deviations, shape (L, 1)."""
    if len(light) < 2:
        return np.zeros((len(light), 1))
    differs = np.abs(np.diff(light, axis=0)).mean((1, 2))
    moved = np.log(np.append(differs[:1], differs) + _STILL)
    spread = float(moved.std())
    return np.asarray((moved - moved.mean())[:, None] / (spread if spread > 1e-3 else np.inf))


def _changes(light: Floats, rows: int, columns: int, around: int) -> Floats:
    """Return how cells differ from their mean over the frames around, in deviations of all, shape (L, cells).

    Args:
        light: shape (L, 8, 12).
        rows, columns: so many cells are averaged into one.
        around: frames, an odd number.
    """
    count, height, width = light.shape
    cells = light.reshape(count, height // rows, rows, width // columns, columns).mean((2, 4)).reshape(count, -1)
    half = around // 2
    padded = np.pad(cells, ((half + 1, half), (0, 0)), mode="reflect" if count > 1 else "edge")
    # The first row is not summed but taken off.
    sums = padded.cumsum(0)
    changes = cells - (sums[around:] - sums[:-around]) / around
    spread = float(np.sqrt((changes**2).sum(1).mean()))
    return np.asarray(changes / spread if spread > 1e-6 else np.zeros_like(changes))
