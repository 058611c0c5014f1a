"""Running the work on one frame inside the frame server, and picking frames of a clip."""

from collections.abc import Callable
from typing import cast

import vapoursynth as vs

from ..matching.rates import RateMap
from ..similarity.requests import Request, Steps

__all__ = ["Shifted", "follow", "run"]


def run[T](
    n: int,
    steps: Steps[T],
    deliver: Callable[[int, T], vs.VideoNode],
    base: vs.VideoNode,
    arrived: list[vs.VideoFrame] | None = None,
) -> vs.VideoNode:
    """Advance the work on frame ``n`` until it needs frames or is done.

    Called from a `FrameEval` callback. Where frames are needed it returns a temporary node that asks for exactly those
    and goes on when they are there; that node has a lock of its own, so other frames are not held up.

    Args:
        n: the frame being made.
        steps: the work; it yields requests and returns its result.
        deliver: makes the node whose frame ``n`` is the answer, from ``n`` and the result.
        base: a clip of the format, size and length of the output.
        arrived: the frames last asked for; None to begin.
    """
    try:
        wanted = next(steps) if arrived is None else steps.send(arrived)
    except StopIteration as done:
        return deliver(n, cast(T, done.value))

    def resume(n: int, f: vs.VideoFrame | list[vs.VideoFrame]) -> vs.VideoNode:
        return run(n, steps, deliver, base, f if isinstance(f, list) else [f])

    return base.std.FrameEval(resume, prop_src=[_single(request) for request in wanted])


def _single(request: Request) -> vs.VideoNode:
    # A clip of one frame answers a request for any later frame with that one.
    return request.clip.std.Trim(first=request.frame, length=1)


class Shifted:
    """A clip moved along the time axis by whole frames; nodes are made on first use and kept.

    Args:
        clip: the clip.
    """

    def __init__(self, clip: vs.VideoNode) -> None:
        self._clip = clip
        self._by_offset: dict[int, vs.VideoNode] = {0: clip}

    def at(self, n: int, frame: int) -> vs.VideoNode:
        """Return a node whose frame ``n`` is the clip's frame ``frame``."""
        offset = frame - n
        node = self._by_offset.get(offset)
        if node is None:
            node = self._clip[offset:] if offset > 0 else self._delayed(-offset)
            self._by_offset[offset] = node
        return node

    def _delayed(self, frames: int) -> vs.VideoNode:
        return self._clip.std.BlankClip(length=frames, keep=True) + self._clip


def follow(clip: vs.VideoNode, rates: RateMap, ahead: int, length: int) -> vs.VideoNode:
    """Return a clip whose frame n is the clip's frame ``rates.centre(n) + ahead``, its last one where that is past it.

    Args:
        clip: the clip to read.
        rates: the map from n to the clip's frames.
        ahead: frames ahead of the centre.
        length: frames in the result.
    """
    last = clip.num_frames - 1
    if rates.ratio == 1:
        return clip[min(ahead, last) :]
    shifted = Shifted(clip)
    base = clip.std.BlankClip(length=length, keep=True)

    def at_centre(n: int) -> vs.VideoNode:
        return shifted.at(n, min(rates.centre(n) + ahead, last))

    return base.std.FrameEval(at_centre, clip_src=clip)
