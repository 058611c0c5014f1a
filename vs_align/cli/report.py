"""An alignment in words."""

from fractions import Fraction

import numpy as np

from .. import Alignment
from ..analysis.clip_info import ClipInfo
from ..matching.known_rates import KnownRate
from ..matching.segments import Break, Segment

__all__ = ["doubt", "rate_name", "report", "timecode"]

_MOST_SEGMENTS = 40
# Closer than this to 1, pictures have one size.
_SAME_SIZE = 5e-4
# Where fewer matches have one offset, within a frame, one delay is too little.
_ONE_DELAY = 0.9
# By structure, and of films that have nothing in common, nine confidences in ten stay below 0.025; of the poorest copy
# at hand one in ten is above 0.06.
_STANDS_OUT = 0.04


def timecode(frame: float, rate: Fraction | None) -> str:
    """Return the time of a frame, h:mm:ss.mmm; of one without a rate, dashes."""
    if not rate:
        return "-:--:--.---"
    ms = round(1000 * frame / rate)
    return f"{ms // 3_600_000}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def rate_name(rate: Fraction | None) -> str:
    """Return a frame rate in digits, and as a fraction where they do not say it all."""
    if not rate:
        return "unknown rate"
    return f"{float(rate):.6g} fps" + ("" if (1000 * rate).denominator == 1 else f" ({rate})")


def report(found: Alignment, clip_name: str, ref_name: str) -> str:
    """Say what was found.

    Args:
        found: the alignment.
        clip_name, ref_name: what to call the two.
    """
    facts = [
        ("clip", _of_clip(found.clip, clip_name)),
        ("ref", _of_clip(found.ref, ref_name)),
        ("matched", _matched(found)),
    ]
    if found.offset is not None:
        facts += [("offset", _offset(found)), ("audio delay", _audio(found)), ("drift", _drift(found))]
    if found.geometry is not None:
        facts.append(("geometry", _geometry(found)))
    lines = [f"{name:<13}{text}" for name, text in facts]
    return "\n".join([*lines, *_passages(found)])


def doubt(found: Alignment) -> str:
    """Say why an alignment is hardly to be believed; nothing where it may be."""
    confidence = found.confidence[found.frame >= 0]
    if not len(confidence):
        return "doubtful: no frame of clip is like one of ref"
    if found.similarity != "structure" or float(np.quantile(confidence, 0.9)) >= _STANDS_OUT:
        return ""
    return "doubtful: hardly a match stands out; nothing moves, or the two show different things"


def _of_clip(info: ClipInfo, name: str) -> str:
    length = timecode(info.length, info.rate)
    return f"{name}: {info.width}x{info.height}, {rate_name(info.rate)}, {info.length} frames, {length}"


def _matched(found: Alignment) -> str:
    matched = found.frame >= 0
    count, total = int(matched.sum()), len(found.frame)
    text = f"{count} of {total} ref frames ({_percent(count / total)}), by {found.similarity}"
    return text if not count else f"{text}; median confidence {float(np.median(found.confidence[matched])):.2f}"


def _percent(share: float) -> str:
    """Return a share in percent that says 100 only of all, and 0 only of none."""
    if 0 < share < 1:
        share = min(max(share, 0.001), 0.999)
    text = f"{100 * share:.1f}".removesuffix(".0")
    return f"{text} %"


def _offset(found: Alignment) -> str:
    offset = found.offset
    assert offset is not None
    late = "late" if offset.frames > 0 else "early"
    text = f"clip is {_frames(abs(offset.frames))} {late}" if offset.frames else "none"
    if offset.frames and found.offset_ms is not None:
        text += f" ({abs(found.offset_ms):.1f} ms)"
    by_rates = "" if offset.rate == 1 else ", counted by the frame rates"
    return (
        f"{text}{by_rates}; so for {_percent(offset.share)} of the matches, "
        f"within a frame of it {_percent(offset.near)}"
    )


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _audio(found: Alignment) -> str:
    delay = found.audio_delay_ms
    if delay is None:
        return "unknown, since clip's frame rate is"
    text = f"{delay:+.1f} ms for clip's audio beside ref's picture" if delay else "none"
    near = 1.0 if found.offset is None else found.offset.near
    return text if near >= _ONE_DELAY else f"{text}; no one delay is right for all of it"


