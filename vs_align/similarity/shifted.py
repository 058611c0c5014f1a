"""A clip moved along the time axis."""

import vapoursynth as vs

__all__ = ["NOT_OF_THE_PICK", "Shifted"]

NOT_OF_THE_PICK = ["_AbsoluteTime", "_SceneChangePrev", "_SceneChangeNext", "_DurationNum", "_DurationDen"]
"""Properties that a frame does not take along to another place."""

_MOST_KEPT = 256


class Shifted:
    """A clip moved along the time axis by whole frames; nodes are made on first use and the latest are kept.

    Args:
        clip: the clip.
    """

    def __init__(self, clip: vs.VideoNode) -> None:
        self._clip = clip
        self._by_offset: dict[int, vs.VideoNode] = {}

    def at(self, n: int, frame: int) -> vs.VideoNode:
        """Return a node whose frame ``n`` is the clip's frame ``frame``."""
        offset = frame - n
        if not offset:
            return self._clip
        node = self._by_offset.get(offset)
        if node is None:
            node = self._clip[offset:] if offset > 0 else self._delayed(-offset)
            while len(self._by_offset) >= _MOST_KEPT:
                self._by_offset.pop(next(iter(self._by_offset)), None)
            self._by_offset[offset] = node
        return node

    def _delayed(self, frames: int) -> vs.VideoNode:
        # What stands before the clip's first frame is never asked for.
        return self._clip.std.BlankClip(length=frames, keep=True) + self._clip
