"""What every measure offers to the search."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from .requests import Steps

__all__ = ["Delivered", "Measure", "Scores"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """Frames that arrived before the measure was asked: ref's frame n and the clip frames new to its window."""

    ref: vs.VideoFrame | None = None
    clip: Mapping[int, vs.VideoFrame] = field(default_factory=dict)


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
    """

    label: str
    clip: vs.VideoNode
    ref: vs.VideoNode

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
