"""How the picture of one clip lies in that of another: borders, and one constant scale and shift.

Convention: positions are in pixels from the picture's left top corner, so that a pixel's centre is at + 0.5. A geometry
maps ref's positions to clip's: ``x_clip = scale_x * x_ref + shift_x``, and y likewise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..flow.homography import homography
from ..frames import plane
from ..similarity.structure import structure_picture
from .reading import in_order

__all__ = ["Box", "Geometry", "find_box", "fit_geometry", "luma"]

type Floats = NDArray[np.float64]
type Picture = NDArray[np.float32]

_BORDER_FRAMES = 24
# Below this mean luma, of 255 with black at 16, a frame says nothing of borders.
_BRIGHT = 44.0
_FEWEST_BRIGHT = 3
# A line is black where nearly all of its pixels are this dark, in nearly all bright frames.
_BLACK, _NEARLY_ALL = 30.0, 95.0
_MOST_BORDER = 0.4

_PAIRS, _FEWEST_HELD = 16, 4
_LONG_SIDE = 640
# How far from a pure scale and shift a homography may be, and how far frames may disagree, in shares of the long side.
_PURE, _AGREED = 0.01, 0.006
_SCALES = (0.4, 2.5)
# By how much the distance of matched pictures must fall for a geometry to be taken.
_GAIN = 0.02
_COMPARED_AREA = 120 * 90


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture, in pixels; ``right`` and ``bottom`` are the first ones outside."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def whole(cls, clip: vs.VideoNode) -> Self:
        """Return the whole picture of a clip."""
        return cls(0, 0, clip.width, clip.height)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Geometry:
    """One constant scale and shift between two clips, and the part of the picture that both have.

    Attributes:
        scale_x, scale_y: clip pixels per ref pixel.
        shift_x, shift_y: where ref's left top corner lies in clip, in clip's pixels.
        common: the part of ref's picture that clip has too, borders left out, in ref's pixels.
    """

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float
    common: Box

    @classmethod
    def between(cls, ref: Box, clip: Box) -> Self:
        """Return the geometry that lays one part of ref onto one part of clip."""
        (ref_width, ref_height), (clip_width, clip_height) = ref.size, clip.size
        x, y = clip_width / ref_width, clip_height / ref_height
        return cls(x, y, clip.left - x * ref.left, clip.top - y * ref.top, ref)

    def within(self, ref: Box, clip: Box) -> "Geometry":
        """Return the same scale and shift with the part that two parts of the pictures have in common."""
        common = Box(
            max(ref.left, (clip.left - self.shift_x) / self.scale_x),
            max(ref.top, (clip.top - self.shift_y) / self.scale_y),
            min(ref.right, (clip.right - self.shift_x) / self.scale_x),
            min(ref.bottom, (clip.bottom - self.shift_y) / self.scale_y),
        )
        return Geometry(self.scale_x, self.scale_y, self.shift_x, self.shift_y, common)

    def fits(self, clip: vs.VideoNode, ref: vs.VideoNode) -> bool:
        """Say whether what both have in common lies within the pictures of these clips, but for a pixel."""
        box, reached = self.common, _reached(self)
        return all(
            part.left >= -1 and part.top >= -1 and part.right <= node.width + 1 and part.bottom <= node.height + 1
            for part, node in ((box, ref), (reached, clip))
        )

    def applied(self, clip: vs.VideoNode, ref: vs.VideoNode) -> tuple[vs.VideoNode, vs.VideoNode]:
        """Bring clip to ref's geometry and crop both to what they have in common.

        Args:
            clip, ref: clips of the sizes that the geometry was found for, of any format.

        Returns:
            Clip and ref, of one size; formats are kept. Ref's samples are not changed.
        """
        fmt = ref.format
        grid_x, grid_y = (
            1 << max(getattr(f, name) for f in (fmt, clip.format)) for name in ("subsampling_w", "subsampling_h")
        )
        left, right = _on_grid(self.common.left, self.common.right, grid_x, ref.width)
        top, bottom = _on_grid(self.common.top, self.common.bottom, grid_y, ref.height)
        width, height = right - left, bottom - top
        return self._resampled(clip, Box(left, top, right, bottom), width, height), ref.std.CropAbs(
            width, height, left, top
        )

    def reduced(
        self, clip: vs.VideoNode, ref: vs.VideoNode, width: int, height: int
    ) -> tuple[vs.VideoNode, vs.VideoNode]:
        """Resample what both have in common to a size of its own; as `applied` otherwise."""
        same = Geometry(1.0, 1.0, 0.0, 0.0, self.common)
        return self._resampled(clip, self.common, width, height), same._resampled(ref, self.common, width, height)

    def _resampled(self, clip: vs.VideoNode, box: Box, width: int, height: int) -> vs.VideoNode:
        return clip.resize.Bicubic(
            width,
            height,
            src_left=self.scale_x * box.left + self.shift_x,
            src_top=self.scale_y * box.top + self.shift_y,
            src_width=self.scale_x * (box.right - box.left),
            src_height=self.scale_y * (box.bottom - box.top),
        )


def _on_grid(low: float, high: float, grid: int, size: int) -> tuple[int, int]:
    """Round a range inwards to a grid, but leave one cell of it."""
    # What is a rounding error of the fit beyond a whole number is none.
    first = int(np.ceil((low - 1e-3) / grid)) * grid
    stop = int(np.floor((high + 1e-3) / grid)) * grid
    first = min(max(first, 0), size - grid)
    return first, min(max(stop, first + grid), size)


def luma(clip: vs.VideoNode) -> vs.VideoNode:
    """Return a clip's luma as GRAY8, limited range where the clip does not say otherwise."""
    if clip.format.id == vs.GRAY8:
        return clip
    if clip.format.color_family == vs.RGB:
        return clip.resize.Bicubic(format=vs.GRAY8, matrix=1, range=0)
    first = clip if clip.format.color_family == vs.GRAY else clip.std.ShufflePlanes(0, vs.GRAY)
    return first.resize.Bicubic(format=vs.GRAY8)


