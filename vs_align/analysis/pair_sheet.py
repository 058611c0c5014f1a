"""An `Alignment` drawn: frames of ref, and below each the matching frame of clip."""

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..checks import Checks, shown
from ..frames import planes, to_rgb
from .figures import DPI, GREY, RED, clock, finished, new_figure, same_lengths, signed, target
from .reading import in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .alignment import Alignment

__all__ = ["plot_pairs"]

type Picture = NDArray[np.uint8]

_COLUMNS, _MOST_PAIRS = 6, 120
# A cell of the contact sheet in inches: its width, the tallest picture, a line of text over and under it, a gap.
_CELL, _TALLEST, _TEXT, _GAP = 1.95, 2.2, 0.17, 0.06


def plot_pairs(
    found: "Alignment", clip: vs.VideoNode, ref: vs.VideoNode, path: str | PathLike[str] | None, pairs: int
) -> "Figure":
    """See `Alignment.plot_pairs`."""
    check = Checks("vs_align.Alignment.plot_pairs")
    where = target(check, path)
    clip, ref = same_lengths(check, found, clip, ref)
    count = check.integer(pairs, "pairs", 1)
    if count > _MOST_PAIRS:
        check.value_error(f"pairs must be at most {_MOST_PAIRS}, not {shown(count)}.")
    picked = _picked(found, count)
    matches = found.frame[picked].tolist()
    of_ref = _thumbnails(ref, picked)
    of_clip = dict(zip([m for m in matches if m >= 0], _thumbnails(clip, [m for m in matches if m >= 0]), strict=True))
    sheet = _Sheet(len(picked), _height(ref), _height(clip))
    for k, (n, m, picture) in enumerate(zip(picked, matches, of_ref, strict=True)):
        sheet.pair(k, picture, of_clip.get(m), _place(found, n), _about(found, n))
    sheet.figure.suptitle(
        f"{len(picked)} of {len(found)} ref frames, and what clip shows there: ref above, clip below",
        fontsize=11,
        y=1 - 0.12 / sheet.figure.get_figheight(),
        va="top",
    )
    return finished(sheet.figure, where)


def _picked(found: "Alignment", count: int) -> list[int]:
    """Return ref frames to show: those that must be, and others where most matches are left out."""
    matched = found.frame >= 0
    lacking = int((~matched).sum())
    # Frames without a match count for no more than a quarter of the others together.
    weight = np.where(matched, 1.0, min(1.0, matched.sum() / (4 * lacking) if matched.any() and lacking else 1.0))
    passed = np.concatenate([[0.0, 0.0], weight.cumsum()])
    chosen, count = _to_be_shown(found), min(count, len(found))
    if len(chosen) < count - 1:
        chosen |= {0, len(found) - 1}
    while len(chosen) < count:
        at = np.array(sorted({-1, len(found), *chosen}))
        first, stop = at[:-1], at[1:]
        room = np.where(stop - first > 1, passed[stop + 1] - passed[first + 1], 0.0)
        gap = int(room.argmax())
        middle = int(np.searchsorted(passed, (passed[first[gap] + 1] + passed[stop[gap] + 1]) / 2)) - 1
        chosen.add(min(max(middle, int(first[gap]) + 1), int(stop[gap]) - 1))
    return sorted(chosen)


