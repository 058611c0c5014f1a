"""The arguments of `vs_align.temporal`: checked once, at the call, and turned into what the graph is built from."""

import math
from collections.abc import Mapping
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
from ..enums import Engine, Mode, Similarity, TemporalPrecision
from ..matching.rates import RateMap
from ..similarity.plugins import VSHIP
from .measures import HEAVY, MeasureOptions, check_network
from .modes import WHOLE, WITHOUT_SCORES, ModeOptions
from .whole_modes import Keep

__all__ = [
    "check_alignment",
    "check_clips",
    "check_fallback",
    "check_matrix",
    "check_mode",
    "check_options",
    "check_rates",
    "frame_rate",
    "saver",
]

_MOST_RATE = (1 << 31) - 1
# The path of mode "dtw": rows on each side that decide, and what leaving the straight way costs, as a share of the
# distance of frames that match (benchmarks/RESULTS.md).
_LAG, _PENALTY = 40, 0.05
_BY_PRECISION = {
    TemporalPrecision.PLANESTATS: Similarity.PLANESTATS,
    TemporalPrecision.BUTTERAUGLI: Similarity.BUTTERAUGLI,
    TemporalPrecision.TOPIQ: Similarity.TOPIQ,
}


def check_clips(
    check: Checks,
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    out: vs.VideoNode | None,
    fallback: vs.VideoNode | None,
    geometry: Geometry | None,
    by_pose: bool = False,
) -> None:
    """Refuse clips that cannot be compared, and an out or a fallback that does not fit them."""
    check.samples(clip, "clip")
    if by_pose:
        check.samples(ref, "ref")
        if geometry is not None:
            check.value_error('geometry has no use with similarity="pose"; leave it out.')
    elif geometry is None:
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


def _check_geometry(check: Checks, geometry: object, clip: vs.VideoNode, ref: vs.VideoNode) -> None:
    if not isinstance(geometry, Geometry):
        check.type_error(
            f"geometry must be a Geometry as vs_align.analyse finds it (found.geometry), not {type(geometry).__name__}."
        )
    check.same_format(clip, "clip", ref, "ref")
    if not geometry.fits(clip, ref):
        check.value_error("geometry is that of other clips: it reaches beyond the pictures of these.")


def check_fallback(check: Checks, fallback: vs.VideoNode | None, modes: ModeOptions) -> None:
    """Refuse a fallback where nothing is compared that it could be preferred to."""
    if fallback is not None and modes.mode in WITHOUT_SCORES:
        check.value_error(f"mode={modes.mode.value!r} compares nothing, so that fallback has no use; leave it out.")


def check_mode(
    check: Checks, mode: object, tr: object, lag: object, penalty: object, by_pose: bool
) -> tuple[int | None, ModeOptions]:
    """Return the radius of the window, None for all of clip, and how a frame is chosen."""
    chosen = check.choice(mode, "mode", Mode)
    if tr is None and chosen not in WHOLE:
        check.type_error(f"tr=None is for the modes {', '.join(WHOLE)}; in mode {chosen.value!r} give a whole number.")
    radius = None if tr is None else check.integer(tr, "tr", 0)
    for name, value in (("lag", lag), ("penalty", penalty)):
        if value is not None and chosen is not Mode.DTW:
            check.value_error(f"{name} is for {Mode.DTW.value}; mode is {chosen.value!r}, leave it out.")
    if lag is not None and radius is None:
        check.value_error("lag is for a finite tr; with tr=None the path goes through all frames, leave it out.")
    # Of poses the rows say how much it is.
    usual = None if by_pose else _PENALTY
    cost = usual if penalty is None else check.number(penalty, "penalty")
    if cost is not None and not 0 <= cost < math.inf:
        check.value_error(f"penalty must be 0 or a positive number, not {shown(penalty)}.")
    rows = _LAG if lag is None else check.integer(lag, "lag", 0)
    return radius, ModeOptions(mode=chosen, lag=rows if chosen is Mode.DTW and radius is not None else 0, penalty=cost)


def check_matrix(check: Checks, clip: vs.VideoNode, ref: vs.VideoNode, copies: int, most: int) -> None:
    """Refuse to compare all frames with all where that many copies of their distances take more than ``most`` bytes."""
    needs = 4 * copies * clip.num_frames * ref.num_frames
    if needs > most:
        check.value_error(
            f"tr=None compares each of {ref.num_frames} frames of ref with each of {clip.num_frames} of clip, "
            f"{needs / 2**30:.0f} GiB of distances where {most >> 30} are the most; give a finite tr."
        )


def check_alignment(
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


def saver(
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


def check_options(
    check: Checks,
    precision: object,
    similarity: object,
    engine: object,
    device: object,
    backend: object,
    batch_size: object,
    shortlist: object,
    weights: str | PathLike[str] | Mapping[str, Any] | None,
    model: str | PathLike[str] | None,
) -> MeasureOptions:
    """Return what measure is to be built, and what for."""
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


def check_rates(check: Checks, clip_num: object, clip_den: object, ref_num: object, ref_den: object) -> RateMap:
    """Return the map from ref's frames to the centres of their windows."""
    rates = {"clip_num": clip_num, "clip_den": clip_den, "ref_num": ref_num, "ref_den": ref_den}
    given = [name for name, value in rates.items() if value is not None]
    if not given:
        return RateMap()
    if len(given) < len(rates):
        missing = ", ".join(name for name in rates if name not in given)
        check.value_error(f"clip_num, clip_den, ref_num and ref_den go together; not given: {missing}.")
    return RateMap.from_rates(**{name: check.integer(value, name, 1) for name, value in rates.items()})


def frame_rate(check: Checks, ref: vs.VideoNode, ref_num: int | None, ref_den: int | None) -> tuple[int, int]:
    """Return ref's frame rate; where it does not say one, the one given for it; else 0 / 1, unknown."""
    if ref.fps_num or ref_num is None or ref_den is None:
        return ref.fps_num, ref.fps_den or 1
    exact = Fraction(ref_num, ref_den).limit_denominator(_MOST_RATE)
    if not 0 < exact.numerator <= _MOST_RATE:
        rate = f"{shown(ref_num)} / {shown(ref_den)}"
        check.value_error(f"ref_num / ref_den must be a frame rate that a clip can have, not {rate}.")
    return exact.numerator, exact.denominator
