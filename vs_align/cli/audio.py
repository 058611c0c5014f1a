"""An audio track, copied from one file into another."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .faults import Refusal

if TYPE_CHECKING:
    from av.container import OutputContainer

__all__ = ["Audio", "Track", "audio_codec", "fraction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """A file's first audio track, copied as it is.

    Attributes:
        path: the file.
        later_ms: by how much it is to be played later beside the picture that is encoded than beside its own.
    """

    path: Path
    later_ms: float = 0.0


def audio_codec(path: Path) -> str:
    """Return the name of what a file's first audio track is coded with."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise Refusal(f"{path} has no audio; pass --audio none.")
            name: str = container.streams.audio[0].codec_context.codec.canonical_name
            return name
    except (av.error.FFmpegError, ValueError):
        raise Refusal(f"the audio of {path} cannot be read; pass --audio none.") from None


def fraction(ratio: Any) -> Fraction:
    """Return a ratio of PyAV's, which has had several types for that; 0 where there is none."""
    return Fraction(ratio.numerator, ratio.denominator) if ratio else Fraction(0)


class Track:
    """Audio packets, copied from another file in step with the picture."""

    def __init__(self, container: OutputContainer, audio: Audio) -> None:
        import av

        self._source = av.open(str(audio.path))
        self._from = self._source.streams.audio[0]
        self._to = container.add_stream_from_template(self._from)
        # Beside its own picture, which need not begin at 0.
        begin = Fraction(0)
        for video in self._source.streams.video[:1]:
            begin = (video.start_time or 0) * fraction(video.time_base)
        self._ticks = round((Fraction(audio.later_ms) / 1000 - begin) / fraction(self._from.time_base))
        self._packets = self._source.demux(self._from)
        self._held: Any | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def until(self, stop: float) -> list[Any]:
        """Return the packets that have not been returned and begin before a time in seconds."""
        found = []
        while (packet := self._held or self._next()) is not None:
            if packet.pts * fraction(packet.time_base) >= stop:
                self._held = packet
                break
            self._held = None
            found.append(packet)
        return found

    def _next(self) -> Any | None:
        """Return the next packet, in the time of the picture that is encoded."""
        for packet in self._packets:
            # The last one is empty, and what comes before the picture is not heard.
            if packet.dts is None or packet.pts is None or packet.pts + self._ticks < 0:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts + self._ticks, packet.dts + self._ticks, self._to
            return packet
        return None
