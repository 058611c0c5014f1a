"""`vs_align.analyse`: the matches of a whole clip."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from os import PathLike
from typing import Any

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..analysis.alignment import Alignment
from ..analysis.brightness import brightness_costs
from ..analysis.clip_info import ClipInfo
from ..analysis.distances import Distances
from ..analysis.gaps import without_gaps
from ..analysis.geometry import Box, Geometry, find_box, luma
from ..analysis.geometry_fit import fit_geometry
from ..analysis.keypoints import Keypoints
from ..analysis.reading import Progress, Report, in_order
from ..analysis.rough import features, rough_map
from ..analysis.strangers import without_strangers
from ..checks import Checks, shown
from ..enums import Engine, Similarity
from ..frames import cache_budget, to_rgb
from ..matching.paths import Band
from ..similarity.measure import Delivered, Measure, Scores
from .analyse_pose import aligned_poses
from .measures import HEAVY, MeasureOptions, build_measure, check_network
from .pose_rows import check_pose

__all__ = ["analyse"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

# Pairs of frames up to which all are compared; beyond, those near a first, rough map.
_WHOLE = 2_000_000
_MOST_HELD_BYTES = 1 << 30
_SPARE = 16
# Distances that are kept; at 50 bytes each while the path is looked for, 1.6 GiB.
_MOST_DISTANCES = 1 << 25
# Pixels of the pictures of which the rough map is made, and of those that "structure" sees.
_ROUGH_AREA, _STRUCTURE_AREA = 40 * 22, 320 * 180
_CONFIDENT = 0.5
# Mean deviation, in steps, of a picture without structure.
_BLANK = 1.0
# Frame rates closer than this hold the same frames, played faster.
_SAME_FRAMES = Fraction(5, 100)


class _Auto(StrEnum):
    AUTO = "auto"


def analyse(
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    *,
    similarity: str | Similarity = "structure",
    geometry: str | Geometry | None = "auto",
    tr: int | None = None,
    clip_rate: Fraction | int | float | str | None = None,
    ref_rate: Fraction | int | float | str | None = None,
    engine: str | Engine | None = None,
    device: str | None = None,
    weights: str | PathLike[str] | Mapping[str, Any] | None = None,
    model: str | PathLike[str] | None = None,
    progress: Callable[[str, int, int], object] | None = None,
    keypoints: Keypoints | NDArray[Any] | str | PathLike[str] | None = None,
    ref_keypoints: Keypoints | NDArray[Any] | str | PathLike[str] | None = None,
    mirror: bool = False,
) -> Alignment:
    """Find for each frame of ref the frame of clip that shows the same picture, and what follows from all of them.

    Both clips are read from beginning to end: once in small, for a rough map and the geometry, and once for the
    measure. Of all maps that never go back the one with the smallest sum of distances is taken (dynamic time warping),
    where holding or skipping clip's frames costs a little. It can be interrupted.

    Args:
        clip, ref: of any formats, sizes, lengths and rates.
        similarity: the measure: "structure", "planestats", "butteraugli", "topiq", "resnet", "embedding"; "pose": the
            joints of the largest person of each clip, whoever it is and from wherever.
        geometry: "auto": black borders are left out, and one constant scale and shift between the pictures is found and
            undone. None: the whole pictures are compared. A `Geometry`: this one. Not for "pose".
        tr: how many frames on each side of the rough map are compared, 1 and up, 33 million distances at most in all.
            None: 20, or all frames where that is little work.
        clip_rate, ref_rate: frame rates, where the clips do not say them, or say something else: 24, "24000/1001".
        engine, device, weights, model: as in `vs_align.temporal`.
        progress: is told after each step what is being done, how many steps are, and how many there are in all:
            ("comparing", 120, 86400). None: notes go to the logger "vs_align".
        keypoints, ref_keypoints, mirror: for "pose", as in `vs_align.temporal`.

    Returns:
        The alignment.

    Raises:
        TypeError, ValueError: an argument is unusable; the message says which and what to do.
        RuntimeError: a measure lacks its package, plugin, weights or device.

    Source:
        Sakoe and Chiba, 1978; Müller, 2007, chapter 4.
    """
    check = Checks("vs_align.analyse")
    clip, ref = check.clip(clip, "clip"), check.clip(ref, "ref")
    check.samples(clip, "clip")
    check.samples(ref, "ref")
    measure = check.choice(similarity, "similarity", Similarity)
    reach = _reach(check, tr, clip.num_frames, ref.num_frames)
    check_network(check, measure, weights, model)
    options = replace(_options(check, measure, engine, device), weights=weights, model=model)
    if progress is not None and not callable(progress):
        check.type_error(f"progress must be a function of three arguments, not {type(progress).__name__}.")
    if geometry is not None and not isinstance(geometry, Geometry):
        check.choice(geometry, "geometry", _Auto)
    posed = check_pose(check, measure is Similarity.POSE, keypoints, ref_keypoints, mirror)
    _check_measure(check, options)
    infos = [
        ClipInfo.of(node, _rate(check, rate, name))
        for node, rate, name in ((clip, clip_rate, "clip_rate"), (ref, ref_rate, "ref_rate"))
    ]
    if measure is Similarity.POSE:
        if isinstance(geometry, Geometry):
            check.value_error('geometry has no use with similarity="pose"; leave it out.')
        free = _free(infos[0].rate, infos[1].rate)
        return aligned_poses(check, (clip, ref), infos, posed, model, reach, free, progress)
    pair = _Pair(clip, ref, luma(clip), luma(ref), _free(infos[0].rate, infos[1].rate), progress)
    chosen, rough = _prepared(pair, geometry)
    distances = _search(check, pair, chosen, rough.frame, options, reach).distances(pair.free)
    frame = _path(distances, rough)
    score, sure = distances.at(frame)
    known = None if geometry is None else chosen
    found = Alignment(frame, score, sure, infos[0], infos[1], measure.value, known)
    found = without_strangers(found, distances.strange)
    frame = without_gaps(found, distances)
    score, sure = distances.at(frame)
    return replace(found, frame=frame, score=np.where(frame >= 0, score, found.score), confidence=sure)


def _path(distances: Distances, rough: "_Rough") -> Frames:
    """Return the path, with what brightness says; -1 where a frame cannot be compared."""
    first = distances.path()
    _, sure = distances.at(first)
    hint = brightness_costs(rough.ref_light, rough.clip_light, distances.band, first, sure, distances.usual)
    return np.where(distances.blind, -1, distances.path(hint))


@dataclass(frozen=True, slots=True)
class _Rough:
    """The rough map, the pairs of it that are surest, half of them, and how bright all frames are."""

    frame: Frames
    sure: list[tuple[int, int]]
    ref_light: Floats
    clip_light: Floats


def _check_measure(check: Checks, options: MeasureOptions) -> None:
    """Build the measure once on nothing, so that what it lacks is said before both clips are read."""
    if options.similarity not in (Similarity.STRUCTURE, Similarity.PLANESTATS, Similarity.POSE):
        blank = vs.core.std.BlankClip(width=64, height=64, format=vs.RGB24, length=1, keep=True)
        build_measure(check, blank, blank, options, 1, _MOST_HELD_BYTES).clear()


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two clips, their lumas, the advances of clip per ref frame that are to be expected, and who hears of it."""

    clip: vs.VideoNode
    ref: vs.VideoNode
    small_clip: vs.VideoNode
    small_ref: vs.VideoNode
    free: tuple[int, int]
    report: Report | None


