"""The one table that every data set becomes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..faults import TrainFault

__all__ = ["AnnotationError", "Row", "Table"]


class AnnotationError(TrainFault, ValueError):
    """An annotation that is missing or malformed: one line that names file and line."""

    @classmethod
    def at(cls, path: Path, line: int, what: str) -> "AnnotationError":
        """Return the fault of a line, counted from 1."""
        return cls(f"{path}, line {line}: {what}")


@dataclass(frozen=True, slots=True)
class Row:
    """A pair of videos of one action, or one video of which two views are made.

    Attributes:
        id: its number in the table, from 0.
        name: what the data set calls it.
        video_file_0, video_file_1: video files, or folders of pictures; the same for one video.
        seq_len_0, seq_len_1: how many frames they have; 0: not known.
        label_0, label_1: whole numbers, None where there are none. One for each frame: the phase of the action. A
            single one: of a pair, the frame of its file at which a recording begins, where frames of one number in both
            files are of one moment; of one video, the class of all of it.
    """

    id: int
    name: str
    video_file_0: Path
    video_file_1: Path
    seq_len_0: int = 0
    seq_len_1: int = 0
    label_0: tuple[int, ...] | None = None
    label_1: tuple[int, ...] | None = None

    @property
    def paired(self) -> bool:
        """Whether there are two videos."""
        return self.video_file_0 != self.video_file_1


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one data set and split."""

    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def videos(self) -> tuple[Path, ...]:
        """All videos, each once, in order."""
        return tuple(dict.fromkeys(video for row in self.rows for video in (row.video_file_0, row.video_file_1)))

    @classmethod
    def of(cls, rows: Iterable[tuple[str, Sequence[Path], Sequence[int], Sequence[Sequence[int] | None]]]) -> "Table":
        """Number rows of name, videos, lengths and labels; where there is one of each it counts for both."""
        made = []
        for number, (name, videos, lengths, labels) in enumerate(rows):
            kept = [None if label is None else tuple(label) for label in labels]
            made.append(Row(number, name, videos[0], videos[-1], lengths[0], lengths[-1], kept[0], kept[-1]))
        return cls(tuple(made))
