"""How a person moves: the angles of all frames, made steady, and how far apart stretches of two movements are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .angles import circular_difference, joint_angles, mean_of, mirrored_angles, weighted

__all__ = ["Motion", "differences", "distances", "steadied"]

type Floats = NDArray[np.float64]
type Frames = NDArray[np.int64]

# Keypoints are averaged over so long, and distances, since a pose alone does not say which way it is changing.
_STEADY_S, _COMPARED_S = 0.12, 0.4
# An angle that is less sure is none.
_LEAST = 0.15
# Frames per second of a clip that says none.
_USUAL_RATE = 25.0
# Values that are compared at once.
_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Motion:
    """The angles of a person in every frame.

    Attributes:
        degrees, sure: as `joint_angles` has them, shape (T, 10).
        rate: frames per second; 0: unknown.
    """

    degrees: Floats
    sure: Floats
    rate: float

    @classmethod
    def of(cls, points: Floats, rate: float, pixel_shape: float = 1.0) -> "Motion":
        """Return the motion of keypoints, shape (T, 17, 3), made steady first."""
        degrees, sure = joint_angles(steadied(points, rate or _USUAL_RATE), pixel_shape)
        return cls(degrees, np.where(sure < _LEAST, 0.0, sure), rate)

    @cached_property
    def mirrored(self) -> "Motion":
        """The same in a mirror."""
        return Motion(*mirrored_angles(self.degrees, self.sure), self.rate)

    def __len__(self) -> int:
        return len(self.degrees)


def steadied(points: Floats, rate: float, seconds: float = _STEADY_S) -> Floats:
    """Average keypoints over time, each as it is sure.

    Args:
        points: shape (T, 17, 3).
        rate: frames per second.
        seconds: over how long; less than three frames are none.

    Returns:
        Same shape: the weighted means of x and y and the mean confidences. A joint that is missing for a moment is
        where its neighbours in time have it.
    """
    half = int(seconds / 2 * rate + 1e-9)
    if not half:
        return points.copy()
    weight = points[..., 2]
    total, sums, count = weight.copy(), points[..., :2] * weight[..., None], np.ones(len(points))
    for back in range(1, min(half, len(points) - 1) + 1):
        for into, of in ((slice(back, None), slice(None, -back)), (slice(None, -back), slice(back, None))):
            total[into] += weight[of]
            sums[into] += points[of, :, :2] * weight[of, :, None]
            count[into] += 1
    there = total > 0
    out = points.copy()
    out[there, :2] = sums[there] / total[there, None]
    out[..., 2] = total / count[:, None]
    return out


def distances(ref: Motion, clip: Motion, n: int, frames: Frames) -> Floats:
    """Return how far ref's frame ``n`` is from some of clip's, each with what is around it.

    The weighted mean over all angles of all frames within 0.2 s: those so much before and after ``n`` against those so
    much before and after the other, by the two rates.

    Args:
        ref, clip: the motions.
        n: ref's frame.
        frames: clip's frames, shape (K,).

    Returns:
        Degrees, shape (K,); infinite where nothing can be compared.
    """
    total, weight = np.zeros(len(frames)), np.zeros(len(frames))
    for in_ref, in_clip in _around(ref.rate, clip.rate):
        if not 0 <= n + in_ref < len(ref):
            continue
        own = ref.degrees[n + in_ref], ref.sure[n + in_ref]
        inside = np.flatnonzero((frames + in_clip >= 0) & (frames + in_clip < len(clip)))
        for first in range(0, len(inside), _BLOCK):
            part = inside[first : first + _BLOCK]
            there = frames[part] + in_clip
            sums, weights = weighted(own, (clip.degrees[there], clip.sure[there]))
            total[part] += sums
            weight[part] += weights
    return mean_of(total, weight)


def differences(ref: Motion, clip: Motion, n: int, m: int) -> tuple[Floats, Floats]:
    """Return how much each angle of one frame differs from another's, in degrees, and what it weighs, shape (10,)."""
    return circular_difference(ref.degrees[n], clip.degrees[m]), np.minimum(ref.sure[n], clip.sure[m])


def _around(ref_rate: float, clip_rate: float) -> list[tuple[int, int]]:
    """Return the frames that are compared together, as steps from the two that are meant; the finer rate has gaps."""
    rates = ref_rate or clip_rate or _USUAL_RATE, clip_rate or ref_rate or _USUAL_RATE
    step = 1 / min(rates)
    half = int(_COMPARED_S / 2 / step + 1e-9)
    lags = [k * step for k in range(-half, half + 1)]
    return [(int(np.floor(lag * rates[0] + 0.5)), int(np.floor(lag * rates[1] + 0.5))) for lag in lags]
