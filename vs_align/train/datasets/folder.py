"""A plain folder of videos: one video a row, of which two views are made."""

from pathlib import Path

from .files import VIDEOS, need_folder
from .table import AnnotationError, Table

__all__ = ["load"]


def load(root: Path, split: str = "") -> Table:
    """Return all videos below a folder, by path.

    Args:
        root: the folder.
        split: none; a folder below it is named instead.

    Raises:
        AnnotationError: there is no such folder, or no video in it.
    """
    need_folder(root, "give a folder of videos")
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in VIDEOS)
    if not found:
        raise AnnotationError(f"{root} holds no videos ({', '.join(VIDEOS)}): give a folder that does")
    return Table.of((path.relative_to(root).as_posix(), [path], [0], [None]) for path in found)
