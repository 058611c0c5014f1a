"""What every measure offers to the search."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from .requests import Steps

__all__ = ["Delivered", "Measure", "Scores"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """Frames that arrived before the measure was asked.

    Attributes:
        ref: ref's frame n.
        clip: clip's frames new to the window, or to what is looked at around it.
        later: ref's frames new to what is looked at.
    """

    ref: vs.VideoFrame | None = None
    clip: Mapping[int, vs.VideoFrame] = field(default_factory=dict)
    later: Mapping[int, vs.VideoFrame] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scores:
    """What a measure says of the candidates of one ref frame.

    Attributes:
        values: the distances, shape (K,); infinite where a candidate was proved worse than the best and left out.
        contrast: the distances by which the confidence is judged, shape (K,); the values themselves for most measures.
        floor: a difference in ``contrast`` that says nothing.
    """

    values: NDArray[np.float64]
    contrast: NDArray[np.float64]
    floor: float


class Measure(ABC):
    """A way to say how alike two frames are: smaller is more alike.

    Attributes:
        label: its name as the debug overlay shows it.
        clip, ref: the clips in the form that the measure reads.
        reach: frames around each frame, of both clips, that its features depend on.
        ahead: ref frames after frame n, with their windows, that have a say in its scores.
    """

    label: str
    clip: vs.VideoNode
    ref: vs.VideoNode
    reach: int = 0
    ahead: int = 0

    def told(self, window: Callable[[int], NDArray[np.int64]]) -> None:  # noqa: B027
        """Be told once, before the first scores, which clip frames each frame of ref is compared with.

        Measures that compare frame n by itself need not know.
        """

    @abstractmethod
    def scores(
        self, n: int, candidates: NDArray[np.int64], centre: int, delivered: Delivered, every: bool
    ) -> Steps[Scores]:
        """Compare ref's frame ``n`` with clip's frames ``candidates``.

        Args:
            n: ref's frame.
            candidates: clip's frames, consecutive, shape (K,), at least one.
            centre: the centre of the window, which decides ties.
            delivered: frames that are here already.
            every: False lets the measure leave out candidates that it can prove not to be the best.

        Returns:
            The scores, through the generator's return value.
        """

    @abstractmethod
    def clear(self) -> None:
        """Give back what is held between frames."""
