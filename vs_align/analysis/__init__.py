"""Results over whole clips: the frame map and what follows from it."""

from .alignment import Alignment, Drift, Offset
from .clip_info import ClipInfo
from .geometry import Box, Geometry
from .geometry_fit import fit_geometry
from .pick import play

__all__ = ["Alignment", "Box", "ClipInfo", "Drift", "Geometry", "Offset", "fit_geometry", "play"]
