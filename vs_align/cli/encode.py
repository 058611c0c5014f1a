"""A clip encoded into a file, through PyAV."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..analysis.reading import in_order
from ..frames import is_full_range, plane
from .audio import Audio, Track, audio_codec, fraction
from .console import Console
from .faults import Refusal
from .files import need, replacing, scratch
from .pixel_formats import PixelFormat, fitted

if TYPE_CHECKING:
    import av
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["Encoding", "check_encoding", "encode", "written_shape"]

# As FFmpeg counts: matrix, primaries and transfer as H.273 has them, ranges in its own way.
_UNSPECIFIED, _LIMITED, _FULL = 2, 1, 2
# Times of frames that do not last equally long are counted in these.
_TICK = Fraction(1, 90_000)
_QUIET = {"libx265": {"x265-params": "log-level=none"}}
_HAVE_CRF = {"libx264", "libx264rgb", "libx265", "libsvtav1", "libaom-av1", "libvpx", "libvpx-vp9"}
_X26_WORST_CRF = 51
_X26_PRESETS = {
    *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
    *("slow", "slower", "veryslow", "placebo"),
}
# Players begin before they have all of such a file where its table of contents comes first.
_TABLE_FIRST = {".mp4", ".m4v", ".mov"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How to encode.

    Attributes:
        codec: an encoder's name, as FFmpeg has it.
        crf: constant quality, where the encoder has that; None: its own idea.
        preset: how much work it does; None: its own idea.
    """

    codec: str = "libx264"
    crf: float | None = None
    preset: str | None = None

    def options(self) -> dict[str, str]:
        """Return what the encoder is told."""
        told = dict(_QUIET.get(self.codec, {}))
        if self.crf is not None:
            told["crf"] = f"{self.crf:g}"
        if self.preset is not None:
            told["preset"] = self.preset
        return told


def check_encoding(path: Path, encoding: Encoding, audio: Path | None = None) -> None:
    """Refuse an ending that no container has, an encoder that there is not, and what does not go together.

    Raises:
        Refusal: one of these.
    """
    need("av", "cli", "encoding")
    import av

    # Else this encoder describes itself on stderr.
    os.environ.setdefault("SVT_LOG", "1")
    try:
        codec = av.Codec(encoding.codec, "w")
    except (av.error.FFmpegError, ValueError):
        raise Refusal(f"there is no encoder named {encoding.codec} here; name another --codec.") from None
    if codec.type != "video":
        raise Refusal(f"{encoding.codec} encodes no video; name another --codec.")
    _check_options(encoding, codec)
    with scratch(path) as part:
        try:
            container = av.open(str(part), "w")
        except (av.error.FFmpegError, ValueError):
            raise Refusal(f"{path} has no ending of a video file; name it .mkv or .mp4.") from None
        held = set(container.supported_codecs)
        with contextlib.suppress(av.error.FFmpegError):
            container.close()
    for name in (codec.canonical_name, *([] if audio is None else [audio_codec(audio)])):
        if name not in held:
            raise Refusal(f"{path.suffix} files cannot hold {name}; name it .mkv.")


def _check_options(encoding: Encoding, codec: av.Codec) -> None:
    import av

    if encoding.crf is not None and encoding.codec not in _HAVE_CRF:
        raise Refusal(f"{encoding.codec} knows no crf; leave --crf out.")
    # These take less than they say, or complain on stderr themselves.
    if encoding.codec.startswith("libx26") and encoding.crf is not None and encoding.crf > _X26_WORST_CRF:
        raise Refusal(f"{encoding.codec} has a crf from 0 to {_X26_WORST_CRF}, not {encoding.crf:g}.")
    if encoding.codec.startswith("libx26") and encoding.preset and encoding.preset not in _X26_PRESETS:
        raise Refusal(f"{encoding.codec} has no preset {encoding.preset}; they are ultrafast, ..., placebo.")
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.time_base = 256, 256, Fraction(1, 25)
    context.pix_fmt = _taken(codec)[0]
    context.options = encoding.options()
    try:
        context.open()
    except (av.error.FFmpegError, ValueError):
        told = " ".join(f"--{name} {value}" for name, value in context.options.items() if "-" not in name)
        raise Refusal(f"{encoding.codec} refuses {told or 'to begin'}; see its documentation.") from None


def _taken(codec: av.Codec) -> list[str]:
    """Return the names of the pixel formats that an encoder takes."""
    return [each.name for each in codec.video_formats or ()]


