"""``vs-align render``: the synchronised clip, encoded."""

import argparse
from fractions import Fraction
from pathlib import Path

import vs_align

from .. import arguments
from ..audio import Audio
from ..command import Command
from ..console import Console
from ..encode import Encoding, check_encoding, encode, written_shape
from ..faults import Refusal
from ..files import check_input, check_outputs
from ..found import given_or_found, load
from ..sources import Source, open_source

__all__ = ["COMMAND", "encoding_of"]

_EXAMPLE = """\
example:
  vs-align render late.mkv good.mkv synced.mkv --crf 14 --audio ref

OUT has A's frames, size and colours, B's length and frame rate. Where A has no match, the frame of the last
match stays. The depth is kept where the encoder can: libx264 8 and 10 bits, libx265 8 to 12, ffv1 up to 16."""

# Encoders whose quality --crf sets with much the same meaning.
_USUAL_CRF = {"libx264": 16.0, "libx265": 16.0}
# One delay is right for all of clip's audio where so many matches have it within a frame.
_ONE_DELAY = 0.9
# Over an hour and a half, less than a frame.
_SAME_SPEED = 5e-6


def _arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_pair(parser)
    parser.add_argument("out", metavar="OUT", type=Path, help="the video to write: .mkv, .mp4, ...")
    arguments.add_alignment(parser)
    parser.add_argument("--codec", default="libx264", help="the encoder: libx264 (default), libx265, ffv1, ...")
    parser.add_argument("--crf", type=_quality, help="quality, lower is better; default 16 for libx264 and libx265")
    parser.add_argument("--preset", help="how much work the encoder does: ultrafast, ..., medium (default), ...")
    parser.add_argument(
        "--audio",
        choices=["clip", "ref", "none"],
        default="none",
        help="copy the audio of B (ref), or of A (clip) with one delay; default none",
    )
    arguments.add_force(parser)


def _quality(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 63:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 63, not {text!r}")
    return value


def _run(options: argparse.Namespace, console: Console) -> None:
    for path in (options.clip, options.ref):
        check_input(path)
    check_outputs([options.out], [options.clip, options.ref, options.alignment], options.force)
    encoding = encoding_of(options)
    audio_of = {"clip": options.clip, "ref": options.ref, "none": None}[options.audio]
    check_encoding(options.out, encoding, audio_of)
    if options.alignment is not None:
        load(options.alignment)
    clip, ref = open_source(options.clip, console), open_source(options.ref, console)
    found = given_or_found(options, clip, ref, console)
    if not (found.frame >= 0).any():
        raise Refusal("no frame of A is in B; there is nothing to render.")
    delay = _delay(found, clip, ref) if options.audio == "clip" else 0.0
    audio = None if audio_of is None else Audio(path=audio_of, later_ms=delay)
    with clip.clip.get_frame(0) as first:
        shape = int(first.props.get("_SARNum", 1)), int(first.props.get("_SARDen", 1))
        if first.props.get("_FieldBased"):
            console.note(f"{clip.path} is interlaced; its frames are encoded as progressive ones.")
    encode(
        found.apply(clip.clip),
        options.out,
        encoding,
        console,
        f"encoding {options.out.name}",
        times_ms=ref.times_ms,
        audio=audio,
    )
    if min(shape) > 0 and written_shape(options.out) != Fraction(*shape):
        console.note(
            f"{options.out} does not say that its pixels are {shape[0]}:{shape[1]}, which {options.codec} cannot here; "
            "tell the player, or mkvmerge."
        )
    console.note(f"{options.out}: {ref.clip.num_frames} frames.")


def encoding_of(options: argparse.Namespace) -> Encoding:
    """Return how to encode, as the options of ``vs-align render`` say."""
    crf = _USUAL_CRF.get(options.codec) if options.crf is None else options.crf
    return Encoding(codec=options.codec, crf=crf, preset=options.preset)


def _delay(found: vs_align.Alignment, clip: Source, ref: Source) -> float:
    """Return the one delay that clip's audio needs.

    Raises:
        Refusal: one delay would not be right for all of it.
    """
    drift, offset, delay = found.drift, found.offset, found.audio_delay_ms
    one = drift is not None and drift.speed is not None and abs(drift.speed - 1) < _SAME_SPEED
    if clip.times_ms is not None or ref.times_ms is not None:
        raise Refusal("where frame rates vary, no one delay puts A's audio in step; pass --audio none.")
    if offset is None or delay is None or offset.near < _ONE_DELAY or not one:
        raise Refusal("A was cut or runs at another speed: no one delay puts its audio in step; pass --audio none.")
    return delay


COMMAND = Command(
    name="render",
    usage="A B OUT",
    summary="Write A put in step with B, frame by frame, as a video of its own.",
    example=_EXAMPLE,
    arguments=_arguments,
    run=_run,
)
