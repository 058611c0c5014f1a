"""Keypoints read out of a clip: the largest person is found and followed, cut out of every frame, and its joints found.

The work is written as `similarity.requests` has it: a generator that yields requests for frames, so that it runs inside
the frame server as well as outside.
"""

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..checks import Checks
from ..frames import planes, to_rgb
from ..models import ModelError, cache_folder
from ..poses.following import Followed, between, completed, followed, squares
from ..similarity.requests import Steps, requests
from .file_key import file_key
from .keypoints import Keypoints, pixel_shape
from .pose_nets import DETECTORS, POSE_NETS, Detector, PoseNet, cut_out, load_detector, load_pose_net, net_file
from .pose_store import PoseFileError, read
from .reading import Progress, Report

__all__ = ["Nets", "PoseReadingError", "awaited", "kept_keypoints", "read_keypoints"]

type Floats = NDArray[np.float64]

_log = logging.getLogger("vs_align")

# Changed whenever other keypoints are found.
_VERSION = 2
# The detector looks so often in a second; between, the box is on the line.
_LOOKS_PER_S = 6
# In every frame where a side of the box moves farther between two looks, in the box's longer sides.
_FAR = 0.25
_USUAL_RATE = 25.0
# Frames asked for at once, and networks that run at once.
_BATCH = 32
_WORKERS = max(1, min(4, os.cpu_count() or 1))
# A person is in a frame where so many joints are at least so sure.
_JOINTS, _SURE = 5, 0.25
# How far a frame may be from one in which the detector saw the person.
_NEAR_S = 0.75


class PoseReadingError(ValueError):
    """Says why there are no keypoints, in one line, without the public function's name."""


@dataclass(frozen=True, slots=True)
class Nets:
    """The two networks.

    Attributes:
        detector: finds people.
        joints: the same network of joints several times, since each does one thing at a time.
        key: what tells them from others.
        free: those of ``joints`` that nobody uses, of all clips that are read at the same time.
    """

    detector: Detector
    joints: tuple[PoseNet, ...]
    key: str
    free: SimpleQueue[PoseNet] = field(default_factory=SimpleQueue, init=False, repr=False)

    def __post_init__(self) -> None:
        for net in self.joints:
            self.free.put(net)

    @classmethod
    def of(cls, check: Checks, detector: str | os.PathLike[str], model: str | os.PathLike[str]) -> "Nets":
        """Load two networks by name or path.

        Raises:
            RuntimeError: one cannot be had, or is none.
        """
        check.package(("onnxruntime", "ai_edge_litert"), "pose", "finding joints")
        try:
            files = net_file(DETECTORS, detector), net_file(POSE_NETS, model)
            key = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
            nets = tuple(load_pose_net(files[1]) for _ in range(_WORKERS))
            return cls(load_detector(files[0]), nets, key)
        except ModelError as error:
            check.runtime_error(f"{error}.")
        except OSError as error:
            check.runtime_error(f"{error.filename} cannot be read: {error.strerror}.")


class _Workers:
    """Threads that run networks, each result handed out in the order of the frames."""

    def __init__(self, nets: Nets) -> None:
        self._detector, self._free = nets.detector, nets.free
        self._threads = ThreadPoolExecutor(len(nets.joints))

    def people(self, frame: vs.VideoFrame) -> Future[Floats]:
        """Look for people in a frame."""
        return self._threads.submit(lambda: self._detector.people(_picture(frame)))

    def joints(self, frame: vs.VideoFrame, square: Floats) -> Future[Floats]:
        """Find the joints of the person in a square of a frame: x, y in the frame's pixels, and how sure."""
        return self._threads.submit(self._joints, frame, square)

    def _joints(self, frame: vs.VideoFrame, square: Floats) -> Floats:
        left, top, extent = square.tolist()
        net = self._free.get()
        try:
            found = net.joints(cut_out(_picture(frame), left, top, extent, net.side))
        finally:
            self._free.put(net)
        found[:, :2] = found[:, :2] * extent + (left, top)
        return found

    def close(self) -> None:
        """Wait for what is being done, and do no more."""
        self._threads.shutdown(cancel_futures=True)