def encode(
    clip: vs.VideoNode,
    path: Path,
    encoding: Encoding,
    console: Console,
    what: str,
    *,
    times_ms: NDArray[np.float64] | None = None,
    audio: Audio | None = None,
) -> None:
    """Encode a clip into a file, whole or not at all.

    Args:
        clip: the clip; its first frame says which colours and pixel shape the file is given.
        path: the file; `check_encoding` has found nothing wrong with it.
        encoding: how.
        console: is told of the progress.
        what: what the progress calls it.
        times_ms: when each frame is shown, shape (N,). None: as the clip's rate says.
        audio: what goes with it.

    Raises:
        Refusal: the file cannot be written.
    """
    import av

    clip = fitted(clip, _taken(av.Codec(encoding.codec, "w")))
    try:
        with _container(path) as container:
            stream = _video_stream(container, clip, encoding, times_ms is not None)
            with contextlib.nullcontext() if audio is None else Track(container, audio) as track:
                _write(container, stream, clip, times_ms, track, lambda n: console.progress(what, n, clip.num_frames))
    except av.error.FFmpegError as error:
        raise Refusal(f"{path} cannot be written ({error.strerror or error}).") from None


@contextlib.contextmanager
def _container(path: Path) -> Iterator[OutputContainer]:
    import av

    options = {"movflags": "+faststart"} if path.suffix.lower() in _TABLE_FIRST else {}
    with replacing(path) as part:
        container = av.open(str(part), "w", options=options)
        try:
            yield container
            container.close()
        except BaseException:
            # Closing would complete the file, which takes its time, if it were still there.
            with contextlib.suppress(OSError):
                part.unlink()
            with contextlib.suppress(av.error.FFmpegError, OSError):
                container.close()
            raise


def _video_stream(container: OutputContainer, clip: vs.VideoNode, encoding: Encoding, timed: bool) -> VideoStream:
    """Add the stream of a clip's size, rate, format and colours."""
    rate = Fraction(clip.fps_num, clip.fps_den) if clip.fps_num else Fraction(25)
    stream = cast("VideoStream", container.add_stream(encoding.codec, rate=rate, options=encoding.options()))
    context = stream.codec_context
    context.width, context.height = clip.width, clip.height
    context.pix_fmt = PixelFormat.of(clip.format).name
    context.time_base = _TICK if timed else 1 / rate
    with clip.get_frame(0) as first:
        props = dict(first.props)
        full = is_full_range(first)
    for name, prop in (("colorspace", "_Matrix"), ("color_primaries", "_Primaries"), ("color_trc", "_Transfer")):
        value = int(props.get(prop, _UNSPECIFIED))
        if value != _UNSPECIFIED:
            setattr(context, name, value)
    if "_Range" in props or "_ColorRange" in props:
        context.color_range = _FULL if full else _LIMITED
    shape = int(props.get("_SARNum", 0)), int(props.get("_SARDen", 0))
    if min(shape) > 0:
        context.sample_aspect_ratio = Fraction(*shape)
    return stream


def _write(
    container: OutputContainer,
    stream: VideoStream,
    clip: vs.VideoNode,
    times_ms: NDArray[np.float64] | None,
    track: Track | None,
    step: Callable[[int], None],
) -> None:
    """Encode all frames, and with each the audio up to it."""
    name = PixelFormat.of(clip.format).name
    tick = fraction(stream.codec_context.time_base)
    ticks = None if times_ms is None else np.rint((times_ms - times_ms[0]) / 1000 / float(tick)).astype(np.int64)
    for n, frame in in_order(clip, range(clip.num_frames)):
        picture = _picture(frame, name)
        picture.pts, picture.time_base = n if ticks is None else int(ticks[n]), tick
        container.mux(stream.encode(picture))
        if track is not None:
            container.mux(track.until(float(picture.pts * tick)))
        step(n + 1)
    container.mux(stream.encode(None))


def _picture(frame: vs.VideoFrame, name: str) -> VideoFrame:
    """Return PyAV's frame with the samples of VapourSynth's."""
    import av

    picture = av.VideoFrame(frame.width, frame.height, name)
    # FFmpeg keeps green first.
    order = (1, 2, 0) if frame.format.color_family == vs.RGB else range(frame.format.num_planes)
    for target, index in zip(picture.planes, order, strict=True):
        samples = np.ascontiguousarray(plane(frame, index))
        rows = np.frombuffer(target, np.uint8).reshape(-1, target.line_size)
        rows[: samples.shape[0], : samples.shape[1] * samples.itemsize] = samples.view(np.uint8)
    return picture


def written_shape(path: Path) -> Fraction:
    """Return the shape of the pixels that a file says it has, width over height; 1 where it says none."""
    import av

    with av.open(str(path)) as container:
        return fraction(container.streams.video[0].sample_aspect_ratio) or Fraction(1)
