"""Several cameras on one clock: `FlashSync`, and how it is found."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from typing import TYPE_CHECKING, Self

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..checks import Checks, shown
from ..flashes import (
    Clock,
    ClockErrors,
    Events,
    Flash,
    FlashError,
    FlashFit,
    Picks,
    Residual,
    find_events,
    fit_clocks,
    nearest_frames,
)
from .cameras import Camera, Source, camera_name, cameras_of, names_of
from .flash_clips import Dropped, TimeLine, on_line
from .flash_rows import row_features, times_of
from .flash_store import check_path, read_model, write_model
from .reading import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FlashSync", "FrameAt", "synchronised"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FrameAt:
    """A camera's frame at a time.

    Attributes:
        frame: its number.
        error_ms: how much later than asked it was taken, by the base camera's clock.
        dropped: whether that is more than half the usual time between two frames.
    """

    frame: int
    error_ms: float
    dropped: bool


@dataclass(frozen=True, slots=True, eq=False)
class FlashSync:
    """Several cameras on one clock. Times are in ms, by the clock of the base camera; rows from 0 at the top.

    A camera is meant by its name or its number. `vs_align.flash` makes it, and `FlashSync.load`.

    Attributes:
        cameras: the recordings.
        base: the name of the camera whose clock is the common one.
        clocks: by name, in the order of the cameras.
        times_ms: by name, when each frame is shown, by the camera's own clock, shape (F,).
        events: by name, the flashes that each camera saw; empty where it was loaded.
        fit: all that the fit says; None where it was loaded.
    """

    cameras: tuple[Camera, ...]
    base: str
    clocks: dict[str, Clock]
    times_ms: dict[str, Floats]
    events: dict[str, Events]
    fit: FlashFit | None = None

    @property
    def names(self) -> list[str]:
        """The cameras' names."""
        return [camera.name for camera in self.cameras]

    @property
    def flashes(self) -> tuple[Flash, ...]:
        """All flashes that any camera saw, in the order of time."""
        return self.fit.flashes if self.fit else ()

    @property
    def residuals(self) -> tuple[Residual, ...]:
        """How far each edge of a common flash is from where the clocks put it."""
        return self.fit.residuals if self.fit else ()

    @property
    def errors(self) -> dict[str, ClockErrors]:
        """Standard errors of the clocks, by name."""
        return self.fit.errors if self.fit else {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the answer is doubtful, one line each; empty where it is not."""
        return self.fit.warnings if self.fit else ()

    def time(self, camera: str | int, frame: int, row: float = 0.0) -> float:
        """Return when a row of a frame begins to be exposed."""
        check = Checks("vs_align.FlashSync.time")
        name = camera_name(check, camera, self.names, "camera")
        number, count = check.integer(frame, "frame", 0), len(self.times_ms[name])
        if number >= count:
            check.value_error(f"frame must be at most {count - 1}, not {number}: camera {name!r} has {count} frames.")
        at: float = self.clocks[name].ref_ms(self.times_ms[name][number], check.number(row, "row")).item()
        return at

    def frame_at(self, camera: str | int, t: float, row: float | None = None) -> FrameAt:
        """Return a camera's frame nearest to a time.

        Args:
            camera: its name or number.
            t: ms by the base camera's clock.
            row: the row that is to be exposed then. None: the middle one, since cameras may read upside down.
        """
        check = Checks("vs_align.FlashSync.frame_at")
        name = camera_name(check, camera, self.names, "camera")
        at = self._middle(name) if row is None else check.number(row, "row")
        picks = nearest_frames(self.clocks[name], self.times_ms[name], check.number(t, "t"), at)
        return FrameAt(int(picks.frame[0]), float(picks.error_ms[0]), bool(picks.dropped[0]))

    def line(self, rate: Fraction | int | float | str | None = None) -> TimeLine:
        """Return the time line of `clips`: when the middle row of the base camera's frames begins to be exposed.

        Args:
            rate: frames per second of a regular one over the same time. None: the base camera's own frames.
        """
        check = Checks("vs_align.FlashSync.line")
        clip = self.cameras[self.names.index(self.base)].clip
        times = self.clocks[self.base].ref_ms(self.times_ms[self.base], self._middle(self.base))
        if rate is None:
            return TimeLine.of(times, Fraction(clip.fps_num, clip.fps_den) if clip.fps_num else Fraction(0))
        return TimeLine.regular(float(times[0]), float(times[-1]), _rate(check, rate))

    def picks(self, camera: str | int, line: TimeLine) -> Picks:
        """Return a camera's frames whose middle row is nearest to each time of a line."""
        name = camera_name(Checks("vs_align.FlashSync.picks"), camera, self.names, "camera")
        return nearest_frames(self.clocks[name], self.times_ms[name], line.times_ms, self._middle(name))

    def clips(
        self,
        rate: Fraction | int | float | str | None = None,
        *,
        dropped: str = "black",
        leave_out: bool = False,
    ) -> list[vs.VideoNode]:
        """Return the synchronised clips, one for each camera, all of one length.

        Frame n of each is the camera's frame whose middle row is nearest to time n. Properties: ``AlignFrame``, its
        number; ``AlignErrorMs``, how much later than asked it was taken; ``AlignDropped``, 1 where that is more than
        half the time between two frames, so that the camera has none.

        Args:
            rate: frames per second of a regular time line. None: the base camera's own frames.
            dropped: what stands for a dropped frame: "black", or "dim", the nearest one, darkened.
            leave_out: leave out times at which any camera dropped its frame.

        Raises:
            TypeError, ValueError: an argument is unusable, or nothing is left.
        """
        check = Checks("vs_align.FlashSync.clips")
        how, leave = check.choice(dropped, "dropped", Dropped), check.boolean(leave_out, "leave_out")
        if rate is not None:
            _rate(check, rate)
        line = self.line(rate)
        picks = [self.picks(name, line) for name in self.names]
        if leave:
            kept = ~np.any([each.dropped for each in picks], axis=0)
            if not kept.any():
                check.value_error("at no time do all cameras have a frame; pass leave_out=False.")
            line = line.only(kept)
            picks = [Picks(each.frame[kept], each.error_ms[kept], each.dropped[kept]) for each in picks]
        return [on_line(camera.clip, each, line, how) for camera, each in zip(self.cameras, picks, strict=True)]

    def plot(self, path: str | PathLike[str] | None = None) -> "Figure":
        """Draw the flashes of every camera on the common clock, and how far each is from where the clocks put it.

        Args:
            path: a .png, .svg or .pdf file. None: the figure is only returned.

        Raises:
            TypeError, ValueError: the file cannot be written, or there are no flashes, since this was loaded.
            RuntimeError: Matplotlib is missing.
        """
        from .flash_plot import plot_flashes

        return plot_flashes(self, path)

    def save(self, path: str | PathLike[str]) -> None:
        """Save the clocks, as JSON or, by the ending .yaml, as YAML; whole or not at all.

        Raises:
            OSError: the file cannot be written.
            ValueError: it has another ending.
            RuntimeError: YAML, without PyYAML.
        """
        where = check_path(Checks("vs_align.FlashSync.save"), path)
        write_model(where, self.clocks, self.base, self.cameras)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        clips: Sequence[Source],
        *,
        names: Sequence[str] | None = None,
        progress: Callable[[str, int, int], object] | None = None,
    ) -> Self:
        """Load what `save` wrote, of these recordings. Flashes and residuals are not in the file.

        Args:
            path: a .json, .yaml or .yml file; YAML is loaded without tags.
            clips, names, progress: as in `vs_align.flash`. Of clips that are no files all frames are read, for their
                times.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is refused; the message says why.
            RuntimeError: YAML, without PyYAML.
        """
        check = Checks("vs_align.FlashSync.load")
        where = check_path(check, path)
        given, named = names_of(check, clips, names)
        cameras = cameras_of(check, given, named, progress)
        clocks, base = read_model(check, where, cameras)
        return cls(cameras, base, clocks, {camera.name: times_of(camera) for camera in cameras}, {})

    def _middle(self, name: str) -> float:
        height: int = self.cameras[self.names.index(name)].clip.height
        return height / 2


