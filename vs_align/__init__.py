"""Temporal and spatial alignment of two versions of a video, for VapourSynth."""

from .enums import Backend, Engine, FlowEngine, Mode, Similarity, SpatialPrecision, TemporalPrecision
from .filters.spatial import spatial
from .filters.temporal import temporal

__all__ = [
    "Backend",
    "Engine",
    "FlowEngine",
    "Mode",
    "Similarity",
    "SpatialPrecision",
    "TemporalPrecision",
    "spatial",
    "temporal",
]

__version__ = "4.0.0.dev0"
