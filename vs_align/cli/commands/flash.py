"""``vs-align flash``: several cameras on one clock, by the flashes that they saw."""

import argparse
import re
from fractions import Fraction
from pathlib import Path

import numpy as np

import vs_align

from ...analysis.cameras import camera_name, names_of
from ...analysis.flash_clips import TimeLine
from ...analysis.flash_store import check_path
from ...checks import Checks
from .. import arguments
from ..command import Command
from ..console import Console
from ..encode import Encoding, check_encoding, encode
from ..faults import Abandoned, Refusal
from ..files import check_input, check_outputs, make_folder, need
from ..report import rate_name

__all__ = ["COMMAND"]

_EXAMPLE = """\
example:
  vs-align flash left.mp4 right.mp4 goal.mp4 --show-flashes flashes.png

The cameras need not show the same. They must have seen four or more flashes together: camera flashes, strobes or
lightning, short against a frame. One that exposes all rows at once is named with --global-shutter."""

_DRAWN = {".png", ".svg", ".pdf"}
_PREVIEW = Encoding(codec="libx264", crf=20, preset="veryfast")
_SYNCED = Encoding(codec="libx264", crf=16)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", type=Path, nargs="+", help="a camera's recording; two or more")
    parser.add_argument(
        "--base", metavar="N|NAME", default="0", help="whose clock is the common one; default 0, the first file"
    )
    parser.add_argument(
        "--global-shutter",
        metavar="N|NAME",
        action="append",
        default=[],
        help="a camera that exposes all rows at once; may be given more than once",
    )
    parser.add_argument(
        "--hint",
        metavar="NAME=FRAME",
        action="append",
        default=[],
        help="a frame of a camera that shows a flash, the same for each; only where the offsets are not found",
    )
    parser.add_argument("--no-cache", action="store_true", help="read all files again, and keep nothing of them")
    files = parser.add_argument_group("files to write")
    files.add_argument("--json", type=Path, metavar="FILE", help="the clocks, for vs_align.FlashSync.load")
    files.add_argument("--yaml", type=Path, metavar="FILE", help="the same, as YAML")
    files.add_argument(
        "--show-flashes", type=Path, metavar="FILE", help="flashes and residuals, drawn: .png, .svg, .pdf"
    )
    files.add_argument("--preview", type=Path, metavar="FILE", help="all cameras in a grid, on one clock: .mp4 or .mkv")
    files.add_argument(
        "--out-dir", type=Path, metavar="DIR", help="a synchronised .mkv of each camera, all of one length"
    )
    arguments.add_force(files)


def _run(options: argparse.Namespace, console: Console) -> None:
    for path in options.files:
        check_input(path)
    check = Checks("vs_align.flash")
    _, names = names_of(check, options.files, None)
    base = _camera(check, options.base, names, "--base")
    still = [_camera(check, each, names, "--global-shutter") for each in options.global_shutter]
    hint = dict(_hint(check, each, names) for each in options.hint)
    synced = _check(options, names)
    keep = not options.no_cache
    try:
        found = vs_align.flash(
            options.files, base, global_shutter=still, hint=hint, cache=keep, progress=console.progress
        )
    except KeyboardInterrupt:
        # A plugin may still be indexing in a thread of ours.
        raise Abandoned from None
    console.done()
    for path in (options.json, options.yaml):
        if path is not None:
            found.save(path)
    console.show(_report(found))
    if options.show_flashes is not None:
        found.plot(options.show_flashes)
    _encode(found, options.preview, synced, console)


def _camera(check: Checks, value: str, names: list[str], what: str) -> str:
    """Return the camera that a name, a file's name or a number means."""
    if value in names:
        return value
    return camera_name(check, int(value) if re.fullmatch(r"\d{1,9}", value) else value, names, what)


def _hint(check: Checks, text: str, names: list[str]) -> tuple[str, int]:
    """Read the camera and the frame of NAME=FRAME."""
    name, _, frame = text.rpartition("=")
    if not name or not re.fullmatch(r"\d{1,9}", frame):
        raise Refusal(f"--hint must be a camera and a frame, such as {names[0]}=120, not {text!r}.")
    return _camera(check, name, names, "--hint"), int(frame)