def _picture(frame: vs.VideoFrame) -> NDArray[np.uint8]:
    return np.stack(planes(frame), -1)


@dataclass(frozen=True, slots=True)
class _Film:
    """A clip that is read, with square pixels.

    Attributes:
        clip: as it is, but read as progressive.
        size: its width and height in square pixels.
        shape: width of its pixels over their height.
        rate: frames per second; the usual one where it says none.
        name: what messages call it.
        report: is told how far the work is.
    """

    clip: vs.VideoNode
    size: tuple[int, int]
    shape: float
    rate: float
    name: str
    report: Report | None

    @classmethod
    def of(cls, clip: vs.VideoNode, shape: float, name: str, report: Report | None) -> "_Film":
        progressive = clip.std.RemoveFrameProps("_FieldBased")
        rate = clip.fps_num / clip.fps_den if clip.fps_num else _USUAL_RATE
        return cls(progressive, (max(1, round(clip.width * shape)), clip.height), shape, rate, name, report)

    def shrunk(self, shrink: float, most: int) -> vs.VideoNode:
        """Return it as RGB, reduced, no side longer than some pixels."""
        width, height = (min(most, max(1, round(length * shrink))) for length in self.size)
        return to_rgb(self.clip, vs.RGB24, (width, height))


def read_keypoints(clip: vs.VideoNode, nets: Nets, name: str, report: Report | None = None) -> Steps[Keypoints]:
    """Read the keypoints of the largest person in a clip, every frame of which is asked for.

    Args:
        clip: of any format and size.
        nets: the networks.
        name: what messages call the clip.
        report: is told how far it is.

    Returns:
        The keypoints, through the generator's return value.

    Raises:
        PoseReadingError: nobody is in it.
    """
    film = _Film.of(clip, pixel_shape((yield requests(clip, [0]))[0]), name, report)
    workers = _Workers(nets)
    try:
        cut, since = yield from _boxes(film, workers, nets.detector.side)
        return (yield from _joints(film, cut, since, workers, nets.joints[0].side))
    finally:
        workers.close()


def _boxes(film: _Film, workers: _Workers, side: int) -> Steps[tuple[Floats, Floats]]:
    """Find the person; return the square for each frame, in square pixels, and how far in time it was last seen."""
    count = film.clip.num_frames
    looks = np.unique(np.append(np.arange(0, count, max(1, round(film.rate / _LOOKS_PER_S))), count - 1))
    node = film.shrunk(side / max(film.size), side)
    people = yield from _people(film, node, looks, workers)
    if not any(len(each) for each in people):
        raise PoseReadingError(
            f"nobody is seen in any frame of {film.name}; give a clip that shows a person, or keypoints"
        )
    person = followed(people, looks / film.rate)
    more = _worth_a_look(person, looks)
    if len(more):
        people += yield from _people(film, node, more, workers)
        order = np.argsort(np.append(looks, more))
        looks, people = np.append(looks, more)[order], [people[k] for k in order]
        person = followed(people, looks / film.rate)
    seen = person.places >= 0
    if person.more:
        _log.warning("pose: %s shows more than one person; the largest is followed.", film.name)
    cut = between(squares(person.boxes, seen, film.size), looks, person.torn, count)
    return cut, _since(np.arange(count) / film.rate, looks[seen] / film.rate)


def _people(film: _Film, node: vs.VideoNode, frames: NDArray[np.int64], workers: _Workers) -> Steps[list[Floats]]:
    """Look for people in some frames of the reduced clip; return boxes in square pixels."""
    progress = Progress(f"looking for people in {film.name}", len(frames), film.report)
    found = yield from _through(node, frames.tolist(), lambda _, frame: workers.people(frame), progress)
    scale = np.array([film.size[0] / node.width, film.size[1] / node.height] * 2 + [1.0])
    return [each * scale for each in found]


