"""The measure "pose": how differently two people hold their limbs, whoever they are and however they are filmed.

The distance is the weighted mean, over joints and a moment of time, of how much the angles at the joints differ; see
`Comparison`. Frames are read for it once, all of both clips, since the person is followed from the first to
the last; or not at all, where the keypoints are known.
"""

from typing import Protocol

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..poses.motion import Comparison, Motion
from .measure import Delivered, Measure, Scores
from .requests import Request, Steps

__all__ = ["LABEL", "PoseMeasure", "PoseSource"]

LABEL = "pose"

# A difference of angles, in degrees, that says nothing.
_FLOOR = 1.0


class PoseSource(Protocol):
    """Where a clip's motion comes from.

    Attributes:
        motion: how the person in it moves; None until that is known.
        work: a clip of one frame; when that has been made the motion is known.
    """

    motion: Motion | None
    work: vs.VideoNode | None


class PoseMeasure(Measure):
    """The difference of joint angles, in degrees.

    Args:
        clip, ref: clips of any formats and sizes; ref's frames are asked for because of what they say of themselves.
        clip_source, ref_source: their motions.
        mirror: whether clip's person faces the other way: left is compared with right.
    """

    label = LABEL

    def __init__(
        self,
        clip: vs.VideoNode,
        ref: vs.VideoNode,
        clip_source: PoseSource,
        ref_source: PoseSource,
        *,
        mirror: bool = False,
    ) -> None:
        # Whoever hands over a window's frames would have them made for nothing.
        self.clip = clip.std.BlankClip(1, 1, vs.GRAY8, keep=True)
        self.ref = ref
        self._sources: list[PoseSource] = [clip_source, ref_source]
        self._mirror = mirror
        self._comparison: Comparison | None = None

    def scores(
        self, n: int, candidates: NDArray[np.int64], centre: int, delivered: Delivered, every: bool
    ) -> Steps[Scores]:
        """See `Measure.scores`; every candidate is compared."""
        missing = [source.work for source in self._sources if source.motion is None]
        if missing:
            yield [Request(work, 0) for work in missing if work is not None]
        if self._comparison is None:
            clip, ref = (source.motion for source in self._sources)
            assert clip is not None and ref is not None
            self._comparison = Comparison(ref, clip.mirrored if self._mirror else clip)
        values = self._comparison.row(n, int(candidates[0]), int(candidates[-1]) + 1)
        return Scores(values, values, _FLOOR)

    def clear(self) -> None:
        """Let go of the nodes that read."""
        for source in self._sources:
            source.work = None
