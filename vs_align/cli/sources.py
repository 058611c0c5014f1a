"""Video files opened through BestSource."""

import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..models import cache_folder
from .console import Console
from .faults import Abandoned, Refusal
from .files import check_input

__all__ = ["Source", "is_variable", "open_source"]

# How far a frame may last longer or shorter than usual: containers round to ms, and to ticks of other clocks.
_USUAL_SHARE, _USUAL_MS = 0.1, 2.0
# BestSource keeps an index where that saves time, in folders that are named as the file's are; or keeps none.
_KEEPS_INDEX, _KEEPS_NONE = 1, 0


@dataclass(frozen=True, slots=True)
class Source:
    """A video file.

    Attributes:
        path: where it is.
        clip: its first video track.
        times_ms: when each frame is shown; None where all last equally long, as the clip's frame rate says.
    """

    path: Path
    clip: vs.VideoNode
    times_ms: NDArray[np.float64] | None

    @property
    def rate(self) -> Fraction:
        """Frames per second; of a variable rate, what BestSource says."""
        return Fraction(self.clip.fps_num, self.clip.fps_den) if self.clip.fps_num else Fraction(0)


def open_source(path: Path, console: Console) -> Source:
    """Open a video file. It is indexed first, which takes as long as decoding it; an index is kept for the next time.

    Raises:
        Refusal: it is not there, cannot be decoded, or has no video of one format and size.
    """
    check_input(path)
    if not hasattr(vs.core, "bs"):
        raise Refusal('reading video files needs the plugin BestSource; install with: pip install "vs_align[cli]".')
    with tempfile.TemporaryDirectory(prefix="vs_align-") as folder:
        times_file = Path(folder) / "times.txt"
        clip = _indexed(path, times_file, console)
        times = _times(times_file)
    console.done()
    if clip.format is None or clip.format.id == vs.PresetVideoFormat.NONE or not clip.width:
        raise Refusal(f"{path} changes its format or size on its way; encode it again as one.")
    source = Source(path, clip, times if is_variable(times) else None)
    console.detail(f"{path}: {clip.width}x{clip.height} {clip.format.name}, {clip.num_frames} frames")
    if source.times_ms is not None:
        console.note(
            f"{path} has a variable frame rate: its frames are taken one by one, and times are counted as if it had "
            f"{float(source.rate):.6g} frames per second throughout."
        )
    return source


def is_variable(times_ms: NDArray[np.float64]) -> bool:
    """Say whether some frames last clearly longer or shorter than others."""
    lasting = np.diff(times_ms)
    if len(lasting) < 2:
        return False
    usual = float(np.median(lasting))
    return bool((np.abs(lasting - usual) > max(_USUAL_MS, _USUAL_SHARE * usual)).any())


def _times(path: Path) -> NDArray[np.float64]:
    """Read timecodes as BestSource writes them, "timestamp format v2"."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return np.array([float(line) for line in lines if line and not line.startswith("#")])


def _indexed(path: Path, times_file: Path, console: Console) -> vs.VideoNode:
    def opened(mode: int) -> vs.VideoNode:
        cache = str(cache_folder() / "index")
        return vs.core.bs.VideoSource(
            str(path), cachemode=mode, cachepath=cache, showprogress=True, timecodes=str(times_file)
        )

    mode = _KEEPS_INDEX if _can_keep(console) else _KEEPS_NONE
    log = _IndexLog(path, console)
    handler = vs.core.add_log_handler(log)
    try:
        try:
            return _in_thread(lambda: opened(mode))
        except vs.Error as error:
            if "write index" not in str(error):
                raise
            console.note(f"the index of {path} cannot be kept; it will be made again the next time.")
            return _in_thread(lambda: opened(_KEEPS_NONE))
    except vs.Error as error:
        raise Refusal(_unreadable(path, " ".join(str(error).split()))) from None
    finally:
        vs.core.remove_log_handler(handler)


def _can_keep(console: Console) -> bool:
    folder = cache_folder() / "index"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        console.note(f"indexes cannot be kept in {folder} ({error.strerror}); they will be made again the next time.")
        return False
    return True


def _unreadable(path: Path, why: str) -> str:
    if "Invalid track index" in why:
        return f"{path} has no video track."
    if "Indexing" in why or "Couldn't open" in why:
        return f"{path} cannot be decoded: it is damaged, cut off or no video file."
    return f"{path} cannot be decoded ({why.removeprefix('VideoSource: ')})."


class _IndexLog:
    """Hears what VapourSynth logs while a file is indexed."""

    def __init__(self, path: Path, console: Console) -> None:
        self._what, self._console = f"indexing {path.name}", console

    def __call__(self, kind: vs.MessageType, message: str) -> None:
        found = re.search(r"index progress (\d+)%", message)
        if found:
            self._console.progress(self._what, min(100, int(found[1])), 100)
        elif kind >= vs.MESSAGE_TYPE_WARNING:
            self._console.note(message)


def _in_thread(work: Callable[[], vs.VideoNode]) -> vs.VideoNode:
    """Do a plugin's work in a thread, so that Ctrl-C is heard meanwhile."""
    executor = ThreadPoolExecutor(1)
    try:
        result = executor.submit(work)
        # In steps, since waiting without end hears no Ctrl-C on Windows.
        while not result.done():
            wait([result], 0.1)
    except KeyboardInterrupt:
        raise Abandoned from None
    finally:
        executor.shutdown(wait=False)
    return result.result()