def _worth_a_look(person: Followed, looks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the frames between two looks where the line between does not do: the person is fast, comes or goes."""
    seen, boxes = person.places >= 0, person.boxes
    moved = np.abs(np.diff(boxes, axis=0)).max(1)
    tall = np.maximum(1.0, np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]))[:-1]
    doubtful = (moved > _FAR * tall) | (seen[1:] != seen[:-1]) | person.torn
    spans = [np.arange(looks[k] + 1, looks[k + 1]) for k in np.flatnonzero(doubtful & (seen[1:] | seen[:-1]))]
    return np.concatenate([np.empty(0, np.int64), *spans])


def _since(times: Floats, known: Floats) -> Floats:
    """Return how far each time is from the nearest of some others."""
    at = np.searchsorted(known, times)
    sides = [np.abs(times - known[np.clip(at - back, 0, len(known) - 1)]) for back in (0, 1)]
    nearest: Floats = np.minimum(*sides)
    return nearest


def _joints(film: _Film, cut: Floats, since: Floats, workers: _Workers, side: int) -> Steps[Keypoints]:
    """Find the joints in every frame; ``cut`` is the squares, ``since`` how far in time the person was last seen."""
    clip = film.clip
    # So that the square is as large as the network's picture; a smaller one is enlarged when it is cut out.
    node = film.shrunk(min(1.0, side / float(cut[0, 2])), max(film.size))
    inside = cut * (node.height / film.size[1])
    progress = Progress(f"finding joints in {film.name}", clip.num_frames, film.report)
    frames = list(range(clip.num_frames))
    found = yield from _through(node, frames, lambda n, frame: workers.joints(frame, inside[n]), progress)
    points = np.array(found)
    points[..., 0] *= clip.width / node.width
    points[..., 1] *= clip.height / node.height
    seen = ((points[..., 2] >= _SURE).sum(1) >= _JOINTS) & (since <= _NEAR_S)
    if not seen.any():
        raise PoseReadingError(
            f"no joints are found in any frame of {film.name}; give a clip that shows a whole person"
        )
    points = completed(points, seen, np.arange(len(points)) / film.rate)
    rate = Fraction(clip.fps_num, clip.fps_den) if clip.fps_num else None
    return Keypoints(points, seen, (clip.width, clip.height), rate, film.shape)


def _through(
    node: vs.VideoNode,
    frames: list[int],
    work: Callable[[int, vs.VideoFrame], Future[Floats]],
    progress: Progress,
) -> Steps[list[Floats]]:
    """Have work done on frames while the next ones are being made; return the results in order."""
    results: list[Floats] = []
    under_way: deque[Future[Floats]] = deque()
    for first in range(0, len(frames), _BATCH):
        part = frames[first : first + _BATCH]
        arrived = yield requests(node, part)
        for n, frame in zip(part, arrived, strict=True):
            under_way.append(work(n, frame))
        while len(under_way) > _BATCH:
            results.append(under_way.popleft().result())
            progress.step()
    while under_way:
        results.append(under_way.popleft().result())
        progress.step()
    return results


def awaited[T](steps: Steps[T]) -> T:
    """Run such work outside the frame server, where frames may be waited for."""
    try:
        wanted = next(steps)
        while True:
            futures = [request.clip.get_frame_async(request.frame) for request in wanted]
            try:
                wanted = steps.send([future.result() for future in futures])
            finally:
                for future in futures:
                    future.exception()
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        steps.close()


def kept_keypoints(path: Path | None, key: str, make: Callable[[], Keypoints]) -> Keypoints:
    """Return keypoints from the user's cache folder; where they are not there they are made, and kept.

    Args:
        path: the video file that they are of; None: they are not kept.
        key: what tells the networks from others.
        make: reads them.
    """
    kept = None if path is None else _place(path, key)
    if kept is None:
        return make()
    try:
        contents: Any = read(kept)
        return Keypoints(*contents)
    except FileNotFoundError:
        pass
    except (OSError, PoseFileError, TypeError) as error:
        _log.info("%s is damaged and is made anew: %s", kept, error)
    found = make()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        found.save(kept)
    except OSError as error:
        _log.info("keypoints cannot be kept in %s: %s", kept.parent, error.strerror)
    return found


def _place(path: Path, key: str) -> Path | None:
    """Return where a file's keypoints are kept."""
    try:
        told = file_key(path, f"{_VERSION} {key}")
    except OSError as error:
        _log.info("the keypoints of %s are not kept: %s.", path, error.strerror)
        return None
    return cache_folder() / "poses" / f"{told}.npz"
