"""`vs_align.spatial`: each frame of one clip warped onto the geometry of another."""

import weakref
from collections.abc import Callable
from functools import partial, wraps
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import vapoursynth as vs

from ..checks import Checks, shown
from ..enums import Backend, FlowEngine, SpatialPrecision
from ..flow.align import AlignOptions
from ..flow.warp import MOST_SIDE
from ..frames import cache_budget, keep_cached
from ..similarity.shifted import Shifted
from .engines import build_network, check_engine
from .warping import NetworkWarping, Warping

if TYPE_CHECKING:
    from ..flow.network.pipeline import Pipeline

__all__ = ["spatial"]

_FUNCTION = "vs_align.spatial"

_MOST_HELD_BYTES = 2 << 30

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
    weights: str | PathLike[str] | None = None,
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
        device: "cpu", "cuda", "cuda:1" or None. CUDA asked for by name means engine "flow" unless an engine is named;
            the engine "dis" runs on the CPU in any case.
        backend: another name of ``device``, which it may not contradict.
        wide_search: look for a perspective change first: other crops, shear, rotation up to 45 degrees.
        alpha: attach ``_Alpha``: white where the output comes from inside clip, black outside.
        engine: what estimates the displacement: "dis", on the CPU, without a network; "flow", a network in PyTorch,
            made for CUDA. None: "dis", but with ``device="cuda"`` "flow".
        stabilize: frames on each side, 0 and up, whose displacements within the shot steady this one's.
        weights: a .safetensors file for the engine "flow", trained by ``vs-align train flow``. None: the file that the
            environment variable VS_ALIGN_FLOW names, or the package's.

    Returns:
        A clip of ref's size, length and frame rate and of clip's format. Frame properties: ``AlignMeanShift`` and
        ``AlignMaxShift`` (lengths of the displacements in pixels of ref, 0 where nothing was moved),
        ``AlignResidual`` (0..1, the disagreement that is left: 0 the same, 1 nothing in common). Durations and the
        shape of a pixel come from ref, other properties from clip.

    Raises:
        TypeError, ValueError: an argument is unusable; the message says which and what to do.
        RuntimeError: a GPU is asked for where there is none or has too little memory, PyTorch is missing, or the
            weights are.

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
    alpha = check.boolean(alpha, "alpha")
    radius = min(check.integer(stabilize, "stabilize", 0), ref.num_frames - 1)
    chosen, where = check_engine(check, engine, device, backend, weights)
    work = Warping(options, (ref.width, ref.height), alpha)
    if chosen == FlowEngine.FLOW:
        network = build_network(check, clip, ref, options, alpha, where, weights)
        work = NetworkWarping(options, (ref.width, ref.height), alpha, network)
        _close_at_teardown(network)
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


def _close_at_teardown(network: "Pipeline") -> None:
    """Give back what the network holds when the environment goes; until then it lives as long as the output clip."""
    alive = weakref.ref(network)

    def close() -> None:
        kept = alive()
        if kept is not None:
            kept.close()

    vs.register_on_destroy(close)


def _build(work: Warping, sources: list[vs.VideoNode], radius: int) -> vs.VideoNode:
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