def find_box(clip: vs.VideoNode) -> Box:
    """Find black borders and return the picture without them.

    Frames over the whole length are looked at; dark ones say nothing and are left out. A line is part of a border where
    nearly all of it is black in nearly all frames, so that a subtitle in a border does not end it.

    Args:
        clip: GRAY8.
    """
    count = min(_BORDER_FRAMES, clip.num_frames)
    picked = np.linspace(0, clip.num_frames - 1, count).round().astype(int).tolist()
    pictures = [plane(frame, 0).astype(np.float32) for _, frame in in_order(clip, picked)]
    bright = [picture for picture in pictures if picture.mean() >= _BRIGHT]
    if len(bright) < _FEWEST_BRIGHT:
        return Box.whole(clip)
    left, right = _inner([np.percentile(picture, _NEARLY_ALL, axis=0) for picture in bright])
    top, bottom = _inner([np.percentile(picture, _NEARLY_ALL, axis=1) for picture in bright])
    return Box(left, top, right, bottom)


def _inner(lines: Sequence[Floats]) -> tuple[int, int]:
    """Return the first line that is no border and the one after the last; all of them where a border is too wide."""
    # A quarter of the frames may have something in the border.
    lit = np.flatnonzero(np.percentile(np.stack(lines), 75, axis=0) > _BLACK)
    size = len(lines[0])
    if not len(lit):
        return 0, size
    first, stop = int(lit[0]), int(lit[-1]) + 1
    return (0, size) if first + size - stop > 2 * _MOST_BORDER * size else (first, stop)


