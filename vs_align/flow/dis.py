"""Engine "dis": Lucas-Kanade from coarse to fine under a thin plate; other starts, dense inverse search among them,
where that does not find the way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import Array, averaged, enlarged, inside, reduced, resampled, sample
from .homography import homography, homography_grid
from .looks import agreement, matching_blur, noise, normalised, smoothed
from .lucas_kanade import evidence, gradients
from .options import AlignOptions
from .stages import (
    BLOCK,
    BY_NOISE,
    COARSE,
    ENOUGH,
    FINE,
    FLAT,
    GENERAL_CELLS,
    GENERAL_SMOOTHING,
    GLOBAL,
    JUDGED_AT,
    NEIGHBOURHOOD,
    NOISY_NEIGHBOURHOOD,
    SMALL_PX,
    SMOOTHING,
    Stage,
)
from .thin_plate import learned_curvature, settled

__all__ = ["Estimate", "estimate"]

_COARSEST = 8
# Agreement at which a start is taken without looking for another; after a wide search more is asked.
_GOOD, _GOOD_WIDE = 0.92, 0.97
# Under a mask brightness is compared in every so many pixels.
_EVERY = 7


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an engine says of a pair.

    Attributes:
        grid: the flow ref -> clip in pixels, one value for each cell, shape (h, w, 2).
        agreement: correlation of the locally normalised pictures, once aligned; -1 to 1.
        unmoved: the same without any displacement.
        still: whether the flow is no more than what noise would give.
    """

    grid: Array
    agreement: float
    unmoved: float
    still: bool


@dataclass(frozen=True, slots=True)
class _Level:
    """The pair at one scale, light and contrast taken out.

    Attributes:
        ref, clip: locally normalised, shape (H / scale, W / scale).
        keep: 1 where ref counts, 0 where not.
        slopes: ref's gradients.
    """

    ref: Array
    clip: Array
    keep: Array
    slopes: tuple[Array, Array]


