"""``vs-align offset``: one offset between two videos, and how sure it is."""

import argparse
from pathlib import Path

import vs_align

from .. import arguments
from ..command import Command
from ..console import Console
from ..faults import Refusal
from ..files import check_input, check_outputs
from ..sources import open_source

__all__ = ["COMMAND"]

_EXAMPLE = """\
example:
  vs-align offset late.mkv good.mkv --around 250

One line on stdout: the offset in frames of A and in seconds, positive where A is late, and how likely it is
right within a frame. It is looked for within 30 frames of --around; vs-align analyse looks everywhere."""

# Below this an answer is said to be doubtful.
_SURE = 0.5


def _arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_pair(parser)
    parser.add_argument("--around", type=_frames, default=0, metavar="FRAMES", help="the rough offset; default 0")
    parser.add_argument(
        "--predictor",
        metavar="NAME",
        default="blend",
        help="blend (default), diagonals, motion, dtw, median, mean, brightness, or a file of vs-align train offset",
    )
    parser.add_argument("--similarity", "--measure", metavar="NAME", help="the measure; default structure")
    parser.add_argument("--passages", type=arguments.at_least_one, default=5, metavar="COUNT", help="default 5")
    parser.add_argument("--length", type=arguments.at_least_one, metavar="FRAMES", help="of a passage; default 120")
    parser.add_argument("--device", type=arguments.device, help="cpu, cuda or cuda:0; default: the best that works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it, passage by passage")
    arguments.add_force(parser)


def _frames(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number of frames such as -12, not {text!r}") from None


def _run(options: argparse.Namespace, console: Console) -> None:
    for path in (options.clip, options.ref):
        check_input(path)
    check_outputs([options.json], [options.clip, options.ref], options.force)
    clip, ref = open_source(options.clip, console), open_source(options.ref, console)
    if clip.times_ms is not None or ref.times_ms is not None:
        raise Refusal("where frame rates vary, no one offset in frames is right; use vs-align analyse.")
    found = vs_align.offset(
        clip.clip,
        ref.clip,
        predictor=options.predictor,
        similarity=options.similarity,
        around=options.around,
        passages=options.passages,
        length=options.length,
        device=options.device,
        progress=console.progress,
    )
    console.done()
    if options.json is not None:
        found.save(options.json)
    console.show(_line(found))
    for passage in found.passages:
        console.detail(
            f"ref {passage.ref_frame}-{passage.ref_frame + passage.length - 1}: {passage.offset_frames:+d} frames, "
            f"probability {passage.probability:.2f}"
        )
    if found.probability < _SURE:
        console.note(
            "this offset is doubtful: the pictures say too little, or it is not within 30 frames of --around; "
            "vs-align analyse looks everywhere."
        )


def _line(found: vs_align.ClipOffset) -> str:
    seconds = "" if found.seconds is None else f" ({found.seconds:+.3f} s)"
    near = round(found.agreement * len(found.passages))
    of = f"{near} of {len(found.passages)} passages" if len(found.passages) > 1 else "one passage"
    return f"{found.offset_frames:+d} frames{seconds}, probability {found.probability:.2f}, {of}"


COMMAND = Command(
    name="offset",
    usage="A B",
    summary="Say by how many frames A is late beside B, and how sure that is.",
    example=_EXAMPLE,
    arguments=_arguments,
    run=_run,
)
