"""CMU Panoptic: pairs of cameras that filmed one moment.

    ROOT/train.txt, val.txt, test.txt       a line for each pair: SEQUENCE CAMERA CAMERA, such as 171204_pose1 00 03;
                                            only SEQUENCE: its first two cameras
    ROOT/SEQUENCE/hdVideos/hd_00_NN.mp4     camera NN, as the data set's own scripts download it

The cameras run on one clock, so the first frames are of one moment: the labels are 0 and 0.
"""

from collections.abc import Callable
from pathlib import Path

from .files import lines, need_folder, need_video, whole_number
from .table import AnnotationError, Table

__all__ = ["load_pairs"]


def load_pairs(root: Path, split: str, taken: Callable[[str], bool], kind: str) -> Table:
    """Return the pairs of a split.

    Args:
        root: the data set's folder.
        split: "train", "val" or "test".
        taken: which sequences belong to it, by name.
        kind: what these are called in messages.

    Raises:
        AnnotationError: the data set is not there, or not in this layout.
    """
    need_folder(root, "give the folder of CMU Panoptic")
    listed = root / f"{split}.txt"
    rows = []
    for number, line in lines(listed):
        sequence, *cameras = line.split()
        if not taken(sequence):
            raise AnnotationError.at(listed, number, f"{sequence} is not a {kind} sequence")
        if len(cameras) not in (0, 2):
            raise AnnotationError.at(listed, number, f"write SEQUENCE CAMERA CAMERA or SEQUENCE alone, not {line!r}")
        folder = root / sequence / "hdVideos"
        if not folder.is_dir():
            raise AnnotationError.at(listed, number, f"there is no folder {folder}")
        places = [whole_number(camera, listed, number, "a camera") for camera in cameras]
        stems = [folder / f"hd_00_{place:02d}.mp4" for place in places] or sorted(folder.glob("hd_00_*.mp4"))[:2]
        if len(set(stems)) < 2:
            raise AnnotationError.at(listed, number, f"{sequence} needs two cameras")
        videos = [need_video(stem, listed, number) for stem in stems]
        rows.append((f"{sequence}_{videos[0].stem[-2:]}_{videos[1].stem[-2:]}", videos, [0, 0], [(0,), (0,)]))
    if not rows:
        raise AnnotationError(f"{listed} lists no sequences: write one a line")
    return Table.of(rows)
