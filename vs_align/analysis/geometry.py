"""How the picture of one clip lies in that of another: borders, and one constant scale and shift.

Convention: positions are in pixels from the picture's left top corner, so that a pixel's centre is at + 0.5. A geometry
maps ref's positions to clip's: ``x_clip = scale_x * x_ref + shift_x``, and y likewise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import plane
from .reading import in_order

__all__ = ["Box", "Geometry", "find_box", "luma"]

type Floats = NDArray[np.float64]

_BORDER_FRAMES = 24
# Below this mean luma, of 255 with black at 16, a frame says nothing of borders.
_BRIGHT = 44.0
_FEWEST_BRIGHT = 3
# A line is black where nearly all of its pixels are this dark, in nearly all bright frames.
_BLACK, _NEARLY_ALL = 30.0, 95.0
_MOST_BORDER = 0.4


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

    @property
    def area(self) -> float:
        """Width times height; 0 where nothing is inside."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)


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

    @property
    def reached(self) -> Box:
        """The part of clip's picture that ``common`` is laid onto, in clip's pixels."""
        box = self.common
        return Box(
            self.scale_x * box.left + self.shift_x,
            self.scale_y * box.top + self.shift_y,
            self.scale_x * box.right + self.shift_x,
            self.scale_y * box.bottom + self.shift_y,
        )

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
        return all(
            part.left >= -1 and part.top >= -1 and part.right <= node.width + 1 and part.bottom <= node.height + 1
            for part, node in ((self.common, ref), (self.reached, clip))
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


