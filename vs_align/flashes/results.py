"""What a fit says."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .clocks import Clock, Picks, model_to_dict, nearest_frames

__all__ = ["ClockErrors", "Flash", "FlashFit", "Residual"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClockErrors:
    """Standard errors: drift; shift in ms, at the middle of the camera's flashes; time per row and exposure in ms."""

    drift: float
    shift: float
    time_per_row: float
    exposure: float


@dataclass(frozen=True, slots=True)
class Flash:
    """A flash.

    Attributes:
        time_ms: when it begins, by the base camera's clock.
        sightings: for each camera that saw it, the index in its `Events.sightings`.
    """

    time_ms: float
    sightings: dict[str, int]


@dataclass(frozen=True, slots=True)
class Residual:
    """How far an edge of a common flash is from where the clocks put it.

    Attributes:
        camera: its name.
        flash: index in `FlashFit.flashes`.
        sighting: index in the camera's `Events.sightings`.
        polarity: 1 for the leading edge, -1 for the trailing one.
        error_ms: positive where it was seen too late.
        inlier: whether it was used.
    """

    camera: str
    flash: int
    sighting: int
    polarity: int
    error_ms: float
    inlier: bool


@dataclass(frozen=True, slots=True)
class FlashFit:
    """The clocks of all cameras.

    Attributes:
        clocks: by camera.
        base: the camera whose clock is the common one.
        errors: standard errors, by camera; those of the base's drift and shift are 0.
        noise_ms: standard deviation of an edge, by camera; NaN with a global shutter.
        flashes: all that any camera saw, in the order of time.
        residuals: of the edges of flashes that two cameras or more saw.
        flash_length_ms: how long the flashes last.
        warnings: one line each; why an answer is doubtful. Empty where it is not.
        times_ms: by camera, when each frame was taken, by the camera's own clock.
    """

    clocks: dict[str, Clock]
    base: str
    errors: dict[str, ClockErrors]
    noise_ms: dict[str, float]
    flashes: tuple[Flash, ...]
    residuals: tuple[Residual, ...]
    flash_length_ms: float
    warnings: tuple[str, ...]
    times_ms: dict[str, Floats]

    def time(self, camera: str, frame: int, row: float = 0.0) -> float:
        """Return when a row of a frame begins to be exposed, in ms of the base camera's clock."""
        return float(self.clocks[camera].ref_ms(self.times_ms[camera][frame], row))

    def frames_at(self, camera: str, ref_ms: ArrayLike, row: float = 0.0) -> Picks:
        """Return a camera's frames whose row begins to be exposed nearest to each time; see `nearest_frames`."""
        return nearest_frames(self.clocks[camera], self.times_ms[camera], ref_ms, row)

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain values for JSON or YAML."""
        return model_to_dict(self.clocks, self.base)
