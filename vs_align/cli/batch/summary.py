"""What came of all pairs: a table on stdout, and the same with more in it as CSV."""

import csv
import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...analysis.alignment import Alignment
from ...analysis.store import write_text
from ..faults import Refusal
from ..report import doubt
from .course import Course, State
from .made import SUMMARY

__all__ = ["check_summary", "shown", "write_summary"]

_COLUMNS = (
    *("name", "state", "ref_frames", "matched", "offset_frames", "offset_ms", "speed", "passages", "confidence"),
    *("table", "video", "clip", "ref", "reason"),
)
_HEAD = ",".join(_COLUMNS)
# On stdout, with the width of each; the reason, or the file, comes last.
_SHOWN = (("state", 6), ("matched", 13), ("offset_frames", 7), ("speed", 9), ("passages", 8), ("confidence", 10))


def check_summary(folder: Path, force: bool) -> None:
    """Refuse to overwrite a file of that name that is none."""
    path = folder / SUMMARY
    if path.exists() and not force and not path.read_bytes().startswith(_HEAD.encode()):
        raise Refusal(f"{path} is there already and is no summary of a batch; pass --force to overwrite it.")


def _row(course: Course, folder: Path) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(_COLUMNS, "")
    row |= {"name": course.pair.name, "state": course.state.value, "reason": course.reason}
    row |= {"clip": course.pair.clip, "ref": course.pair.ref}
    if course.state in (State.MADE, State.KEPT):
        row |= {"table": course.table, "video": course.video or ""}
        path = folder / course.table
        row |= _of_window(path) if path.suffix == ".csv" else _of_path(Alignment.load(path))
    return row


def _of_path(found: Alignment) -> dict[str, object]:
    matched = found.frame >= 0
    facts: dict[str, object] = {"ref_frames": len(matched), "matched": int(matched.sum())}
    facts |= {"passages": len(found.segments), "reason": doubt(found)}
    if matched.any():
        facts["confidence"] = f"{np.median(found.confidence[matched]):.3f}"
    if found.offset is not None:
        facts["offset_frames"] = found.offset.frames
        facts["offset_ms"] = "" if found.offset_ms is None else f"{found.offset_ms:.3f}"
    if found.drift is not None and found.drift.speed is not None:
        facts["speed"] = f"{found.drift.speed:.7g}"
    return facts


def _of_window(path: Path) -> dict[str, object]:
    rows = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    return {"ref_frames": len(rows), "matched": len(rows), "confidence": f"{np.median(rows[:, 3]):.3f}"}


def write_summary(courses: Sequence[Course], folder: Path) -> list[dict[str, object]]:
    """Write the table as CSV, whole or not at all; return its rows."""
    rows = [_row(course, folder) for course in courses]
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / SUMMARY, text.getvalue())
    return rows


def shown(rows: Sequence[dict[str, object]]) -> str:
    """Return the table for people."""
    wide = max(4, *(_width(str(row["name"])) for row in rows))
    head = f"{'name':<{wide}}  " + "  ".join(f"{name.removesuffix('_frames'):<{width}}" for name, width in _SHOWN)
    lines = [head + "  result"]
    for row in rows:
        said = dict(row)
        if row["matched"] != "":
            said["matched"] = f"{row['matched']}/{row['ref_frames']}"
        if row["offset_frames"] != "":
            said["offset_frames"] = f"{row['offset_frames']:+d}"
        parts = "  ".join(f"{said[name]!s:<{width}}" for name, width in _SHOWN)
        result = " ".join(str(row[name]) for name in ("table", "video", "reason") if row[name])
        name = str(row["name"])
        lines.append(f"{name}{' ' * (wide - _width(name))}  {parts}  {result}")
    return "\n".join(lines)


def _width(text: str) -> int:
    """Return how wide a terminal shows a text: ideographs two columns, accents none."""
    shown = (letter for letter in text if not unicodedata.combining(letter))
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in shown)
