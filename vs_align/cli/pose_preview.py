"""Two people side by side, in step and of one size, with their skeletons, the joints that differ, and the cost."""

from dataclasses import dataclass

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from .. import Alignment, Keypoints
from ..analysis.pose_nets import cut_out
from ..frames import plane, planes, to_rgb
from ..poses.motion import Motion, differences, steadied
from ..poses.skeleton import ANGLE_NAMES, MIRRORED
from .side_by_side import GREY, ORANGE, WHITE, write_row
from .skeleton import JOINT_OF_ANGLE, draw_skeleton, heat

__all__ = ["pose_preview"]

type Canvas = NDArray[np.uint8]
type Floats = NDArray[np.float64]
type Colour = tuple[int, int, int]

# Sizes in pixels: of a picture, the gap, the text above, the curve below; and the share of a picture's height that a
# person has.
_SIDE, _GAP, _STRIP, _CURVE = 640, 8, 72, 120
_PERSON = 0.62
# A row that is made to fit may come out a little wider, since letters come in whole sizes.
_SPARE = 32
_WIDTH, _HEIGHT = 2 * _SIDE + _GAP, _STRIP + _SIDE + _CURVE
# Joints that are marked: so many at most, which differ by so many degrees at least, and are so sure.
_MARKED, _DIFFERENT, _SURE = 3, 15.0, 0.2
# A person is followed with the mean of so many seconds.
_FOLLOW_S = 1.0
_USUAL_RATE = 25.0
_FONT = cv2.FONT_HERSHEY_DUPLEX
_DARK, _LINE, _CURSOR = (24, 24, 24), (150, 190, 235), (255, 255, 255)


def pose_preview(
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    found: Alignment,
    keypoints: Keypoints,
    ref_keypoints: Keypoints,
    mirror: bool = False,
) -> vs.VideoNode:
    """Show the person of ref on the left and the one of clip, in step, on the right.

    Args:
        clip, ref: the clips.
        found: their alignment.
        keypoints, ref_keypoints: theirs.
        mirror: whether clip's left side was compared with ref's right side.

    Returns:
        A clip of ref's length and rate, YUV420P8, BT.709, of an even size.
    """
    left, right = _View.of(ref_keypoints), _View.of(keypoints)
    page = _Page(found, left, right, mirror)
    base = vs.core.std.BlankClip(None, _WIDTH, _HEIGHT, vs.RGB24, ref.num_frames, ref.fps_num or 25, ref.fps_den or 1)
    drawn = base.std.ModifyFrame([base, left.scaled(ref), found.apply(right.scaled(clip))], page.drawn)
    yuv = drawn.resize.Bicubic(format=vs.YUV420P8, matrix=1, range=0)
    return yuv.std.SetFrameProps(_Primaries=1, _Transfer=1, _SARNum=1, _SARDen=1)


@dataclass(frozen=True, eq=False)
class _View:
    """How one clip is shown: reduced or enlarged so that the person has a set size, and followed.

    Attributes:
        points: keypoints in square pixels of the original height, made steady, shape (T, 17, 3).
        motion: as they are compared.
        middle: what is in the middle of the picture, shape (T, 2).
        extent: the side of the square that is shown.
        size: of the picture in square pixels.
    """

    points: Floats
    motion: Motion
    middle: Floats
    extent: float
    size: tuple[float, float]

    @classmethod
    def of(cls, keypoints: Keypoints) -> "_View":
        rate = float(keypoints.rate or _USUAL_RATE)
        points = steadied(keypoints.points, rate)
        points[..., 0] *= keypoints.pixel_shape
        there = points[..., 2] >= _SURE
        if not (there.any(1) & keypoints.seen).any():
            there = points[..., 2] > 0
        told = np.where(there[..., None], points[..., :2], np.nan)
        shown = there.any(1) & keypoints.seen
        low, high = np.nanmin(told[shown], 1), np.nanmax(told[shown], 1)
        tall = max(2.0, float(np.median((high - low).max(1))))
        middle = np.empty((len(points), 2))
        for axis in (0, 1):
            middle[:, axis] = np.interp(np.arange(len(points)), np.flatnonzero(shown), ((low + high) / 2)[:, axis])
        size = keypoints.size[0] * keypoints.pixel_shape, float(keypoints.size[1])
        return cls(points, keypoints.motion, _smoothed(middle, round(_FOLLOW_S * rate)), tall / _PERSON, size)

    @property
    def _shrink(self) -> float:
        return min(1.0, _SIDE / self.extent)

    def scaled(self, clip: vs.VideoNode) -> vs.VideoNode:
        """Return the clip with square pixels and, where it is larger than it is shown, reduced."""
        width, height = (max(1, round(length * self._shrink)) for length in self.size)
        return to_rgb(clip.std.RemoveFrameProps("_FieldBased"), vs.RGB24, (width, height))

    def picture(self, frame: vs.VideoFrame, n: int) -> tuple[Canvas, Floats]:
        """Return the square of frame ``n`` and the keypoints in it, from a frame of what `scaled` gives."""
        left, top = self.middle[n] - self.extent / 2
        scale = frame.height / self.size[1]
        canvas = cut_out(np.stack(planes(frame), -1), left * scale, top * scale, self.extent * scale, _SIDE)
        points = self.points[n].copy()
        points[:, :2] = (points[:, :2] - [left, top]) * (_SIDE / self.extent)
        return np.ascontiguousarray(canvas), points


