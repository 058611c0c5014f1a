"""The row features of a camera: read once, and kept on disk by what the file holds."""

import logging
import tempfile
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..flashes import RowFeatures, row_brightness
from ..frames import plane
from ..models import cache_folder
from .cameras import Camera
from .file_key import file_key
from .geometry import luma
from .reading import Progress, Report, in_order

__all__ = ["row_features", "times_of"]

type Floats = NDArray[np.float64]

_log = logging.getLogger("vs_align")

# Changed whenever other features are computed.
_VERSION = 1
# Features are kept in parts of a grey value, in 16 bits.
_STEPS = 256
# A row of more rows than this tells nothing more of when a flash was.
_MOST_ROWS = 1080


def row_features(camera: Camera, cache: bool, report: Report | None = None) -> RowFeatures:
    """Return the brightness of the rows of every frame, from the cache where it is there.

    Args:
        camera: the recording; every frame is read.
        cache: whether features of files are kept in the cache folder, and taken from there.
        report: is told how far it is.
    """
    kept = _place(camera) if cache and camera.path is not None else None
    found = None if kept is None else _load(kept, camera)
    if found is None:
        found = _read(camera, report)
        if kept is not None:
            _save(kept, *found)
    rows, times = found
    return RowFeatures(np.divide(rows, _STEPS, dtype=np.float32), times, camera.clip.height)


def times_of(camera: Camera) -> Floats:
    """Return when each frame is shown in ms, shape (F,); where the camera does not say, all frames are read."""
    if camera.times_ms is not None:
        return camera.times_ms
    stamps = _Stamps(camera.clip)
    for _, frame in in_order(camera.clip, range(camera.clip.num_frames)):
        stamps.add(frame)
    return stamps.times_ms()


def _read(camera: Camera, report: Report | None) -> tuple[NDArray[np.uint16], Floats]:
    clip = camera.clip
    binned, count = _binned(clip.height), clip.num_frames
    rows = np.empty((count, clip.height // binned), np.uint16)
    stamps = _Stamps(clip)
    progress = Progress(f"reading {camera.name}", count, report)
    source = _grey(clip)
    for n, frame in in_order(source, range(count)):
        values = row_brightness(plane(frame, 0)).reshape(-1, binned).mean(axis=1)
        rows[n] = np.rint(_STEPS * values)
        stamps.add(frame)
        progress.step()
    return rows, stamps.times_ms() if camera.times_ms is None else camera.times_ms


def _grey(clip: vs.VideoNode) -> vs.VideoNode:
    """Return a clip whose first plane is 8 bit luma; that of the clip itself where it is, which saves a copy."""
    fmt = clip.format
    ready = fmt.color_family != vs.RGB and fmt.sample_type == vs.INTEGER and fmt.bits_per_sample == 8
    return clip if ready else luma(clip)


def _binned(height: int) -> int:
    """Return how many rows become one: the fewest that divide the height and leave few enough."""
    least = -(-height // _MOST_ROWS)
    return next((k for k in range(least, 3 * least) if height % k == 0), 1)


class _Stamps:
    """When frames are shown: by their absolute times, else by how long each lasts, else by the clip's rate."""

    def __init__(self, clip: vs.VideoNode) -> None:
        self._usual = Fraction(clip.fps_den, clip.fps_num) if clip.fps_num else Fraction(1, 25)
        self._absolute: list[float] = []
        self._next, self._begins = Fraction(0), list[Fraction]()

    def add(self, frame: vs.VideoFrame) -> None:
        """Take note of the next frame."""
        props = frame.props
        if "_AbsoluteTime" in props:
            self._absolute.append(float(cast(float, props["_AbsoluteTime"])))
        self._begins.append(self._next)
        num, den = (int(cast(int, props.get(name, 0))) for name in ("_DurationNum", "_DurationDen"))
        self._next += Fraction(num, den) if num > 0 and den > 0 else self._usual

    def times_ms(self) -> Floats:
        """Return all times in ms."""
        absolute = np.array(self._absolute)
        if len(absolute) == len(self._begins) and (np.diff(absolute) > 0).all():
            return 1000 * absolute
        return np.array([float(1000 * begin) for begin in self._begins])


def _place(camera: Camera) -> Path | None:
    """Return where a file's features are kept."""
    path = cast(Path, camera.path)
    try:
        key = file_key(path, f"{_VERSION} {camera.clip.num_frames}")
    except OSError as error:
        _log.info("the rows of %s are not kept: %s.", path, error.strerror)
        return None
    return cache_folder() / "flashes" / f"{key}.npz"


def _load(kept: Path, camera: Camera) -> tuple[NDArray[np.uint16], Floats] | None:
    """Return what is kept; None where there is nothing, or something else, or it is damaged."""
    clip = camera.clip
    try:
        with np.load(kept, allow_pickle=False) as file:
            rows, times = file["rows"], file["times_ms"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.info("%s is damaged and is made anew: %s", kept, error)
        return None
    shape = clip.num_frames, clip.height // _binned(clip.height)
    if rows.shape != shape or rows.dtype != np.uint16 or times.shape != shape[:1] or times.dtype != np.float64:
        _log.info("%s holds something else and is made anew", kept)
        return None
    return rows, times


def _save(kept: Path, rows: NDArray[np.uint16], times: Floats) -> None:
    """Keep features, whole or not at all; that they cannot be kept is no fault."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".part-") as folder:
            part = Path(folder) / kept.name
            np.savez(part, rows=rows, times_ms=times)
            part.replace(kept)
    except OSError as error:
        _log.info("rows cannot be kept in %s: %s", kept.parent, error.strerror)
