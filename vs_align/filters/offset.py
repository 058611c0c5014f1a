"""`vs_align.offset`: one offset between two clips, with its probability."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import vapoursynth as vs

from ..analysis.clip_offset import ClipOffset, Passage
from ..analysis.geometry import Geometry, find_box, luma
from ..analysis.offset_predictors import PredictorError, TrainedPredictor
from ..analysis.passages import LIGHT_SIZE, Span, read_passage, windowed
from ..analysis.reading import Progress, Report
from ..checks import Checks, shown
from ..enums import Engine, Similarity
from ..frames import cache_budget, to_rgb
from ..matching.offset_evidence import Evidence, Vote, combined, evidence_for
from ..matching.offsets import PREDICTORS, SIDE, Sight
from .measures import HEAVY, MeasureOptions, build_measure, check_network

__all__ = ["offset"]

_BLEND = "blend"
# Frames that a passage has where nothing else is asked for, and the fewest that say anything.
_USUAL, _FEWEST = 120, 8
_MOST_PASSAGES = 64
# Frame rates closer than this hold the same frames, played faster.
_SAME_FRAMES = Fraction(5, 100)
_MOST_HELD_BYTES = 1 << 30
_SPARE = 16
# Pixels of the pictures that "structure" sees.
_STRUCTURE_AREA = 320 * 180


def offset(
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    *,
    predictor: str | PathLike[str] = "blend",
    similarity: str | Similarity | None = None,
    around: int = 0,
    passages: int = 5,
    length: int | None = None,
    engine: str | Engine | None = None,
    device: str | None = None,
    weights: str | PathLike[str] | Mapping[str, Any] | None = None,
    model: str | PathLike[str] | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> ClipOffset:
    """Find the one offset between two clips, within 30 frames of a rough one, and how likely it is right.

    Several passages are looked at, spread over what the clips have in common at the rough offset; both clips have
    equally many frames of each. Each says an offset with a probability, and all of them are put together. Nothing else
    is read. Where the offset may be farther off, or the clips were cut or run at other rates, `vs_align.analyse` is the
    one to ask.

    Args:
        clip, ref: of any formats, sizes and lengths; of one frame rate, or so close that they hold the same frames.
        predictor: how a passage is judged. "blend": what the measure, movement and changes of light say of each offset,
            weighted. "diagonals": the measure alone. "motion": when how much moves. "dtw": the median of the offsets
            along the cheapest warping path. "median", "mean": of those of each frame's nearest. "brightness":
            cross-correlation of mean luma. Else the path of a file that `vs-align train offset` made.
        similarity: the measure, as in `vs_align.analyse`. None: that of the predictor's file, else "structure".
        around: the rough offset in frames, clip frame minus ref frame.
        passages: how many are looked at, 1 to 64; fewer where they would overlap.
        length: of a passage in frames, 8 to 256. None: that of the predictor's file, else 120.
        engine, device, weights, model: as in `vs_align.temporal`.
        progress: is told after each step what is being done, how many steps are, and how many there are in all. None:
            notes go to the logger "vs_align".

    Returns:
        The offset, its probability, and the passages.

    Raises:
        TypeError, ValueError: an argument is unusable; the message says which and what to do.
        RuntimeError: a measure lacks its package, plugin, weights or device.

    Source:
        "Beyond Audio and Pose: A General-Purpose Framework for Video Synchronization", arXiv 2506.15937.
    """
    check = Checks("vs_align.offset")
    clip, ref = check.clip(clip, "clip"), check.clip(ref, "ref")
    check.samples(clip, "clip")
    check.samples(ref, "ref")
    judge = _judge(check, predictor, similarity)
    options = _options(check, judge.similarity, engine, device, weights, model)
    middle = _whole(check, around, "around")
    count = check.integer(passages, "passages", 1)
    if count > _MOST_PASSAGES:
        check.value_error(f"passages must be at most {_MOST_PASSAGES}, not {shown(count)}.")
    if progress is not None and not callable(progress):
        check.type_error(f"progress must be a function of three arguments, not {type(progress).__name__}.")
    rate = _one_rate(check, clip, ref)
    spans = _spans(check, clip.num_frames, ref.num_frames, middle, count, _length(check, length, judge))
    reader = _Reader(check, clip, ref, options, middle, spans[0].length)
    found = tuple(_judged(spans, judge, reader, progress))
    votes = [Vote(passage.offset_frames - middle, passage.probability) for passage in found]
    verdict = combined(votes)
    return ClipOffset(
        verdict.offset + middle, verdict.probability, rate, found, judge.name, judge.similarity.value, middle
    )


@dataclass(frozen=True, slots=True)
class _Judge:
    """Who judges a passage: ``offset`` says an offset, ``evidence`` how sure that is."""

    name: str
    similarity: Similarity
    offset: Callable[[Sight], int]
    evidence: Evidence
    trained: TrainedPredictor | None = None


def _judge(check: Checks, predictor: object, similarity: object) -> _Judge:
    """Return the predictor by its name, or out of its file."""
    if not isinstance(predictor, str | PathLike):
        check.type_error(f"predictor must be a name or a path, not {type(predictor).__name__}.")
    names = (_BLEND, *PREDICTORS)
    asked = None if similarity is None else check.choice(similarity, "similarity", Similarity)
    if isinstance(predictor, str) and predictor in names:
        measure = asked or Similarity.STRUCTURE
        evidence = evidence_for(measure.value)
        return _Judge(predictor, measure, PREDICTORS.get(predictor, evidence.blend), evidence)
    path = Path(predictor)
    if isinstance(predictor, str) and not path.suffix and not path.is_file():
        check.value_error(
            f"predictor must be one of {', '.join(map(repr, names))} or the path of a file that vs-align train offset "
            f"made, not {shown(predictor)}."
        )
    try:
        trained = TrainedPredictor.load(path)
    except PredictorError as fault:
        check.value_error(f"predictor: {fault}")
    measure = check.choice(trained.similarity, f"the similarity of {path.name}", Similarity)
    if asked not in (None, measure):
        check.value_error(f"predictor {path.name} was trained on {measure.value!r}; leave similarity out.")
    return _Judge(path.name, measure, trained.offset, trained.evidence, trained)


def _options(
    check: Checks, measure: Similarity, engine: object, device: object, weights: Any, model: Any
) -> MeasureOptions:
    if measure == Similarity.POSE:
        check.value_error('similarity="pose" is not for offsets; use vs_align.analyse with it.')
    check_network(check, measure, weights, model)
    chosen = None if engine is None else check.choice(engine, "engine", Engine)
    if chosen is not None and measure != Similarity.BUTTERAUGLI:
        check.value_error(f"engine is for butteraugli; similarity is {measure.value!r}, leave it out.")
    where = check.device(device, "device", must_exist=measure not in HEAVY)
    return MeasureOptions(
        similarity=measure, engine=chosen, device=where, batch_size=None, shortlist=None, weights=weights, model=model
    )


def _whole(check: Checks, value: object, name: str) -> int:
    """Return a whole number of either sign."""
    return check.integer(value, name, -(1 << 40))


def _length(check: Checks, length: object, judge: _Judge) -> int:
    most = SIDE if judge.trained is None else judge.trained.side
    if length is None:
        return _USUAL if judge.trained is None else judge.trained.length
    wanted = check.integer(length, "length", _FEWEST)
    if wanted > most:
        check.value_error(f"length must be at most {most}, not {shown(wanted)}.")
    return wanted


def _one_rate(check: Checks, clip: vs.VideoNode, ref: vs.VideoNode) -> Fraction | None:
    """Return clip's frame rate, if it is known; refuse clips that hold other frames of the same time."""
    of_clip, of_ref = (Fraction(c.fps_num, c.fps_den) if c.fps_num else None for c in (clip, ref))
    if of_clip and of_ref and abs(of_clip / of_ref - 1) > _SAME_FRAMES:
        check.value_error(
            f"clip has {float(of_clip):.6g} frames per second and ref {float(of_ref):.6g}; no one offset in frames is "
            "right for both, use vs_align.analyse."
        )
    return of_clip