def _rate(check: Checks, value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, Fraction | int | float | str):
        check.type_error(f'rate must be a frame rate such as 25 or "24000/1001", not {type(value).__name__}.')
    try:
        rate = Fraction(value).limit_denominator(1_000_000)
    except (ValueError, OverflowError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 100_000:
        check.value_error(f'rate must be a frame rate such as 25 or "24000/1001", not {shown(value)}.')
    return rate


def synchronised(
    check: Checks,
    cameras: tuple[Camera, ...],
    base: str,
    global_shutter: Collection[str],
    hint: Mapping[str, int],
    cache: bool,
    report: Report | None,
) -> FlashSync:
    """Find the flashes of all cameras, and the clocks that they say.

    Raises:
        ValueError: a camera has none, or they do not say it.
    """
    events = {}
    try:
        for camera in cameras:
            events[camera.name] = _events(check, camera, cache, report)
        fit = fit_clocks(events, base, global_shutter=global_shutter, hint=hint or None)
    except FlashError as error:
        check.value_error(str(error).removeprefix("flash: "))
    return FlashSync(cameras, base, fit.clocks, fit.times_ms, events, fit)


def _events(check: Checks, camera: Camera, cache: bool, report: Report | None) -> Events:
    try:
        return find_events(row_features(camera, cache, report))
    except FlashError as error:
        check.value_error(f"camera {camera.name!r}: {str(error).removeprefix('flash: ')}")
