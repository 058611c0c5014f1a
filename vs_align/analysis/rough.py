"""A first frame map out of small features of every frame: where in clip each ref frame is, roughly."""

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import plane
from ..matching.dtw import dtw
from ..matching.paths import Band, Penalties, Steps
from ..similarity.structure import structure_picture
from .reading import Progress, Report, in_order

__all__ = ["features", "rough_map", "scaled_penalties", "strange_from", "usual_distance"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]
type Features = NDArray[np.uint8]

# Cells of a cost matrix that is searched whole.
_WHOLE = 8_000_000
_SPARE = 8
# What holding or skipping costs, in shares of the usual distance of frames that do not match.
_STEP = 0.02
# Where in the order of all distances those of frames that do not match lie.
_OTHERS = 0.75
# Blocks from which on a map of blocks jumps.
_JUMP = 4
# Offsets that are tried for the whole clip, frames that are looked at, and by how much a map must be better.
_OFFSETS, _SAMPLED, _WORTH = 12, 96, 0.02


def features(clip: vs.VideoNode, what: str, report: Report | None = None) -> tuple[Features, Floats]:
    """Read a clip once, in order.

    Args:
        clip: GRAY8, of the size of the features.
        what: what the notes on the progress call it.
        report: as for `Progress`.

    Returns:
        Its small, locally normalised pictures, shape (N, pixels), and their mean luma before that, shape (N,).
    """
    light = np.empty(clip.num_frames)
    found = np.empty((clip.num_frames, clip.width * clip.height), np.uint8)
    progress = Progress(f"reading {what}", clip.num_frames, report)
    for n, frame in in_order(clip, range(clip.num_frames)):
        picture = plane(frame, 0).astype(np.float32)
        found[n], light[n] = structure_picture(picture).ravel(), picture.mean()
        progress.step()
    return found, light


def usual_distance(rows: Floats) -> float:
    """Return the usual distance of two frames, whether they match or not: the median of what is finite, else 0."""
    finite = rows[np.isfinite(rows)]
    return float(np.median(finite)) if len(finite) else 0.0


def scaled_penalties(usual: float, free: tuple[int, int]) -> Penalties:
    """Return penalties in proportion to the distances: a frame must be clearly better to be held or skipped for."""
    step = _STEP * usual
    return Penalties(hold=step, skip=2 * step, free=free)


def strange_from(rows: Floats, clip_length: int) -> float:
    """Return the distance from which two frames are taken for strangers: half way between matches and the rest.

    Frames that the other clip lacks are worth the same wherever they are put, so that they pull no path about.

    Args:
        rows: distances, shape (N, W).
        clip_length: frames in clip: no more of ref's can have a match of their own.
    """
    best = np.sort(rows.min(1))[: max(1, clip_length)]
    best = best[np.isfinite(best)]
    finite = rows[np.isfinite(rows)]
    if not len(best):
        return np.inf
    return float(np.median(best) + np.quantile(finite, _OTHERS)) / 2


def rough_map(ref: Features, clip: Features, free: tuple[int, int]) -> Frames:
    """Map ref's frames to clip's by dynamic time warping.

    Where all pairs of frames are too many, blocks of frames are matched first, and then frames near where their blocks
    are.

    Args:
        ref: shape (N, F).
        clip: shape (M, F).
        free: the advances of clip per ref frame that are to be expected.

    Returns:
        Clip frames, ascending, shape (N,).
    """
    side = int(np.ceil(np.sqrt(len(ref) * len(clip) / _WHOLE)))
    if side <= 1:
        return _whole(ref.astype(np.float64), clip.astype(np.float64), free)
    blocks = _whole(_averaged(ref, side), _averaged(clip, side), free)
    guess = _spread(_straight(blocks, side, ref, clip), side, ref, clip)
    reach = 2 * side + _SPARE
    width = min(2 * reach + 1, len(clip))
    band = Band(np.clip(guess - reach, 0, len(clip) - width), width, len(clip))
    rows = _banded(ref, clip, band)
    return _path(rows, band, free)


def _whole(ref: Floats, clip: Floats, free: tuple[int, int]) -> Frames:
    return _path(_matrix(ref, clip), None, free)


def _path(rows: Floats, band: Band | None, free: tuple[int, int]) -> Frames:
    steps, penalties = Steps.FRAMES, scaled_penalties(usual_distance(rows), free)
    capped = np.minimum(rows, strange_from(rows, rows.shape[1] if band is None else band.length))
    return dtw(capped, band=band, steps=steps, penalties=penalties, open_begin=True, open_end=True).clip


