"""The frames of several cameras on one time line."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..flashes import Picks
from ..frames import is_full_range
from ..similarity.shifted import NOT_OF_THE_PICK, Shifted

__all__ = ["Dropped", "TimeLine", "on_line"]

type Floats = NDArray[np.float64]

_DIMMED = 0.35
# How far a frame may last longer or shorter than usual: containers round to ms, and to ticks of other clocks.
_USUAL_SHARE, _USUAL_MS = 0.1, 2.0


class Dropped(StrEnum):
    """What stands where a camera has no frame near enough."""

    BLACK = "black"
    DIM = "dim"


@dataclass(frozen=True, slots=True, eq=False)
class TimeLine:
    """When the frames of the synchronised clips are.

    Attributes:
        times_ms: by the base camera's clock, shape (N,).
        rate: frames per second; 0: unknown.
        steady: whether all last equally long, as the rate says.
    """

    times_ms: Floats
    rate: Fraction
    steady: bool

    @classmethod
    def of(cls, times_ms: Floats, rate: Fraction) -> "TimeLine":
        """Return a line at the times of frames."""
        lasting = np.diff(times_ms)
        usual = float(np.median(lasting))
        off = np.abs(lasting - float(1000 / rate)) if rate else np.full(1, np.inf)
        return cls(times_ms, rate, bool((off <= max(_USUAL_MS, _USUAL_SHARE * usual)).all()))

    @classmethod
    def regular(cls, first_ms: float, last_ms: float, rate: Fraction) -> "TimeLine":
        """Return a line at a rate from one time to another."""
        count = int((last_ms - first_ms) * rate / 1000 + Fraction(1, 1_000_000)) + 1
        times = first_ms + np.arange(count, dtype=np.float64) * float(1000 / rate)
        return cls(np.asarray(times, np.float64), rate, True)

    def only(self, kept: NDArray[np.bool_]) -> "TimeLine":
        """Return some of the lines, one after the other without gaps."""
        return TimeLine(self.times_ms[kept], self.rate, True)

    def durations(self) -> list[tuple[int, int]]:
        """Return how long each line lasts in seconds, as fractions; none where that is unknown."""
        if self.steady:
            lasts = (self.rate.denominator, self.rate.numerator)
            return [lasts] * len(self.times_ms) if self.rate else []
        us = np.rint(1000 * np.diff(self.times_ms)).astype(np.int64)
        exact = [Fraction(value, 1_000_000) for value in [*us.tolist(), int(np.median(us))]]
        return [(value.numerator, value.denominator) for value in exact]


def on_line(clip: vs.VideoNode, picks: Picks, line: TimeLine, dropped: Dropped) -> vs.VideoNode:
    """Return a camera's frames at the times of a line.

    Args:
        clip: the camera's recording.
        picks: which frame for each time.
        line: the times.
        dropped: what is shown where a camera dropped a frame.

    Returns:
        A clip as long as the line, with the properties ``AlignFrame``, ``AlignErrorMs``, ``AlignDropped``.
    """
    bare = clip.std.RemoveFrameProps(NOT_OF_THE_PICK)
    dark = _darkened(bare, _DIMMED if dropped == Dropped.DIM else 0)
    shown = Shifted(bare), Shifted(dark)
    frames, errors, missing = picks.frame.tolist(), picks.error_ms.tolist(), picks.dropped.tolist()
    durations = line.durations()
    fps = (line.rate.numerator, line.rate.denominator) if line.rate else (0, 1)
    base = clip.std.BlankClip(length=len(frames), fpsnum=fps[0], fpsden=fps[1], keep=True)

    def at(n: int) -> vs.VideoNode:
        node = shown[missing[n]].at(n, frames[n])
        node = node.std.SetFrameProps(AlignFrame=frames[n], AlignErrorMs=errors[n], AlignDropped=int(missing[n]))
        return node.std.SetFrameProps(_DurationNum=durations[n][0], _DurationDen=durations[n][1]) if durations else node

    return base.std.FrameEval(at)


def _darkened(clip: vs.VideoNode, share: float) -> vs.VideoNode:
    """Return a clip with so much of its light; its properties stay."""
    fmt = clip.format
    whole = fmt.sample_type == vs.INTEGER
    with clip.get_frame(0) as first:
        limited = whole and fmt.color_family != vs.RGB and not is_full_range(first)
    black = 16 << (fmt.bits_per_sample - 8) if limited else 0
    grey = 1 << (fmt.bits_per_sample - 1) if whole else 0
    light = f"x {black} - {share} * {black} +"
    return clip.std.Expr([light, f"x {grey} - {share} * {grey} +"] if fmt.color_family == vs.YUV else [light])
