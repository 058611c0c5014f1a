"""CMU Panoptic's sequences of one person, whose names have "pose" in them; the layout is in `panoptic`."""

from pathlib import Path

from .panoptic import load_pairs
from .table import Table

__all__ = ["load"]


def load(root: Path, split: str) -> Table:
    """Return the pairs of a split; see `panoptic.load_pairs`."""
    return load_pairs(root, split, lambda sequence: "pose" in sequence, "pose")
