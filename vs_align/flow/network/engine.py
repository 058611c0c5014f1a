"""Engine "flow": a network brings the flow close, Lucas-Kanade under a thin plate does the rest, a judge decides.

The twin of `vs_align.flow.dis.estimate` from its start on, by the same stages. Nothing waits for the device and nothing
depends on values: where the NumPy engine stops early, this one makes all of its steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..options import AlignOptions
from ..stages import (
    BY_NOISE,
    FINE,
    FLAT,
    GENERAL_CELLS,
    GENERAL_SMOOTHING,
    JUDGED_AT,
    NEIGHBOURHOOD,
    NOISY_NEIGHBOURHOOD,
    SMALL_PX,
    SMOOTHING,
    Stage,
)
from .geometry import averaged, inside, quantile, reduced, resampled, sample
from .judge import facts
from .looks import agreement, blurred, matching_blur, neighbourhood, noise, normalised, smoothed
from .lucas_kanade import evidence, gradients
from .shift import common_shift
from .thin_plate import learned_curvature, plated, settled, straightened

__all__ = ["Answer", "Estimate", "Network", "Opinions", "estimate", "opinions"]

# Conjugate gradients in a step that others follow, without a hole to be filled: "dis" stops there, or before.
_ITERATIONS = 10
# The scale at which the shift that most of the picture shares is looked for, and the pixels of a cell of the network's.
_SHIFTED_AT = 8
_CELL = 8
# The plate that smooths the network's flow: for a curvature of 0.003 px per px^2.
_PLATE = 0.003**-2
# A smaller share of ref than this stands for none.
_NOTHING = 1e-3


class Answer(Protocol):
    """What a network says of a pair: see `vs_align.flow.network.model.NetOutput`."""

    @property
    def flow(self) -> Tensor:
        """The flow ref -> clip in pixels, shape (B, 2, H / 8, W / 8)."""

    @property
    def spread(self) -> Tensor:
        """The error to expect of it in pixels, shape (B, 1, H / 8, W / 8)."""

    @property
    def memory(self) -> Tensor:
        """What a judge is told besides, shape (B, n, H / 8, W / 8)."""


class Network(Protocol):
    """Anything that finds a flow on a grid of 8 px. If it has a ``judge``, see `judge.Judge`, that is asked as well."""

    def __call__(self, ref: Tensor, clip: Tensor, start: Tensor | None = None) -> Answer:
        """Return it for lumas of 0 to 255, shape (B, 1, H, W), from a flow to begin with."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the engine says of each of B pairs.

    Attributes:
        grid: the flow ref -> clip in pixels, on cells of 8 px, shape (B, 2, H / 8, W / 8).
        agreement: correlation of the locally normalised pictures, once aligned; -1 to 1; shape (B,).
        unmoved: the same without any displacement.
        still: whether the flow is no more than what noise would give, shape (B,).
        spread: the error that the network expected of its own flow, in pixels, shape (B, 1, H / 8, W / 8).
    """

    grid: Tensor
    agreement: Tensor
    unmoved: Tensor
    still: Tensor
    spread: Tensor


@dataclass(frozen=True, slots=True)
class _Level:
    """The pair at one scale, light and contrast taken out.

    Attributes:
        ref: `gradients` of the normalised picture, itself the last of them, shape (B, 3, H / scale, W / scale).
        clip: locally normalised, shape (B, 1, H / scale, W / scale).
        keep: 1 where ref counts, 0 where not.
    """

    ref: Tensor
    clip: Tensor
    keep: Tensor


class _Pair:
    """Two pictures and what is computed from them, scale by scale, when it is first asked for.

    Args:
        ref, clip: luma, shape (B, 1, H, W).
        keep: 1 where ref counts, 0 where it does not.
        masked: whether what does not count may look other than clip does there.
        smoothing: sigma of the Gaussian that both are smoothed by.
    """

    def __init__(self, ref: Tensor, clip: Tensor, keep: Tensor, masked: bool, smoothing: float) -> None:
        self.keep, self.masked = keep, masked
        self._take(torch.cat([ref, clip], 1), lambda parts: smoothed(parts, smoothing))
        noisy = (noise(torch.cat([self.ref, self.clip], 1)).amax(1) / 4).clamp(max=1)
        sigma = NEIGHBOURHOOD + noisy * (NOISY_NEIGHBOURHOOD - NEIGHBOURHOOD)
        self._around = neighbourhood(sigma[:, None], NOISY_NEIGHBOURHOOD)
        self._levels: dict[int, _Level] = {}

    def level(self, scale: int, grid: Tensor | None = None) -> _Level:
        """Return the pair at a scale.

        Args:
            scale: pixels of the picture for one of the level's.
            grid: the flow so far, in pixels of the picture. Where it is given, ref is filled under a mask with what it
                brings from clip.
        """
        if scale not in self._levels or (self.masked and grid is not None):
            self._levels[scale] = self._made(scale, grid)
        return self._levels[scale]

    def _made(self, scale: int, grid: Tensor | None) -> _Level:
        clip, keep = reduced(self.clip, scale), reduced(self.keep, scale)
        if self.masked:
            ref = reduced(self.ref * self.keep, scale) / keep.clamp(min=_NOTHING)
            ref = _filled(ref, clip, keep, grid, scale)
        else:
            ref = reduced(self.ref, scale)
        parts = normalised(torch.cat([ref, clip], 1), self._around, FLAT)
        return _Level(gradients(parts[:, :1]), parts[:, 1:].contiguous(), keep)

    def match_blur(self, grid: Tensor) -> None:
        """Blur the sharper of the two at full scale as the other is blurred, by what they show where ``grid`` says."""
        taps = matching_blur(self.ref, sample(self.clip, resampled(grid, self.clip.shape[-2])), self.keep)
        if self.masked:
            taps = torch.cat([taps, taps[:, :1]], 1)
        self._take(torch.cat([self.ref, self.clip], 1), lambda parts: blurred(parts, taps))
        self._levels.pop(1, None)

    def _take(self, pair: Tensor, smooth: Callable[[Tensor], Tensor]) -> None:
        """Smooth both; of ref what counts alone, by a third channel for what does."""
        if self.masked:
            parts = smooth(torch.cat([pair[:, :1] * self.keep, pair[:, 1:], self.keep], 1))
            self.ref = parts[:, :1] / parts[:, 2:].clamp(min=_NOTHING)
        else:
            parts = smooth(pair)
            self.ref = parts[:, :1]
        self.clip = parts[:, 1:2]


def _filled(ref: Tensor, clip: Tensor, keep: Tensor, grid: Tensor | None, scale: int) -> Tensor:
    """Return ref with clip, as a flow brings it and in ref's brightness and contrast, where nothing of ref counts."""
    there = clip if grid is None else sample(clip, resampled(grid, clip.shape[-2]) / scale)
    seen = keep > 0
    weight = seen.float()
    weight = weight / weight.mean((1, 2, 3), keepdim=True).clamp(min=1e-9)
    mean_ref, mean_there = _mean(ref * weight), _mean(there * weight)
    deviation_ref, deviation_there = (
        _mean((part - mean) ** 2 * weight).sqrt() for part, mean in ((ref, mean_ref), (there, mean_there))
    )
    gain = deviation_ref / deviation_there.clamp(min=1e-3)
    return torch.where(seen, ref, (there - mean_there) * gain + mean_ref)


