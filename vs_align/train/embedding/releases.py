"""Films and made releases of them: zoomed, graded and encoded copies, as the frame network is shown them."""

import io
import logging
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...similarity.embedding.framing import IDENTITY, INPUT, Framing
from ...similarity.embedding.time_filters import high_pass
from ...similarity.small_luma import SMALL
from ..faults import TrainFault
from ..flow.sources import films
from ..x264 import REPEATABLE

__all__ = ["Film", "Films", "films_of", "zoom_matrix"]

_log = logging.getLogger("vs_align.train")

# Films are encoded at this size; like footage of DVDs and of the web.
_SIZE = (480, 360)
# The mean difference of luma, in 8 bit steps, below which two frames are taken for the same picture.
_SAME = 0.15
_STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

type Frames = NDArray[np.uint8]
"""Grey, (T, 360, 480)."""


@dataclass(frozen=True)
class Film:
    """A film in several releases.

    Attributes:
        name: of its file.
        files: .npy files, the film's own first: small luma, high-passed along time, float16, (T, 144, 192).
        framings: how the picture lies in each release.
        luma: the film's own, (T, 72, 96).
        same: [t, k]: frames t and t + k show the same, (T, K).
    """

    name: str
    files: tuple[Path, ...]
    framings: tuple[Framing, ...]
    luma: NDArray[np.uint8]
    same: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.luma)

    def pictures(self, release: int, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some frames of a release, high-passed."""
        whole = np.load(self.files[release], mmap_mode="r")
        return np.asarray(whole[frames], np.float32)


@dataclass(frozen=True)
class Films:
    """Films to train on, and others to validate with."""

    training: tuple[Film, ...]
    validation: tuple[Film, ...]

    def fingerprint(self) -> str:
        """Return what identifies those that are trained on."""
        total = 0
        for film in self.training:
            total = zlib.crc32(film.luma.tobytes(), total)
        return f"{sum(map(len, self.training))}-{total:08x}"


@contextmanager
def films_of(
    folder: Path | None,
    *,
    held_out: Sequence[str],
    unused: Sequence[str],
    most_frames: int,
    crfs: Sequence[int],
    reach: int,
    apart: int,
    seed: int,
) -> Iterator[Films]:
    """Lend the films of a folder with releases made of them, in temporary files.

    Args:
        folder: films; pictures that stand still are left out.
        held_out, unused: words; films with one of them in their path are for validation alone, or not used.
        most_frames: of a film.
        crfs: of x264, one release each.
        reach: frames on each side of the high pass along time.
        apart: frames up to which `Film.same` says anything; shorter films are left out.
        seed: of how the releases are made.

    Raises:
        TrainFault: there is nothing to train on.
    """
    if folder is None or not folder.is_dir():
        raise TrainFault("there is nothing to train on: give --footage a folder of videos")
    every = [path for path in films(folder, unused) if path.suffix.lower() not in _STILLS]
    training = set(films(folder, (*unused, *held_out)))
    with tempfile.TemporaryDirectory(prefix="vs_align_", ignore_cleanup_errors=True) as place:
        made: dict[Path, Film] = {}
        for number, path in enumerate(every):
            frames = _read(path, most_frames)
            if len(frames) <= apart:
                _log.warning("%s has too few frames that can be read and is left out", path)
                continue
            rng = np.random.default_rng([seed, number])
            made[path] = _made(path.name, frames, Path(place) / str(number), crfs, reach, apart, rng)
            _log.info("%s: %d frames in %d releases", path.name, len(frames), len(crfs) + 1)
        found = Films(
            tuple(film for path, film in made.items() if path in training),
            tuple(film for path, film in made.items() if path not in training),
        )
        if not found.training:
            raise TrainFault(f"nothing in {folder} can be trained on: correct held_out and unused, or the videos")
        yield found


def zoom_matrix(framing: Framing, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return where each pixel of a picture goes in a framing, 2x3; (x, y) at pixel centres."""
    (width, height), (across, down, right, below) = size, framing
    return np.array(
        [
            [across, 0, (1 - across) * (width - 1) / 2 + right * width / 2],
            [0, down, (1 - down) * (height - 1) / 2 + below * height / 2],
        ]
    )


def _made(
    name: str,
    frames: Frames,
    place: Path,
    crfs: Sequence[int],
    reach: int,
    apart: int,
    rng: np.random.Generator,
) -> Film:
    files, framings = [], [IDENTITY]
    own = _small(frames)
    files.append(_kept(own, reach, place.with_name(f"{place.name}_own.npy")))
    for crf in crfs:
        zoom, (right, below) = 1 + rng.uniform(-0.02, 0.05), rng.uniform(-0.02, 0.02, 2)
        framings.append(Framing(zoom, zoom, right, below))
        copy = _encoded(_graded(frames, framings[-1], rng.uniform(0.75, 1.3)), crf)
        files.append(_kept(_small(copy), reach, place.with_name(f"{place.name}_{crf}.npy")))
    same = np.zeros((len(own), apart), np.bool_)
    for k in range(min(apart, len(own))):
        same[: len(own) - k, k] = np.abs(own[k:] - own[: len(own) - k]).mean((1, 2)) < _SAME
    luma = np.stack([cv2.resize(picture, INPUT, interpolation=cv2.INTER_AREA) for picture in own])
    return Film(name, tuple(files), tuple(framings), luma.clip(0, 255).astype(np.uint8), same)


def _kept(small: NDArray[np.float32], reach: int, path: Path) -> Path:
    filtered = [
        high_pass(list(small[max(0, n - reach) : n + reach + 1]), n - max(0, n - reach)) for n in range(len(small))
    ]
    np.save(path, np.stack(filtered).astype(np.float16))
    return path


def _small(frames: Frames) -> NDArray[np.float32]:
    return np.stack([cv2.resize(f.astype(np.float32), SMALL, interpolation=cv2.INTER_AREA) for f in frames])


def _graded(frames: Frames, framing: Framing, gamma: float) -> Frames:
    matrix = zoom_matrix(framing, _SIZE)
    curve = (255 * (np.arange(256) / 255) ** gamma).clip(0, 255).astype(np.uint8)
    copies: list[NDArray[Any]] = []
    for frame in frames:
        zoomed = cv2.warpAffine(frame, matrix, _SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        copies.append(cv2.LUT(zoomed, curve))
    return np.stack(copies)


def _encoded(frames: Frames, crf: int) -> Frames:
    """Send frames through x264."""
    import av

    options = {"crf": str(crf), "preset": "veryfast", **REPEATABLE}
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="matroska") as sink:
        stream: Any = sink.add_stream("libx264", rate=24, options=options)
        stream.width, stream.height, stream.pix_fmt = *_SIZE, "gray"
        for frame in frames:
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "gray")))
        sink.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as source:
        shown: list[NDArray[Any]] = [frame.to_ndarray(format="gray") for frame in source.decode(video=0)]
    return np.stack(shown)


def _read(path: Path, most: int) -> Frames:
    """Read the first frames of a film; what cannot be read is named, and no frame returned."""
    import av

    frames: list[NDArray[Any]] = []
    try:
        with av.open(str(path)) as source:
            if not source.streams.video:
                return np.zeros((0, *_SIZE[::-1]), np.uint8)
            source.streams.video[0].thread_type = "AUTO"
            for frame in source.decode(video=0):
                frames.append(frame.reformat(*_SIZE, "gray").to_ndarray())
                if len(frames) == most:
                    break
    except (OSError, ValueError, av.FFmpegError) as fault:
        _log.warning("%s cannot be read to its end: %s", path, " ".join(str(fault).split()))
    return np.stack(frames) if frames else np.zeros((0, *_SIZE[::-1]), np.uint8)
