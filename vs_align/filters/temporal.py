"""`vs_align.temporal`: the right frame of one clip at each frame of another."""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..analysis.alignment import Alignment
from ..analysis.geometry import Geometry
from ..analysis.keypoints import Keypoints
from ..checks import Checks
from ..enums import Backend, Engine, Mode, Similarity, TemporalPrecision
from ..frames import cache_budget, keep_cached
from ..similarity.measure import Measure
from ..similarity.shifted import NOT_OF_THE_PICK
from .found import Picker, Plan
from .measures import MeasureOptions, build_measure
from .modes import WITHOUT_SCORES, ModeOptions, known, mapped, searched
from .pose_rows import check_pose
from .temporal_checks import (
    check_alignment,
    check_clips,
    check_fallback,
    check_matrix,
    check_mode,
    check_options,
    check_rates,
    frame_rate,
    saver,
)

__all__ = ["temporal"]


class _Default(int):
    """A default that can be told from the same number given by the caller."""


# Frames beyond the window that stay in the stores, for threads that are a little ahead or behind.
_SPARE = 16
_MOST_HELD_BYTES = 2 << 30


def temporal(
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    out: vs.VideoNode | None = None,
    tr: int | TemporalPrecision | None = _Default(20),  # noqa: B008
    precision: int | TemporalPrecision = _Default(1),  # noqa: B008
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
    model: str | PathLike[str] | None = None,
    lag: int | None = None,
    penalty: float | None = None,
    geometry: Geometry | None = None,
    alignment: Alignment | str | PathLike[str] | None = None,
    keypoints: Keypoints | NDArray[Any] | str | PathLike[str] | None = None,
    ref_keypoints: Keypoints | NDArray[Any] | str | PathLike[str] | None = None,
    mirror: bool = False,
) -> vs.VideoNode:
    """Put at each frame of ref the frame of clip that shows the same picture.

    For ref's frame n the clip frames within ``tr`` of the centre c(n) are compared with it, and ``mode`` says how one
    of them is chosen. Frames that clip does not have are never chosen. Any order of requests gives the same result.

    Args:
        clip: the clip to be synchronised: 8 to 16 bit integer, half or float; GRAY, YUV or RGB.
        ref: the clip it follows, of clip's format and size ("pose": of any); any length.
        out: the clip that the output frames are copied from, frame for frame the same film as clip; any format and
            size, clip's length. None: clip itself. Match on small copies and hand in the full picture here.
        tr: frames searched on each side of the centre, 0 and up; 20 where not given. None, with the modes "dtw",
            "offset" and "linear": every frame of clip.
        precision: the measure by number: 1 "planestats" (where nothing is given), 2 "butteraugli", 3 "topiq".
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
            "resnet", "embedding", "pose". "embedding" is for other releases: a network that comes with the package
            finds the same frame in other colours, under grain, logos and subtitles, cropped or zoomed by a few percent;
            it looks at some 70 frames on each side. "pose" compares the joints of the largest person of each clip,
            whoever it is and from wherever; all of both clips is read for that when the first frame is asked for.
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
        model: for "resnet": the name of the timm backbone, such as "resnet18"; "resnet50" where not given. For
            "embedding": the file of a network that ``vs-align train embedding`` made, in place of the package's. For
            "pose": what finds joints, "movenet" where not given; see `vs_align.pose`.
        lag: for "dtw": the path goes over the windows of so many ref frames before and after each, 0 and up; 40 where
            not given. From ref's length on it is the path of the whole clip.
        penalty: for "dtw": what holding a frame and leaving out frames costs the path each time, 0 and up, as a share
            of the usual distance of matching frames (median over the windows of the smallest); 0.05 where not given,
            and for "pose" the more, the less matches stand out.
        geometry: how clip's picture lies in ref's, as `vs_align.analyse` finds it (``found.geometry``): frames are
            compared under it, on what both have in common, and clip and ref may then differ in size. The output frames
            are not changed by it.
        alignment: for "dtw" with ``tr=None``: an `Alignment`, or the file of one. What it says is shown, and nothing is
            compared; where it has no match, the frame of the last match is shown, or ``fallback``. A file that does not
            exist is written when the path has been found.
        keypoints, ref_keypoints: for "pose": those of clip and of ref where they are known, and nothing is read then:
            `Keypoints`, an array of shape (frames, 17, 3) with x, y and confidence, or a file of one or of COCO JSON.
        mirror: for "pose": compare clip's left side with ref's right side, for a person who faces the other way.

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
        tr, precision = (20 if isinstance(precision, _Default) else precision), tr
    if isinstance(batch_size, str | Backend):
        batch_size, device = device, batch_size
    clip, ref = check.clip(clip, "clip"), check.clip(ref, "ref")
    out = None if out is None else check.clip(out, "out")
    fallback = None if fallback is None else check.clip(fallback, "fallback")
    by_pose = similarity == Similarity.POSE
    check_clips(check, clip, ref, out, fallback, geometry, by_pose)
    posed = check_pose(check, by_pose, keypoints, ref_keypoints, mirror)
    tr, modes = check_mode(check, mode, tr, lag, penalty, by_pose)
    check_fallback(check, fallback, modes)
    options = replace(
        check_options(check, precision, similarity, engine, device, backend, batch_size, shortlist, weights, model),
        pose=posed,
    )
    rates = check_rates(check, clip_num, clip_den, ref_num, ref_den)
    found, modes = _known_or_kept(check, alignment, tr, modes, clip, ref, options.similarity, geometry)
    plan = Plan(
        clip_length=clip.num_frames,
        fallback=fallback,
        thresh=check.number(thresh, "thresh"),
        tr=None if tr is None else min(tr, clip.num_frames + rates.centre(ref.num_frames)),
        rates=rates,
        debug=check.boolean(debug, "debug"),
        fps=frame_rate(check, ref, ref_num, ref_den),
    )
    build = _Build(check, plan, clip, ref, out, geometry)
    return build.searched(modes, options) if found is None else build.known(found)


def _known_or_kept(
    check: Checks,
    alignment: object,
    tr: int | None,
    modes: ModeOptions,
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    similarity: Similarity,
    geometry: Geometry | None,
) -> tuple[Alignment | None, ModeOptions]:
    """Return the alignment that is to be shown, if there is one, else the mode with what to keep of its search."""
    found, to_be_written = check_alignment(check, alignment, tr, modes, clip, ref)
    if to_be_written is not None:
        modes = replace(modes, keep=saver(check, to_be_written, clip, ref, similarity, geometry))
    if tr is None and modes.mode is Mode.DTW and found is None:
        check_matrix(check, clip, ref, 3 if modes.keep else 1, _MOST_HELD_BYTES)
    return found, modes


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