def _mean(image: Tensor) -> Tensor:
    return image.mean((1, 2, 3), keepdim=True)


def estimate(
    net: Network,
    ref: Tensor,
    clip: Tensor,
    keep: Tensor,
    masked: bool,
    options: AlignOptions,
    start: Tensor | None = None,
) -> Estimate:
    """Estimate the flow from ref to clip, for each of B pairs.

    Args:
        net: what finds the flow to begin with; on CUDA it works in half precision.
        ref, clip: luma, 0 to 255, float32, shape (B, 1, H, W), sides multiples of `BLOCK`.
        keep: 1 where ref counts, 0 where it does not, same shape.
        masked: whether some of what does not count is hidden; else it is only what the sides were filled up with.
        options: what is asked for; ``wide_search`` and ``iterations`` are the caller's.
        start: a flow that the network begins with, in pixels, shape (B, 2, H / 8, W / 8); None: it finds one.
    """
    with torch.no_grad(), torch.autocast(ref.device.type, enabled=False):
        pair, answer, grid = _attempted(net, ref, clip, keep, masked, options, start)
        judge = getattr(net, "judge", None)
        if judge is not None:
            both = _opinions(pair, answer, grid)
            grid = both.blended(judge(both.seen) * reduced(keep, _CELL))
        if options.lq_input:
            grid = averaged(grid, GENERAL_CELLS)
        level = pair.level(JUDGED_AT)
        unmoved = agreement(level.ref[:, 2:], level.clip, level.keep)
        still = _is_still(pair, grid)
        agreed = _agreement(pair, grid).flatten()
        return Estimate(grid, agreed, unmoved.flatten(), still.flatten(), answer.spread.float())


@dataclass(frozen=True, slots=True)
class Opinions:
    """Two flows, and what a judge goes by; on cells of 8 px.

    Attributes:
        own: the network's, smoothed by how sure it is of each cell, pixels, shape (B, 2, h, w).
        refined: what the grey values made of it, likewise.
        seen: `judge.facts` and the network's memory, shape (B, n, h, w).
    """

    own: Tensor
    refined: Tensor
    seen: Tensor

    def blended(self, share: Tensor) -> Tensor:
        """Return the flow that is to that share the network's, shape (B, 1, h, w)."""
        return torch.lerp(self.refined, self.own, share.expand_as(self.own))


