"""Butteraugli by the plugins that have it: Vship on a GPU, julek on the CPU."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import to_rgb
from .measure import Delivered, Measure, Scores
from .requests import Request, Steps, batches
from .shifted import Shifted

__all__ = ["JULEK", "VSHIP", "Plugin", "PluginMeasure"]

# The brightness of white in nits, and the difference of two maximum norms that says nothing.
_WHITE = 80
_FLOOR = 0.1


@dataclass(frozen=True, slots=True)
class Plugin:
    """How one plugin is called.

    Attributes:
        namespace, function: where it is on the core.
        white: the name of the argument that takes the brightness of white, in nits.
        prop: the frame property that holds the maximum norm.
        format_id: the format it reads.
        home: where it is to be had.
    """

    namespace: str
    function: str
    white: str
    prop: str
    format_id: int
    home: str

    @property
    def is_loaded(self) -> bool:
        """Whether this core has the plugin."""
        return getattr(vs.core, self.namespace, None) is not None


VSHIP = Plugin(
    "vship", "BUTTERAUGLI", "intensity_multiplier", "_BUTTERAUGLI_INFNorm", vs.RGBS, "https://codeberg.org/Line-fr/Vship"
)
JULEK = Plugin(
    "julek", "Butteraugli", "intensity_target", "_FrameButteraugli", vs.RGB24,
    "https://github.com/dnjulek/vapoursynth-julek-plugin",
)  # fmt: skip


class PluginMeasure(Measure):
    """A measure that a plugin computes for a pair of clips.

    Nodes are made for the offsets that are asked for, when they are, and kept: building does not depend on tr.

    Args:
        plugin: which one.
        clip, ref: clips of one format and size.
        capacity: how many offsets are kept.
        gpu: the number of the GPU, for a plugin that has several to choose from; None: its default.
    """

    def __init__(
        self, plugin: Plugin, clip: vs.VideoNode, ref: vs.VideoNode, capacity: int, gpu: int | None = None
    ) -> None:
        self.label = f"Butteraugli ({plugin.namespace})"
        self.clip, self.ref = to_rgb(clip, plugin.format_id), to_rgb(ref, plugin.format_id)
        self._plugin = plugin
        self._arguments = {plugin.white: _WHITE} | ({} if gpu is None else {"gpu_id": gpu})
        self._moved = Shifted(self.clip)
        self._pairs: dict[int, vs.VideoNode] = {}
        self._capacity = 2 * capacity

    def scores(
        self, n: int, candidates: NDArray[np.int64], centre: int, delivered: Delivered, every: bool
    ) -> Steps[Scores]:
        """See `Measure.scores`; candidates need not be consecutive, and all of them are compared."""
        found: list[float] = []
        for frames in batches(candidates):
            pictures = yield [Request(self._pair(frame, n), n) for frame in frames]
            found += [float(cast(float, picture.props[self._plugin.prop])) for picture in pictures]
        values = np.asarray(found)
        values[~np.isfinite(values)] = np.inf
        return Scores(values, values, _FLOOR)

    def clear(self) -> None:
        """Give back the plugin's nodes."""
        self._pairs.clear()

    def _pair(self, frame: int, n: int) -> vs.VideoNode:
        offset = frame - n
        pair = self._pairs.pop(offset, None)
        if pair is None:
            function: Any = getattr(getattr(vs.core, self._plugin.namespace), self._plugin.function)
            pair = cast(vs.VideoNode, function(self.ref, self._moved.at(n, frame), **self._arguments))
        self._pairs[offset] = pair
        while len(self._pairs) > self._capacity:
            self._pairs.pop(next(iter(self._pairs)), None)
        return pair
