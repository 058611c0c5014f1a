"""FineGym: parts of gymnastic routines and their classes.

    ROOT/annotations/gym99_SPLIT_element*.txt, or gym288_SPLIT_element*.txt, as they are published: lines such as
                                              0LtLS9wROrk_E_002407_002435_A_0003_0005 5
    ROOT/subactions/0LtLS9wROrk_E_002407_002435_A_0003_0005.mp4

The label is the class and holds for the whole clip.
"""

import re
from pathlib import Path

from .files import lines, need_folder, need_video, whole_number
from .table import AnnotationError, Table

__all__ = ["load"]

_NAME = re.compile(r".{11}_E_\d{6}_\d{6}_A_\d{4}_\d{4}")


def load(root: Path, split: str) -> Table:
    """Return the clips of a split.

    Args:
        root: the data set's folder.
        split: "train" or "val".

    Raises:
        AnnotationError: the data set is not there, or not in this layout.
    """
    folder = need_folder(need_folder(root, "give the folder of FineGym") / "annotations", "FineGym has one")
    lists = sorted(folder.glob(f"gym99_{split}_element*.txt")) or sorted(folder.glob(f"gym288_{split}_element*.txt"))
    if not lists:
        raise AnnotationError(f"there is no file gym99_{split}_element*.txt in {folder}: the data set is not whole")
    rows = []
    for number, line in lines(lists[-1]):
        name, _, label = line.rpartition(" ")
        if not _NAME.fullmatch(name):
            raise AnnotationError.at(
                lists[-1], number, f"write ID_E_002407_002435_A_0003_0005 CLASS, not {line[:60]!r}"
            )
        kind = whole_number(label, lists[-1], number, "the class")
        rows.append((name, [need_video(root / "subactions" / name, lists[-1], number)], [0], [(kind,)]))
    if not rows:
        raise AnnotationError(f"{lists[-1]} names no clips")
    return Table.of(rows)
