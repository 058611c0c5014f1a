"""CMU Panoptic's sequences of several people: games, talks, meals. The layout is in `panoptic`."""

from pathlib import Path

from .panoptic import load_pairs
from .table import Table

__all__ = ["load"]


def load(root: Path, split: str) -> Table:
    """Return the pairs of a split; see `panoptic.load_pairs`."""
    return load_pairs(root, split, lambda sequence: "pose" not in sequence, "multi-human")
