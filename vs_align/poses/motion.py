"""How a person moves: the angles of all frames, made steady, and how far apart stretches of two movements are."""

from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .angles import circular_difference, joint_angles, mean_of, mirrored_angles

__all__ = ["LEAST", "Comparison", "Motion", "differences", "steadied"]

type Floats = NDArray[np.float64]

# Keypoints are averaged over so long, and distances, since a pose alone does not say which way it is changing.
_STEADY_S, _COMPARED_S = 0.12, 0.4
LEAST = 0.15
"""An angle that is less sure is none."""
# Frames per second of a clip that says none.
_USUAL_RATE = 25.0
# Rows that stay, beyond those that one frame needs, for threads that are a little ahead or behind.
_SPARE = 16


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
        return cls(degrees, np.where(sure < LEAST, 0.0, sure), rate)

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


class Comparison:
    """How far stretches of two movements are from each other.

    The weighted mean over all angles of all frames within 0.2 s: those so much before and after one frame against those
    so much before and after the other, by the two rates. What is the same for neighbouring frames is worked out once.
    Calls from several threads at once are right.

    Args:
        ref, clip: the movements.
    """

    def __init__(self, ref: Motion, clip: Motion) -> None:
        self._ref = ref
        self._degrees, self._sure = (np.ascontiguousarray(part.T) for part in (clip.degrees, clip.sure))
        self._length = len(clip)
        self._around = _around(ref.rate, clip.rate)
        self._margin = 2 * max(in_clip for _, in_clip in self._around)
        self._held: dict[int, _Row] = {}
        self._lock = Lock()

    def row(self, n: int, first: int, stop: int) -> Floats:
        """Return how far ref's frame ``n`` is from clip's frames ``first`` to ``stop - 1``.

        Returns:
            Degrees, shape (stop - first,); infinite where nothing can be compared.
        """
        total, weight = np.zeros(stop - first), np.zeros(stop - first)
        for in_ref, in_clip in self._around:
            begin, end = max(0, first + in_clip), min(self._length, stop + in_clip)
            if not 0 <= n + in_ref < len(self._ref) or begin >= end:
                continue
            row = self._alone(n + in_ref, begin, end)
            into, of = slice(begin - in_clip - first, end - in_clip - first), slice(begin - row.first, end - row.first)
            total[into] += row.total[of]
            weight[into] += row.weight[of]
        return mean_of(total, weight)

    def _alone(self, n: int, first: int, stop: int) -> "_Row":
        """Return what ref's frame ``n`` alone says of some of clip's frames, and perhaps of more."""
        with self._lock:
            row = self._held.get(n)
        if row is not None and row.first <= first and stop <= row.first + len(row.total):
            return row
        begin, end = max(0, first - self._margin), min(self._length, stop + self._margin)
        apart = np.abs(self._degrees[:, begin:end] - self._ref.degrees[n][:, None])
        np.minimum(apart, 360.0 - apart, out=apart)
        weights = np.minimum(self._sure[:, begin:end], self._ref.sure[n][:, None])
        row = _Row(begin, np.einsum("ak,ak->k", apart, weights), weights.sum(0))
        with self._lock:
            self._held.pop(n, None)
            self._held[n] = row
            while len(self._held) > 2 * len(self._around) + _SPARE:
                del self._held[next(iter(self._held))]
        return row


class _Row(NamedTuple):
    """The weighted sums of one ref frame's differences to clip frames from ``first`` on, and their weights."""

    first: int
    total: Floats
    weight: Floats


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
