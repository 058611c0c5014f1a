"""An `Alignment` drawn: offsets over time, and the distances of all frames with the path through them."""

from functools import partial
from operator import mul
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..checks import Checks
from ..frames import plane
from ..similarity.store import row_distances
from ..similarity.structure import structure_picture
from .figures import BLUE, ORANGE, RED, SKY, Labels, finished, new_figure, same_lengths, signed, target, time_axis
from .geometry import Box, Geometry, luma
from .reading import Progress, in_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .alignment import Alignment

__all__ = ["plot_costs", "plot_offset"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]
type Features = NDArray[np.uint8]

# Points across and down a panel that can be told apart.
_ACROSS, _DOWN = 1600, 400
# A match that counts for less than this is drawn as unsure.
_SURE = 0.5
# Frames of each clip, and pixels of each frame, that are compared for a matrix of distances.
_COMPARED, _AREA = 600, 40 * 22
# What `structure_picture` makes of one local deviation.
_PER_DEVIATION = 42.0


def plot_offset(found: "Alignment", path: str | PathLike[str] | None) -> "Figure":
    """See `Alignment.plot_offset`."""
    check = Checks("vs_align.Alignment.plot_offset")
    where = target(check, path)
    figure = new_figure(10, 5.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    offsets = found.frame - np.arange(len(found)) * float(found.rate_of_segments)
    _draw_offsets(upper, found, offsets)
    _draw_confidence(lower, found)
    for axes in (upper, lower):
        _shade_unmatched(axes, found.frame)
    upper.set_ylabel("offset (clip frames)")
    lower.set_xlabel("ref frame")
    if found.ref.rate:
        time_axis(upper, "x", found.ref.rate, len(found), "time in ref")
    if found.clip.rate:
        per_frame = float(1000 / found.clip.rate)
        right = upper.secondary_yaxis("right", functions=(partial(mul, per_frame), partial(mul, 1 / per_frame)))
        right.set_ylabel("offset (ms of clip's time)")
    figure.suptitle(_summary(found), fontsize=11)
    figure.legend(
        *upper.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, markerscale=1.8
    )
    return finished(figure, where)


def plot_costs(found: "Alignment", clip: vs.VideoNode, ref: vs.VideoNode, path: str | PathLike[str] | None) -> "Figure":
    """See `Alignment.plot_costs`."""
    check = Checks("vs_align.Alignment.plot_costs")
    where = target(check, path)
    clip, ref = same_lengths(check, found, clip, ref)
    for node, info, name in ((clip, found.clip, "clip"), (ref, found.ref, "ref")):
        if (node.width, node.height) != (info.width, info.height):
            check.value_error(
                f"{name} must be {info.width}x{info.height}, as analysed, not {node.width}x{node.height}."
            )
    distances = _distances(found, clip, ref)
    counts = distances.shape
    figure = new_figure(9.5, 1.4 + 6.6 * min(max(found.clip.length / len(found), 0.45), 1.0))
    axes = figure.subplots()
    # The darkest and the lightest few would take the greys from the rest.
    low, high = np.quantile(distances, (0.002, 0.98)).tolist()
    extent = (-0.5, len(found) - 0.5, -0.5, found.clip.length - 0.5)
    picture = axes.imshow(
        distances.T, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), origin="lower", extent=extent, aspect="auto"
    )
    bar = figure.colorbar(picture, ax=axes, extend="both", pad=0.02)
    bar.set_label("distance of two frames\n(mean difference, local deviations)")
    _draw_path(axes, found)
    axes.set(xlabel="ref frame", ylabel="clip frame", xlim=extent[:2], ylim=extent[2:])
    if found.ref.rate:
        time_axis(axes, "x", found.ref.rate, len(found), "time in ref")
    if found.clip.rate:
        time_axis(axes, "y", found.clip.rate, found.clip.length, "time in clip")
    compared = "all" if counts == (len(found), found.clip.length) else "{} and {} of them".format(*counts)
    figure.suptitle(f"{len(found)} ref frames, {found.clip.length} clip frames, {compared} compared", fontsize=11)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return finished(figure, where)


# ---------------------------------------------------------------- offset