def _smoothed(values: Floats, frames: int) -> Floats:
    """Return the means over some frames, the ends held."""
    half = frames // 2
    padded = np.pad(values, ((half, half), (0, 0)), mode="edge")
    sums = np.cumsum(np.vstack([np.zeros((1, values.shape[1])), padded]), 0)
    means: Floats = (sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)
    return means


class _Page:
    """Draws a frame of the preview."""

    def __init__(self, found: Alignment, ref: _View, clip: _View, mirror: bool) -> None:
        self._found, self._shown = found, found.shown()
        self._ref, self._clip, self._mirror = ref, clip, mirror
        self._motion = clip.motion.mirrored if mirror else clip.motion
        self._curve = _curve(np.where(found.frame >= 0, found.score, np.nan))

    def drawn(self, n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        """Return frame ``n``, out of an empty one, ref's and clip's."""
        m = int(self._shown[n])
        page: Canvas = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
        apart, weight = differences(self._ref.motion, self._motion, n, m)
        apart = np.where(weight > 0, apart, 0.0)
        worst = [k for k in np.argsort(-apart)[:_MARKED].tolist() if apart[k] >= _DIFFERENT]
        for column, view, frame, number, swapped in (
            (0, self._ref, f[1], n, False),
            (_SIDE + _GAP, self._clip, f[2], m, self._mirror),
        ):
            canvas, points = view.picture(frame, number)
            colours, marked = _coloured(apart, weight, worst, swapped)
            draw_skeleton(canvas, points, colours, marked)
            page[_STRIP : _STRIP + _SIDE, column : column + _SIDE] = canvas
        self._write(page, n, m, [(ANGLE_NAMES[k], float(apart[k])) for k in worst])
        self._draw_curve(page[_STRIP + _SIDE :], n)
        out = f[0].copy()
        for p in range(3):
            plane(out, p)[:] = page[..., p]
        return out

    def _write(self, page: Canvas, n: int, m: int, worst: list[tuple[str, float]]) -> None:
        found = self._found
        says = ",  ".join(f"{name} {degrees:.0f} deg" for name, degrees in worst)
        left, right = page[:_STRIP, : _SIDE - _SPARE], page[:_STRIP, _SIDE + _GAP : -_SPARE]
        write_row(left, 0, f"ref    frame {n}", WHITE)
        write_row(left, 1, says and f"most different: {says}", heat(worst[0][1]) if worst else GREY)
        if found.frame[n] < 0:
            write_row(right, 0, f"clip   no match, frame {m} is held", ORANGE)
            return
        write_row(right, 0, f"clip   frame {m}  ({m - n:+d})", WHITE)
        write_row(right, 1, f"cost {found.score[n]:.1f} deg   confidence {found.confidence[n]:.2f}", GREY)

    def _draw_curve(self, strip: Canvas, n: int) -> None:
        canvas = self._curve.copy()
        x = _across(n, len(self._found.frame))
        cv2.line(canvas, (x, 0), (x, _CURVE - 1), _CURSOR, 2)
        strip[:] = canvas


def _coloured(
    apart: Floats, weight: Floats, worst: list[int], mirrored: bool
) -> tuple[dict[int, Colour], dict[int, Colour]]:
    """Return the colour of each joint by the larger of its differences, and the joints that are marked."""
    place = [MIRRORED[k] if mirrored else k for k in JOINT_OF_ANGLE]
    largest: dict[int, float] = {}
    for k, joint in enumerate(place):
        if weight[k] > 0:
            largest[joint] = max(largest.get(joint, 0.0), float(apart[k]))
    return {k: heat(v) for k, v in largest.items()}, {place[k]: heat(float(apart[k])) for k in reversed(worst)}


def _across(n: int, count: int) -> int:
    return 10 + round((_WIDTH - 20) * n / max(1, count - 1))


def _curve(score: Floats) -> Canvas:
    """Draw the cost of every ref frame, NaN where there is no match."""
    canvas: Canvas = np.full((_CURVE, _WIDTH, 3), _DARK, np.uint8)
    told = score[np.isfinite(score)]
    top = max(1.0, float(told.max())) if len(told) else 1.0
    last: tuple[int, int] | None = None
    for n, value in enumerate(score.tolist()):
        if not np.isfinite(value):
            last = None
            continue
        place = _across(n, len(score)), round((_CURVE - 12) - (_CURVE - 40) * value / top)
        cv2.line(canvas, last or place, place, _LINE, 2, cv2.LINE_AA)
        last = place
    cv2.putText(canvas, f"cost, 0 to {top:.0f} deg", (10, 20), _FONT, 0.5, GREY, 1, cv2.LINE_AA)
    return canvas
