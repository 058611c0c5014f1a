"""Pictures to train on: frames of films, photographs, and pictures painted by code."""

import logging
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..faults import TrainFault
from . import paint
from .config import FlowConfig

__all__ = ["Bank", "Banks", "Picture", "SourceError", "banks", "films", "fingerprint", "load", "photographs", "shelved"]

type Picture = NDArray[np.uint8]
"""RGB, shape (H, W, 3)."""
type Groups = tuple[tuple[Picture, ...], ...]
"""Frames and photographs, grouped by where they come from, so that a long film counts no more than a still."""

_log = logging.getLogger("vs_align.train")
_FILMS = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".gif", ".y4m")
_STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_MOST_SIDE = 1440
_LEAST_SIDE = 96
_DARK = 6.0
_VALIDATION_FRAMES = 2


class SourceError(TrainFault, ValueError):
    """Footage that cannot be trained on. One line that says what to do."""


@dataclass(frozen=True)
class Bank:
    """Pictures to draw from.

    Attributes:
        real: frames and photographs.
        painted: share of pictures that are painted by code, 0 to 1.
    """

    real: Groups
    painted: float

    def draw(self, rng: np.random.Generator, size: int) -> Picture:
        """Return a picture; ``size`` is the side of a painted one."""
        if not self.real or rng.random() < self.painted:
            return paint.picture(rng, size)
        group = self.real[rng.integers(len(self.real))]
        return group[rng.integers(len(group))]


@dataclass(frozen=True)
class Banks:
    """Pictures for training, and others for validation."""

    training: Bank
    validation: Bank


def banks(config: FlowConfig, footage: Path | None) -> Banks:
    """Read what a run trains on and is validated with.

    Args:
        config: the run.
        footage: folder of films and pictures; None: photographs and painted pictures alone.

    Raises:
        SourceError: the folder is missing, or holds no film or picture that can be used.
    """
    known = photographs() if config.photographs else ()
    if footage is None:
        return Banks(Bank(known, config.painted), Bank((), 1.0))
    if not footage.is_dir():
        raise SourceError(f"there is no folder {footage}: give --footage a folder of films and pictures")
    every = films(footage, config.unused)
    if not every:
        raise SourceError(f"{footage} holds no films or pictures: give --footage a folder that does, or none")
    used = films(footage, (*config.unused, *config.held_out))
    training, held = load(used, config.frames), load(sorted({*every} - {*used}), _VALIDATION_FRAMES)
    if not training:
        raise SourceError(f"nothing in {footage} is left to train on: correct held_out and unused")
    _log.info("%d films and pictures to train on, %d for validation", len(training + known), len(held))
    if not held:
        _log.info("nothing in %s is held out: validation is with painted pictures", footage)
    return Banks(Bank(training + known, config.painted), Bank(held, 0.0))


def films(folder: Path, leave_out: Sequence[str]) -> list[Path]:
    """Return the films and pictures under a folder, in order, but for those whose path has one of some words in it."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (*_FILMS, *_STILLS))
    return [path for path in found if not any(word in path.relative_to(folder).as_posix() for word in leave_out)]


def load(paths: Sequence[Path], frames: int) -> Groups:
    """Read some frames of each film, spread evenly, and pictures as they are.

    What cannot be read is named and left out.
    """
    import av

    groups = []
    for path in paths:
        try:
            pictures = _still(path) if path.suffix.lower() in _STILLS else _frames(path, frames)
        except (OSError, ValueError, cv2.error, av.FFmpegError) as fault:
            _log.warning("%s cannot be read and is left out: %s", path, " ".join(str(fault).split()))
            continue
        if pictures:
            groups.append(tuple(pictures))
    return tuple(groups)


@contextmanager
def shelved(bank: Bank) -> Iterator[Bank]:
    """Lend a bank to other processes: its pictures lie in a file that each of them maps, once in memory for all.

    In this process the bank that is lent holds no pictures.
    """
    # Windows does not delete a file that a process that is ending still maps.
    with tempfile.TemporaryDirectory(prefix="vs_align_", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "pictures"
        with path.open("wb") as file:
            real: Any = tuple(tuple(_Shelved(path, file, picture) for picture in group) for group in bank.real)
        yield replace(bank, real=real)


class _Shelved:
    """A picture that was put into a file. Another process that this is sent to has the picture in its place."""

    def __init__(self, path: Path, file: IO[bytes], picture: Picture) -> None:
        self._there = path, file.tell(), picture.shape
        file.write(np.ascontiguousarray(picture).data)

    def __reduce__(self) -> Any:
        return _mapped, self._there


def _mapped(path: Path, offset: int, shape: tuple[int, ...]) -> Picture:
    return np.asarray(np.memmap(path, np.uint8, "r", offset, shape))


def fingerprint(bank: Bank) -> str:
    """Return what identifies a bank's pictures."""
    total = 0
    for group in bank.real:
        for picture in group:
            total = zlib.crc32(np.ascontiguousarray(picture).data, zlib.crc32(str(picture.shape).encode(), total))
    return f"{sum(map(len, bank.real))}-{total:08x}"


def photographs() -> Groups:
    """Return the photographs that scikit-image and scikit-learn carry with them, of those that are installed."""
    groups: list[tuple[Picture, ...]] = []
    try:
        from skimage import data
    except ImportError:
        _log.info("scikit-image is not installed: its photographs are left out")
    else:
        names = ("astronaut", "chelsea", "coffee", "rocket", "camera", "brick", "grass", "gravel", "page", "text")
        groups += [(_rgb(getattr(data, name)()),) for name in names]
    try:
        from sklearn.datasets import load_sample_images
    except ImportError:
        _log.info("scikit-learn is not installed: its photographs are left out")
    else:
        groups += [(_rgb(image),) for image in load_sample_images().images]
    return tuple(groups)


def _still(path: Path) -> list[Picture]:
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("not a picture")
    return [_fitted(np.asarray(picture[..., ::-1], np.uint8, order="C"))]


def _frames(path: Path, count: int) -> list[Picture]:
    """Return frames spread over a film, without those that are black or flat."""
    import av

    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("it has no pictures")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        total = stream.frames or sum(1 for _ in container.decode(stream))
        container.seek(0)
        wanted = set(np.linspace(0, max(total - 1, 0), count + 2).astype(int)[1:-1].tolist())
        pictures = []
        for n, frame in enumerate(container.decode(stream)):
            if n in wanted:
                pictures.append(_fitted(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)))
            if n >= max(wanted):
                break
    return [picture for picture in pictures if picture.std() > _DARK]


def _fitted(picture: Picture) -> Picture:
    """Bring a picture to sides that are neither too long nor too short."""
    height, width = picture.shape[:2]
    scale = min(1.0, _MOST_SIDE / max(height, width))
    scale = max(scale, _LEAST_SIDE / min(height, width))
    if scale == 1:
        return picture
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=how).astype(np.uint8)


def _rgb(picture: NDArray[np.uint8]) -> Picture:
    return np.ascontiguousarray(np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture[..., :3])
