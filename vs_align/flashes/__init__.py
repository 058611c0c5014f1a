"""Flash events and camera clocks. NumPy only.

From rows to clocks, times in ms everywhere:

    rows = np.stack([row_brightness(luma) for luma in frames])        # (F, R)
    events = find_events(RowFeatures(rows, times_ms, height))         # for each camera
    fit = fit_clocks({"a": events_a, "b": events_b}, base="a")
    fit.clocks["b"]                                                   # drift, shift, time_per_row, exposure
    fit.time("b", frame, row), fit.frames_at("b", times_ms)           # frame, error_ms, dropped
    fit.to_dict()                                                     # for JSON or YAML; back: model_from_dict

What cannot be answered is a `FlashError`, one line; what is doubtful is in ``fit.warnings``, and logged.
"""

from .clocks import Clock, Picks, model_from_dict, model_to_dict, nearest_frames
from .events import Edge, Events, Sighting, find_events
from .fit import fit_clocks
from .results import ClockErrors, Flash, FlashFit, Residual
from .rows import FlashError, RowFeatures, row_brightness

__all__ = [
    "Clock",
    "ClockErrors",
    "Edge",
    "Events",
    "Flash",
    "FlashError",
    "FlashFit",
    "Picks",
    "Residual",
    "RowFeatures",
    "Sighting",
    "find_events",
    "fit_clocks",
    "model_from_dict",
    "model_to_dict",
    "nearest_frames",
    "row_brightness",
]