def _drift(found: Alignment) -> str:
    drift = found.drift
    if drift is None:
        return "unknown: only one frame is matched"
    fit = drift.fit
    exact = all(known is not None and known.ratio == 1 for known in (drift.known, drift.speed_known))
    if exact:
        return f"none: the same frames at the same rate, so for {_percent(fit.share)} of the matches"
    text = f"{fit.rate:.9g} clip frames per ref frame{_named(drift.known)}; so for {_percent(fit.share)} of the matches"
    if drift.speed is not None:
        text += f"\n{'':<13}{drift.speed:.9g} s of clip per s of ref{_named(drift.speed_known)}"
    return text


def _named(known: KnownRate | None) -> str:
    return f": {known.name}" if known else ""


def _geometry(found: Alignment) -> str:
    geometry = found.geometry
    assert geometry is not None
    box = geometry.common
    same = max(abs(geometry.scale_x - 1), abs(geometry.scale_y - 1)) < _SAME_SIZE
    whole = (box.left, box.top) == (0, 0) and (box.right, box.bottom) == (found.ref.width, found.ref.height)
    shift = f"{geometry.shift_x:+.1f}, {geometry.shift_y:+.1f}"
    scale = "the same size" if same else f"clip is {geometry.scale_x:.4f} x {geometry.scale_y:.4f} times ref's size"
    if max(abs(geometry.shift_x), abs(geometry.shift_y)) >= 0.05:
        scale += f", shifted by {shift} of its pixels"
    across, down = f"x {box.left:.0f} to {box.right:.0f}", f"y {box.top:.0f} to {box.bottom:.0f}"
    return f"{scale}; both have " + ("all of ref's picture" if whole else f"{across}, {down} of ref's picture")


def _passages(found: Alignment) -> list[str]:
    """Return a line for each passage of one offset, and for what lies before, between and after them."""
    passages = found.segments
    if not passages:
        return ["", "segments     none"]
    lines = ["", f"{'segments':<13}{'ref frames':<18}{'ref time':<30}{'clip frames':<18}offset"]
    first, last = passages[0], passages[-1]
    if first.first:
        lines.append(_gap(found, 0, first.first, "clip has nothing of that"))
    for n, passage in enumerate(passages[:_MOST_SEGMENTS]):
        lines.append(_passage(found, passage))
        if n < len(found.breaks) and n + 1 < _MOST_SEGMENTS:
            lines.append(_between(found, found.breaks[n]))
    if len(passages) > _MOST_SEGMENTS:
        lines.append(f"{'':<13}... and {len(passages) - _MOST_SEGMENTS} more; --json and --csv have every frame")
    if last.last + 1 < len(found.frame):
        lines.append(_gap(found, last.last + 1, len(found.frame), "clip has nothing of that"))
    return lines


def _passage(found: Alignment, passage: Segment) -> str:
    rate = found.ref.rate
    times = f"{timecode(passage.first, rate)} - {timecode(passage.last + 1, rate)}"
    return (
        f"{'':<13}{f'{passage.first}-{passage.last}':<18}{times:<30}"
        f"{f'{passage.clip_first}-{passage.clip_last}':<18}{round(passage.offset, 2):+g}"
    )


def _gap(found: Alignment, first: int, stop: int, says: str) -> str:
    rate = found.ref.rate
    return f"{'':<13}{f'{first}-{stop - 1}':<18}{f'{timecode(first, rate)} - {timecode(stop, rate)}':<30}{says}"


def _between(found: Alignment, between: Break) -> str:
    said = []
    if between.missing:
        said.append(f"{_frames(between.missing)} of ref that clip lacks")
    if between.inserted:
        what = "that ref lacks" if between.inserted > 0 else "shown once more"
        said.append(f"{_frames(abs(between.inserted))} of clip {what}")
    at = f"{'':<13}at {between.ref_frame:<15}{timecode(between.ref_frame, found.ref.rate):<30}"
    return at + (" and ".join(said) or "a change")
