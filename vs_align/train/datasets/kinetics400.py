"""Kinetics-400: clips of ten seconds and their classes.

    ROOT/annotations/SPLIT.csv      label,youtube_id,time_start,time_end,split, as it is published; others after these
    ROOT/SPLIT/LABEL/ID_000010_000020.mp4, or ROOT/SPLIT/ID_000010_000020.mp4

Many of its videos are no longer to be had: clips without a file are left out. The label is the class's place among
those of the file, in the alphabet's order, and holds for the whole clip.
"""

import csv
import logging
from pathlib import Path

from .files import found_video, lines, need_folder, whole_number
from .table import AnnotationError, Table

__all__ = ["load"]

_log = logging.getLogger("vs_align.train")
_COLUMNS = ["label", "youtube_id", "time_start", "time_end", "split"]


def load(root: Path, split: str) -> Table:
    """Return the clips of a split that are there.

    Args:
        root: the data set's folder.
        split: "train", "val" or "test".

    Raises:
        AnnotationError: the data set is not there, or not in this layout.
    """
    need_folder(root, "give the folder of Kinetics-400")
    path = root / "annotations" / f"{split}.csv"
    found, missing = [], 0
    named = _clips(path)
    for label, name in named:
        folder = root / split
        video = found_video(folder / label / name) or found_video(folder / name)
        if video is None:
            missing += 1
        else:
            found.append((label, name, video))
    if not found:
        raise AnnotationError(f"{path} names {missing} clips and none is in {root / split}")
    if missing:
        _log.info("%d of %d clips of %s are not there and left out", missing, missing + len(found), path)
    classes = {label: place for place, label in enumerate(sorted({label for label, _ in named}))}
    return Table.of((name, [video], [0], [(classes[label],)]) for label, name, video in found)


def _clips(path: Path) -> list[tuple[str, str]]:
    """Return class and name of each clip that the file names."""
    made: list[tuple[str, str]] = []
    columns = _COLUMNS
    for number, line in lines(path):
        cells = next(csv.reader([line]))
        if not made and cells[: len(_COLUMNS)] == _COLUMNS:
            columns = cells
            continue
        if len(cells) != len(columns):
            raise AnnotationError.at(path, number, f"there must be {len(columns)} values, {','.join(columns)}")
        begin, end = (
            whole_number(cell, path, number, _COLUMNS[place]) for place, cell in ((2, cells[2]), (3, cells[3]))
        )
        if end <= begin:
            raise AnnotationError.at(path, number, f"time_end must be after time_start ({begin}), not {end}")
        made.append((cells[0], f"{cells[1]}_{begin:06d}_{end:06d}"))
    return made
