"""The one scale and shift between two clips, found together with which frame belongs to which.

Where the camera pans, a picture of another crop looks like one of another time, so that a frame map made without the
geometry is wrong in the very way that hides it. A geometry is therefore judged by how alike the pictures are when each
frame may look for its match anew.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..flow.homography import Features, features, matched_homography
from ..frames import plane
from ..similarity.structure import structure_picture
from .geometry import Box, Geometry, luma
from .reading import in_order

__all__ = ["fit_geometry"]

type Floats = NDArray[np.float64]
type Picture = NDArray[np.float32]

_PAIRS, _FEWEST_HELD = 16, 4
_LONG_SIDE = 480
# How far from a pure scale and shift a homography may be, and how far frames may disagree, in shares of the long side.
_PURE, _AGREED = 0.01, 0.006
_SCALES = (0.4, 2.5)
# By how much the distance of matched pictures must fall for a geometry to be taken, and for another round.
_GAIN, _BETTER = 0.02, 0.005
_ROUNDS = 4
_COMPARED_AREA = 120 * 90
# Frames on each side of a match that are looked at again; pixels at the rim that a neighbourhood reaches beyond.
_REACH, _RIM = 32, 6
# How much of all structure counts: clip may lack some frames.
_COUNTED = 0.75
# A part of the picture that is smaller than this is no match.
_LEAST_COMMON = 0.35


def fit_geometry(
    clip: vs.VideoNode, ref: vs.VideoNode, matches: Sequence[tuple[int, int]], start: Geometry | None = None
) -> Geometry | None:
    """Find the one scale and shift that holds between two clips, x and y apart, without rotation.

    Of up to 16 pairs of frames a homography each is found from matched features, as far as it is a scale and a shift.
    Each of these is tried on all of the frames, which look for their best match near the one given; the best is tried
    again with the homographies of those matches, until nothing gets better. The result is what most of them share,
    where it makes matched pictures clearly more alike than ``start``.

    Args:
        clip, ref: of any two formats and sizes.
        matches: pairs of a ref frame and the clip frame that shows about the same, any number.
        start: what is known: the borders. None: the whole pictures lie on each other.

    Returns:
        The geometry, or None: no one geometry holds, or it gains nothing.

    Source:
        Lowe, 2004 (SIFT); Barath et al., 2020 (MAGSAC++). Trying each on all: Fischler and Bolles, 1981 (RANSAC).
    """
    if len(matches) < _FEWEST_HELD:
        return None
    clip, ref = luma(clip), luma(ref)
    start = start or Geometry.between(Box.whole(ref), Box.whole(clip))
    picked = np.unique(np.linspace(0, len(matches) - 1, _PAIRS).round().astype(int))
    trial = _Trial(clip, ref, [matches[k] for k in picked], start)
    from_start, pairs = trial.judged(start)
    best, lowest = start, from_start
    fits = _Fits(clip, ref, start)
    for _ in range(_ROUNDS):
        tried = [(*trial.judged(geometry), geometry) for geometry in fits.of(pairs)]
        if not tried:
            break
        cost, again, geometry = min(tried, key=lambda each: each[0])
        if cost >= lowest * (1 - _BETTER):
            break
        best, lowest, pairs = geometry, cost, again
    agreed = fits.agreed(pairs, best)
    if agreed is None or not trial.judged(agreed)[0] < from_start * (1 - _GAIN):
        return None
    return agreed


class _Fits:
    """Geometries of single pairs of frames.

    Args:
        clip, ref: GRAY8.
        start: what lies outside its common part is not looked at afterwards.
    """

    def __init__(self, clip: vs.VideoNode, ref: vs.VideoNode, start: Geometry) -> None:
        self._clip, self._ref, self._start = _limited(clip), _limited(ref), start
        self._to_clip = clip.width / self._clip.width, clip.height / self._clip.height
        self._to_ref = ref.width / self._ref.width, ref.height / self._ref.height
        self._of_ref: dict[int, Features] = {}
        self._of_clip: dict[int, Features] = {}
        self._found: dict[tuple[int, int], Floats | None] = {}

    def of(self, pairs: Sequence[tuple[int, int]]) -> list[Geometry]:
        """Return the geometry of each pair that has one, and their median."""
        there = self._there(pairs)
        if not there:
            return []
        return [self._geometry(fit) for fit in [*there, np.median(there, axis=0)]]

    def agreed(self, pairs: Sequence[tuple[int, int]], best: Geometry) -> Geometry | None:
        """Return the median of the fits that lie near a geometry; None where fewer than half do."""
        there = self._there(pairs)
        if len(there) < _FEWEST_HELD:
            return None
        every = np.array(there)
        # Compared where they put the corners, in pixels.
        corners, middle = self._corners(every), self._corners(self._fit(best)[None])
        off = np.abs(corners - middle).max(1)
        held = off <= _AGREED * max(self._ref.width, self._ref.height) * float(np.median(every[:, :2]))
        if held.sum() < max(_FEWEST_HELD, len(there) / 2):
            return None
        return self._geometry(np.median(every[held], axis=0))

    def _there(self, pairs: Sequence[tuple[int, int]]) -> list[Floats]:
        for known, node, wanted in (
            (self._of_ref, self._ref, {n for n, _ in pairs}),
            (self._of_clip, self._clip, {m for _, m in pairs}),
        ):
            for n, frame in in_order(node, sorted(wanted - set(known))):
                known[n] = features(plane(frame, 0).astype(np.float32), None)
        for n, m in sorted(set(pairs) - set(self._found)):
            self._found[n, m] = _separable(self._of_ref[n], self._of_clip[m])
        return [fit for pair in pairs if (fit := self._found[pair]) is not None]

    def _corners(self, fits: Floats) -> Floats:
        return np.concatenate([fits[:, 2:], fits[:, :2] * (self._ref.width, self._ref.height) + fits[:, 2:]], 1)

    def _geometry(self, fit: Floats) -> Geometry:
        x, y, shift_x, shift_y = fit.tolist()
        geometry = Geometry(
            x * self._to_clip[0] / self._to_ref[0],
            y * self._to_clip[1] / self._to_ref[1],
            shift_x * self._to_clip[0],
            shift_y * self._to_clip[1],
            self._start.common,
        )
        return geometry.within(self._start.common, self._start.reached)

    def _fit(self, geometry: Geometry) -> Floats:
        return np.array(
            [
                geometry.scale_x * self._to_ref[0] / self._to_clip[0],
                geometry.scale_y * self._to_ref[1] / self._to_clip[1],
                geometry.shift_x / self._to_clip[0],
                geometry.shift_y / self._to_clip[1],
            ]
        )


class _Trial:
    """How alike some frames are to their best matches under a geometry.

    Args:
        clip, ref: GRAY8.
        matches: pairs of a ref frame and the clip frame near which its match is.
        start: the geometry whose common part is what there is to compare.
    """

    def __init__(
        self, clip: vs.VideoNode, ref: vs.VideoNode, matches: Sequence[tuple[int, int]], start: Geometry
    ) -> None:
        self._least = _LEAST_COMMON * start.reached.area
        small_clip, small_ref = (_reduced(node, _COMPARED_AREA) for node in (clip, ref))
        # Pixels of the clips per pixel of the small pictures.
        self._of_clip = clip.width / small_clip.width, clip.height / small_clip.height
        self._of_ref = ref.width / small_ref.width, ref.height / small_ref.height
        self._size = small_clip.width, small_clip.height
        self._windows = {
            n: range(max(0, m - _REACH), min(clip.num_frames, m + _REACH + 1)) for n, m in matches
        }  # fmt: skip
        self._matches = dict(matches)
        self._ref = {n: plane(f, 0).astype(np.float32) for n, f in in_order(small_ref, sorted(self._windows))}
        wanted = sorted(set().union(*self._windows.values()))
        self._clip = {
            m: structure_picture(plane(f, 0).astype(np.float32)) for m, f in in_order(small_clip, wanted)
        }  # fmt: skip

    def judged(self, geometry: Geometry) -> tuple[float, list[tuple[int, int]]]:
        """Return the distance of those frames that match best, and all pairs.

        The distance is a share of the structure that those frames have, so that black and blank ones neither help nor
        harm; infinite where the pictures have too little in common.
        """
        part = geometry.reached
        left, right = (self._inside(edge, 0) for edge in (part.left, part.right))
        top, bottom = (self._inside(edge, 1) for edge in (part.top, part.bottom))
        # Beyond its rim a neighbourhood is made up, in both pictures, but not alike.
        inner = slice(top + _RIM, bottom - _RIM), slice(left + _RIM, right - _RIM)
        if part.area < self._least or min(bottom - top, right - left) <= 3 * _RIM:
            return np.inf, []
        best, there, pairs = [], [], []
        for n, window in self._windows.items():
            moved = self._moved(self._ref[n], geometry)
            target = np.ascontiguousarray(structure_picture(moved)[inner])
            off = np.array([cv2.norm(target, self._clip[m][inner], cv2.NORM_L1) for m in window])
            # Of equals the nearest to the match that was given.
            nearest = np.abs(np.array(window) - self._matches[n])
            k = int(np.lexsort((nearest, off))[0])
            best.append(off[k])
            there.append(cv2.norm(target, np.full_like(target, 128), cv2.NORM_L1))
            pairs.append((n, window[k]))
        return _share(np.array(best), np.array(there)), pairs

    def _inside(self, edge: float, axis: int) -> int:
        return int(min(max(round(edge / self._of_clip[axis]), 0), self._size[axis]))

    def _moved(self, picture: Picture, geometry: Geometry) -> Picture:
        """Return ref's picture as clip would show it, in clip's small size."""
        scale, shift = (geometry.scale_x, geometry.scale_y), (geometry.shift_x, geometry.shift_y)
        matrix = np.zeros((2, 3))
        for axis in (0, 1):
            slope = self._of_clip[axis] / (scale[axis] * self._of_ref[axis])
            matrix[axis, axis] = slope
            matrix[axis, 2] = 0.5 * slope - shift[axis] / (scale[axis] * self._of_ref[axis]) - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = cv2.warpAffine(picture, matrix, self._size, flags=flags, borderMode=cv2.BORDER_REFLECT)
        return moved.astype(np.float32, copy=False)


def _share(off: Floats, there: Floats) -> float:
    """Return distance by structure, of the frames where that is least and that have so much of all structure."""
    if not there.any():
        return np.inf
    order = (off / np.maximum(there, 1)).argsort()
    sums = there[order].cumsum()
    counted = order[: int(np.searchsorted(sums, _COUNTED * sums[-1])) + 1]
    return float(off[counted].sum() / max(1.0, there[counted].sum()))


def _limited(clip: vs.VideoNode) -> vs.VideoNode:
    """Return a clip with no side longer than features need."""
    reduction = max(clip.width, clip.height) / _LONG_SIDE
    if reduction <= 1:
        return clip
    return clip.resize.Bicubic(max(1, round(clip.width / reduction)), max(1, round(clip.height / reduction)))


def _reduced(clip: vs.VideoNode, area: int) -> vs.VideoNode:
    shrink = max(1.0, (clip.width * clip.height / area) ** 0.5)
    return clip.resize.Bicubic(max(1, round(clip.width / shrink)), max(1, round(clip.height / shrink)))


def _separable(ref: Features, clip: Features) -> Floats | None:
    """Return scale and shift (x, y, shift x, shift y) of one pair; None where its homography is something else."""
    matrix = matched_homography(ref, clip)
    if matrix is None:
        return None
    height, width = ref.shape
    # The inner part, where features lie; a homography is vague at the rim.
    x, y = np.meshgrid(np.linspace(0.15, 0.85, 8) * width, np.linspace(0.15, 0.85, 8) * height)
    at = np.stack([x.ravel(), y.ravel()], 1)
    # The homography counts from pixel centres.
    to = cv2.perspectiveTransform((at - 0.5)[:, None], matrix)[:, 0] + 0.5
    scale_x, shift_x = np.polyfit(at[:, 0], to[:, 0], 1)
    scale_y, shift_y = np.polyfit(at[:, 1], to[:, 1], 1)
    off = np.abs(to - (at * (scale_x, scale_y) + (shift_x, shift_y))).max()
    scales = np.array([scale_x, scale_y]) * max(ref.shape) / max(clip.shape)
    if off > _PURE * max(clip.shape) or (scales < _SCALES[0]).any() or (scales > _SCALES[1]).any():
        return None
    return np.array([scale_x, scale_y, shift_x, shift_y])