def _spans(check: Checks, clip_length: int, ref_length: int, around: int, count: int, length: int) -> list[Span]:
    """Return passages, equally long in both clips, spread evenly over what they have in common at the rough offset."""
    first, stop = max(0, -around), min(ref_length, clip_length - around)
    if stop - first < _FEWEST:
        least = f"at least {_FEWEST} are needed"
        if around:
            check.value_error(f"around={around} leaves {max(0, stop - first)} frames that both clips have; {least}.")
        check.value_error(f"clip has {clip_length} frames and ref {ref_length}; {least} in both.")
    length = min(length, stop - first)
    count = min(count, (stop - first) // length)
    starts = np.linspace(first, stop - length, count).round() if count > 1 else [(first + stop - length) // 2]
    return [Span(int(start), int(start) + around, length) for start in starts]


def _judged(spans: list[Span], judge: _Judge, reader: "_Reader", report: Report | None) -> Iterator[Passage]:
    """Read and judge one passage after the other."""
    progress = Progress("comparing passages", sum(span.length for span in spans), report)
    try:
        for span in spans:
            sight = reader.read(span, progress)
            frames = judge.offset(sight)
            sure = judge.evidence.probability(sight, frames)
            yield Passage(span.ref, span.clip, span.length, span.clip - span.ref + frames, sure)
    finally:
        reader.clear()


class _Reader:
    """Reads passages: what the measure says of all pairs of frames, and how light each is.

    Args:
        check: speaks for the public function.
        clip, ref: the clips.
        options: the measure.
        around: the rough offset.
        length: of the longest passage.
    """

    def __init__(
        self, check: Checks, clip: vs.VideoNode, ref: vs.VideoNode, options: MeasureOptions, around: int, length: int
    ) -> None:
        lumas = luma(clip), luma(ref)
        geometry = Geometry.between(find_box(lumas[1]), find_box(lumas[0]))
        self._lights = geometry.reduced(*lumas, *LIGHT_SIZE)
        seen = _seen(clip, ref, lumas, geometry, options.similarity)
        self._measure = build_measure(check, *seen, options, length + _SPARE, cache_budget(_MOST_HELD_BYTES))
        self._measure.told(partial(windowed, around, clip.num_frames))

    def read(self, span: Span, progress: Progress) -> Sight:
        """Return what is known of a passage."""
        return read_passage(self._measure, self._lights, span, progress.step)

    def clear(self) -> None:
        """Give back what the measure holds."""
        self._measure.clear()


def _seen(
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    lumas: tuple[vs.VideoNode, vs.VideoNode],
    geometry: Geometry,
    measure: Similarity,
) -> tuple[vs.VideoNode, vs.VideoNode]:
    """Return both clips as the measure reads them, of one size, black borders left out."""
    if measure == Similarity.STRUCTURE:
        width, height = geometry.common.size
        shrink = max(1.0, (width * height / _STRUCTURE_AREA) ** 0.5)
        return geometry.reduced(*lumas, max(1, round(width / shrink)), max(1, round(height / shrink)))
    if measure == Similarity.PLANESTATS:
        return geometry.applied(*lumas)
    return geometry.applied(to_rgb(clip, vs.RGB24), to_rgb(ref, vs.RGB24))
