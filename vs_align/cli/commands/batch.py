"""``vs-align batch``: many pairs at once, or a long film in chunks."""

import argparse
import os
from contextlib import AbstractContextManager
from pathlib import Path

from .. import arguments
from ..batch.course import Course
from ..batch.made import RECORD, SUMMARY, Made
from ..batch.pairs import read_pairs
from ..batch.run import Batch, work_folder
from ..batch.settings import ENCODE, settings_of
from ..batch.summary import check_summary
from ..batch.team import Team, check_address, local, remote
from ..command import Command
from ..console import Console
from ..encode import check_encoding
from ..faults import Refusal
from ..files import check_input, check_outputs, make_folder, need

__all__ = ["COMMAND"]

_EXAMPLE = """\
example:
  vs-align batch pairs.csv --out-dir results --jobs 4

pairs.csv has a line for each pair below the names of its columns: clip,ref and, where wanted, name, out and any
option marked *. What is whole in DIR and was made of the same files with the same options is not made again."""

# Of `analyse` and `render`, which say what they may be.
_HANDED_ON = (
    ("similarity", "NAME", "* the measure, as for analyse"),
    ("tr", "FRAMES", "* the same; with --match window, how far it reaches"),
    ("geometry", "HOW", "* the same: auto or none"),
    ("clip-rate", "FPS", "* the same"),
    ("ref-rate", "FPS", "* the same"),
    ("device", "DEVICE", "* the same"),
    ("engine", "NAME", "* the same"),
    ("model", "NAME", "* the same"),
    ("weights", "FILE", "* the same"),
    ("codec", "NAME", "* the encoder, as for render"),
    ("crf", "CRF", "* the same"),
    ("preset", "NAME", "* the same"),
    ("audio", "WHOSE", "* the same: clip, ref or none"),
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pairs", metavar="PAIRS", type=Path, help="the list of pairs, CSV")
    parser.add_argument("--out-dir", metavar="DIR", type=Path, required=True, help="the folder of results")
    parser.add_argument("--jobs", metavar="N", type=arguments.at_least_one, help="processes here; default: CPU cores")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, whose workers do it instead")
    parser.add_argument("--render", action="store_true", help="write the synchronised video of each pair as well")
    parser.add_argument(
        "--match",
        choices=["path", "window"],
        default="path",
        metavar="HOW",
        help="path (default): as analyse; window: each frame by itself",
    )
    parser.add_argument(
        "--chunk-frames", metavar="N", type=arguments.at_least_one, help="divide films so; with --match window"
    )
    for name, value, says in _HANDED_ON:
        parser.add_argument(f"--{name}", metavar=value, help=says)
    parser.add_argument("--force", action="store_true", help="make all again, and overwrite files that are there")


def _run(options: argparse.Namespace, console: Console) -> None:
    if options.scheduler is not None and options.jobs is not None:
        raise Refusal("--jobs is for this machine, --scheduler for its workers; leave one out.")
    if options.chunk_frames is not None and options.match != "window":
        raise Refusal("--chunk-frames needs --match window: the best path goes over the whole film; pass both.")
    for name in ENCODE:
        if getattr(options, name) is not None and not options.render:
            raise Refusal(f"--{name} is for the videos that --render writes; pass both.")
    if options.scheduler is not None:
        check_address(options.scheduler)
    need("distributed", "batch", "batch")
    check_input(options.pairs, "a list of pairs")
    pairs = read_pairs(options.pairs)
    settings = settings_of(options, pairs)
    folder = _folder(options)
    if options.render:
        for ending, encoding in {
            (Path(pair.out).suffix, each.encoding()) for pair, each in zip(pairs, settings, strict=True)
        }:
            check_encoding(folder / f"video{ending}", encoding)
    with work_folder(folder) as place:
        made = Made(folder, options.force)
        batch = Batch([Course(*each, made, folder) for each in zip(pairs, settings, strict=True)], folder, console)
        jobs = batch.begin(options.force)
        if jobs:
            with _team(options, len(jobs)) as workers:
                batch.run(workers, jobs, place)
        batch.finish()


def _team(options: argparse.Namespace, jobs: int) -> AbstractContextManager[Team]:
    """Return the workers that are asked for; here no more than there is work for."""
    if options.scheduler is not None:
        return remote(options.scheduler)
    wanted = options.jobs or os.cpu_count() or 1
    return local(wanted if options.chunk_frames else min(wanted, jobs))


def _folder(options: argparse.Namespace) -> Path:
    """Return the folder of results, made if need be."""
    folder: Path = options.out_dir.absolute()
    make_folder(folder)
    check_outputs([folder / SUMMARY, folder / RECORD], [options.pairs], force=True)
    check_summary(folder, options.force)
    return folder


COMMAND = Command(
    name="batch",
    usage="PAIRS --out-dir DIR",
    summary="Do many pairs at once, here or on many machines; or a long film in chunks.",
    example=_EXAMPLE,
    arguments=_arguments,
    run=_run,
)
