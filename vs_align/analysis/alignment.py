"""`Alignment`: the matches of a whole clip and what follows from them."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..checks import Checks
from ..matching.fits import LinearFit, linear_fit, offset_fit
from ..matching.known_rates import KnownRate, explain
from ..matching.segments import Break, Segment, breaks, segments
from . import store
from .clip_info import ClipInfo
from .pick import pick
from .timecodes import timecodes_ms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Alignment", "Drift", "Offset"]

# What a match counts that nothing can be confused with, and one in a static scene.
_LEAST_WEIGHT = 0.05
# A line explains a map where so much of it is near, and so much more than is near one offset.
_ON_ONE_LINE, _CLEARLY = 0.8, 0.02


@dataclass(frozen=True, slots=True)
class Offset:
    """One constant offset of the whole clip.

    Attributes:
        frames: clip frame minus the frame that ref's would be, in clip frames; positive where clip is late.
        share: 0..1, how much of the matches, by weight, has exactly that offset.
        near: 0..1, how much is within one frame of it.
        rate: clip frames per ref frame that offsets are counted by.
    """

    frames: int
    share: float
    near: float
    rate: Fraction


@dataclass(frozen=True, slots=True)
class Drift:
    """How clip's time runs against ref's.

    Attributes:
        fit: clip frames per ref frame, the offset at ref frame 0, their errors, and the pair of usual frame rates that
            explains them. See `vs_align.matching.fits.LinearFit`.
        speed: clip seconds per ref second; None where a frame rate is unknown. Below 1 where clip runs faster.
        speed_known: the pair of usual frame rates whose ratio the speed is: "25 / 23.976 (PAL speed-up)" where clip
            holds ref's frames at 25 per second in place of 23.976. None: no pair explains it.
    """

    fit: LinearFit
    speed: float | None
    speed_known: KnownRate | None

    @property
    def rate(self) -> float:
        """Clip frames per ref frame."""
        return self.fit.rate

    @property
    def known(self) -> KnownRate | None:
        """The pair of usual frame rates that explains ``rate``."""
        return self.fit.known


@dataclass(frozen=True, eq=False)
class Alignment(store.Contents):
    """Which frame of clip each frame of ref is, and what follows from that.

    Attributes:
        frame: the clip frame of each ref frame, never going back, -1 where clip does not have it, shape (N,).
        score: its distance by the measure, smaller is more alike, shape (N,).
        confidence: 0..1, how clearly it beats every candidate that is not its neighbour; near 0 in static scenes,
            shape (N,).
        clip, ref: what identifies the two clips.
        similarity: the measure.
        geometry: the scale and shift under which the pictures were compared; None: as they are.
    """

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """How much each match counts: 0 where there is none, most where confidence is the usual or more."""
        sure = self.confidence[self.frame >= 0]
        # In a clip that is mostly static the median is that of matches that say nothing.
        usual = max(float(np.median(sure)), float(np.quantile(sure, 0.9)) / 2) if len(sure) else 0.0
        relative = self.confidence / usual if usual > 0 else np.ones(len(self.frame))
        return np.where(self.frame >= 0, np.clip(relative, _LEAST_WEIGHT, 1.0), 0.0)

    @cached_property
    def offset(self) -> Offset | None:
        """The constant offset that most matches share; None where nothing is matched.

        Counted frame by frame or by the two frame rates, whichever more matches agree on.
        """
        if not (self.frame >= 0).any():
            return None
        rates = [Fraction(1)]
        if self.clip.rate and self.ref.rate:
            rates.append(self.clip.rate / self.ref.rate)
        fits = [(offset_fit(self.frame, self.weights, rate=rate), rate) for rate in rates]
        best, rate = max(fits, key=lambda each: each[0].share)
        return Offset(best.offset, best.share, best.near, rate)

    @property
    def offset_frames(self) -> int | None:
        """`Offset.frames`: positive where clip is late; None where nothing is matched."""
        return None if self.offset is None else self.offset.frames

    @property
    def offset_ms(self) -> float | None:
        """``offset_frames`` in ms of clip's time; None where nothing is matched or clip's frame rate is unknown."""
        if self.offset is None or self.clip.rate is None:
            return None
        return float(1000 * self.offset.frames / self.clip.rate)

    @property
    def audio_delay_ms(self) -> float | None:
        """The delay to give clip's audio beside ref's picture, in ms; negative: it begins earlier."""
        return None if self.offset_ms is None else -self.offset_ms

    @cached_property
    def drift(self) -> Drift | None:
        """The line that most matches lie on; None where there are fewer than two."""
        if (self.frame >= 0).sum() < 2:
            return None
        fit = linear_fit(self.frame, self.weights)
        if not (self.clip.rate and self.ref.rate) or fit.rate <= 0:
            return Drift(fit, None, None)
        speed = fit.speed(self.ref.rate, self.clip.rate)
        # How many times as fast as ref's clip runs, with the error that the rate has.
        error = fit.rate_error / fit.rate / speed
        exact = Fraction(1) / (fit.known.ratio * self.ref.rate / self.clip.rate) if fit.known else None
        known = explain(float(exact) if exact else 1 / speed, 0.0 if exact else error)
        return Drift(fit, speed, known)

    @cached_property
    def segments(self) -> list[Segment]:
        """Passages of constant offset, in order."""
        if self.drift is None or self.offset is None:
            return []
        return segments(self.frame, self.weights, rate=self.rate_of_segments)

    @cached_property
    def breaks(self) -> list[Break]:
        """What lies between the segments: ref frames that clip lacks, clip frames that ref lacks."""
        return breaks(self.segments)

    @property
    def rate_of_segments(self) -> Fraction | float:
        """Clip frames per ref frame by which most matches have one offset, or lie on one line."""
        if self.offset is None or self.drift is None:
            return Fraction(1)
        fit = self.drift.fit
        if self.offset.near >= fit.share - _CLEARLY or fit.share < _ON_ONE_LINE or fit.rate <= 0:
            return self.offset.rate
        return fit.known.ratio if fit.exact and fit.known else fit.rate

    def shown(self) -> NDArray[np.int64]:
        """Return a clip frame for every ref frame: where there is no match, that of the last ref frame with one.

        Before the first match that one is shown, and frame 0 where nothing is matched; shape (N,).
        """
        matched = np.flatnonzero(self.frame >= 0)
        if not len(matched):
            return np.zeros(len(self.frame), np.int64)
        before = np.searchsorted(matched, np.arange(len(self.frame)), "right") - 1
        return self.frame[matched[np.maximum(before, 0)]]

    def apply(self, out: vs.VideoNode) -> vs.VideoNode:
        """Put frames of a clip in step with ref.

        Args:
            out: clip, or another of its length and any format and size.

        Returns:
            A clip of ref's length and rate and of out's format and size. Where clip has no match, the frame of the
            last match is shown. Properties: ``AlignFrame`` (-1: no match), ``AlignScore``, ``AlignConfidence``.
        """
        check = Checks("vs_align.Alignment.apply")
        out = check.clip(out, "out")
        if out.num_frames != self.clip.length:
            check.value_error(f"out must have clip's length, {self.clip.length} frames, not {out.num_frames}.")
        rate = self.ref.rate
        picked = pick(out, self.shown().tolist(), (rate.numerator, rate.denominator) if rate else (0, 1))

        def note(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
            noted = f.copy()
            noted.props["AlignFrame"] = int(self.frame[n])
            noted.props["AlignScore"] = float(self.score[n])
            noted.props["AlignConfidence"] = float(self.confidence[n])
            return noted

        return picked.std.ModifyFrame(picked, note)

    def timecodes(self) -> tuple[NDArray[np.float64], float]:
        """Return when to show each frame of clip, untouched, so that it runs in step with ref.

        Returns:
            Times in ms, ascending, one for each frame of clip, and by how much all are later than ref in ms: not 0
            where clip begins before ref does.

        Raises:
            ValueError: nothing is matched, or a frame rate is unknown.
        """
        return self._timecodes(Checks("vs_align.Alignment.timecodes"))

    def _timecodes(self, check: Checks) -> tuple[NDArray[np.float64], float]:
        if self.ref.rate is None or self.clip.rate is None:
            check.value_error("a frame rate is unknown; give clip_rate and ref_rate to vs_align.analyse.")
        if not (self.frame >= 0).any():
            check.value_error("no frame is matched.")
        return timecodes_ms(self.frame, self.clip.length, float(1000 / self.ref.rate), float(1000 / self.clip.rate))

    def to_timecodes(self, path: str | PathLike[str]) -> float:
        """Write `timecodes` to a file, "timestamp format v2", as mkvmerge and x264 read it.

        Returns:
            By how much all are later than ref, in ms.
        """
        check = Checks("vs_align.Alignment.to_timecodes")
        times, late = self._timecodes(check)
        store.write_text(_path(check, path), "\n".join(["# timestamp format v2", *(f"{t:.6f}" for t in times)]) + "\n")
        return late

    def save(self, path: str | PathLike[str]) -> None:
        """Write the alignment to a file, whole or not at all: CSV where its name ends in ".csv", else JSON."""
        store.write(_path(Checks("vs_align.Alignment.save"), path), self)

    @classmethod
    def load(
        cls, path: str | PathLike[str], clip: vs.VideoNode | None = None, ref: vs.VideoNode | None = None
    ) -> "Alignment":
        """Read what `save` wrote.

        Args:
            path: the file.
            clip, ref: the clips it is meant for; where given, another pair is refused. Five frames of each are read.

        Raises:
            ValueError: the file is of another pair, of another version, cut off, or makes no sense.
            OSError: it cannot be read.
        """
        check = Checks("vs_align.Alignment.load")
        found = cls._read(check, _path(check, path))
        found._must_be_of(
            check,
            Path(path).name,
            None if clip is None else check.clip(clip, "clip"),
            None if ref is None else check.clip(ref, "ref"),
        )
        return found

    @classmethod
    def given(
        cls, check: Checks, value: "Alignment | str | PathLike[str]", clip: vs.VideoNode, ref: vs.VideoNode
    ) -> "Alignment":
        """Return the alignment that an argument is or names, on behalf of another function; another pair is refused."""
        if isinstance(value, Alignment):
            value._must_be_of(check, "alignment", clip, ref)
            return value
        where = Path(fspath(value))
        try:
            found = cls._read(check, where)
        except OSError as error:
            check.runtime_error(f"{where} cannot be read: {error.strerror}.")
        found._must_be_of(check, where.name, clip, ref)
        return found

    @classmethod
    def _read(cls, check: Checks, path: Path) -> "Alignment":
        try:
            return cls(**vars(store.read(path)))
        except store.StoreError as error:
            check.value_error(f"{path.name} is refused: {error}.")

    def _must_be_of(self, check: Checks, what: str, clip: vs.VideoNode | None, ref: vs.VideoNode | None) -> None:
        for name, node, info in (("clip", clip, self.clip), ("ref", ref, self.ref)):
            difference = None if node is None else info.difference(ClipInfo.of(node))
            if difference:
                check.value_error(f"{what} is refused: it is of another pair, {name} has {difference}.")

    def plot_offset(self, path: str | PathLike[str] | None = None) -> "Figure":
        """Draw how far each match is from the line of the two rates, with segments, breaks and confidence.

        Args:
            path: where to write it, whole or not at all: a name that ends in .png, .svg or .pdf. None: nowhere.

        Returns:
            A Matplotlib figure. A long clip is thinned out, but each offset that can be told apart is kept.

        Raises:
            TypeError, ValueError: the file cannot be written, or is of another kind.
            RuntimeError: Matplotlib is not installed.
        """
        from . import plots

        return plots.plot_offset(self, path)

    def plot_costs(self, clip: vs.VideoNode, ref: vs.VideoNode, path: str | PathLike[str] | None = None) -> "Figure":
        """Draw how alike the frames of both clips are, each to each, and the matches over it.

        The distances are those of small, locally normalised pictures under ``geometry``, as the rough map of
        `vs_align.analyse` is made of, whatever ``similarity`` is; of up to 600 frames of each clip, spread evenly.

        Args:
            clip, ref: the clips that were analysed.
            path: as for `plot_offset`.

        Returns:
            A Matplotlib figure.

        Raises:
            TypeError, ValueError: clips of another length or size; the file cannot be written, or is of another kind.
            RuntimeError: Matplotlib is not installed.
        """
        from . import plots

        return plots.plot_costs(self, clip, ref, path)

    def plot_pairs(
        self, clip: vs.VideoNode, ref: vs.VideoNode, path: str | PathLike[str] | None = None, pairs: int = 12
    ) -> "Figure":
        """Draw frames of ref, and below each what clip shows there.

        Those beside each break are among them, and so at least one of each segment; the rest is spread evenly.

        Args:
            clip, ref: the clips that were analysed, or others of their lengths; of any formats and sizes.
            path: as for `plot_offset`.
            pairs: how many frames of ref, 1 to 120. More, up to 120, where there are more beside breaks.

        Returns:
            A Matplotlib figure.

        Raises:
            TypeError, ValueError: clips of another length; the file cannot be written, or is of another kind.
            RuntimeError: Matplotlib is not installed.
        """
        from . import pair_sheet

        return pair_sheet.plot_pairs(self, clip, ref, path, pairs)


def _path(check: Checks, path: object) -> Path:
    if not isinstance(path, str | PathLike):
        check.type_error(f"path must be a path, not {type(path).__name__}.")
    return Path(fspath(path))
