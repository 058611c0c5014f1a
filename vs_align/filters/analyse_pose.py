"""`vs_align.analyse` for two people who do the same: nothing but their joints is compared."""

from dataclasses import replace
from os import PathLike

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..analysis.alignment import Alignment
from ..analysis.clip_info import ClipInfo
from ..analysis.distances import Distances
from ..analysis.keypoints import Keypoints
from ..analysis.pose_reading import Nets, PoseReadingError, awaited, read_keypoints
from ..analysis.reading import Progress, Report
from ..analysis.rough import scaled_penalties
from ..checks import Checks
from ..enums import Similarity
from ..matching.dtw import dtw
from ..matching.paths import Band, Penalties, Steps
from ..poses.motion import Comparison, Motion
from .pose import DETECTOR, MODEL
from .pose_rows import PoseOptions
from .walk import costs_of, even_pace

__all__ = ["aligned_poses", "pose_distances"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

# Pairs of frames up to which all are compared; beyond, those near a rough path through every so-manieth frame.
_WHOLE = 4_000_000
_REACH = 200
# A difference of angles, in degrees, that says nothing.
_FLOOR = 1.0


def aligned_poses(
    check: Checks,
    clips: tuple[vs.VideoNode, vs.VideoNode],
    infos: list[ClipInfo],
    options: PoseOptions,
    model: str | PathLike[str] | None,
    tr: int | None,
    free: tuple[int, int],
    report: Report | None,
) -> Alignment:
    """Return the alignment of two people's movements.

    Args:
        check: speaks for the public function.
        clips: clip and ref.
        infos: of clip and ref.
        options: keypoints that are known, and whether one is mirrored.
        model: the network of joints, by name or path; None: the usual one.
        tr: frames compared on each side of a rough path; None: all where that is little work, else 200.
        free: the advances of clip per ref frame that are to be expected.
        report: is told how far it is.
    """
    found = _keypoints(check, clips, options, model, report)
    # Where a clip says no rate, the one that was given for it.
    motion, ref = (replace(each.motion, rate=float(info.rate or 0)) for each, info in zip(found, infos, strict=True))
    compared = pose_distances(motion.mirrored if options.mirror else motion, ref, tr, free, report)
    frame = np.where(compared.blind, -1, _path(compared))
    score, sure = compared.at(frame)
    return Alignment(frame, score, sure, infos[0], infos[1], Similarity.POSE.value, None)


def pose_distances(
    clip: Motion, ref: Motion, tr: int | None, free: tuple[int, int], report: Report | None = None
) -> Distances:
    """Return the distances of all frames of two movements, or of those near a rough path.

    Args:
        clip, ref: the movements.
        tr, free, report: as for `aligned_poses`.
    """
    whole = tr is None and len(clip) * len(ref) <= _WHOLE
    if whole:
        start, width = np.zeros(len(ref), np.int64), len(clip)
    else:
        reach = _REACH if tr is None else tr
        width = min(2 * reach + 1, len(clip))
        start = np.clip(_rough(clip, ref, free) - reach, 0, len(clip) - width)
    progress = Progress("comparing", len(ref), report)
    rows, compared = np.empty((len(ref), width)), Comparison(ref, clip)
    for n, first in enumerate(start.tolist()):
        rows[n] = compared.row(n, first, first + width)
        progress.step()
    return Distances(rows, rows, _FLOOR, Band(start, width, len(clip)), free)


def _path(compared: Distances) -> Frames:
    """Return the path through all rows, as even as the rows are doubtful.

    Where nothing can be compared any frame will do.
    """
    costs = [costs_of(row) for row in compared.rows]
    lowest = np.array([each.lowest for each in costs])
    rows, band = np.array([each.row for each in costs]), compared.band
    much = even_pace(rows, lowest)
    penalties = Penalties(hold=much, skip=much, free=compared.free)
    return dtw(rows, band=band, steps=Steps.FRAMES, penalties=penalties, open_begin=True, open_end=True).clip


def _rough(clip: Motion, ref: Motion, free: tuple[int, int]) -> Frames:
    """Return roughly where in clip each ref frame is, from every so-manieth frame of both, shape (N,)."""
    step = int(np.ceil(np.sqrt(len(clip) * len(ref) / _WHOLE)))
    rows, columns = np.arange(0, len(ref), step), np.arange(0, len(clip), step)
    few = [Motion(each.degrees[k], each.sure[k], each.rate / step) for each, k in ((ref, rows), (clip, columns))]
    compared = Comparison(*few)
    costs = np.array([compared.row(n, 0, len(columns)) for n in range(len(rows))])
    finite = np.isfinite(costs)
    usual = float(np.median(costs[finite])) if finite.any() else 0.0
    costs = np.where(finite, costs, usual)
    penalties = scaled_penalties(usual, free)
    path = dtw(costs, steps=Steps.FRAMES, penalties=penalties, open_begin=True, open_end=True)
    near = np.interp(np.arange(len(ref)), rows, columns[path.clip])
    return np.rint(near).astype(np.int64)


def _keypoints(
    check: Checks,
    clips: tuple[vs.VideoNode, vs.VideoNode],
    options: PoseOptions,
    model: str | PathLike[str] | None,
    report: Report | None,
) -> list[Keypoints]:
    """Return both clips' keypoints, given or read."""
    nets: Nets | None = None
    found: list[Keypoints] = []
    given = (options.keypoints, "keypoints", "clip"), (options.ref_keypoints, "ref_keypoints", "ref")
    # What is given is checked before anything is read.
    known = [
        None if value is None else Keypoints.of(check, value, node, name, of)
        for node, (value, name, of) in zip(clips, given, strict=True)
    ]
    for node, points, (_, _, of) in zip(clips, known, given, strict=True):
        if points is not None:
            found.append(points)
        else:
            nets = nets or Nets.of(check, DETECTOR, MODEL if model is None else model)
            found.append(_read(check, node, nets, of, report))
    return found


def _read(check: Checks, clip: vs.VideoNode, nets: Nets, name: str, report: Report | None) -> Keypoints:
    try:
        return awaited(read_keypoints(clip, nets, name, report))
    except PoseReadingError as error:
        check.value_error(f"{error}.")
