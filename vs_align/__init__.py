"""Temporal and spatial alignment of two versions of a video, for VapourSynth."""

import importlib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .analysis.alignment import Alignment
    from .analysis.clip_offset import ClipOffset
    from .analysis.flash_sync import FlashSync
    from .analysis.keypoints import Keypoints
    from .enums import Backend, Engine, FlowEngine, Mode, Similarity, SpatialPrecision, TemporalPrecision
    from .filters.analyse import analyse
    from .filters.flash import flash
    from .filters.offset import offset
    from .filters.pose import pose
    from .filters.spatial import spatial
    from .filters.temporal import temporal
else:
    _HOMES = {
        "Alignment": "analysis.alignment",
        "ClipOffset": "analysis.clip_offset",
        "FlashSync": "analysis.flash_sync",
        "Keypoints": "analysis.keypoints",
        **dict.fromkeys(("Backend", "Engine", "FlowEngine", "Mode", "Similarity"), "enums"),
        **dict.fromkeys(("SpatialPrecision", "TemporalPrecision"), "enums"),
        **{name: f"filters.{name}" for name in ("analyse", "flash", "offset", "pose", "spatial", "temporal")},
    }

    def __getattr__(name):
        """Load what a name stands for when it is first asked for: who uses one filter does not wait for all."""
        if name in _HOMES:
            value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
            globals()[name] = value
            return value
        if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}"):
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *_HOMES})


__all__ = [
    "Alignment",
    "Backend",
    "ClipOffset",
    "Engine",
    "FlashSync",
    "FlowEngine",
    "Keypoints",
    "Mode",
    "Similarity",
    "SpatialPrecision",
    "TemporalPrecision",
    "analyse",
    "flash",
    "offset",
    "pose",
    "spatial",
    "temporal",
]

__version__ = "4.0.0.dev0"