def _reach(check: Checks, tr: object, clip_length: int, ref_length: int) -> int | None:
    if tr is None:
        return None
    reach = check.integer(tr, "tr", 1)
    if min(2 * reach + 1, clip_length) * ref_length > _MOST_DISTANCES:
        most = max(1, (_MOST_DISTANCES // ref_length - 1) // 2)
        check.value_error(f"tr must be at most {most} for {ref_length} frames of ref, not {shown(reach)}.")
    return reach


def _rate(check: Checks, value: object, name: str) -> Fraction | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Fraction | int | float | str):
        check.type_error(f'{name} must be a frame rate such as 25 or "24000/1001", not {type(value).__name__}.')
    try:
        rate = Fraction(value).limit_denominator(1_000_000)
    except (ValueError, OverflowError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate < 1 << 31:
        check.value_error(f'{name} must be a frame rate such as 25 or "24000/1001", not {shown(value)}.')
    return rate


def _free(clip_rate: Fraction | None, ref_rate: Fraction | None) -> tuple[int, int]:
    """Return floor and ceiling of clip's frames per ref frame; the same frame by frame where rates are close."""
    if not clip_rate or not ref_rate or abs(clip_rate / ref_rate - 1) <= _SAME_FRAMES:
        return 1, 1
    ratio = clip_rate / ref_rate
    # Frames may also correspond one by one, whatever the rates.
    return min(1, ratio.__floor__()), max(1, ratio.__ceil__())


def _options(check: Checks, measure: Similarity, engine: object, device: object) -> MeasureOptions:
    chosen = None if engine is None else check.choice(engine, "engine", Engine)
    if chosen is not None and measure != Similarity.BUTTERAUGLI:
        check.value_error(f"engine is for butteraugli; similarity is {measure.value!r}, leave it out.")
    where = check.device(device, "device", must_exist=measure not in HEAVY)
    return MeasureOptions(
        similarity=measure, engine=chosen, device=where, batch_size=None, shortlist=None, weights=None
    )


def _prepared(pair: _Pair, geometry: object) -> tuple[Geometry, _Rough]:
    """Return the geometry to compare under, and the rough map."""
    whole = Geometry.between(Box.whole(pair.ref), Box.whole(pair.clip))
    if isinstance(geometry, Geometry):
        return geometry, _rough(pair, geometry)
    if geometry is None:
        return whole, _rough(pair, whole)
    start = Geometry.between(find_box(pair.small_ref), find_box(pair.small_clip))
    rough = _rough(pair, start)
    fitted = fit_geometry(pair.small_clip, pair.small_ref, rough.sure, start)
    if fitted is None:
        return start, rough
    rough = _rough(pair, fitted)
    return fit_geometry(pair.small_clip, pair.small_ref, rough.sure, fitted) or fitted, rough


def _size(geometry: Geometry, area: int) -> tuple[int, int]:
    """Return a size of about so many pixels in the shape of the common picture, or the picture's where that is less."""
    width, height = geometry.common.size
    shrink = max(1.0, (width * height / area) ** 0.5)
    return max(1, round(width / shrink)), max(1, round(height / shrink))


def _rough(pair: _Pair, geometry: Geometry) -> _Rough:
    """Read both clips in small under a geometry, and map them."""
    clip, ref = geometry.reduced(pair.small_clip, pair.small_ref, *_size(geometry, _ROUGH_AREA))
    (of_ref, ref_light), (of_clip, clip_light) = (
        features(node, f"{name}, in small", pair.report) for node, name in ((ref, "ref"), (clip, "clip"))
    )
    found = rough_map(of_ref, of_clip, pair.free)
    off, there = (
        np.array([np.abs(a.astype(np.int16) - b).mean() for a, b in zip(of_ref, others, strict=True)])
        for others in (of_clip[found], np.full_like(of_ref, 128))
    )
    # Blank pictures are alike and say nothing.
    share = off / np.maximum(there, _BLANK)
    sure = np.flatnonzero((share <= np.quantile(share, _CONFIDENT)) & (there > _BLANK))
    return _Rough(found, [(int(n), int(found[n])) for n in sure], ref_light, clip_light)


def _search(
    check: Checks, pair: _Pair, geometry: Geometry, rough: Frames, options: MeasureOptions, tr: int | None
) -> "_Search":
    """Build the measure on pictures brought to one geometry, and the band in which it compares."""
    if options.similarity == Similarity.STRUCTURE:
        clip, ref = geometry.reduced(pair.small_clip, pair.small_ref, *_size(geometry, _STRUCTURE_AREA))
    elif options.similarity == Similarity.PLANESTATS:
        clip, ref = geometry.applied(pair.small_clip, pair.small_ref)
    else:
        clip, ref = geometry.applied(to_rgb(pair.clip, vs.RGB24), to_rgb(pair.ref, vs.RGB24))
    length = clip.num_frames
    cheap = options.similarity == Similarity.STRUCTURE
    whole = tr is None and cheap and length * ref.num_frames <= _WHOLE
    reach = length if whole else 20 if tr is None else tr
    width = min(2 * reach + 1, length)
    band = Band(np.clip(rough - reach, 0, length - width), width, length)
    measure = build_measure(check, clip, ref, options, width + _SPARE, cache_budget(_MOST_HELD_BYTES))
    measure.told(lambda n: np.arange(band.start[n], band.start[n] + width, dtype=np.int64))
    return _Search(measure, band, pair.report)


class _Search:
    """Compares the candidates of each ref frame, in order."""

    def __init__(self, measure: Measure, band: Band, report: Report | None) -> None:
        self._measure, self._band, self._report = measure, band, report

    def distances(self, free: tuple[int, int]) -> Distances:
        """Return all distances in the band.

        Args:
            free: the advances of clip per ref frame that are to be expected.
        """
        try:
            rows, contrast, floor = self._rows()
        finally:
            self._measure.clear()
        return Distances(rows, contrast, floor, self._band, free)

    def _rows(self) -> tuple[Floats, Floats, float]:
        """Return the distances, what confidence is judged by, both of shape (N, width), and its floor."""
        starts: list[int] = self._band.start.tolist()
        rows = np.empty((len(starts), self._band.width))
        contrast, floor = rows.copy(), 0.0
        progress = Progress("comparing", len(starts), self._report)
        fresh = _fresh(starts, self._band.width)
        arriving = in_order(self._measure.clip, (m for part in fresh for m in part))
        for n, ref in in_order(self._measure.ref, range(len(starts))):
            new = dict(next(arriving) for _ in fresh[n])
            scores = self._scores(n, starts[n], Delivered(ref, new))
            rows[n], contrast[n], floor = scores.values, scores.contrast, scores.floor
            progress.step()
        return rows, contrast, floor

    def _scores(self, n: int, start: int, delivered: Delivered) -> Scores:
        """Run the measure's work on one ref frame; this is no callback, frames may be waited for."""
        candidates = np.arange(start, start + self._band.width, dtype=np.int64)
        steps = self._measure.scores(n, candidates, start + self._band.width // 2, delivered, True)
        try:
            wanted = next(steps)
            while True:
                futures = [request.clip.get_frame_async(request.frame) for request in wanted]
                wanted = steps.send([future.result() for future in futures])
        except StopIteration as done:
            scores: Scores = done.value
            return scores


def _fresh(starts: list[int], width: int) -> list[range]:
    """Return for each window the frames that none before it has."""
    found, seen = [], starts[0]
    for start in starts:
        found.append(range(max(seen, start), start + width))
        seen = start + width
    return found
