"""Temporal and spatial alignment of two versions of a video, for VapourSynth."""

from .analysis.alignment import Alignment
from .analysis.flash_sync import FlashSync
from .enums import Backend, Engine, FlowEngine, Mode, Similarity, SpatialPrecision, TemporalPrecision
from .filters.analyse import analyse
from .filters.flash import flash
from .filters.spatial import spatial
from .filters.temporal import temporal

__all__ = [
    "Alignment",
    "Backend",
    "Engine",
    "FlashSync",
    "FlowEngine",
    "Mode",
    "Similarity",
    "SpatialPrecision",
    "TemporalPrecision",
    "analyse",
    "flash",
    "spatial",
    "temporal",
]

__version__ = "4.0.0.dev0"
