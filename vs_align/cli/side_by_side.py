"""Both clips beside each other, in step, with what was found written above them."""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from .. import Alignment
from ..frames import to_rgb
from .report import timecode

__all__ = ["GREY", "ORANGE", "WHITE", "picture_shape", "side_by_side", "write_row"]

type Canvas = NDArray[np.uint8]

_FONT = cv2.FONT_HERSHEY_DUPLEX
# Pictures are enlarged or reduced to between these heights, and both together to this width: 3840 with what is rounded.
_LOWEST, _HIGHEST, _WIDEST = 360, 1080, 3832
# A column that is narrower leaves no room for the text.
_NARROWEST = 0.9
_GAP = 8
WHITE, GREY, ORANGE = (235, 235, 235), (165, 165, 165), (255, 160, 40)
_DARKENED = 0.35


@dataclass(frozen=True, slots=True)
class _Layout:
    """Sizes in pixels, all even.

    Attributes:
        height: of the pictures.
        ref_width, clip_width: of the pictures.
        ref_column, clip_column: the room that each has, with the text.
        strip: the height of the text above.
    """

    height: int
    ref_width: int
    clip_width: int
    ref_column: int
    clip_column: int
    strip: int

    @classmethod
    def of(cls, clip: vs.VideoNode, ref: vs.VideoNode) -> "_Layout":
        shapes = [picture_shape(ref), picture_shape(clip)]
        height = min(max(ref.height, _LOWEST), _HIGHEST)
        columns = sum(max(shape, _NARROWEST) for shape in shapes)
        height = _even(min(height, (_WIDEST - _GAP) / columns))
        ref_width, clip_width = (_even(height * shape) for shape in shapes)
        narrowest, strip = _even(height * _NARROWEST), _even(max(44, height / 8))
        return cls(height, ref_width, clip_width, max(ref_width, narrowest), max(clip_width, narrowest), strip)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of all of it."""
        return self.ref_column + _GAP + self.clip_column, self.strip + self.height


def _even(value: float) -> int:
    return max(2, 2 * round(value / 2))


def picture_shape(clip: vs.VideoNode) -> float:
    """Return the width of a picture over its height, as it is meant to be seen."""
    with clip.get_frame(0) as first:
        across, down = (int(cast(int, first.props.get(name, 0))) for name in ("_SARNum", "_SARDen"))
    shape: float = clip.width / clip.height
    return shape * across / down if across > 0 and down > 0 else shape


def side_by_side(clip: vs.VideoNode, ref: vs.VideoNode, found: Alignment) -> vs.VideoNode:
    """Show ref on the left and clip, in step, on the right.

    Args:
        clip, ref: the clips.
        found: their alignment.

    Returns:
        A clip of ref's length and rate, YUV420P8, BT.709, of an even size.
    """
    layout = _Layout.of(clip, ref)
    left = _column(ref, layout.ref_width, layout.ref_column, layout).std.AddBorders(right=_GAP)
    right = _column(found.apply(clip), layout.clip_width, layout.clip_column, layout)
    both = vs.core.std.StackHorizontal([left, right]).std.RemoveFrameProps(["_SARNum", "_SARDen"])
    page = _Page(found, layout)
    drawn = both.std.ModifyFrame(both, page.drawn)
    yuv = drawn.resize.Bicubic(format=vs.YUV420P8, matrix=1, range=0)
    return yuv.std.SetFrameProps(_Primaries=1, _Transfer=1, _SARNum=1, _SARDen=1)


def _column(clip: vs.VideoNode, width: int, column: int, layout: _Layout) -> vs.VideoNode:
    """Return a clip in its column, below an empty strip."""
    # What the frame says of fields would have the resizer take it apart.
    picture = to_rgb(clip.std.RemoveFrameProps("_FieldBased"), vs.RGB24).resize.Bicubic(width, layout.height)
    spare = column - width
    return picture.std.AddBorders(spare // 2, spare - spare // 2, layout.strip, 0)


class _Page:
    """Draws the strip of text."""

    def __init__(self, found: Alignment, layout: _Layout) -> None:
        self._found, self._layout = found, layout
        self._shown = found.shown()

    def drawn(self, n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        """Return a copy of frame ``n`` with the text on it, clip's picture darkened where it has no match."""
        layout, frame = self._layout, f.copy()
        strip = np.zeros((layout.strip, f.width, 3), np.uint8)
        right = layout.ref_column + _GAP
        for column, width, rows in (
            (0, layout.ref_column, self._of_ref(n)),
            (right, layout.clip_column, self._of_clip(n)),
        ):
            for row, (text, colour) in enumerate(rows):
                write_row(strip[:, column : column + width], row, text, colour)
        dark = self._found.frame[n] < 0
        for p in range(3):
            samples = np.asarray(frame[p])
            samples[: layout.strip] = strip[..., p]
            if dark:
                picture = samples[layout.strip :, right:]
                picture[:] = (picture * _DARKENED).astype(np.uint8)
        return frame

    def _of_ref(self, n: int) -> list[tuple[str, tuple[int, int, int]]]:
        return [(f"ref    frame {n}", WHITE), (timecode(n, self._found.ref.rate), GREY)]

    def _of_clip(self, n: int) -> list[tuple[str, tuple[int, int, int]]]:
        found, m = self._found, int(self._shown[n])
        if found.frame[n] < 0:
            return [("clip   no match", ORANGE), (f"frame {m} is held", GREY)]
        says = f"{timecode(m, found.clip.rate)}   score {found.score[n]:.4g}   confidence {found.confidence[n]:.2f}"
        return [(f"clip   frame {m}  ({m - n:+d})", WHITE), (says, GREY)]


def write_row(strip: Canvas, row: int, text: str, colour: tuple[int, int, int]) -> None:
    """Write into a strip of two rows, smaller where there is no room.

    Args:
        strip: shape (H, W, 3).
        row: 0 or 1.
        text: what is written.
        colour: red, green and blue.
    """
    height, width = strip.shape[:2]
    pad, line = round(0.12 * height), 0.44 * height
    letters = 0.62 * line
    scale = cv2.getFontScaleFromHeight(_FONT, max(1, round(letters)))
    thick = max(1, round(height / 60))
    wide = cv2.getTextSize(text, _FONT, scale, thick)[0][0]
    scale *= min(1.0, (width - 2 * pad) / max(1, wide))
    at = (pad, round(0.06 * height + line * row + 0.5 * (line + letters)))
    # OpenCV draws on what is its own.
    canvas = np.ascontiguousarray(strip)
    cv2.putText(canvas, text, at, _FONT, scale, colour, thick, cv2.LINE_AA)
    strip[:] = canvas
