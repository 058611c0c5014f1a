"""Videos as arrays of small frames: kept in a file that all processes map, or read when they are needed."""

import logging
import tempfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..faults import TrainFault

__all__ = ["Clips", "FileClips", "Footage", "StoredClips", "frames_of", "read_video", "shown_frames", "stored"]

_log = logging.getLogger("vs_align.train")
# A view is at most so much smaller than what it is cut from.
_SPARE = 1.15
_LONGEST = 2.0
_STILLS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")

type Frames = NDArray[np.uint8]
"""RGB, (T, H, W, 3)."""


class Clips(ABC):
    """Videos by number."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how many there are."""

    @abstractmethod
    def length(self, clip: int) -> int:
        """Return how many frames one has."""

    @abstractmethod
    def frames(self, clip: int, numbers: NDArray[np.int64]) -> Frames:
        """Return some of its frames; numbers rise."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return what identifies them all."""


@dataclass(frozen=True)
class StoredClips(Clips):
    """Videos in one file of raw frames.

    Attributes:
        path: the file.
        shapes: (T, H, W, 3) of each.
        offsets: where each begins, in bytes.
        print: of its content.
    """

    path: Path
    shapes: tuple[tuple[int, int, int, int], ...]
    offsets: tuple[int, ...]
    print: str

    def __len__(self) -> int:
        return len(self.shapes)

    def length(self, clip: int) -> int:
        """Return how many frames one has."""
        return self.shapes[clip][0]

    def frames(self, clip: int, numbers: NDArray[np.int64]) -> Frames:
        """Return some of its frames."""
        whole = np.memmap(self.path, np.uint8, "r", self.offsets[clip], self.shapes[clip])
        return np.array(whole[numbers])

    def fingerprint(self) -> str:
        """Return what identifies them all."""
        return self.print


@dataclass(frozen=True)
class FileClips(Clips):
    """Videos that are read anew each time.

    Attributes:
        paths: video files, or folders of pictures.
        lengths: how many frames each has.
        size: side of a view in pixels; frames come somewhat larger.
    """

    paths: tuple[Path, ...]
    lengths: tuple[int, ...]
    size: int

    def __len__(self) -> int:
        return len(self.paths)

    def length(self, clip: int) -> int:
        """Return how many frames one has."""
        return self.lengths[clip]

    def frames(self, clip: int, numbers: NDArray[np.int64]) -> Frames:
        """Return some of its frames."""
        return read_video(self.paths[clip], self.size, numbers)

    def fingerprint(self) -> str:
        """Return what identifies them all: names and lengths."""
        total = 0
        for path, length in zip(self.paths, self.lengths, strict=True):
            total = zlib.crc32(f"{path.name} {length}".encode(), total)
        return f"{len(self.paths)}-{total:08x}"


@dataclass(frozen=True)
class Footage:
    """Clips for training, and others for validation."""

    training: Clips
    validation: Clips


@contextmanager
def stored(paths: Sequence[Path], size: int, most_frames: int) -> Iterator[StoredClips]:
    """Read videos into a temporary file; those that cannot be read are named and left out.

    Args:
        paths: video files, or folders of pictures.
        size: side of a view in pixels; frames are kept somewhat larger.
        most_frames: of each, from its beginning on.
    """
    with tempfile.TemporaryDirectory(prefix="vs_align_", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "frames"
        shapes, offsets, total = [], [], 0
        with path.open("wb") as file:
            for video in paths:
                try:
                    frames = read_video(video, size, np.arange(most_frames))
                except TrainFault as fault:
                    _log.warning("%s; it is left out", fault)
                    continue
                offsets.append(file.tell())
                shapes.append(frames.shape)
                total = zlib.crc32(frames.data, zlib.crc32(str(frames.shape).encode(), total))
                file.write(frames.data)
        yield StoredClips(path, tuple(shapes), tuple(offsets), f"{len(shapes)}-{total:08x}")


def read_video(path: Path, size: int, numbers: NDArray[np.int64] | None = None) -> Frames:
    """Return frames of a video, somewhat larger than views of a size.

    Args:
        path: a video file, or a folder of pictures in the order of their names.
        size: side of the views in pixels.
        numbers: which frames, rising; those beyond the end are left out. None: all.

    Raises:
        TrainFault: it cannot be read, or has none of these frames.
    """
    frames = [_shrunk(frame, size) for frame in shown_frames(path, numbers)]
    if not frames:
        raise TrainFault(f"{path} has no frames: replace it, or leave it out")
    return np.stack(frames)


def shown_frames(path: Path, numbers: NDArray[np.int64] | None = None) -> Iterator[NDArray[np.uint8]]:
    """Yield frames of a video at full size, RGB; arguments and errors as for `read_video`."""
    wanted = None if numbers is None else set(numbers.tolist())
    last = np.inf if wanted is None else max(wanted, default=-1)
    with _readable(path) as frames:
        for n, frame in enumerate(frames):
            if n > last:
                return
            if wanted is None or n in wanted:
                yield frame()


def frames_of(path: Path) -> int:
    """Return how many frames a video has.

    Raises:
        TrainFault: it cannot be read.
    """
    with _readable(path) as frames:
        return sum(1 for _ in frames)


@contextmanager
def _readable(path: Path) -> Iterator[Iterator[Callable[[], NDArray[np.uint8]]]]:
    """Hand out a video's frames, each as what makes it; what is wrong with the file becomes one line."""
    import av

    try:
        yield _pictures(path) if path.is_dir() else _decoded(path)
    except (OSError, ValueError, av.FFmpegError) as fault:
        raise TrainFault(f"{path} cannot be read ({' '.join(str(fault).split())[:120]}): replace it") from fault


def _pictures(folder: Path) -> Iterator[Callable[[], NDArray[np.uint8]]]:
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in _STILLS):
        yield partial(_picture, path)


def _picture(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path.name} is not a picture")
    return np.asarray(picture[..., ::-1], np.uint8, order="C")


def _decoded(path: Path) -> Iterator[Callable[[], NDArray[np.uint8]]]:
    import av

    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("it has no pictures")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            yield partial(_rgb, frame)


def _rgb(frame: Any) -> NDArray[np.uint8]:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _shrunk(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    short = max(8, round(size * _SPARE))
    scale = min(1.0, short / min(height, width))
    sides = [max(1, min(round(side * scale), round(short * _LONGEST))) for side in (width, height)]
    if sides == [width, height]:
        return frame
    return np.asarray(cv2.resize(frame, sides, interpolation=cv2.INTER_AREA), np.uint8)
