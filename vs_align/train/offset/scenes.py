"""Scenes of films, and all frames of two views of each compared once: pairs are cut out of that."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import vapoursynth as vs

from ...analysis.passages import LIGHT_SIZE, Span, read_passage, windowed
from ...checks import Checks
from ...enums import Similarity
from ...filters.measures import MeasureOptions, build_measure
from ...matching.offsets import REACH, Sight
from ..faults import TrainFault
from .config import OffsetConfig
from .views import Difficulty, Picture, view, views

__all__ = ["Material", "Pair", "SourceError", "films", "material", "pairs"]

_log = logging.getLogger("vs_align.train")
_FILMS = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".y4m")
_AREA = 320 * 180
_BUDGET_BYTES = 1 << 28
_SPARE = 8


class SourceError(TrainFault, ValueError):
    """Footage that cannot be trained on. One line that says what to do."""


@dataclass(frozen=True, eq=False)
class Material:
    """Two views of one scene, or of two scenes that have nothing in common.

    Attributes:
        film, scene: where they are from.
        difficulty: how far apart the views are.
        strangers: whether the two are of different scenes.
        sight: all frames of both, shape (length + 30,) each.
    """

    film: str
    scene: int
    difficulty: Difficulty
    strangers: bool
    sight: Sight


@dataclass(frozen=True, eq=False)
class Pair:
    """Two passages. ``offset`` is the true one; None: there is none."""

    material: Material
    sight: Sight
    offset: int | None


def films(folder: Path, words: Sequence[str], unused: Sequence[str]) -> list[Path]:
    """Return the films under a folder with one of some words in their path ([]: all), and none of some others."""
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}: give --footage a folder of films")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _FILMS)
    names = [(path, path.relative_to(folder).as_posix()) for path in found]
    kept = [(path, name) for path, name in names if not any(word in name for word in unused)]
    return [path for path, name in kept if not words or any(word in name for word in words)]


def material(paths: Sequence[Path], config: OffsetConfig, difficulties: Sequence[Difficulty]) -> Iterator[Material]:
    """Cut films into scenes, view each twice at each difficulty, and compare all frames of the two views.

    A scene has the frames of a passage and 30 more. Each scene is also held against another one, for strangers.

    Args:
        paths: films. One that cannot be read, or is too short, is named and left out.
        config: the run.
        difficulties: those that are wanted.
    """
    before: list[Picture] | None = None
    for path in paths:
        for number, scene in enumerate(_scenes(path, config.length + REACH, config.frames)):
            for k, difficulty in enumerate(difficulties):
                rng = np.random.default_rng([config.seed, len(path.name), *path.name.encode(), number, k])
                first, second = views(scene, difficulty, rng)
                yield Material(path.name, number, difficulty, False, compared(first, second, config.similarity))
                if before is not None and k == number % len(difficulties):
                    other = view(_resized(before, scene[0]), difficulty, rng)
                    yield Material(path.name, number, difficulty, True, compared(first, other, config.similarity))
            before = scene


def pairs(made: Sequence[Material], length: int, count: int, seed: int) -> Iterator[Pair]:
    """Cut passages out of compared views: offsets are uniform, -30 to 30, and every passage has the same length.

    Args:
        made: compared views.
        length: frames of a passage.
        count: pairs of each; of strangers half as many.
        seed: of the offsets and places.
    """
    rng = np.random.default_rng(seed)
    for each in made:
        spare = len(each.sight) - length
        for _ in range(max(1, count // 2) if each.strangers else count):
            offset = int(rng.integers(-REACH, REACH + 1))
            ref = int(rng.integers(max(0, offset), min(spare, spare + offset) + 1))
            yield Pair(each, cut(each.sight, ref, ref - offset, length), None if each.strangers else offset)


def cut(sight: Sight, ref: int, clip: int, length: int) -> Sight:
    """Return passages out of compared views, beginning at a frame of ref and one of clip."""
    rows, columns = slice(ref, ref + length), slice(clip, clip + length)
    return Sight(sight.distances[rows, columns], sight.ref_light[rows], sight.clip_light[columns])


def compared(ref: Sequence[Picture], clip: Sequence[Picture], similarity: str) -> Sight:
    """Compare all frames of two views of equal length and size by a measure."""
    nodes = in_memory(clip), in_memory(ref)
    options = MeasureOptions(
        similarity=Similarity(similarity), engine=None, device="cpu", batch_size=None, shortlist=None, weights=None
    )
    measure = build_measure(Checks("vs-align train"), *nodes, options, len(clip) + _SPARE, _BUDGET_BYTES)
    measure.told(partial(windowed, 0, len(clip)))
    try:
        lights = tuple(node.resize.Bicubic(*LIGHT_SIZE) for node in nodes)
        return read_passage(measure, (lights[0], lights[1]), Span(0, 0, len(ref)))
    finally:
        measure.clear()


def in_memory(pictures: Sequence[Picture]) -> vs.VideoNode:
    """Return grey pictures as a clip, full range."""
    height, width = pictures[0].shape
    blank = vs.core.std.BlankClip(None, width, height, vs.GRAY8, len(pictures), keep=True)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        np.copyto(np.asarray(frame[0]), pictures[n])
        frame.props["_Range"] = 1
        return frame

    return blank.std.ModifyFrame(blank, fill)


def _resized(pictures: Sequence[Picture], like: Picture) -> list[Picture]:
    height, width = like.shape
    return [np.asarray(cv2.resize(picture, (width, height)), np.uint8) for picture in pictures]


def _scenes(path: Path, length: int, frames: int) -> Iterator[list[Picture]]:
    """Decode a film in small and grey; yield one scene after the other."""
    import av

    scene: list[Picture] = []
    count = 0
    try:
        with av.open(str(path)) as source:
            stream = source.streams.video[0]
            shrink = (_AREA / (stream.width * stream.height)) ** 0.5
            width, height = (max(32, round(side * shrink / 2) * 2) for side in (stream.width, stream.height))
            for frame in source.decode(stream):
                scene.append(np.asarray(frame.reformat(width, height, "gray").to_ndarray(), np.uint8))
                count += 1
                if len(scene) == length:
                    yield scene
                    scene = []
                if count == frames:
                    break
    except (OSError, IndexError, ValueError, av.FFmpegError) as fault:
        _log.warning("%s cannot be read further than frame %d: %s", path, count, " ".join(str(fault).split()))
    if count < length:
        _log.warning("%s has fewer than %d frames and is left out", path, length)