class _Pair:
    """Two pictures and what is computed from them, scale by scale, when it is first asked for.

    Args:
        ref, clip: luma, shape (H, W).
        keep: 1 where ref counts, 0 where it does not.
        masked: whether what does not count looks other than clip does there.
        smoothing: sigma of the Gaussian that both are smoothed by.
    """

    def __init__(self, ref: Array, clip: Array, keep: Array, masked: bool, smoothing: float) -> None:
        self.clip, self.keep, self.masked = smoothed(clip, smoothing), keep, masked
        self.ref = self._smoothed_ref(ref, smoothing)
        noisy = min(max(noise(self.ref), noise(self.clip)) / 4, 1.0)
        self._sigma = NEIGHBOURHOOD + noisy * (NOISY_NEIGHBOURHOOD - NEIGHBOURHOOD)
        self._levels: dict[int, _Level] = {}

    def level(self, scale: int, grid: Array | None = None) -> _Level:
        """Return the pair at a scale.

        Args:
            scale: pixels of the picture for one of the level's.
            grid: the flow so far, in pixels of the picture. Where it is given, ref is filled under a mask with what it
                brings from clip.
        """
        if scale not in self._levels or (self.masked and grid is not None):
            self._levels[scale] = self._made(scale, grid)
        return self._levels[scale]

    def _made(self, scale: int, grid: Array | None) -> _Level:
        clip, keep = reduced(self.clip, scale), reduced(self.keep, scale)
        if self.masked:
            ref = _over_mask(self.ref, self.keep, lambda part: reduced(part, scale))
            ref = _filled(ref, clip, keep, grid, scale)
        else:
            ref = reduced(self.ref, scale)
        ref, clip = (normalised(part, self._sigma, FLAT) for part in (ref, clip))
        return _Level(ref, clip, keep, gradients(ref))

    def match_blur(self, grid: Array) -> None:
        """Blur the sharper of the two at full scale as the other is blurred, by what they show where ``grid`` says."""
        warped = sample(self.clip, enlarged(grid, self.clip.shape[0] // grid.shape[0]))
        sigma = matching_blur(self.ref, warped, self.keep)
        if sigma > 0:
            self.clip = smoothed(self.clip, sigma)
        elif sigma < 0:
            self.ref = self._smoothed_ref(self.ref, -sigma)
        self._levels.pop(1, None)

    def _smoothed_ref(self, ref: Array, sigma: float) -> Array:
        if not self.masked:
            return smoothed(ref, sigma)
        return _over_mask(ref, self.keep, lambda part: smoothed(part, sigma))


def _over_mask(ref: Array, keep: Array, average: Callable[[Array], Array]) -> Array:
    """Return a weighted average of what counts alone; nothing where nothing does."""
    weight = average(keep)
    return average(ref * keep) / np.maximum(weight, np.float32(1e-3))


def _filled(ref: Array, clip: Array, keep: Array, grid: Array | None, scale: int) -> Array:
    """Return ref with clip, as a flow brings it and in ref's brightness and contrast, where nothing of ref counts."""
    there = clip if grid is None else sample(clip, resampled(grid, clip.shape[0]) / np.float32(scale))
    seen = keep > 0
    a, b = there[seen][::_EVERY], ref[seen][::_EVERY]
    gain = float(b.std() / max(float(a.std()), 1e-3)) if a.size else 1.0
    offset = float(b.mean() - gain * a.mean()) if a.size else 0.0
    return np.where(seen, ref, there * np.float32(gain) + np.float32(offset))


def estimate(
    ref: Array, clip: Array, keep: Array, masked: bool, options: AlignOptions, start: Array | None = None
) -> Estimate:
    """Estimate the flow from ref to clip.

    Args:
        ref, clip: luma, 0 to 255, shape (H, W), sides multiples of `BLOCK`.
        keep: 1 where ref counts, 0 where it does not, same shape.
        masked: whether some of what does not count is hidden; else it is only what the sides were filled up with.
        options: what is asked for.
        start: a flow to begin with, in pixels, one value per cell; None: find one.

    Returns:
        The flow on a grid of cells of 8 px.
    """
    pair = _Pair(ref, clip, keep, masked, GENERAL_SMOOTHING if options.lq_input else SMOOTHING)
    grid = _begun(pair, ref, clip, options) if start is None else start
    half, full = FINE[options.precision]
    grid, curvature = _refined(pair, grid, half, half.curvature)
    if options.precision >= 3:
        pair.match_blur(grid)
    grid, _ = _refined(pair, grid, full, curvature)
    if options.lq_input:
        grid = averaged(grid, GENERAL_CELLS)
    unmoved = _agreement(pair, np.zeros_like(grid))[0]
    return Estimate(grid, _agreement(pair, grid)[0], unmoved, _is_still(pair, grid))


def _is_still(pair: _Pair, grid: Array) -> bool:
    """Tell whether a flow is so small, and explains so little, that noise may have made it.

    Where the true flow is s, the mean squared difference at f grows as (f - s)^2. So between f and -f it differs by
    four times what f explains; to compare with 0 would be unfair, since sampling between pixels smooths noise away.
    """
    if float(np.median(np.abs(grid))) > SMALL_PX:
        return False
    level = pair.level(1)
    flow = resampled(grid, level.ref.shape[0])
    there, back = (float(((level.ref - sample(level.clip, way)) ** 2).mean()) for way in (flow, -flow))
    return back - there < 4 * BY_NOISE * there


def _refined(pair: _Pair, grid: Array, stage: Stage, curvature: float) -> tuple[Array, float]:
    """Return a flow in pixels of the picture, improved at a stage's scale, and the curvature to expect of it."""
    level = pair.level(stage.scale, grid)
    scale = np.float32(stage.scale)
    grid = resampled(grid, level.ref.shape[0] // stage.cell) / scale
    stiffness = stage.stiffness(curvature)
    for step in range(stage.steps):
        found = evidence(level.ref, level.clip, grid, stage.cell, level.keep, level.slopes)
        moved = settled(found, grid, stiffness, stage.iterations, None, ENOUGH)
        if stage.by_chance and step == 0:
            curvature = learned_curvature(found, moved, stiffness, stage.unit, stage.by_chance)
            stiffness = stage.stiffness(curvature)
            moved = settled(found, grid, stiffness, stage.iterations, moved, ENOUGH)
        far = float(np.abs(moved - grid).mean())
        grid = moved
        if far < stage.settled:
            break
    return grid * scale, curvature


def _coarsely(pair: _Pair, grid: Array, stages: tuple[Stage, ...]) -> Array:
    for stage in stages:
        grid, _ = _refined(pair, grid, stage, stage.curvature)
    return grid


def _agreement(pair: _Pair, grid: Array) -> tuple[float, float]:
    """Return how well the pair agrees where a flow says, and the share of ref that it finds inside clip."""
    level = pair.level(JUDGED_AT)
    flow = resampled(grid, level.ref.shape[0]) / np.float32(JUDGED_AT)
    keep = level.keep * inside(flow, *level.clip.shape)
    coverage = float(keep.sum() / max(float(level.keep.sum()), 1.0))
    return agreement(level.ref, sample(level.clip, flow), keep), coverage


def _begun(pair: _Pair, ref: Array, clip: Array, options: AlignOptions) -> Array:
    """Return the best start: the first that is good enough, else the one that agrees best."""
    enough = _GOOD_WIDE if options.wide_search else _GOOD
    best, most = None, -np.inf
    for grid in _starts(pair, ref, clip, options.wide_search):
        found, coverage = _agreement(pair, grid)
        # Little of ref can agree by chance.
        worth = found * coverage**0.25
        if best is None or worth > most:
            best, most = grid, worth
        if found >= enough:
            break
    assert best is not None
    return best


def _starts(pair: _Pair, ref: Array, clip: Array, wide: bool) -> Iterator[Array]:
    def projective() -> Iterator[Array]:
        matrix = homography(ref, clip, pair.keep > 0)
        if matrix is not None:
            yield _coarsely(pair, homography_grid(matrix, ref.shape, BLOCK), (COARSE,))

    if wide:
        yield from projective()
    level = pair.level(_COARSEST)
    cells = (level.ref.shape[0] // GLOBAL.cell, level.ref.shape[1] // GLOBAL.cell, 2)
    for shift in (np.zeros(2, np.float32), None):
        begin = np.zeros(cells, np.float32) + (_shift(level) if shift is None else shift)
        yield _coarsely(pair, begin, (GLOBAL, COARSE))
    if not wide:
        yield from projective()
    half = pair.level(2)
    for a, b in ((half.ref * 32 + 128, half.clip * 32 + 128), (reduced(ref, 2), reduced(clip, 2))):
        yield _coarsely(pair, _searched(a, b), (COARSE,))


def _shift(level: _Level) -> NDArray[np.float32]:
    """Return the displacement that most of the picture shares, in pixels, by phase correlation."""
    window = cv2.createHanningWindow(level.ref.shape[::-1], cv2.CV_32F)
    shift, _ = cv2.phaseCorrelate(level.ref, level.clip, window)
    return np.array(shift, np.float32) * np.float32(_COARSEST)


def _searched(ref: Array, clip: Array) -> Array:
    """Return the flow of dense inverse search at half scale, in pixels of the picture, on a coarse grid.

    Source:
        Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016, as in OpenCV.
    """
    # OpenCV's stubs do not know it.
    search = cast(Any, cv2).DISOpticalFlow_create(cast(Any, cv2).DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = search.calc(ref.clip(0, 255).astype(np.uint8), clip.clip(0, 255).astype(np.uint8), None)
    return reduced(flow, BLOCK // 2) * np.float32(2)
