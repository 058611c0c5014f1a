"""`vs_align.temporal`: the right frame of one clip at each frame of another."""

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..analysis.alignment import Alignment
from ..analysis.clip_info import ClipInfo
from ..analysis.geometry import Geometry
from ..checks import Checks, shown
from ..enums import Backend, Engine, Mode, Similarity, TemporalPrecision
from ..frames import cache_budget, keep_cached
from ..matching.rates import RateMap
from ..similarity.measure import Measure
from ..similarity.plugins import VSHIP
from ..similarity.shifted import NOT_OF_THE_PICK
from .found import Picker, Plan
from .measures import HEAVY, MeasureOptions, build_measure, check_network
from .modes import WHOLE, WITHOUT_SCORES, ModeOptions, known, mapped, searched
from .whole_modes import Keep

__all__ = ["temporal"]


class _Default(int):
    """A default that can be told from the same number given by the caller."""


_TR, _PRECISION = _Default(20), _Default(1)

# Frames beyond the window that stay in the stores, for threads that are a little ahead or behind.
_SPARE = 16
_MOST_HELD_BYTES = 2 << 30
_MOST_RATE = (1 << 31) - 1
# The path of mode "dtw": rows on each side that decide, and what leaving the straight way costs, as a share of the
# distance of frames that match (benchmarks/RESULTS.md).
_LAG, _PENALTY = 40, 0.05


