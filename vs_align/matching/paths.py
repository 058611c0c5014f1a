"""What dynamic time warping is asked for, and what it answers."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Band", "Path", "Penalties", "Steps"]


class Steps(StrEnum):
    """From which cell a path may come to the next.

    ``TEXTBOOK``: ref and clip advance together by one frame, or one of them does (Sakoe and Chiba, 1978, without slope
    constraint). ``FRAMES``: ref advances by one frame; clip stays, advances, or leaves frames out. Such a path has
    exactly one clip frame for every ref frame.
    """

    TEXTBOOK = "textbook"
    FRAMES = "frames"


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalties:
    """What a step costs on top of the cell it arrives at, in the unit of the costs. None is negative.

    Attributes:
        hold: ref advances and clip stays behind: by less than ``free`` allows, in ``Steps.FRAMES``.
        skip: clip goes ahead: in ``Steps.TEXTBOOK`` alone by one frame, in ``Steps.FRAMES`` by more than ``free``.
        skipped: in ``Steps.FRAMES``, for each frame beyond ``free`` on top of ``skip``.
        free: the smallest and the largest advance of clip per ref frame that costs nothing, ``Steps.FRAMES`` alone:
            floor and ceiling of clip's frame rate divided by ref's.
    """

    hold: float = 0.0
    skip: float = 0.0
    skipped: float = 0.0
    free: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        for name in ("hold", "skip", "skipped"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"Penalties: {name} must be 0 or a positive number, not {value}.")
        low, high = self.free
        if not 0 <= low <= high:
            raise ValueError(f"Penalties: free must be two advances in ascending order, not {self.free}.")

    def paid(self, steps: Steps, ref: NDArray[np.int64], clip: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what each step of a path costs, shape (L,); the first cell costs nothing to begin at."""
        paid = np.zeros(len(ref))
        advance = np.diff(clip)
        if steps is Steps.TEXTBOOK:
            paid[1:] = self.hold * (advance == 0) + self.skip * (np.diff(ref) == 0)
        else:
            beyond = np.maximum(advance - self.free[1], 0)
            paid[1:] = self.hold * (advance < self.free[0]) + self.skip * (beyond > 0) + self.skipped * beyond
        return paid


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """The candidates of each ref frame: a window of one width that never moves back.

    Attributes:
        start: the clip frame that the window of each ref frame begins at, shape (N,), ascending. A window may reach
            beyond clip's ends; what lies there is no candidate.
        width: frames in the window.
        length: frames in clip.
    """

    start: NDArray[np.int64]
    width: int
    length: int

    def __post_init__(self) -> None:
        start = np.array(self.start)
        if start.ndim != 1 or not len(start) or not np.issubdtype(start.dtype, np.integer):
            raise ValueError("Band: start must hold one whole number for each ref frame.")
        if (np.diff(start) < 0).any():
            raise ValueError(f"Band: start goes back at ref frame {int((np.diff(start) < 0).argmax()) + 1}.")
        if self.width < 1 or self.length < 1:
            raise ValueError(f"Band: width and length must be positive, not {self.width} and {self.length}.")
        object.__setattr__(self, "start", start.astype(np.int64))

    @classmethod
    def around(cls, ref_length: int, clip_length: int, radius: int) -> "Band":
        """Return the frames within ``radius`` of the straight line from the first pair to the last.

        Source: Sakoe and Chiba, 1978. Where clip is much longer than ref, the radius must bridge the line's steps.
        """
        n = np.arange(ref_length, dtype=np.int64)
        last, steps = clip_length - 1, max(1, ref_length - 1)
        return cls((2 * n * last + steps) // (2 * steps) - radius, 2 * radius + 1, clip_length)

    def part(self, first: int, stop: int) -> "Band":
        """Return the windows of ref frames ``first`` to ``stop - 1``."""
        return Band(self.start[first:stop], self.width, self.length)

    def inside(self, rows: slice | NDArray[np.int64] = slice(None)) -> NDArray[np.bool_]:
        """Say which cells of some ref frames are frames of clip, shape (rows, width)."""
        clip = self.start[rows, None] + np.arange(self.width)
        return (clip >= 0) & (clip < self.length)

    def cut(self, cost: ArrayLike) -> NDArray[np.float64]:
        """Cut the windows out of a full matrix.

        Args:
            cost: shape (N, length).

        Returns:
            Rows of costs, infinite beyond clip's ends, shape (N, width).
        """
        matrix = np.asarray(cost, np.float64)
        if matrix.shape != (len(self.start), self.length):
            raise ValueError(f"Band.cut: cost must have shape {(len(self.start), self.length)}, not {matrix.shape}.")
        clip = np.clip(self.start[:, None] + np.arange(self.width), 0, self.length - 1)
        return np.where(self.inside(), np.take_along_axis(matrix, clip, 1), np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A monotone sequence of pairs.

    Attributes:
        ref, clip: frame numbers, shape (L,), neither ever descending.
        costs: the cost of each pair, shape (L,).
        penalties: what the step to each pair cost besides, shape (L,).
        total: the sum of both over the path.
    """

    ref: NDArray[np.int64]
    clip: NDArray[np.int64]
    costs: NDArray[np.float64]
    penalties: NDArray[np.float64]
    total: float

    def __len__(self) -> int:
        return len(self.ref)
