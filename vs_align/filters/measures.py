"""From a measure's name to the measure: what it needs is checked here, at the call."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import vapoursynth as vs

from ..checks import Checks
from ..enums import Similarity
from ..similarity.measure import Measure
from ..similarity.planestats import PlaneStats
from ..similarity.structure import Structure

__all__ = ["MeasureOptions", "build_measure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """Which measure, and how it is run. See `vs_align.temporal` for the meaning of each."""

    similarity: Similarity
    device: str | None
    batch_size: int | None
    shortlist: int | None
    weights: str | PathLike[str] | Mapping[str, Any] | None


def build_measure(
    check: Checks, clip: vs.VideoNode, ref: vs.VideoNode, options: MeasureOptions, capacity: int, budget: int
) -> Measure:
    """Return the measure, ready to compare the two clips.

    Args:
        check: speaks for the public function.
        clip, ref: clips of one format and size.
        options: what the script asked for.
        capacity: clip frames that the stores keep.
        budget: bytes of frames held.
    """
    if options.similarity == Similarity.PLANESTATS:
        return PlaneStats(clip, ref, capacity, budget)
    return Structure(clip, ref, capacity)
