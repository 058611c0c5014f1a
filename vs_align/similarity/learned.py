"""Measures whose features an engine in torch computes once a frame: Butteraugli, TOPIQ, deep features."""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import to_rgb, to_tensor
from .measure import Delivered, Measure, Scores
from .requests import Steps, batches, requests
from .store import FeatureStore

__all__ = ["Engine", "EngineMeasure", "one_thread"]


_TOO_LARGE = (
    "%s: the features of a window of %d frames take %.1f GiB, more than the %.1f GiB that are kept; some are computed "
    "again. Use a smaller tr, smaller clips with out=, or a larger core.max_cache_size."
)


class Engine(Protocol):
    """What computes features and compares them."""

    def features(self, rgb: Any) -> Any:
        """Return the features of one frame, a float32 tensor (3, H, W)."""

    def distances(self, ref: Any, candidates: Sequence[Any], batch_size: int | None = None) -> NDArray[np.float64]:
        """Return the distance of ref's features to each candidate's, shape (N,)."""


class EngineMeasure(Measure):
    """A measure computed by an engine in torch.

    Args:
        label: the measure's name.
        engine: computes features and distances.
        clip, ref: clips of one format and size.
        device: where the engine works.
        capacity: frames in the store.
        budget: bytes of features in the store; where a window needs more, features are computed again and a note is
            logged.
        batch_size: candidates compared at once; None leaves it to the engine.
        floor: a difference of distances that says nothing.
    """

    def __init__(
        self,
        label: str,
        engine: Engine,
        clip: vs.VideoNode,
        ref: vs.VideoNode,
        *,
        device: str,
        capacity: int,
        budget: int,
        batch_size: int | None,
        floor: float,
    ) -> None:
        self.label = label
        self.clip, self.ref = to_rgb(clip, vs.RGBS), to_rgb(ref, vs.RGBS)
        self._engine: Engine | None = engine
        self._device = device
        self._capacity, self._budget = capacity, budget
        self._batch_size = batch_size
        self._floor = floor
        self._store: FeatureStore[Any] = FeatureStore(capacity)
        self._sized = threading.Lock()
        self._fits: int | None = None

    def scores(
        self, n: int, candidates: NDArray[np.int64], centre: int, delivered: Delivered, every: bool
    ) -> Steps[Scores]:
        """See `Measure.scores`; candidates need not be consecutive, and all of them are compared."""
        for frame, picture in delivered.clip.items():
            if not self._store.held([frame]):
                self._keep(frame, self._features(picture))
        ref = delivered.ref or (yield requests(self.ref, [n]))[0]
        # From here on in a node of its own, so that other frames go on beside it.
        yield []
        target = self._features(ref)
        values = np.empty(len(candidates))
        wanted: list[int] = candidates.tolist()
        done = 0
        for part in self._parts(wanted):
            features = yield from self._gathered(part)
            values[done : done + len(part)] = self._distances(target, [features[frame] for frame in part])
            done += len(part)
        values[~np.isfinite(values)] = np.inf
        return Scores(values, values, self._floor)

    def clear(self) -> None:
        """Give back features, engine and what the framework holds of the GPU's memory."""
        self._store.clear()
        self._engine = None
        if self._device != "cpu":
            import torch

            torch.cuda.empty_cache()

    def _parts(self, wanted: list[int]) -> Iterator[list[int]]:
        """Split the candidates where the features of all of them would not fit."""
        if self._fits is None or len(wanted) <= self._fits:
            return iter([wanted])
        return batches(wanted)

    def _gathered(self, wanted: list[int]) -> Steps[dict[int, Any]]:
        features = self._store.held(wanted)
        for frames in batches(frame for frame in wanted if frame not in features):
            pictures = yield requests(self.clip, frames)
            for frame, picture in zip(frames, pictures, strict=True):
                features[frame] = self._features(picture)
                self._keep(frame, features[frame])
        return features

    def _keep(self, frame: int, features: Any) -> None:
        with self._sized:
            if self._fits is None:
                self._fits = max(1, self._budget // max(1, features.nbytes))
                if self._fits < self._capacity:
                    self._store.shrink(self._fits)
                    needs, has = self._capacity * features.nbytes / 2**30, self._budget / 2**30
                    logging.getLogger("vs_align").warning(_TOO_LARGE, self.label, self._capacity, needs, has)
        self._store.keep(frame, features)

    def _features(self, picture: vs.VideoFrame) -> Any:
        assert self._engine is not None
        with one_thread(self._device):
            return self._engine.features(to_tensor(picture, self._device))

    def _distances(self, target: Any, features: list[Any]) -> NDArray[np.float64]:
        assert self._engine is not None
        with one_thread(self._device):
            return self._engine.distances(target, features, self._batch_size)


@contextlib.contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Keep torch on the calling thread: the frame server already has a thread for every core."""
    import torch

    threads = torch.get_num_threads()
    if device != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
