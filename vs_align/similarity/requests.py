"""How a measure asks for frames: it yields a list of requests and is sent the frames.

Nothing may call ``get_frame`` inside a callback of the frame server, so the work on one ref frame is written as a
generator. Whoever runs it (see ``filters/evaluate.py``) turns what it yields into nodes and resumes it when the frames
have arrived. Code between two yields runs in one go.
"""

from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

import vapoursynth as vs

__all__ = ["Request", "Steps", "batches", "requests"]

# Frames asked for at once: enough to keep the source's threads busy, few enough to bound what is held.
_BATCH = 16


class Request(NamedTuple):
    """One frame of one clip."""

    clip: vs.VideoNode
    frame: int


type Steps[T] = Generator[list[Request], list[vs.VideoFrame], T]


def requests(clip: vs.VideoNode, frames: Iterable[int]) -> list[Request]:
    """Ask for several frames of one clip."""
    return [Request(clip, int(frame)) for frame in frames]


def batches(frames: Iterable[int]) -> Iterator[list[int]]:
    """Split a list of frames into batches small enough to hold in memory."""
    wanted = [int(frame) for frame in frames]
    for start in range(0, len(wanted), _BATCH):
        yield wanted[start : start + _BATCH]
