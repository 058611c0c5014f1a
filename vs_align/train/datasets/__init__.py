"""Data sets: a module for each layout, which makes one table of it. `load` finds them by name."""

import importlib
from pathlib import Path

from .table import AnnotationError, Row, Table

__all__ = ["NAMES", "AnnotationError", "Row", "Table", "load"]

NAMES = ("folder", "pouring", "penn_action", "finegym", "kinetics400", "ntu_syn", "panoptic_pose", "panoptic_multi")
"""What can be loaded: modules here, each with ``load(root, split)``."""


def load(name: str, root: Path, split: str = "train") -> Table:
    """Return the table of a data set.

    Args:
        name: out of `NAMES`.
        root: its folder.
        split: "train", "val" or "test", as far as it has one; "folder" has none.

    Raises:
        AnnotationError: the data set is not there, or not in the layout that its module describes.
    """
    if name not in NAMES:
        raise AnnotationError(f"there is no data set {name!r}: give one of {', '.join(NAMES)}")
    table: Table = importlib.import_module(f"{__package__}.{name}").load(root, split)
    return table