def _check(options: argparse.Namespace, names: list[str]) -> list[Path]:
    """Refuse outputs that cannot be, before any work is done; return those of --out-dir."""
    check = Checks("vs_align.flash")
    for path, endings in ((options.json, {".json"}), (options.yaml, {".yaml", ".yml"})):
        if path is not None and path.suffix.lower() not in endings:
            raise Refusal(f"{path} must end in {' or '.join(sorted(endings))}.")
        if path is not None:
            check_path(check, path)
    if options.show_flashes is not None:
        if options.show_flashes.suffix.lower() not in _DRAWN:
            raise Refusal(f"{options.show_flashes} has no ending of a drawing; name it .png, .svg or .pdf.")
        need("matplotlib", "plot", "drawing")
    synced = []
    if options.out_dir is not None:
        make_folder(options.out_dir)
        synced = [options.out_dir / f"{re.sub(r'[^\w .+-]', '_', name)}_synced.mkv" for name in names]
    outputs = [options.json, options.yaml, options.show_flashes, options.preview, *synced]
    check_outputs(outputs, options.files, options.force)
    if options.preview is not None:
        from ..montage import MOST_CAMERAS

        if len(names) > MOST_CAMERAS:
            raise Refusal(f"--preview shows up to {MOST_CAMERAS} cameras, not {len(names)}; leave it out.")
        check_encoding(options.preview, _PREVIEW)
    for path in synced[:1]:
        check_encoding(path, _SYNCED)
    return synced


def _report(found: vs_align.FlashSync) -> str:
    common = sum(len(flash.sightings) > 1 for flash in found.flashes)
    lasting = "" if found.fit is None else f"; they last {found.fit.flash_length_ms:.2f} ms"
    lines = [f"flashes          {common} seen by two cameras or more{lasting}"]
    for camera in found.cameras:
        clip, clock, errors = camera.clip, found.clocks[camera.name], found.errors[camera.name]
        rate = rate_name(Fraction(clip.fps_num, clip.fps_den) if clip.fps_num else None)
        what = f"{clip.width}x{clip.height}, {rate}, {clip.num_frames} frames"
        used, left = _used(found, camera.name)
        rows = clock.time_per_row * clip.height
        lines += [
            "",
            f"{camera.name}{' (base)' if camera.name == found.base else ''}: {what}",
            f"  time offset    {clock.shift / 1000:+.6f} s   (standard error {errors.shift:.3f} ms)",
            f"  clock drift    {clock.drift:.9f}   ({1e6 * (clock.drift - 1):+.2f} ppm, standard error "
            f"{1e6 * errors.drift:.2f})",
            f"  time per row   {clock.time_per_row:.6f} ms   (standard error {errors.time_per_row:.6f}; "
            f"{rows:.2f} ms for all rows)",
            f"  exposure       {clock.exposure:.3f} ms   (standard error {errors.exposure:.3f})",
            f"  flashes        {used} used of {len(found.events[camera.name].sightings)} seen",
            f"  residual       {'none, rows do not time it' if left is None else f'{left:.3f} ms'}",
        ]
    return "\n".join(lines)


def _used(found: vs_align.FlashSync, name: str) -> tuple[int, float | None]:
    """Return how many flashes of a camera were used, and the root mean square of what is left of their edges in ms."""
    own = [each for each in found.residuals if each.camera == name and each.inlier]
    if not own:
        return sum(name in flash.sightings and len(flash.sightings) > 1 for flash in found.flashes), None
    errors = np.array([each.error_ms for each in own])
    return len({each.flash for each in own}), float(np.sqrt((errors**2).mean()))


def _encode(found: vs_align.FlashSync, preview: Path | None, synced: list[Path], console: Console) -> None:
    line: TimeLine = found.line()
    times = None if line.steady else line.times_ms
    if preview is not None:
        from ..montage import montage

        shown = montage(found)
        encode(shown, preview, _PREVIEW, console, f"encoding {preview.name}", times_ms=times)
        console.note(f"{preview}: {shown.num_frames} frames, {shown.width}x{shown.height}.")
    for path, clip, name in zip(synced, found.clips() if synced else [], found.names, strict=False):
        encode(clip, path, _SYNCED, console, f"encoding {path.name}", times_ms=times)
        dropped = int(found.picks(name, line).dropped.sum())
        console.note(f"{path}: {clip.num_frames} frames, {dropped} of them dropped by the camera and black.")


COMMAND = Command(
    name="flash",
    usage="FILE FILE...",
    summary="Put several cameras on one clock, to a fraction of a millisecond, by the flashes that they saw.",
    example=_EXAMPLE,
    arguments=_arguments,
    run=_run,
)
