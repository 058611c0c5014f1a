"""The work on one frame of `vs_align.spatial`: from the frames of clip, ref and mask to the output's, or to a flow."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..flow.align import AlignOptions, align
from ..flow.steady import steadied
from ..flow.warp import coverage, finite, shift_statistics, warp_planes
from ..frames import ignored, light, peak, plane, planes, same_samples

if TYPE_CHECKING:
    from ..flow.network.pipeline import Found, Pipeline

__all__ = ["POOR", "NetworkWarping", "Warping"]

_FUNCTION = "vs_align.spatial"

_FROM_REF = ("_DurationNum", "_DurationDen", "_SARNum", "_SARDen")
# Once a frame has been warped, its fields are no longer on lines of their own.
_FIELDS = ("_FieldBased", "_Field")

_THUMBNAIL = (32, 18)
# Mean absolute difference of two thumbnails, of 255. In footage, fast pans reach 19, the weakest hard cut has 43.
_CUT = 25.0

POOR = 0.2
"""A residual from which on the engine "flow" tries again from a homography."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found out about one frame: the flow (None: nothing to move), the disagreement, what comes from ref."""

    flow: NDArray[np.float32] | None
    residual: float
    of_ref: dict[str, Any]


class Warping:
    """The work on one frame. It holds nothing but what was asked for, so frames may be made at the same time.

    Args:
        options: how the displacement is estimated.
        size: ref's (width, height).
        alpha: attach an alpha channel.
    """

    def __init__(self, options: AlignOptions, size: tuple[int, int], alpha: bool) -> None:
        self._options = options
        self._size = size
        self._alpha = alpha

    def aligned(self, n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        """Make the output's frame from those of clip, ref and, where there is one, mask."""
        return self._warped(f[0], self._found(f))

    def flow(self, n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        """Make a frame that carries the flow, dx above dy, and what else `steadied` needs to know."""
        found = self._found(f)
        width, height = self._size
        frame = vs.core.create_video_frame(vs.core.get_video_format(vs.GRAYS), width, 2 * height)
        samples = plane(frame, 0)
        if found.flow is None:
            samples[:] = 0
        else:
            cv2.split(found.flow, [samples[:height], samples[height:]])
        small = cv2.resize(_light(f[1]), _THUMBNAIL, interpolation=cv2.INTER_AREA)
        _set(frame, found.of_ref)
        frame.props["AlignMoved"] = int(found.flow is not None)
        frame.props["AlignResidual"] = found.residual
        frame.props["AlignThumbnail"] = np.clip(small, 0, 255).astype(np.uint8).tobytes()
        return frame

    def steadied(self, n: int, f: list[vs.VideoFrame], length: int) -> vs.VideoFrame:
        """Make the output's frame from clip's frame and the flow frames around, of which the middle one is its own.

        Args:
            n: the frame.
            f: clip's frame n and the flow frames n - radius to n + radius; those that do not exist are anything.
            length: how many flow frames there are.
        """
        radius = len(f) // 2 - 1
        centre = min(n, radius)
        clip, flows = f[0], f[1 + radius - centre : 2 + radius + min(radius, length - 1 - n)]
        own = flows[centre]
        flow = None
        if own.props["AlignMoved"]:
            shot = [m for m in _same_shot(flows, centre) if flows[m].props["AlignMoved"]]
            flow = steadied([_flow_in(flows[m]) for m in shot], shot.index(centre))
        return self._warped(clip, _Found(flow, float(own.props["AlignResidual"]), _of_ref(own)))

    def _found(self, f: list[vs.VideoFrame]) -> _Found:
        if same_samples(*f[:2]):
            return _Found(None, 0.0, _of_ref(f[1]))
        flow, residual = self._estimated(f[0], f[1], self._mask(f))
        return _Found(flow, residual, _of_ref(f[1]))

    def _mask(self, f: list[vs.VideoFrame]) -> NDArray[np.uint8] | None:
        return ignored(f[2], self._size) if len(f) > 2 else None

    def _estimated(
        self, clip: vs.VideoFrame, ref: vs.VideoFrame, mask: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.float32] | None, float]:
        """Return the flow, None where nothing is to be moved, and the residual."""
        found = align(_resized(_light(clip), self._size), _light(ref), mask, self._options)
        return found.flow, float(found.residual)

    def _warped(self, clip: vs.VideoFrame, found: _Found) -> vs.VideoFrame:
        unmoved = found.flow is None and (clip.width, clip.height) == self._size
        frame = clip.copy() if unmoved else self._unfilled(clip)
        if not unmoved:
            warp_planes(planes(clip), found.flow, self._size, peak=_peak(clip.format), out=planes(frame))
        self._set_alpha(frame, clip, found.flow, unmoved)
        shifts = (0.0, 0.0) if found.flow is None else shift_statistics(found.flow)
        return _described(frame, found.of_ref, *shifts, found.residual)

    def _unfilled(self, clip: vs.VideoFrame) -> vs.VideoFrame:
        """Return a frame of clip's format and ref's size with clip's properties."""
        frame = vs.core.create_video_frame(clip.format, *self._size)
        _set(frame, {name: clip.props[name] for name in clip.props if name not in _FIELDS})
        return frame

    def _set_alpha(
        self, frame: vs.VideoFrame, clip: vs.VideoFrame, flow: NDArray[np.float32] | None, unmoved: bool
    ) -> None:
        """Attach the alpha that was asked for; one that clip's frame has goes along with the picture."""
        own = _own_alpha(clip)
        if own is None:
            self._set_cover(frame, coverage(flow, (clip.height, clip.width), self._size) if self._alpha else None)
            return
        if unmoved:
            return
        alpha = vs.core.create_video_frame(own.format, *self._size)
        samples = plane(alpha, 0)
        warp_planes(planes(own), flow, self._size, peak=_peak(own.format), out=[samples])
        np.clip(samples, 0, peak(own.format) or 1, out=samples)
        if self._alpha:
            samples[~coverage(flow, (clip.height, clip.width), self._size)] = 0
        frame.props["_Alpha"] = alpha

    def _set_cover(self, frame: vs.VideoFrame, cover: NDArray[np.bool_] | None) -> None:
        """Attach an alpha that is white where ``cover`` says, or none."""
        if cover is None:
            frame.props.pop("_Alpha", None)
            return
        fmt = frame.format.replace(color_family=vs.GRAY)
        alpha = vs.core.create_video_frame(fmt, *self._size)
        samples = plane(alpha, 0)
        np.multiply(cover, samples.dtype.type(peak(fmt) or 1), out=samples)
        frame.props["_Alpha"] = alpha


class NetworkWarping(Warping):
    """The work on one frame by the engine "flow": where the frame allows it, all of it on the network's device.

    Args:
        options, size, alpha: see `Warping`.
        network: from planes to warped planes or to a flow.
    """

    def __init__(self, options: AlignOptions, size: tuple[int, int], alpha: bool, network: "Pipeline") -> None:
        super().__init__(options, size, alpha)
        self._network = network

    def aligned(self, n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        """See `Warping.aligned`."""
        clip, ref = f[:2]
        if same_samples(clip, ref):
            return self._warped(clip, _Found(None, 0.0, _of_ref(ref)))
        samples, sound = _finite_planes(clip)
        mask = self._mask(f)
        if not sound or _own_alpha(clip) is not None:
            # Rare, and not the network's affair: an alpha to be warped along, samples to be put back.
            return self._warped(clip, _Found(*self._estimated(clip, ref, mask), _of_ref(ref)))
        found, frame, cover = self._best(
            clip, ref, mask, lambda start: self._on_the_device(f, samples, mask, start), lambda made: made[0].residual
        )
        if not found.moved and (clip.width, clip.height) == self._size:
            frame = clip.copy()
        self._set_cover(frame, None if cover is None else cover.view(np.bool_))
        return _described(frame, _of_ref(ref), found.mean_shift, found.max_shift, found.residual)

    def _on_the_device(
        self,
        f: list[vs.VideoFrame],
        samples: list[NDArray[Any]],
        mask: NDArray[np.uint8] | None,
        start: NDArray[np.float32] | None,
    ) -> "tuple[Found, vs.VideoFrame, NDArray[np.uint8] | None]":
        """Return what was found, clip's frame warped, and, where alpha is asked for, what comes from inside it."""
        frame = self._unfilled(f[0])
        cover = np.empty(self._size[::-1], np.uint8) if self._alpha else None
        of_ref = _finite_planes(f[1])[0]
        with _saying_who():
            found = self._network.aligned(samples, of_ref, mask, start, out=planes(frame), cover=cover)
        return found, frame, cover

    def _estimated(
        self, clip: vs.VideoFrame, ref: vs.VideoFrame, mask: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.float32] | None, float]:
        def attempt(start: NDArray[np.float32] | None) -> tuple[NDArray[np.float32] | None, float]:
            with _saying_who():
                return self._network.flow(_finite_planes(clip)[0], _finite_planes(ref)[0], mask, start)

        return self._best(clip, ref, mask, attempt, lambda made: made[1])

    def _best[T](
        self,
        clip: vs.VideoFrame,
        ref: vs.VideoFrame,
        mask: NDArray[np.uint8] | None,
        attempt: Callable[[NDArray[np.float32] | None], T],
        residual: Callable[[T], float],
    ) -> T:
        """Return the better of two attempts: without a start and, where little agrees, from a homography.

        With a wide search there is but one, from the homography where one is found.
        """
        wide = self._options.wide_search
        made = attempt(self._projective(clip, ref, mask) if wide else None)
        if wide or residual(made) < POOR:
            return made
        start = self._projective(clip, ref, mask)
        other = made if start is None else attempt(start)
        return other if residual(other) < residual(made) else made

    def _projective(
        self, clip: vs.VideoFrame, ref: vs.VideoFrame, mask: NDArray[np.uint8] | None
    ) -> NDArray[np.float32] | None:
        """Return the flow of the homography between two frames; None where none is found."""
        from ..flow.network.pipeline import projective_start

        return projective_start(_resized(_light(clip), self._size), _light(ref), mask)


@contextlib.contextmanager
def _saying_who() -> Iterator[None]:
    """Put the public function's name before what the network's device has to say."""
    from ..flow.network.memory import GpuError

    try:
        yield
    except GpuError as fault:
        raise GpuError(f"{_FUNCTION}: {fault}") from fault


def _finite_planes(frame: vs.VideoFrame) -> tuple[list[NDArray[Any]], bool]:
    """Return a frame's planes with all samples finite, and whether they were that before."""
    given = planes(frame)
    filled = [finite(part) for part in given]
    return filled, all(a is b for a, b in zip(given, filled, strict=True))


def _of_ref(ref: vs.VideoFrame) -> dict[str, Any]:
    return {name: ref.props[name] for name in _FROM_REF if name in ref.props}


def _described(
    frame: vs.VideoFrame, of_ref: dict[str, Any], mean_shift: float, max_shift: float, residual: float
) -> vs.VideoFrame:
    """Return a frame with the properties that say what was found, and with ref's where they are ref's."""
    for name in ("_AbsoluteTime", *_FROM_REF):
        frame.props.pop(name, None)
    _set(frame, of_ref)
    _set(frame, {"AlignMeanShift": mean_shift, "AlignMaxShift": max_shift, "AlignResidual": residual})
    return frame


def _own_alpha(clip: vs.VideoFrame) -> vs.VideoFrame | None:
    """Return the alpha that a frame has, if it is one that can be warped along."""
    alpha = clip.props.get("_Alpha")
    if not isinstance(alpha, vs.VideoFrame) or (alpha.width, alpha.height) != (clip.width, clip.height):
        return None
    fmt = alpha.format
    fits = fmt.color_family == vs.GRAY and (fmt.sample_type == vs.FLOAT or fmt.bits_per_sample <= 16)
    return alpha if fits else None


def _light(frame: vs.VideoFrame) -> NDArray[np.float32]:
    return light([finite(part) for part in planes(frame)], frame.format)


def _resized(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bring a clip's luma to ref's size: averaged where it gets smaller, cubic where it gets larger."""
    height, width = picture.shape
    smaller = (min(width, size[0]), min(height, size[1]))
    for target, how in ((smaller, cv2.INTER_AREA), (size, cv2.INTER_CUBIC)):
        if picture.shape != (target[1], target[0]):
            picture = cast(NDArray[np.float32], cv2.resize(picture, target, interpolation=how))
    return picture


def _peak(fmt: vs.VideoFormat) -> int | None:
    """Return the largest sample where it is not that of the array's type."""
    return peak(fmt) if fmt.bits_per_sample not in (8, 16, 32) else None


def _set(frame: vs.VideoFrame, properties: dict[str, Any]) -> None:
    for name, value in properties.items():
        frame.props[name] = value


def _flow_in(frame: vs.VideoFrame) -> NDArray[np.float32]:
    """Return the flow that a frame of the flow clip carries, shape (H, W, 2)."""
    return cast(NDArray[np.float32], cv2.merge(np.split(plane(frame, 0), 2)))


def _same_shot(flows: Sequence[vs.VideoFrame], centre: int) -> range:
    """Return which of consecutive flow frames are of the centre's shot."""
    small = [np.frombuffer(frame.props["AlignThumbnail"], np.uint8).astype(np.float32) for frame in flows]
    first = last = centre
    while first > 0 and np.abs(small[first] - small[first - 1]).mean() < _CUT:
        first -= 1
    while last + 1 < len(small) and np.abs(small[last] - small[last + 1]).mean() < _CUT:
        last += 1
    return range(first, last + 1)
