"""The alignment that a command works with: read from a file, or found."""

import argparse
from pathlib import Path

import vs_align

from .console import Console
from .faults import Refusal
from .sources import Source

__all__ = ["find", "given_or_found", "load"]


def find(clip: Source, ref: Source, console: Console, **options: object) -> vs_align.Alignment:
    """Analyse two files from end to end; options are those of `vs_align.analyse`."""
    found = vs_align.analyse(clip.clip, ref.clip, progress=console.progress, **options)  # type: ignore[arg-type]
    console.done()
    return found


def load(path: Path, clip: Source | None = None, ref: Source | None = None) -> vs_align.Alignment:
    """Read an alignment; where two files are given, of these.

    Raises:
        Refusal: it cannot be read.
        ValueError: it is none, or of another pair.
    """
    try:
        return vs_align.Alignment.load(path, clip and clip.clip, ref and ref.clip)
    except OSError as error:
        raise Refusal(f"{path} cannot be read ({error.strerror}).") from None


def given_or_found(options: argparse.Namespace, clip: Source, ref: Source, console: Console) -> vs_align.Alignment:
    """Return the alignment that ``--alignment`` names; without that, find it."""
    if options.alignment is not None:
        return load(options.alignment, clip, ref)
    return find(clip, ref, console)