def opinions(net: Network, ref: Tensor, clip: Tensor, options: AlignOptions) -> Opinions:
    """Return both flows between pictures of which all counts, for a judge that is in training; see `estimate`."""
    with torch.no_grad(), torch.autocast(ref.device.type, enabled=False):
        return _opinions(*_attempted(net, ref, clip, torch.ones_like(ref), False, options, None))


def _attempted(
    net: Network,
    ref: Tensor,
    clip: Tensor,
    keep: Tensor,
    masked: bool,
    options: AlignOptions,
    start: Tensor | None,
) -> tuple[_Pair, Answer, Tensor]:
    """Return the pair, what the network says of it, and the flow that the grey values make of that."""
    device = ref.device.type
    pair = _Pair(ref, clip, keep, masked, GENERAL_SMOOTHING if options.lq_input else SMOOTHING)
    start = _begun(pair) if start is None else start
    shown = _filled(ref, clip, keep, start, 1) if masked else ref
    with torch.autocast(device, torch.float16, enabled=device == "cuda"):
        answer = net(shown, clip, start)
    return pair, answer, _finely(pair, answer.flow.float(), options)


def _opinions(pair: _Pair, answer: Answer, refined: Tensor) -> Opinions:
    spread = answer.spread.float()
    own = plated(answer.flow.float(), spread, _PLATE / _CELL**4, _ITERATIONS)
    level = pair.level(1)
    left = torch.cat([_left(level, flow) for flow in (refined, own)], 1)
    texture = reduced((level.ref[:, :2] ** 2).sum(1, keepdim=True), _CELL)
    return Opinions(own, refined, torch.cat([facts(own, refined, spread, left, texture), answer.memory.float()], 1))


def _left(level: _Level, grid: Tensor) -> Tensor:
    """Return the mean squared difference that a flow leaves in each cell, shape (B, 1, h, w)."""
    there = sample(level.clip, resampled(grid, level.clip.shape[-2]))
    return reduced((level.ref[:, 2:] - there) ** 2, _CELL)


def _begun(pair: _Pair) -> Tensor:
    """Return the flow that the network begins with where nobody gives one, in pixels, on cells of 8 px."""
    level = pair.level(_SHIFTED_AT)
    shift = common_shift(level.ref[:, 2:], level.clip, level.keep) * _SHIFTED_AT
    height, width = pair.clip.shape[-2:]
    return shift.expand(-1, -1, height // _CELL, width // _CELL).contiguous()


def _finely(pair: _Pair, grid: Tensor, options: AlignOptions) -> Tensor:
    half, full = FINE[options.precision]
    grid, curvature = _refined(pair, grid, half, half.curvature)
    if options.precision >= 3:
        pair.match_blur(grid)
    return _refined(pair, grid, full, curvature)[0]


def _refined(pair: _Pair, grid: Tensor, stage: Stage, curvature: Tensor | float) -> tuple[Tensor, Tensor | float]:
    """Return a flow in pixels of the picture, improved at a stage's scale, and the curvature to expect of it."""
    level = pair.level(stage.scale, grid)
    rows = level.clip.shape[-2] // stage.cell
    grid = resampled(grid, rows) / stage.scale
    stiffness = (curvature * stage.unit) ** -2
    all_of_them = stage.steps == 1 or pair.masked
    iterations = stage.iterations if all_of_them else min(stage.iterations, _ITERATIONS)
    for step in range(stage.steps):
        found = evidence(level.ref, level.clip, grid, stage.cell, level.keep)
        straight = straightened(grid, found)
        moved = settled(found, grid, stiffness, iterations, straight)
        if stage.by_chance and step == 0:
            curvature = learned_curvature(found, moved, stiffness, stage.unit, stage.by_chance)
            stiffness = (curvature * stage.unit) ** -2
            moved = settled(found, grid, stiffness, iterations, straight, moved)
        grid = moved
    return grid * stage.scale, curvature


def _agreement(pair: _Pair, grid: Tensor) -> Tensor:
    """Return how well the pair agrees where a flow says."""
    level = pair.level(JUDGED_AT)
    flow = resampled(grid, level.clip.shape[-2]) / JUDGED_AT
    keep = level.keep * inside(flow, *level.clip.shape[-2:])
    return agreement(level.ref[:, 2:], sample(level.clip, flow), keep)


def _is_still(pair: _Pair, grid: Tensor) -> Tensor:
    """Tell whether a flow is so small, and explains so little, that noise may have made it: see `vs_align.flow.dis`."""
    level = pair.level(1)
    flow = resampled(grid, level.clip.shape[-2])
    there, back = (((level.ref[:, 2:] - sample(level.clip, way)) ** 2).mean((1, 2, 3)) for way in (flow, -flow))
    small = quantile(grid.abs().flatten(1), 0.5) <= SMALL_PX
    return small & (back - there < 4 * BY_NOISE * there)
