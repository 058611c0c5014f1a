"""``vs-align preview``: both videos side by side, in step."""

import argparse
from pathlib import Path

from .. import arguments
from ..command import Command
from ..console import Console
from ..encode import Encoding, check_encoding, encode
from ..faults import Refusal
from ..files import check_input, check_outputs
from ..found import given_or_found, load
from ..side_by_side import side_by_side
from ..sources import open_source

__all__ = ["COMMAND"]

_EXAMPLE = """\
example:
  vs-align preview late.mkv good.mkv preview.mp4 --range 1000:1500

B ("ref") is on the left, A ("clip") in step with it on the right, at one height, above each its frame number and
time, the score and the confidence. Where A has no match, its last matching frame stays, darkened."""

_ENCODING = Encoding(codec="libx264", crf=20, preset="veryfast")


def _arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_pair(parser)
    parser.add_argument("out", metavar="OUT", type=Path, help="the video to write: .mp4 or .mkv")
    arguments.add_alignment(parser)
    parser.add_argument(
        "--range", type=arguments.frame_range, metavar="A:B", help="frames of B, the last one not included; default all"
    )
    arguments.add_force(parser)


def _run(options: argparse.Namespace, console: Console) -> None:
    for path in (options.clip, options.ref):
        check_input(path)
    check_outputs([options.out], [options.clip, options.ref, options.alignment], options.force)
    check_encoding(options.out, _ENCODING)
    if options.alignment is not None:
        load(options.alignment)
    clip, ref = open_source(options.clip, console), open_source(options.ref, console)
    first, stop = options.range or (0, None)
    if first >= ref.clip.num_frames:
        raise Refusal(f"--range begins at {first}, and {ref.path.name} has {ref.clip.num_frames} frames.")
    found = given_or_found(options, clip, ref, console)
    shown = side_by_side(clip.clip, ref.clip, found)[first:stop]
    encode(shown, options.out, _ENCODING, console, f"encoding {options.out.name}")
    console.note(f"{options.out}: {shown.num_frames} frames, {shown.width}x{shown.height}.")


COMMAND = Command(
    name="preview",
    usage="A B OUT",
    summary="Write a video that shows B and A side by side, in step, with what was found.",
    example=_EXAMPLE,
    arguments=_arguments,
    run=_run,
)
