"""Pouring: the records of "Temporal Cycle-Consistency Learning" (Dwibedi et al., CVPR 2019).

    ROOT/pouring_train*.tfrecord*, pouring_val*.tfrecord*      as they are published

A record is a TensorFlow SequenceExample with name in its context and the lists video (JPEG) and frame_labels. They are
unpacked once, into ROOT/unpacked/SPLIT/NAME/00000.jpg. A row is a video, its label the phase of each frame.
"""

from pathlib import Path

from .files import need_folder
from .records import SequenceExample, sequence_examples
from .table import AnnotationError, Table

__all__ = ["load"]


def load(root: Path, split: str) -> Table:
    """Return the videos of a split.

    Args:
        root: the data set's folder, in which they are unpacked.
        split: "train" or "val".

    Raises:
        AnnotationError: the data set is not there, or not in this layout.
    """
    need_folder(root, "give the folder of the Pouring records")
    files = sorted(path for path in root.glob(f"pouring_{split}*") if path.is_file())
    if not files:
        raise AnnotationError(f"there is no file pouring_{split}* in {root}: the data set is not whole")
    rows = []
    for path in files:
        for number, example in enumerate(sequence_examples(path), 1):
            name, phases = _checked(example, path, number)
            folder = root / "unpacked" / split / f"{path.name}-{number:03d}-{_plain(name)}"
            _unpack(example.lists["video"], folder)
            rows.append((name, [folder], [len(phases)], [phases]))
    return Table.of(rows)


def _checked(example: SequenceExample, path: Path, number: int) -> tuple[str, tuple[int, ...]]:
    """Return name and phases of a record; refuse one that is not whole."""
    where = f"{path}, record {number}"
    for key, kept in (("name", example.context), ("video", example.lists), ("frame_labels", example.lists)):
        if key not in kept:
            raise AnnotationError(f"{where}: there is no {key}")
    name, frames = example.context["name"][0], example.lists["video"]
    phases = tuple(value for value in example.lists["frame_labels"] if isinstance(value, int))
    if not frames or len(phases) != len(frames):
        raise AnnotationError(f"{where}: there are {len(frames)} frames and {len(phases)} labels")
    return (name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)), phases


def _plain(name: str) -> str:
    """Return a name without what a file's name may not have."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)[:80]


def _unpack(frames: list[bytes | int | float], folder: Path) -> None:
    """Write pictures into a folder, the last one last: where that is there, all are."""
    if (folder / f"{len(frames) - 1:05d}.jpg").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for place, frame in enumerate(frames):
        part = folder / f"{place:05d}.part"
        part.write_bytes(frame if isinstance(frame, bytes) else b"")
        part.replace(folder / f"{place:05d}.jpg")
