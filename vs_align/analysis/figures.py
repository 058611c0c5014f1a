"""What the plots share: figures without pyplot, files that are whole or not there, axes in time, labels with room.

Nothing global changes, no window opens, and who asked for a figure owns it. Matplotlib is imported where it is used.
"""

import io
import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import partial
from operator import mul
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

import vapoursynth as vs

from ..checks import Checks, shown
from .store import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .alignment import Alignment

__all__ = [
    "BLUE",
    "DPI",
    "GREY",
    "ORANGE",
    "RED",
    "SKY",
    "Labels",
    "clock",
    "finished",
    "new_figure",
    "same_lengths",
    "signed",
    "target",
    "time_axis",
]

DPI = 100
# Of the colours of Okabe and Ito, 2008, which the colour-blind can tell apart.
BLUE, SKY, ORANGE, RED, GREY = "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#B0B0B0"

_ENDINGS = (".png", ".svg", ".pdf")
_TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_MOST_TICKS = 9
# A letter's width and a line's height, in pixels.
_LETTER, _LINE = 8.0, 17.0


def target(check: Checks, path: object) -> Path | None:
    """Return where to write, after making sure, before any work is done, that it can be done."""
    check.package(["matplotlib"], "plot", "drawing")
    if path is None:
        return None
    if not isinstance(path, str | PathLike):
        check.type_error(f"path must be a path or None, not {type(path).__name__}.")
    where = Path(fspath(path))
    if where.suffix.lower() not in _ENDINGS:
        check.value_error(f"path must end in .png, .svg or .pdf, not in {shown(where.name)}.")
    if where.is_dir():
        check.value_error(f"{shown(str(where))} is a folder; name a file in it.")
    try:
        # A temporary file beside it, as the picture will first be.
        handle, name = tempfile.mkstemp(prefix=f".{where.name}.", dir=where.parent)
    except (OSError, ValueError) as error:
        # Of a name that no file can have there is no word from the system.
        reason = getattr(error, "strerror", None) or error
        check.value_error(f"{shown(str(where))} cannot be written ({reason}); name another file.")
    os.close(handle)
    Path(name).unlink()
    return where


def finished(figure: "Figure", where: Path | None) -> "Figure":
    """Write a figure where that is asked for, whole or not at all, and return it."""
    # Notebooks show what has this; without pyplot nothing else tells them how to show a figure.
    vars(figure)["_repr_png_"] = partial(_rendered, figure, "png")
    if where is not None:
        write_bytes(where, _rendered(figure, where.suffix[1:].lower()))
    return figure


def _rendered(figure: "Figure", kind: str) -> bytes:
    target = io.BytesIO()
    # Without the date, so that the same alignment gives the same file.
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(target, format=kind, metadata=dates.get(kind))
    return target.getvalue()


def new_figure(width: float, height: float, constrained: bool = True) -> "Figure":
    """Return an empty figure of a size in inches, whose parts make room for each other if it is constrained."""
    from matplotlib.figure import Figure

    return Figure((width, height), DPI, layout="constrained" if constrained else None)


def same_lengths(
    check: Checks, found: "Alignment", clip: vs.VideoNode, ref: vs.VideoNode
) -> tuple[vs.VideoNode, vs.VideoNode]:
    """Return clips that have as many frames as those that were analysed; others are refused."""
    checked = []
    for node, length, name in ((clip, found.clip.length, "clip"), (ref, len(found), "ref")):
        checked.append(check.clip(node, name))
        check.samples(checked[-1], name)
        if checked[-1].num_frames != length:
            check.value_error(f"{name} must have {length} frames, as analysed, not {checked[-1].num_frames}.")
    return checked[0], checked[1]


def signed(value: float) -> str:
    """Write a number with its sign, two digits at most."""
    text = f"{round(value, 2):+.10g}" if round(value, 2) else "0"
    return text.replace("-", "\N{MINUS SIGN}")


def clock(seconds: float, digits: int = 2) -> str:
    """Write a time as min:s, or as h:min:s."""
    whole, part = divmod(round(seconds * 10**digits), 10**digits)
    minutes, rest = divmod(whole, 60)
    text = f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
    return f"{text}.{part:0{digits}}" if digits else text


def time_axis(axes: "Axes", side: str, rate: Fraction, length: int, label: str) -> None:
    """Add an axis in seconds, opposite to one in frames."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    per_frame = float(1 / rate)
    functions = partial(mul, per_frame), partial(mul, 1 / per_frame)
    seconds = length * per_frame
    hours = 3600 * math.ceil(seconds / (3600 * _MOST_TICKS))
    step = next((step for step in _TICKS_S if seconds / step <= _MOST_TICKS), hours)
    other = (
        axes.secondary_xaxis("top", functions=functions)
        if side == "x"
        else axes.secondary_yaxis("right", functions=functions)
    )
    axis = other.xaxis if side == "x" else other.yaxis
    axis.set_major_locator(MultipleLocator(step))
    axis.set_major_formatter(FuncFormatter(partial(_tick, digits=1 if step < 1 else 0)))
    axis.set_label_text(f"{label} ({'h:min:s' if seconds >= 3600 else 'min:s'})")


def _tick(seconds: float, _position: int | None, digits: int) -> str:
    return "" if seconds < 0 else clock(seconds, digits)


class Labels:
    """Writes into a panel what fits it without covering what was written before.

    Args:
        axes: the panel, whose limits are set.
        width, height: of the panel in pixels, about.
    """

    def __init__(self, axes: "Axes", width: float, height: float) -> None:
        self._axes, self._size = axes, (width, height)
        self._taken: list[tuple[float, float, float, float]] = []

    def write(self, x: float, heights: Iterable[float], text: str, colour: str) -> None:
        """Write centred at ``x``, in data units, at the first of some heights, 0..1, where there is room."""
        from matplotlib.patheffects import withStroke

        (low, high), (width, height) = self._axes.get_xlim(), self._size
        wide = _LETTER * len(text)
        centre = min(max((x - low) / (high - low) * width, wide / 2), width - wide / 2)
        for share in heights:
            box = (centre - wide / 2, share * height - _LINE / 2, centre + wide / 2, share * height + _LINE / 2)
            if share > 1 or share < 0 or any(_overlap(box, other) for other in self._taken):
                continue
            self._taken.append(box)
            self._axes.text(
                centre / width,
                share,
                text,
                transform=self._axes.transAxes,
                ha="center",
                va="center",
                fontsize=9,
                color=colour,
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
            return


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
