"""Which steps an engine takes at which scale, and what it judges by: shared by all engines."""

from dataclasses import dataclass, replace

__all__ = [
    "BLOCK",
    "BY_NOISE",
    "COARSE",
    "ENOUGH",
    "FINE",
    "FLAT",
    "GENERAL_CELLS",
    "GENERAL_SMOOTHING",
    "GLOBAL",
    "JUDGED_AT",
    "NEIGHBOURHOOD",
    "NOISY_NEIGHBOURHOOD",
    "SMALLEST_SIDE",
    "SMALL_PX",
    "SMOOTHING",
    "UNRELATED",
    "Stage",
]

BLOCK = 32
"""Sides of the pictures must be multiples of this."""
SMALLEST_SIDE = 16
"""Pictures with a shorter side are left as they are."""
JUDGED_AT = 4
"""The scale at which a flow is judged, in pixels of the picture for one."""
# Unrelated pictures agree by less than 0.2, true pairs by more than 0.75.
UNRELATED = 0.45
# Neighbourhoods in which the pictures are normalised, in pixels, and the deviation below which they count as flat.
NEIGHBOURHOOD, NOISY_NEIGHBOURHOOD = 5.0, 12.0
FLAT = 4.0
# Gaussians' sigmas: of what smooths the pictures, in pixels, and of what averages the flow, in cells.
SMOOTHING, GENERAL_SMOOTHING = 0.8, 2.5
GENERAL_CELLS = 2.0
# A step is improved upon by the next: its conjugate gradients stop at this share of the energy.
ENOUGH = 3e-3
SMALL_PX = 0.12
# Share of the squared difference that a flow fitted to noise explains.
BY_NOISE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Steps at one scale.

    Attributes:
        scale: pixels of the picture for one of this stage's.
        cell: this stage's pixels for one of the grid.
        steps: at most so many.
        iterations: of the conjugate gradients in each.
        curvature: how much the flow is expected to bend where nothing is known of it, px per px^2, root mean square.
        by_chance: see `learned_curvature`; 0: how much the flow bends is not learned.
        settled: a step after which it is done, in the mean, in this stage's pixels.
    """

    scale: int
    cell: int
    steps: int
    iterations: int
    curvature: float = 0.01
    by_chance: float = 0.0
    settled: float = 0.01

    @property
    def unit(self) -> float:
        """The grid's second difference, in this stage's pixels, for a curvature of 1 px per px^2."""
        return float(self.cell * self.cell * self.scale)

    def stiffness(self, curvature: float) -> float:
        """Return the plate's stiffness for a curvature that is expected."""
        return float((curvature * self.unit) ** -2)


GLOBAL = Stage(scale=8, cell=4, steps=14, iterations=8, curvature=0.003)
COARSE = Stage(scale=4, cell=8, steps=10, iterations=10, settled=0.004)
_HALF = Stage(scale=2, cell=8, steps=2, iterations=10, by_chance=0.2)
_FULL = Stage(scale=1, cell=8, steps=2, iterations=12, by_chance=0.6)

FINE = {
    1: (replace(_HALF, steps=1), replace(_FULL, steps=1, by_chance=0.0)),
    2: (_HALF, _FULL),
    3: (_HALF, replace(_FULL, steps=3)),
    4: (replace(_HALF, steps=3, settled=0.003), replace(_FULL, steps=6, iterations=20, settled=0.003)),
}
"""The stages at half and at full scale, by precision."""
