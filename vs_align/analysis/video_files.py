"""Video files opened with the time of every frame, through BestSource."""

import logging
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..checks import Checks
from ..models import cache_folder
from .reading import Report

__all__ = ["VideoFile", "open_video"]

type Floats = NDArray[np.float64]

_log = logging.getLogger("vs_align")

# BestSource keeps an index where that saves time, in folders that are named as the file's are; or keeps none.
_KEEPS_INDEX, _KEEPS_NONE = 1, 0


@dataclass(frozen=True, slots=True, eq=False)
class VideoFile:
    """A video file.

    Attributes:
        path: where it is.
        clip: its first video track.
        times_ms: when each frame is shown, as its container says, to 0.01 ms; shape (F,).
    """

    path: Path
    clip: vs.VideoNode
    times_ms: Floats


def open_video(check: Checks, path: Path, report: Report | None = None) -> VideoFile:
    """Open a video file. It is indexed first; an index is kept for the next time where that saves any.

    Args:
        check: whose name a message begins with.
        path: the file.
        report: is told how far indexing is.

    Raises:
        ValueError: it is no video file, or changes its format on its way.
        RuntimeError: BestSource is missing.
    """
    if not path.is_file():
        check.value_error(f"there is no file {path}; name a video file.")
    if not hasattr(vs.core, "bs"):
        check.runtime_error('reading files needs the plugin BestSource; install with: pip install "vs_align[source]".')
    with tempfile.TemporaryDirectory(prefix="vs_align-") as folder:
        times_file = Path(folder) / "times.txt"
        try:
            clip = _indexed(path, times_file, report)
        except vs.Error as error:
            check.value_error(_unreadable(path, " ".join(str(error).split())))
        lines = times_file.read_text(encoding="utf-8").splitlines()
    if clip.format is None or clip.format.id == vs.PresetVideoFormat.NONE or not clip.width:
        check.value_error(f"{path} changes its format or size on its way; encode it again as one.")
    # "timestamp format v2", as BestSource writes it.
    times = np.array([float(line) for line in lines if line and not line.startswith("#")])
    return VideoFile(path, check.clip(clip, str(path)), times)


def _indexed(path: Path, times_file: Path, report: Report | None) -> vs.VideoNode:
    def opened(mode: int) -> vs.VideoNode:
        cache = str(cache_folder() / "index")
        return vs.core.bs.VideoSource(
            str(path), cachemode=mode, cachepath=cache, showprogress=report is not None, timecodes=str(times_file)
        )

    handler = None if report is None else vs.core.add_log_handler(_IndexLog(path, report))
    try:
        try:
            mode = _KEEPS_INDEX if _can_keep() else _KEEPS_NONE
            return _in_thread(lambda: opened(mode))
        except vs.Error as error:
            if "write index" not in str(error):
                raise
            _log.warning("the index of %s cannot be kept; it will be made again the next time.", path)
            return _in_thread(lambda: opened(_KEEPS_NONE))
    finally:
        if handler is not None:
            vs.core.remove_log_handler(handler)


def _can_keep() -> bool:
    """Say whether there is a folder for indexes; without it BestSource would index twice, the first time in vain."""
    folder = cache_folder() / "index"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        note = "indexes cannot be kept in %s (%s); they will be made again the next time."
        _log.warning(note, folder, error.strerror)
        return False
    return True


def _unreadable(path: Path, why: str) -> str:
    if "Invalid track index" in why:
        return f"{path} has no video track; name a video file."
    if "Indexing" in why or "Couldn't open" in why:
        return f"{path} cannot be decoded: it is damaged, cut off or no video file."
    return f"{path} cannot be decoded ({why.removeprefix('VideoSource: ')})."


class _IndexLog:
    """Hears what VapourSynth logs while a file is indexed."""

    def __init__(self, path: Path, report: Report) -> None:
        self._what, self._report = f"indexing {path.name}", report

    def __call__(self, kind: vs.MessageType, message: str) -> None:
        found = re.search(r"index progress (\d+)%", message)
        if found:
            self._report(self._what, min(100, int(found[1])), 100)
        elif kind >= vs.MESSAGE_TYPE_WARNING:
            _log.warning("%s", message)


def _in_thread(work: Callable[[], vs.VideoNode]) -> vs.VideoNode:
    """Do a plugin's work in a thread, so that Ctrl-C is heard meanwhile."""
    executor, environment = ThreadPoolExecutor(1), vs.get_current_environment()

    def within() -> vs.VideoNode:
        # In a script that vspipe runs, a thread of its own has no core.
        with environment.use():
            return work()

    try:
        result = executor.submit(within)
        # In steps, since waiting without end hears no Ctrl-C on Windows.
        while not result.done():
            wait([result], 0.1)
    finally:
        executor.shutdown(wait=False)
    return result.result()
