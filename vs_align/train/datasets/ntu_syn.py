"""NTU-SYN (Wu et al., ICCV workshops 2019): pairs of cameras of NTU RGB+D, put out of step by known numbers of frames.

    ROOT/NTU-SYN/pose/SPLIT/S001C002P001R002A007_rgb.avi.json   category_id: the frame at which this recording begins
    ROOT/raw_videos/S001C002P001R002A007_rgb.avi                NTU RGB+D's own files

Cameras C001 and C002 of one scene, performer, replication and action are a pair. The cameras run in step; a
recording is what is left of its file from that frame on, as the public code of "Beyond Audio and Pose" cuts it.
"""

import re
from pathlib import Path
from typing import Any

from .files import lines, load_json, need_folder, need_video, whole_number
from .table import AnnotationError, Table

__all__ = ["load"]

_NAME = re.compile(r"(S\d{3})C(\d{3})(P\d{3}R\d{3}A\d{3})_rgb\.avi\.json")


def load(root: Path, split: str) -> Table:
    """Return the pairs of a split.

    Args:
        root: the data set's folder.
        split: a folder of ``NTU-SYN/pose``.

    Raises:
        AnnotationError: the data set is not there, or not in this layout.
    """
    folder = need_folder(root / "NTU-SYN" / "pose" / split, "give the folder of NTU-SYN, and one of its splits")
    rows = []
    for path in sorted(folder.rglob("*.json")):
        named = _NAME.fullmatch(path.name)
        if named is None:
            raise AnnotationError(f"{path} is not named as S001C002P001R002A007_rgb.avi.json")
        if named[2] != "001":
            continue
        pair = [path, path.with_name(f"{named[1]}C002{named[3]}_rgb.avi.json")]
        videos = [need_video(root / "raw_videos" / part.name.removesuffix(".json"), part, 1) for part in pair]
        labels = [(_begin(load_json(part), part),) for part in pair]
        rows.append((f"{named[1]}{named[3]}", videos, [0, 0], labels))
    if not rows:
        raise AnnotationError(f"{folder} holds no annotations of camera C001")
    return Table.of(rows)


def _begin(content: Any, path: Path) -> int:
    if not isinstance(content, dict) or "category_id" not in content:
        raise AnnotationError.at(path, 1, "there is no category_id, the frame at which the camera begins")
    line = next((number for number, text in lines(path) if '"category_id"' in text), 1)
    return whole_number(content["category_id"], path, line, "category_id")