def temporal(
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    out: vs.VideoNode | None = None,
    tr: int | TemporalPrecision | None = _TR,
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
    model: str | None = None,
    lag: int | None = None,
    penalty: float | None = None,
    geometry: Geometry | None = None,
    alignment: Alignment | str | PathLike[str] | None = None,
) -> vs.VideoNode:
    """Put at each frame of ref the frame of clip that shows the same picture.

    For ref's frame n the clip frames within ``tr`` of the centre c(n) are compared with it, and ``mode`` says how one
    of them is chosen. Frames that clip does not have are never chosen. Any order of requests gives the same result.

    Args:
        clip: the clip to be synchronised: 8 to 16 bit integer, half or float; GRAY, YUV or RGB.
        ref: the clip it follows, of clip's format and size; any length.
        out: the clip that the output frames are copied from, frame for frame the same film as clip; any format and
            size, clip's length. None: clip itself. Match on small copies and hand in the full picture here.
        tr: frames searched on each side of the centre, 0 and up. None, with the modes "dtw", "offset" and "linear":
            every frame of clip.
        precision: the measure by number: 1 "planestats", 2 "butteraugli", 3 "topiq".
        fallback: used where the best distance is not below ``thresh``; out's (else clip's) format and size, at least
            ref's length.
        thresh: the distance from which ``fallback`` is used, in the measure's unit: the frame property ``AlignScore``,
            also shown by ``debug=True``. Without ``fallback`` it does nothing.
        clip_num, clip_den, ref_num, ref_den: the two frame rates, all four or none. The centre c(n) is then the clip
            frame on screen at ref's time n, in exact rational arithmetic; without them c(n) = n, whatever the clips'
            rates.
        batch_size: candidates that "topiq", "butteraugli" and "resnet" compare at once, 1 and up; fewer need less
            memory. None: as many as is fast: on a GPU up to the whole window, on the CPU one ("resnet": 256).
        device: "cpu", "cuda", "cuda:1" or None: CUDA where the measure can use it and it works, else the CPU.
        debug: draw the measure, the match and the window's scores on the frame.
        backend: another name of ``device``, which it may not contradict.
        similarity: the measure by name, in place of ``precision``: "planestats", "structure", "butteraugli", "topiq",
            "resnet".
        mode: how a frame is chosen. "match": the most alike of the window; ties go to the frame nearest the centre,
            then to the later one. "dtw": where the best path that never steps back goes, over the windows of the
            frames around; with ``tr=None`` over all, computed when the first frame is asked for. "offset", "linear":
            one offset, or one rate and offset, for the whole clip, that most windows' matches agree on; computed when
            the first frame is asked for. "pad": clip at its own speed, its last frame held; "stretch": clip resampled
            to ref's length; these two compare nothing, and ``AlignScore`` is infinite.
        engine: what computes "butteraugli": the plugin "vship" on a GPU, the plugin "julek" on the CPU, or "torch" on
            either. None: the first of these that is there and fits ``device``.
        shortlist: compare only the ``shortlist`` candidates that "structure" ranks best, 1 and up; for "butteraugli"
            and "topiq". None or 0: every candidate.
        weights: for "topiq" and "resnet": a file or a state dict in place of the downloaded weights.
        model: for "resnet": the name of the timm backbone, such as "resnet18"; "resnet50" where not given.
        lag: for "dtw": the path goes over the windows of so many ref frames before and after each, 0 and up; 40 where
            not given. From ref's length on it is the path of the whole clip.
        penalty: for "dtw": what holding a frame and leaving out frames costs the path each time, 0 and up, as a share
            of the usual distance of matching frames (median over the windows of the smallest); 0.05 where not given.
        geometry: how clip's picture lies in ref's, as `vs_align.analyse` finds it (``found.geometry``): frames are
            compared under it, on what both have in common, and clip and ref may then differ in size. The output frames
            are not changed by it.
        alignment: for "dtw" with ``tr=None``: an `Alignment`, or the file of one. What it says is shown, and nothing is
            compared; where it has no match, the frame of the last match is shown, or ``fallback``. A file that does not
            exist is written when the path has been found.

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
        Matching each frame in a window: po5's decimatch and pifroggi's vs_align; the exact pruning is ours. Paths:
        Sakoe and Chiba, 1978; a decision after a fixed lag as with Viterbi's algorithm (Forney, 1973).
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
    _check_clips(check, clip, ref, out, fallback, geometry)
    tr, modes = _check_mode(check, mode, tr, lag, penalty)
    _check_fallback(check, fallback, modes)
    options = _check_options(
        check, precision, similarity, engine, device, backend, batch_size, shortlist, weights, model
    )
    rates = _check_rates(check, clip_num, clip_den, ref_num, ref_den)
    found, to_be_written = _check_alignment(check, alignment, tr, modes, clip, ref)
    if to_be_written is not None:
        modes = replace(modes, keep=_saver(check, to_be_written, clip, ref, options.similarity, geometry))
    if tr is None and modes.mode is Mode.DTW and found is None:
        _check_matrix(check, clip, ref, 3 if modes.keep else 1)
    plan = Plan(
        clip_length=clip.num_frames,
        fallback=fallback,
        thresh=check.number(thresh, "thresh"),
        tr=None if tr is None else min(tr, clip.num_frames + rates.centre(ref.num_frames)),
        rates=rates,
        debug=check.boolean(debug, "debug"),
        fps=_frame_rate(check, ref, ref_num, ref_den),
    )
    build = _Build(check, plan, clip, ref, out, geometry)
    return build.searched(modes, options) if found is None else build.known(found)


def _check_clips(
    check: Checks,
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    out: vs.VideoNode | None,
    fallback: vs.VideoNode | None,
    geometry: Geometry | None,
) -> None:
    check.samples(clip, "clip")
    if geometry is None:
        check.same_picture(clip, "clip", ref, "ref")
    else:
        _check_geometry(check, geometry, clip, ref)
    if out is not None and out.num_frames != clip.num_frames:
        check.value_error(f"out must have clip's length, {clip.num_frames} frames, not {out.num_frames}.")
    if fallback is not None:
        check.same_picture(clip if out is None else out, "clip" if out is None else "out", fallback, "fallback")
        if fallback.num_frames < ref.num_frames:
            check.value_error(
                f"fallback must be at least as long as ref, {ref.num_frames} frames, not {fallback.num_frames}."
            )


def _check_fallback(check: Checks, fallback: vs.VideoNode | None, modes: ModeOptions) -> None:
    if fallback is not None and modes.mode in WITHOUT_SCORES:
        check.value_error(f"mode={modes.mode.value!r} compares nothing, so that fallback has no use; leave it out.")


def _check_geometry(check: Checks, geometry: object, clip: vs.VideoNode, ref: vs.VideoNode) -> None:
    if not isinstance(geometry, Geometry):
        check.type_error(
            f"geometry must be a Geometry as vs_align.analyse finds it (found.geometry), not {type(geometry).__name__}."
        )
    check.same_format(clip, "clip", ref, "ref")
    if not geometry.fits(clip, ref):
        check.value_error("geometry is that of other clips: it reaches beyond the pictures of these.")


def _check_alignment(
    check: Checks, alignment: object, tr: int | None, modes: ModeOptions, clip: vs.VideoNode, ref: vs.VideoNode
) -> tuple[Alignment | None, Path | None]:
    """Return the alignment that is given, and where to write the one that will be found."""
    if alignment is None:
        return None, None
    if not isinstance(alignment, Alignment | str | PathLike):
        check.type_error(f"alignment must be an Alignment or a path, not {type(alignment).__name__}.")
    if modes.mode is not Mode.DTW or tr is not None:
        check.value_error("alignment is for mode='dtw' with tr=None; give both, or leave it out.")
    if isinstance(alignment, Alignment) or Path(alignment).exists():
        return Alignment.given(check, alignment, clip, ref), None
    path = Path(alignment)
    if not path.parent.is_dir():
        check.value_error(f"alignment is to be written to {path.parent}, which is no folder.")
    return None, path


def _saver(
    check: Checks, path: Path, clip: vs.VideoNode, ref: vs.VideoNode, measure: Similarity, geometry: Geometry | None
) -> Keep:
    """Return what writes a path of the whole clip to a file."""
    infos = ClipInfo.of(clip), ClipInfo.of(ref)

    def keep(frame: NDArray[np.int64], score: NDArray[np.float64], sure: NDArray[np.float64]) -> None:
        try:
            Alignment(frame, score, sure, *infos, measure.value, geometry).save(path)
        except OSError as error:
            check.runtime_error(f"alignment cannot be written to {path}: {error.strerror}.")

    return keep


def _check_mode(
    check: Checks, mode: object, tr: object, lag: object, penalty: object
) -> tuple[int | None, ModeOptions]:
    chosen = check.choice(mode, "mode", Mode)
    radius = None if tr is None and chosen in WHOLE else check.integer(tr, "tr", 0)
    for name, value in (("lag", lag), ("penalty", penalty)):
        if value is not None and chosen is not Mode.DTW:
            check.value_error(f"{name} is for {Mode.DTW.value}; mode is {chosen.value!r}, leave it out.")
    if lag is not None and radius is None:
        check.value_error("lag is for a finite tr; with tr=None the path goes through all frames, leave it out.")
    cost = _PENALTY if penalty is None else check.number(penalty, "penalty")
    if not 0 <= cost < math.inf:
        check.value_error(f"penalty must be 0 or a positive number, not {shown(penalty)}.")
    rows = _LAG if lag is None else check.integer(lag, "lag", 0)
    return radius, ModeOptions(mode=chosen, lag=rows if chosen is Mode.DTW and radius is not None else 0, penalty=cost)


def _check_matrix(check: Checks, clip: vs.VideoNode, ref: vs.VideoNode, copies: int) -> None:
    """Refuse to compare all frames with all where their distances would not fit."""
    needs = 4 * copies * clip.num_frames * ref.num_frames
    if needs > _MOST_HELD_BYTES:
        check.value_error(
            f"tr=None compares each of {ref.num_frames} frames of ref with each of {clip.num_frames} of clip, "
            f"{needs / 2**30:.0f} GiB of distances where {_MOST_HELD_BYTES >> 30} are the most; give a finite tr."
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
    model: str | None,
) -> MeasureOptions:
    measure = _check_similarity(check, precision, similarity)
    chosen = None if engine is None else check.choice(engine, "engine", Engine)
    for name, value, users in (
        ("engine", engine, (Similarity.BUTTERAUGLI,)),
        ("shortlist", shortlist, HEAVY),
    ):
        if value is not None and measure not in users:
            check.value_error(f"{name} is for {' and '.join(users)}; similarity is {measure.value!r}, leave it out.")
    check_network(check, measure, weights, model)
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
        model=model,
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


@dataclass(frozen=True, slots=True)
class _Build:
    """The clips and the plan of one call, and how the output clip comes of them."""

    check: Checks
    plan: Plan
    clip: vs.VideoNode
    ref: vs.VideoNode
    out: vs.VideoNode | None
    geometry: Geometry | None

    def searched(self, mode: ModeOptions, options: MeasureOptions) -> vs.VideoNode:
        """Return the output clip of a mode that has yet to look."""
        plan, picked = self.plan, self._picked()
        budget = cache_budget(_MOST_HELD_BYTES)
        if mode.mode in WITHOUT_SCORES:
            return mapped(self._base(picked), self.ref, mode.mode, plan, picked)
        capacity = plan.candidates + _SPARE
        # A frame is compared up to 2 * tr frames, and as many as pass in the lag, before it is picked; a cache of our
        # own keeps it from being decoded again. Twice that, because the frames that are picked meanwhile count as used,
        # too. Where all of clip is compared before the first frame is picked, no cache would do.
        before = capacity + plan.clip_frames(mode.lag)
        held = 2 * before if self.out is None and plan.tr is not None else _SPARE
        keep_cached(picked, held, budget)
        clip, ref = picked if self.out is None else self.clip, self.ref
        if self.geometry is not None:
            clip, ref = self.geometry.applied(clip, ref)
        measure = build_measure(self.check, clip, ref, options, capacity, budget)
        _clear_at_teardown(measure)
        return searched(self._base(picked), measure, mode, plan, picked)

    def known(self, found: Alignment) -> vs.VideoNode:
        """Return the output clip where an alignment says what to show."""
        picked = self._picked()
        score = np.where(found.frame >= 0, found.score, np.inf)
        picker = Picker(self.plan, f"alignment, {found.similarity}", picked)
        return known(self._base(picked), self.ref, (found.shown(), score, found.confidence), self.plan, picker)

    def _picked(self) -> vs.VideoNode:
        return (self.clip if self.out is None else self.out).std.RemoveFrameProps(NOT_OF_THE_PICK)

    def _base(self, picked: vs.VideoNode) -> vs.VideoNode:
        """Return a clip of the output's format, size, length and frame rate."""
        num, den = self.plan.fps
        return picked.std.BlankClip(length=self.ref.num_frames, fpsnum=num, fpsden=den, keep=True)


def _clear_at_teardown(measure: Measure) -> None:
    """Empty the measure's stores when the environment goes; until then they live as long as the output clip does."""
    alive = weakref.ref(measure)

    def clear() -> None:
        kept = alive()
        if kept is not None:
            kept.clear()

    vs.register_on_destroy(clear)