def _to_be_shown(found: "Alignment") -> set[int]:
    """Return both sides of each break, of those beyond what fits the largest, and one of what is missing there."""
    if len(found.segments) == 1:
        return {(found.segments[0].first + found.segments[0].last) // 2}
    size = [max(b.missing, abs(b.inserted)) for b in found.breaks]
    chosen = set()
    for k in sorted(range(len(size)), key=lambda k: -size[k])[: _MOST_PAIRS // 3]:
        before, after = found.segments[k].last, found.segments[k + 1].first
        chosen |= {before, after}
        if found.frame[(before + after) // 2] < 0:
            chosen.add((before + after) // 2)
    return chosen


def _height(clip: vs.VideoNode) -> float:
    """Return how tall a picture is in the sheet, in inches."""
    return min(_TALLEST, _CELL * int(clip.height) / int(clip.width))


def _thumbnails(clip: vs.VideoNode, frames: Sequence[int]) -> list[Picture]:
    """Return frames in colour, in the sheet's size, each of shape (height, width, 3)."""
    height = _height(clip)
    size = (max(1, round(DPI * height * clip.width / clip.height)), max(1, round(DPI * height)))
    # Scaled as a whole, also where it says that it is interlaced.
    rgb = to_rgb(clip, vs.RGB24).std.RemoveFrameProps(["_FieldBased", "_Field"])
    small = rgb.resize.Bicubic(*size)
    return [np.stack(planes(frame), -1) for _, frame in in_order(small, frames)]


def _place(found: "Alignment", n: int) -> str:
    """Say in which passage a ref frame is."""
    for k, s in enumerate(found.segments):
        if s.first <= n <= s.last:
            last = n == s.last and k + 1 < len(found.segments)
            beside = ", last" if last else ", first" if k and n == s.first else ""
            return f"segment {k + 1}, offset {signed(s.offset)}{beside}"
    return "in no segment"


def _about(found: "Alignment", n: int) -> tuple[str, str]:
    """Say which frames a pair is of, when they are shown, and how alike they are."""
    m = int(found.frame[n])
    ref = f"ref {n}" + (f", {clock(float(n / found.ref.rate))}" if found.ref.rate else "")
    if m < 0:
        return ref, ""
    clip = f"clip {m}" + (f", {clock(float(m / found.clip.rate))}" if found.clip.rate else "")
    return ref, f"{clip}\nscore {found.score[n]:.3g}, confidence {found.confidence[n]:.2f}"


class _Sheet:
    """A figure with pairs of pictures one above the other.

    Args:
        count: how many pairs.
        ref_height, clip_height: of a picture, in inches.
    """

    def __init__(self, count: int, ref_height: float, clip_height: float) -> None:
        self._heights = ref_height, clip_height
        self._columns = min(_COLUMNS, count)
        self._row = ref_height + clip_height + 4.6 * _TEXT + 3 * _GAP
        rows = -(-count // _COLUMNS)
        self._width, self._tall = max(7.0, self._columns * (_CELL + _GAP) + _GAP), rows * self._row + 0.4
        self.figure = new_figure(self._width, self._tall, constrained=False)

    def pair(self, k: int, ref: Picture, clip: Picture | None, place: str, about: tuple[str, str]) -> None:
        """Put the ``k``-th pair in its place; no picture of clip: there is no match."""
        row, column = divmod(k, self._columns)
        left = _GAP + column * (_CELL + _GAP)
        top = self._tall - 0.4 - row * self._row
        colour = RED if place.endswith((", first", ", last")) else "black"
        self._write(left, top, place, colour)
        top -= _TEXT
        self._picture(left, top, self._heights[0], ref)
        self._write(left, top - self._heights[0], about[0])
        top -= self._heights[0] + _TEXT + _GAP
        self._picture(left, top, self._heights[1], clip)
        self._write(left, top - self._heights[1], about[1])

    def _write(self, left: float, top: float, text: str, colour: str = "black") -> None:
        x, y = (left + _CELL / 2) / self._width, (top - 0.02) / self._tall
        self.figure.text(x, y, text, ha="center", va="top", fontsize=8, color=colour, linespacing=1.15)

    def _picture(self, left: float, top: float, height: float, picture: Picture | None) -> None:
        place = (left / self._width, (top - height) / self._tall, _CELL / self._width, height / self._tall)
        axes: Any = self.figure.add_axes(place)
        axes.set(xticks=[], yticks=[])
        if picture is None:
            axes.set_facecolor("#E4E4E4")
            axes.text(0.5, 0.5, "no match", transform=axes.transAxes, ha="center", va="center", fontsize=9)
        else:
            axes.imshow(picture)
        for spine in axes.spines.values():
            spine.set(color=GREY, linewidth=0.8)
