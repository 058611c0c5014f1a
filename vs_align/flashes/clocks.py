"""Camera clocks: from frame and row to the common time, and back to frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rows import FlashError, frame_interval

__all__ = ["Clock", "Picks", "model_from_dict", "model_to_dict", "nearest_frames"]

type Floats = NDArray[np.float64]

_KEYS = ("drift", "shift", "time_per_row", "exposure")


@dataclass(frozen=True, slots=True)
class Clock:
    """When a row of a frame begins to be exposed: t_ref = drift * t_frame + shift + row * time_per_row, in ms.

    Attributes:
        drift: ms of the base camera for each ms of this one; above 0.
        shift: in ms, at time 0 of this camera.
        time_per_row: in ms; 0 with a global shutter, negative where rows are read from the bottom.
        exposure: how long each row is exposed, in ms.
    """

    drift: float = 1.0
    shift: float = 0.0
    time_per_row: float = 0.0
    exposure: float = 0.0

    def ref_ms(self, frame_ms: ArrayLike, row: ArrayLike = 0.0) -> Floats:
        """Return when rows begin to be exposed, on the base camera's clock."""
        return np.asarray(
            self.drift * np.asarray(frame_ms, np.float64) + self.shift + np.asarray(row) * self.time_per_row
        )

    def frame_ms(self, ref_ms: ArrayLike, row: ArrayLike = 0.0) -> Floats:
        """Return the time of the frame, on this camera's clock, whose row begins to be exposed at a time."""
        return np.asarray(
            (np.asarray(ref_ms, np.float64) - self.shift - np.asarray(row) * self.time_per_row) / self.drift
        )


@dataclass(frozen=True, slots=True)
class Picks:
    """The frames of one camera nearest to some times.

    Attributes:
        frame: shape (N,).
        error_ms: how much later than asked the frame's row begins, by the base camera's clock, shape (N,).
        dropped: true where that is more than half the usual time between two frames, shape (N,).
    """

    frame: NDArray[np.int64]
    error_ms: Floats
    dropped: NDArray[np.bool_]


def nearest_frames(clock: Clock, times_ms: Floats, ref_ms: ArrayLike, row: float = 0.0) -> Picks:
    """Return the frames whose row begins to be exposed nearest to each time; of two as near, the earlier.

    Args:
        clock: the camera's.
        times_ms: its frames' times, ascending, shape (F,).
        ref_ms: times by the base camera's clock, shape (N,).
        row: which row is compared.
    """
    ref = np.atleast_1d(np.asarray(ref_ms, np.float64))
    begins = clock.ref_ms(times_ms, row)
    after = np.clip(np.searchsorted(begins, ref), 1, len(begins) - 1) if len(begins) > 1 else np.zeros(len(ref), int)
    before = np.maximum(after - 1, 0)
    frame = np.where(ref - begins[before] <= begins[after] - ref, before, after).astype(np.int64)
    error = begins[frame] - ref
    half = clock.drift * frame_interval(times_ms) / 2 if len(times_ms) > 1 else np.inf
    # Half an interval itself is still near, whatever rounding makes of it.
    return Picks(frame, error, np.abs(error) > half * (1 + 1e-9))


def model_to_dict(clocks: Mapping[str, Clock], base: str) -> dict[str, Any]:
    """Return plain values for JSON or YAML."""
    model = {name: {key: float(getattr(clock, key)) for key in _KEYS} for name, clock in clocks.items()}
    return {"model": model, "base_cam": base}


def model_from_dict(data: object) -> tuple[dict[str, Clock], str]:
    """Return the clocks by camera and the base camera's name.

    Raises:
        FlashError: the dictionary is not what `model_to_dict` gives; says where.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("model"), Mapping) or not data["model"]:
        raise FlashError('flash: a model must hold "model", a camera\'s numbers under each name, and "base_cam".')
    clocks = {}
    for name, values in data["model"].items():
        if not isinstance(name, str) or not isinstance(values, Mapping):
            raise FlashError(f"flash: the model of camera {name!r} must hold {', '.join(_KEYS)}.")
        clocks[name] = Clock(*(_number(name, key, values) for key in _KEYS))
        if clocks[name].drift <= 0 or clocks[name].exposure < 0:
            raise FlashError(f"flash: in the model of camera {name!r} drift must be above 0 and exposure 0 or more.")
    base = data.get("base_cam")
    if not isinstance(base, str) or base not in clocks:
        raise FlashError(f'flash: "base_cam" must name a camera of the model ({", ".join(clocks)}), not {base!r}.')
    return clocks, base


def _number(name: str, key: str, values: Mapping[Any, Any]) -> float:
    # Models of other programs have no exposure.
    value = values.get(key, 0.0 if key == "exposure" else None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise FlashError(f"flash: in the model of camera {name!r} {key} must be a number, not {value!r}.")
    return float(value)
