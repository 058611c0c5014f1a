"""Video files opened through BestSource."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..analysis.video_files import open_video
from ..checks import Checks
from .console import Console
from .faults import Abandoned, Refusal
from .files import check_input

__all__ = ["Source", "is_variable", "open_source"]

# How far a frame may last longer or shorter than usual: containers round to ms, and to ticks of other clocks.
_USUAL_SHARE, _USUAL_MS = 0.1, 2.0


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
        Refusal: it is not there, or BestSource is not.
        ValueError: it cannot be decoded, or has no video of one format and size.
    """
    check_input(path)
    if not hasattr(vs.core, "bs"):
        raise Refusal('reading video files needs the plugin BestSource; install with: pip install "vs_align[cli]".')
    try:
        file = open_video(Checks("vs_align.cli"), path, console.progress)
    except KeyboardInterrupt:
        # The plugin still works in a thread of ours.
        raise Abandoned from None
    console.done()
    clip = file.clip
    source = Source(path, clip, file.times_ms if is_variable(file.times_ms) else None)
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
