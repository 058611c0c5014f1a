"""A `FlashSync` drawn: a lane of flashes for each camera on the common clock, and what the clocks leave unexplained."""

from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from ..checks import Checks
from .figures import BLUE, GREY, ORANGE, RED, SKY, finished, new_figure, target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .flash_sync import FlashSync

__all__ = ["plot_flashes"]

# Of the colours of Okabe and Ito, 2008; with the markers, nine cameras can be told apart.
_COLOURS = (BLUE, RED, "#009E73", ORANGE, SKY, "#CC79A7", "#000000")
_DARK = "#505050"
_MARKERS = "osD^vPX*h"
_MOST_LETTERS = 24


def plot_flashes(found: "FlashSync", path: str | PathLike[str] | None) -> "Figure":
    """See `FlashSync.plot`."""
    check = Checks("vs_align.FlashSync.plot")
    where = target(check, path)
    if found.fit is None:
        check.value_error("this was loaded, and a file has no flashes; draw what vs_align.flash returned.")
    count = len(found.cameras)
    figure = new_figure(11, 4.4 + 0.42 * count)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(0.9 + 0.42 * count, 2.4))
    _draw_lanes(upper, found)
    _draw_residuals(lower, found)
    common = sum(len(flash.sightings) > 1 for flash in found.flashes)
    upper.set_title(
        f"{common} flashes seen by two cameras or more, {len(found.flashes) - common} by one alone", fontsize=11
    )
    lower.set_xlabel(f"time on the clock of {_short(found.base)} (s)")
    # Both panels have the same cameras and kinds of marks; each kind is explained once.
    handles = dict(zip(*reversed(upper.get_legend_handles_labels()), strict=True))
    handles |= dict(zip(*reversed(lower.get_legend_handles_labels()), strict=True))
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return finished(figure, where)


def _short(name: str) -> str:
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _style(k: int) -> tuple[str, str]:
    return _COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)]


def _draw_lanes(axes: "Axes", found: "FlashSync") -> None:
    """Draw what each camera saw; flashes that several saw are joined by a line."""
    lanes = {name: len(found.names) - 1 - k for k, name in enumerate(found.names)}
    begin, end = np.inf, -np.inf
    for name, lane in lanes.items():
        middle = found.cameras[found.names.index(name)].clip.height / 2
        span = found.clocks[name].ref_ms(found.times_ms[name][[0, -1]], middle) / 1000
        axes.hlines(lane, *span, color=GREY, linewidth=6, alpha=0.35, label="recording")
        begin, end = min(begin, float(span[0])), max(end, float(span[1]))
    for flash in found.flashes:
        at = [lanes[name] for name in flash.sightings]
        if len(at) > 1:
            axes.vlines(flash.time_ms / 1000, min(at), max(at), color=GREY, linewidth=0.8, zorder=1)
    for k, name in enumerate(found.names):
        colour, marker = _style(k)
        times = {
            common: [
                f.time_ms / 1000 for f in found.flashes if name in f.sightings and (len(f.sightings) > 1) == common
            ]
            for common in (True, False)
        }
        axes.scatter(times[True], [lanes[name]] * len(times[True]), s=34, color=colour, marker=marker, zorder=3)
        axes.scatter(
            times[False],
            [lanes[name]] * len(times[False]),
            26,
            facecolors="white",
            edgecolors=GREY,
            linewidths=1.2,
            label="seen by this camera alone",
            zorder=2,
        )
    axes.set_yticks(list(lanes.values()), [f"{_short(n)} (base)" if n == found.base else _short(n) for n in lanes])
    axes.set_ylim(-0.6, len(lanes) - 0.4)
    axes.set_xlim(begin - 0.01 * (end - begin), end + 0.01 * (end - begin))


def _draw_residuals(axes: "Axes", found: "FlashSync") -> None:
    """Draw how late each edge of a common flash is, those that were used and those that were not."""
    used = [abs(each.error_ms) for each in found.residuals if each.inlier]
    most = max(0.1, 1.3 * max(used, default=0.0))
    axes.axhline(0, color=GREY, linewidth=0.8)
    for k, name in enumerate(found.names):
        colour, marker = _style(k)
        own = [each for each in found.residuals if each.camera == name]
        for inlier in (True, False):
            points = [(found.flashes[e.flash].time_ms / 1000, e.error_ms) for e in own if e.inlier == inlier]
            if not points:
                continue
            x, y = np.array(points).T
            if inlier:
                # Where there are no residuals there is no entry: a global shutter has no edges.
                axes.scatter(x, y, s=20, color=colour, marker=marker, label=_short(name), zorder=2)
            else:
                axes.scatter(
                    x, np.clip(y, -most, most), s=34, color=_DARK, marker="x", label="left out as wrong", zorder=3
                )
    axes.set_ylim(-1.08 * most, 1.08 * most)
    axes.set_ylabel("edge later than\nits clock says (ms)")
