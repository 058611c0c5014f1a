"""Temporal and spatial alignment of two versions of a video, for VapourSynth."""

from .enums import Backend, Engine, Mode, Similarity, TemporalPrecision
from .filters.temporal import temporal

__all__ = ["Backend", "Engine", "Mode", "Similarity", "TemporalPrecision", "temporal"]

__version__ = "4.0.0.dev0"
