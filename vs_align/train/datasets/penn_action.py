"""Penn Action: actions as folders of pictures.

    ROOT/frames/0001/000001.jpg
    ROOT/labels/0001.mat            action, train (1: for training, -1: for testing), nframes, as it is published

A row is a video; its name is ACTION/0001. There are no phases in the data set: the label is the action's place among
those of all files, in the alphabet's order, and holds for the whole video. Needs SciPy, which scikit-learn brings.
"""

from pathlib import Path
from typing import Any

from .files import PICTURES, need_folder
from .table import AnnotationError, Table

__all__ = ["load"]


def load(root: Path, split: str) -> Table:
    """Return the videos of a split.

    Args:
        root: the data set's folder.
        split: "train"; "val" and "test" are the same.

    Raises:
        AnnotationError: the data set is not there, or not in this layout.
    """
    folder = need_folder(need_folder(root, "give the folder of Penn Action") / "labels", "Penn Action has one")
    known = [(path, *_annotation(path)) for path in sorted(folder.glob("*.mat"))]
    if not known:
        raise AnnotationError(f"{folder} holds no .mat files: the data set is not whole")
    classes = {action: place for place, action in enumerate(sorted({action for _, action, _, _ in known}))}
    rows = []
    for path, action, training, count in known:
        if training != (split == "train"):
            continue
        frames = root / "frames" / path.stem
        there = sum(1 for picture in frames.glob("*") if picture.suffix.lower() in PICTURES)
        if there != count:
            raise AnnotationError(f"{path}: nframes is {count}, and there are {there} pictures in {frames}")
        rows.append((f"{action}/{path.stem}", [frames], [count], [(classes[action],)]))
    if not rows:
        raise AnnotationError(f"{folder} holds no videos for {split}")
    return Table.of(rows)


def _annotation(path: Path) -> tuple[str, bool, int]:
    """Return action, whether it is for training, and number of frames."""
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(path)
    except Exception as fault:  # a truncated or foreign file fails in a dozen ways, none of them documented
        raise AnnotationError(f"{path} is not a MATLAB file ({' '.join(str(fault).split())[:100]})") from fault
    try:
        action = str(content["action"].item())
        training, count = int(content["train"].item()), int(content["nframes"].item())
    except (KeyError, ValueError, TypeError) as fault:
        raise AnnotationError(f"{path} lacks action, train or nframes, or has several: {fault}") from fault
    if training not in (1, -1) or count < 1:
        raise AnnotationError(f"{path}: train must be 1 or -1 and nframes above 0, not {training} and {count}")
    return action, training == 1, count