def _summary(found: "Alignment") -> str:
    """Say in one line what an alignment found."""
    unmatched = int((found.frame < 0).sum())
    parts = [_counted(len(found.segments), "segment"), _counted(len(found.breaks), "break")]
    if unmatched:
        parts.append(f"{unmatched} of {len(found)} ref frames without a match")
    if found.rate_of_segments != 1:
        parts.append(f"counted by {float(found.rate_of_segments):.6g} clip frames per ref frame")
    if found.offset is None:
        return "; ".join(parts)
    late = "" if found.offset_ms is None else f" ({signed(round(found.offset_ms))} ms)"
    frames = f"offset {signed(found.offset.frames)} frames{late} for {found.offset.share:.0%} of the matches"
    return "; ".join([frames, *parts])


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _draw_offsets(axes: "Axes", found: "Alignment", offsets: Floats) -> None:
    """Draw matches, segments and breaks over ref's frames."""
    from matplotlib.ticker import MaxNLocator

    matched = np.flatnonzero(found.frame >= 0)
    low, high = (float(offsets[matched].min()), float(offsets[matched].max())) if len(matched) else (0.0, 0.0)
    # Room at the top for what is said of the breaks, and never less than some frames.
    spare = max(2.5, 0.12 * (high - low))
    axes.set(xlim=(-0.5, len(found) - 0.5), ylim=(low - spare, high + (1.9 if found.breaks else 1.0) * spare))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=9, integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    size = 14 if len(found) <= 400 else 5
    sure = found.weights[matched] >= _SURE
    for some, colour, label in ((~sure, ORANGE, "unsure match"), (sure, BLUE, "match")):
        if some.any():
            n = _thinned(matched[some], offsets[matched[some]], len(found))
            axes.scatter(n, offsets[n], s=size, color=colour, linewidths=0, label=label, zorder=2.2)
    _draw_segments(axes, found)


def _thinned(n: Frames, values: Floats, length: int) -> Frames:
    """Return of points that fall on one spot of the panel the first, and so at least one of each that can be seen."""
    across = n * _ACROSS // max(_ACROSS, length)
    spread = max(float(np.ptp(values)), 1.0)
    down = ((values - values.min()) / spread * _DOWN).astype(np.int64)
    _, first = np.unique(across * (_DOWN + 1) + down, return_index=True)
    picked: Frames = n[np.sort(first)]
    return picked


def _draw_segments(axes: "Axes", found: "Alignment") -> None:
    """Draw the passages of constant offset, the longest labelled first, and the breaks between them."""
    labels = Labels(axes, 830, 300)
    bottom, top = axes.get_ylim()
    segments = found.segments
    if found.breaks:
        at = [b.ref_frame - 0.5 for b in found.breaks]
        across = axes.get_xaxis_transform()
        axes.vlines(at, 0, 1, RED, "dashed", label="break", transform=across, linewidth=1.1, zorder=2.1)
    for b in sorted(found.breaks, key=lambda b: -abs(b.missing) - abs(b.inserted)):
        labels.write(b.ref_frame - 0.5, (0.955, 0.885, 0.815), _said(b.missing, b.inserted), RED)
    axes.hlines(
        [s.offset for s in segments],
        [s.first - 0.5 for s in segments],
        [s.last + 0.5 for s in segments],
        SKY,
        linewidth=7,
        alpha=0.45,
        capstyle="round",
        zorder=2,
        label="segment and its offset" if segments else "_none",
    )
    for s in sorted(segments, key=lambda s: s.first - s.last):
        height = (s.offset - bottom) / (top - bottom)
        labels.write((s.first + s.last) / 2, (height + 0.06, height - 0.06), signed(s.offset), "black")


def _said(missing: int, inserted: int) -> str:
    """Say what a break is."""
    parts = [f"{missing} missing"] if missing else []
    if inserted:
        parts.append(f"{inserted} inserted" if inserted > 0 else f"back by {-inserted}")
    return ", ".join(parts) or "other offset"


def _draw_confidence(axes: "Axes", found: "Alignment") -> None:
    """Draw the mean confidence, and between which values it is where a point of the panel stands for many frames."""
    starts = _starts(len(found))
    counts = np.diff(starts, append=len(found))
    low, high = (reduce.reduceat(found.confidence, starts) for reduce in (np.minimum, np.maximum))
    mean = np.add.reduceat(found.confidence, starts) / counts
    middle = starts + (counts - 1) / 2
    axes.fill_between(middle, low, high, color=SKY, alpha=0.5, linewidth=0)
    axes.plot(middle, mean, color=BLUE, linewidth=1)
    axes.set(ylim=(0, max(0.1, 1.05 * float(high.max()))), ylabel="confidence\n(0 to 1)")
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.8)