def fit_geometry(
    clip: vs.VideoNode, ref: vs.VideoNode, matches: Sequence[tuple[int, int]], start: Geometry | None = None
) -> Geometry | None:
    """Find the one scale and shift that holds between matched frames, x and y apart, without rotation.

    For each pair a homography is found from matched features; those that are no scale and shift, or not that of most
    pairs, are left out. The result is taken where it makes the matched pictures clearly more alike than ``start``.

    Args:
        clip, ref: of any two formats and sizes.
        matches: pairs of a ref frame and the clip frame that shows the same, any number.
        start: what is known: the borders. None: the whole pictures lie on each other.

    Returns:
        The geometry, or None: no one geometry holds, or it gains nothing.

    Source:
        Lowe, 2004 (SIFT); Barath et al., 2020 (MAGSAC++).
    """
    if len(matches) < _FEWEST_HELD:
        return None
    clip, ref = luma(clip), luma(ref)
    start = start or Geometry.between(Box.whole(ref), Box.whole(clip))
    picked = np.unique(np.linspace(0, len(matches) - 1, _PAIRS).round().astype(int))
    pairs = [matches[k] for k in picked]
    small_clip, small_ref = _limited(clip), _limited(ref)
    pictures = [
        (plane(a, 0).astype(np.float32), plane(b, 0).astype(np.float32))
        for (_, a), (_, b) in zip(
            in_order(small_ref, [n for n, _ in pairs]), in_order(small_clip, [m for _, m in pairs]), strict=True
        )
    ]
    found = _agreed([_separable(*pair) for pair in pictures], small_ref)
    if found is None:
        return None
    x, y, shift_x, shift_y = found.tolist()
    to_clip = clip.width / small_clip.width, clip.height / small_clip.height
    to_ref = ref.width / small_ref.width, ref.height / small_ref.height
    geometry = Geometry(
        x * to_clip[0] / to_ref[0], y * to_clip[1] / to_ref[1], shift_x * to_clip[0], shift_y * to_clip[1], start.common
    )
    geometry = geometry.within(start.common, _reached(start))
    if min(geometry.common.size) < 16:
        return None
    before, after = (_distances(clip, ref, pairs, tried) for tried in (start, geometry))
    return geometry if after < before * (1 - _GAIN) else None


def _reached(start: Geometry) -> Box:
    """Return the part of clip that a geometry lays its common part onto."""
    box = start.common
    return Box(
        start.scale_x * box.left + start.shift_x,
        start.scale_y * box.top + start.shift_y,
        start.scale_x * box.right + start.shift_x,
        start.scale_y * box.bottom + start.shift_y,
    )


def _limited(clip: vs.VideoNode) -> vs.VideoNode:
    """Return a clip with no side longer than features need."""
    reduction = max(clip.width, clip.height) / _LONG_SIDE
    if reduction <= 1:
        return clip
    return clip.resize.Bicubic(max(1, round(clip.width / reduction)), max(1, round(clip.height / reduction)))


def _separable(ref: Picture, clip: Picture) -> Floats | None:
    """Return scale and shift (x, y, shift x, shift y) of one pair; None where its homography is something else."""
    matrix = homography(ref, clip, None)
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


def _agreed(fits: Sequence[Floats | None], ref: vs.VideoNode) -> Floats | None:
    """Return the mean of the fits that most share; None where fewer than half share one."""
    there = [fit for fit in fits if fit is not None]
    if len(there) < _FEWEST_HELD:
        return None
    every = np.array(there)
    # Compared where they put the corners, in pixels.
    corners = np.concatenate([every[:, 2:], every[:, :2] * (ref.width, ref.height) + every[:, 2:]], 1)
    off = np.abs(corners - np.median(corners, axis=0)).max(1)
    held = off <= _AGREED * max(ref.width, ref.height) * float(np.median(every[:, :2]))
    if held.sum() < max(_FEWEST_HELD, len(there) / 2):
        return None
    agreed: Floats = np.median(every[held], axis=0)
    return agreed


def _distances(clip: vs.VideoNode, ref: vs.VideoNode, pairs: Sequence[tuple[int, int]], geometry: Geometry) -> float:
    """Return the median distance, as "structure" measures it, of matched pictures under a geometry."""
    width, height = geometry.common.size
    shrink = max(1.0, (width * height / _COMPARED_AREA) ** 0.5)
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    moved, still = geometry.reduced(clip, ref, *size)
    off = []
    for (_, a), (_, b) in zip(
        in_order(still, [n for n, _ in pairs]), in_order(moved, [m for _, m in pairs]), strict=True
    ):
        first, second = (structure_picture(plane(frame, 0).astype(np.float32)) for frame in (a, b))
        off.append(float(cv2.absdiff(first, second).mean()))
    return float(np.median(off))