def _matrix(ref: Floats, clip: Floats) -> Floats:
    """Return the distances of Euclid between all features, shape (N, M)."""
    first, second = ref.astype(np.float32), clip.astype(np.float32)
    first, second = first - 128, second - 128
    squared = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * (first @ second.T)
    return np.sqrt(np.maximum(squared, 0, out=squared), out=squared)


def _averaged(every: Features, side: int) -> Floats:
    """Return the means of blocks of ``side`` frames, the last of which may be shorter."""
    starts = np.arange(0, len(every), side)
    counts = np.diff(np.append(starts, len(every)))
    means = [every[start : start + count].mean(0) for start, count in zip(starts, counts, strict=True)]
    return np.array(means, np.float64)


def _straight(blocks: Frames, side: int, ref: Features, clip: Features) -> Frames:
    """Return one offset for all blocks, where single frames fit that as well as they fit the map.

    Where a film shows the same more than once, blocks may fit another showing better for the place where they begin.
    """
    every, counts = np.unique(blocks - np.arange(len(blocks)), return_counts=True)
    usual = [0, *every[np.argsort(-counts, kind="stable")[:_OFFSETS]].tolist()]
    rows = np.unique(np.linspace(0, len(ref) - 1, _SAMPLED).round().astype(np.int64))
    reach = 2 * side + _SPARE
    others = clip[np.linspace(0, len(clip) - 1, _SAMPLED).round().astype(np.int64)]
    far = float(np.median([np.median(_distances(ref[n], others)) for n in rows.tolist()]))

    def cost(centres: Frames) -> float:
        inside = (centres >= 0) & (centres < len(clip))
        there = _nearest(ref, clip, rows[inside], centres[inside], reach)
        return float(np.minimum(there, far).sum() + far * (~inside).sum())

    costs = [cost(rows + offset * side) for offset in usual]
    best = int(np.argmin(costs))
    if costs[best] > cost(blocks[rows // side] * side + rows % side) * (1 + _WORTH):
        return blocks
    straight: Frames = np.clip(np.arange(len(blocks)) + usual[best], 0, -(-len(clip) // side) - 1)
    return straight


def _spread(blocks: Frames, side: int, ref: Features, clip: Features) -> Frames:
    """Return a clip frame for each ref frame from a map of blocks; where that jumps, the frame is found at which."""
    n = np.arange(len(ref))
    guess = blocks[n // side] * side + n % side
    reach = 2 * side + _SPARE
    for b in np.flatnonzero(np.diff(blocks) > _JUMP).tolist():
        first, stop = max(0, (b - 1) * side), min(len(ref), (b + 3) * side)
        rows = np.arange(first, stop)
        before, after = ((blocks[k] - k) * side for k in (b, b + 1))
        early, late = (_nearest(ref, clip, rows, rows + offset, reach) for offset in (before, after))
        sums = np.concatenate([[0.0], early.cumsum()]) + np.concatenate([late[::-1].cumsum()[::-1], [0.0]])
        cut = int(sums.argmin())
        guess[rows[:cut]], guess[rows[cut:]] = rows[:cut] + before, rows[cut:] + after
    return np.clip(np.maximum.accumulate(guess), 0, len(clip) - 1)


def _nearest(ref: Features, clip: Features, rows: Frames, centres: Frames, reach: int) -> Floats:
    """Return the distance of each row to the nearest of the clip frames around its centre, shape (rows,)."""
    out = np.empty(len(rows))
    for k, (n, centre) in enumerate(zip(rows.tolist(), centres.tolist(), strict=True)):
        first = min(max(0, centre - reach), len(clip) - 1)
        near = clip[first : max(first + 1, centre + reach + 1)]
        out[k] = _distances(ref[n], near).min()
    return out


def _distances(row: Features, rows: Features) -> Floats:
    difference = rows.astype(np.float32) - row.astype(np.float32)
    squared: Floats = np.einsum("kf,kf->k", difference, difference).astype(np.float64)
    return np.sqrt(squared)


def _banded(ref: Features, clip: Features, band: Band) -> Floats:
    starts: list[int] = band.start.tolist()
    return np.array([_distances(ref[n], clip[start : start + band.width]) for n, start in enumerate(starts)])
