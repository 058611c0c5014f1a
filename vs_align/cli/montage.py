"""Several cameras in a grid, on one clock, with the time and the error of each written above it."""

from dataclasses import dataclass

import numpy as np
import vapoursynth as vs

from .. import FlashSync
from ..analysis.flash_clips import TimeLine
from ..flashes import Picks
from ..frames import to_rgb
from .side_by_side import GREY, ORANGE, WHITE, picture_shape, write_row

__all__ = ["MOST_CAMERAS", "montage"]

MOST_CAMERAS = 9
_GAP = 8
# All cells together at most; a small picture is enlarged to the third, and the text has at least the fourth.
_WIDEST, _HIGHEST, _ENLARGED, _ROOM = 1920, 1080, 480, 360
_STRIP = 64


@dataclass(frozen=True, slots=True)
class _Grid:
    """Sizes in pixels, all even.

    Attributes:
        columns, rows: of cells.
        width, height: of the room for a picture; above it is the strip of text.
        count: of cameras.
    """

    columns: int
    rows: int
    width: int
    height: int
    count: int

    @classmethod
    def of(cls, clips: list[vs.VideoNode]) -> "_Grid":
        count = len(clips)
        shape = max(picture_shape(clip) for clip in clips)
        columns = max(range(1, count + 1), key=lambda k: _fitting(k, -(-count // k), shape)[0])
        rows = -(-count // columns)
        widest = max(_ENLARGED, *(clip.height * picture_shape(clip) for clip in clips))
        width, height = _fitting(columns, rows, shape)
        shrink = min(1.0, widest / width)
        width, height = width * shrink, height * shrink
        # The text needs some room, as far as there is any.
        width = min(max(_ROOM, width), (_WIDEST + _GAP) / columns - _GAP)
        return cls(columns, rows, _even(width), _even(height), count)

    def corner(self, k: int) -> tuple[int, int]:
        """Return where camera k's cell begins: x and y."""
        row, column = divmod(k, self.columns)
        return column * (self.width + _GAP), row * (self.height + _STRIP + _GAP)


def _fitting(columns: int, rows: int, shape: float) -> tuple[float, float]:
    """Return the size of the largest pictures of one shape of which so many fit."""
    width, height = (_WIDEST + _GAP) / columns - _GAP, (_HIGHEST + _GAP) / rows - _GAP - _STRIP
    return min(width, height * shape), min(height, width / shape)


def _even(value: float) -> int:
    return max(2, 2 * int(value / 2))


def montage(found: FlashSync) -> vs.VideoNode:
    """Show all cameras beside each other, on the base camera's time line.

    Args:
        found: two to nine cameras.

    Returns:
        A clip of the base camera's length and rate, YUV420P8, BT.709, of an even size.
    """
    clips = found.clips(dropped="dim")
    grid = _Grid.of([camera.clip for camera in found.cameras])
    cells = [_cell(clip, picture_shape(camera.clip), grid) for clip, camera in zip(clips, found.cameras, strict=True)]
    # Frames of several sources differ in what they say; the first one's word is for all.
    blank = cells[0].std.BlankClip(keep=True)
    cells += [blank] * (grid.columns * grid.rows - grid.count)
    lines = [
        vs.core.std.StackHorizontal(cells[first : first + grid.columns]) for first in range(0, len(cells), grid.columns)
    ]
    stacked = vs.core.std.StackVertical(lines) if len(lines) > 1 else lines[0]
    whole = stacked.std.Crop(right=_GAP, bottom=_GAP).std.RemoveFrameProps(["_SARNum", "_SARDen"])
    drawn = whole.std.ModifyFrame(whole, _Page(found, grid).drawn)
    yuv = drawn.resize.Bicubic(format=vs.YUV420P8, matrix=1, range=0)
    return yuv.std.SetFrameProps(_Primaries=1, _Transfer=1, _SARNum=1, _SARDen=1)


def _cell(clip: vs.VideoNode, shape: float, grid: _Grid) -> vs.VideoNode:
    """Return a clip in its cell, below an empty strip, with the gap that follows it."""
    width, height = min((grid.width, grid.width / shape), (grid.height * shape, grid.height))
    wide, high = min(_even(width), grid.width), min(_even(height), grid.height)
    # What the frame says of fields would have the resizer take it apart.
    picture = to_rgb(clip.std.RemoveFrameProps("_FieldBased"), vs.RGB24).resize.Bicubic(wide, high)
    across, down = grid.width - wide, grid.height - high
    left, top = across // 2, down // 2
    return picture.std.AddBorders(left, across - left + _GAP, _STRIP + top, down - top + _GAP)


class _Page:
    """Draws the strips of text."""

    def __init__(self, found: FlashSync, grid: _Grid) -> None:
        self._names, self._grid, self._base = found.names, grid, found.base
        self._line: TimeLine = found.line()
        self._picks: list[Picks] = [found.picks(name, self._line) for name in found.names]

    def drawn(self, n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        """Return a copy of frame ``n`` with the text on it."""
        grid, frame = self._grid, f.copy()
        for k, name in enumerate(self._names):
            strip = np.zeros((_STRIP, grid.width, 3), np.uint8)
            dropped = bool(self._picks[k].dropped[n])
            write_row(strip, 0, name + (" (base)" if name == self._base else ""), WHITE)
            write_row(strip, 1, self._says(k, n), ORANGE if dropped else GREY)
            x, y = grid.corner(k)
            for p in range(3):
                np.asarray(frame[p])[y : y + _STRIP, x : x + grid.width] = strip[..., p]
        return frame

    def _says(self, k: int, n: int) -> str:
        picks = self._picks[k]
        error, at = float(picks.error_ms[n]), _clock(float(self._line.times_ms[n]) + float(picks.error_ms[n]))
        if picks.dropped[n]:
            return f"dropped   nearest: frame {picks.frame[n]}, {error:+.1f} ms"
        return f"frame {picks.frame[n]}   {at}   error {error:+.1f} ms"


def _clock(ms: float) -> str:
    """Return a time as m:ss.mmm, with its sign where it is negative."""
    whole = round(abs(ms))
    return f"{'-' if ms < 0 else ''}{whole // 60_000}:{whole // 1000 % 60:02}.{whole % 1000:03}"