def _starts(length: int) -> Frames:
    """Return the first frame of each point that a panel can show."""
    count = min(_ACROSS, length)
    return np.arange(count, dtype=np.int64) * length // count


def _shade_unmatched(axes: "Axes", frame: Frames) -> None:
    """Shade where ref's frames have no match; paler where a point of the panel stands for others too."""
    if (frame >= 0).all():
        return
    starts = _starts(len(frame))
    shares = np.add.reduceat((frame < 0).astype(np.float64), starts) / np.diff(starts, append=len(frame))
    edges = np.flatnonzero(np.diff(shares, prepend=np.nan) != 0)
    stops = np.append(starts[edges[1:]], len(frame))
    runs = [
        (first - 0.5, stop - first, 0.08 + 0.27 * share)
        for first, stop, share in zip(starts[edges].tolist(), stops.tolist(), shares[edges].tolist(), strict=True)
        if share
    ]
    bars = axes.broken_barh(
        [run[:2] for run in runs],
        (0, 1),
        transform=axes.get_xaxis_transform(),
        label="no match",
        linewidth=0,
        zorder=0.5,
    )
    bars.set_facecolor([(0.5, 0.5, 0.5, alpha) for *_, alpha in runs])


# ---------------------------------------------------------------- costs


def _distances(found: "Alignment", clip: vs.VideoNode, ref: vs.VideoNode) -> Floats:
    """Return the distances of up to 600 frames of ref to as many of clip, spread evenly, in local deviations."""
    geometry = found.geometry or Geometry.between(Box.whole(ref), Box.whole(clip))
    width, height = geometry.common.size
    shrink = max(1.0, (width * height / _AREA) ** 0.5)
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    small_clip, small_ref = geometry.reduced(luma(clip), luma(ref), *size)
    of_clip, of_ref = _features(small_clip, "clip"), _features(small_ref, "ref")
    sums: Floats = np.array([row_distances(row, of_clip) for row in of_ref]) / float(_PER_DEVIATION)
    sums /= of_clip.shape[1]
    return sums


def _features(clip: vs.VideoNode, name: str) -> Features:
    """Return small pictures of frames spread evenly over a clip, shape (frames, pixels)."""
    count = min(_COMPARED, clip.num_frames)
    # The middle one of each passage of equal length, as an image of the passages shows them.
    picked = ((2 * np.arange(count) + 1) * clip.num_frames // (2 * count)).tolist()
    progress = Progress(f"reading {name}, for a plot", count)
    rows = np.empty((count, clip.width * clip.height), np.uint8)
    for k, (_, frame) in enumerate(in_order(clip, picked)):
        rows[k] = structure_picture(plane(frame, 0).astype(np.float32)).ravel()
        progress.step()
    return rows


def _draw_path(axes: "Axes", found: "Alignment") -> None:
    """Draw each ref frame's match, with the segments behind."""
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import withStroke

    ends = [((s.first, s.clip_first), (s.last, s.clip_last)) for s in found.segments]
    if ends:
        axes.add_collection(
            LineCollection(ends, colors=SKY, linewidths=5, alpha=0.6, capstyle="round", label="segment and its offset")
        )
    path = np.where(found.frame >= 0, found.frame.astype(np.float64), np.nan)
    axes.plot(path, color=RED, linewidth=1.3, label="match of each ref frame")
    # One frame on its own makes no line.
    lonely = np.flatnonzero(
        np.isfinite(path) & ~np.isfinite(np.append(path[1:], np.nan)) & ~np.isfinite(np.insert(path[:-1], 0, np.nan))
    )
    axes.plot(lonely, path[lonely], ".", color=RED, markersize=3)
    axes.set(xlim=(-0.5, len(found) - 0.5), ylim=(-0.5, found.clip.length - 0.5))
    for s in sorted(found.segments, key=lambda s: s.first - s.last)[:40]:
        axes.annotate(
            signed(s.offset),
            ((s.first + s.last) / 2, (s.clip_first + s.clip_last) / 2),
            (9, -9),
            textcoords="offset points",
            ha="left",
            va="top",
            fontsize=9,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
