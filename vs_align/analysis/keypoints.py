"""`Keypoints`: where a person's joints are in every frame of a clip, read, loaded or made elsewhere."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import cast

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..checks import Checks, shown
from ..poses.angles import joint_angles
from ..poses.following import completed
from ..poses.motion import LEAST, Motion
from ..poses.skeleton import POINTS
from . import coco, pose_store
from .pose_store import FARTHEST, OVER, PoseFileError

__all__ = ["Keypoints", "pixel_shape"]

type Floats = NDArray[np.float64]

_SHAPE = f"(frames, {POINTS}, 3): x, y and confidence"
_USUAL_RATE = 25.0
# Shares of the picture reach from 0 to 1, and a little beyond where a joint is outside it.
_BESIDE = 0.5


@dataclass(frozen=True, eq=False)
class Keypoints:
    """The 17 COCO keypoints of one person in every frame of a clip.

    Attributes:
        points: x, y and confidence (0..1), shape (T, 17, 3); x and y in pixels of the picture, its left top corner
            being 0, 0. Left and right are the person's own.
        seen: whether the person was found in the frame, shape (T,). Where not, the points are those between the frames
            around, half as sure; of confidence 0 where these are more than a second apart.
        size: the picture's width and height in pixels.
        rate: frames per second; None: unknown.
        pixel_shape: width of a pixel over its height, as it is meant to be seen.
    """

    points: Floats
    seen: NDArray[np.bool_]
    size: tuple[int, int]
    rate: Fraction | None = None
    pixel_shape: float = 1.0

    def __len__(self) -> int:
        return len(self.points)

    def angles(self) -> tuple[Floats, Floats]:
        """Return the angles at the joints in degrees, and how sure they are, both of shape (T, 10).

        They are those of shoulders, elbows, hips, knees and waist, the left one of each before the right one;
        `vs_align.poses.angles.joint_angles` says how they are counted.
        """
        return joint_angles(self.points, self.pixel_shape)

    @cached_property
    def motion(self) -> Motion:
        """The angles as they are compared: of keypoints averaged over 0.12 s."""
        return Motion.of(self.points, float(self.rate or 0), self.pixel_shape)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the keypoints to a file, whole or not at all: as NumPy's where its name ends in ".npz", else JSON."""
        contents = pose_store.Contents(self.points, self.seen, self.size, self.rate, self.pixel_shape)
        pose_store.write(_path(Checks("vs_align.Keypoints.save"), path), contents)

    @classmethod
    def load(cls, path: str | PathLike[str], clip: vs.VideoNode | None = None) -> "Keypoints":
        """Read keypoints: what `save` wrote, COCO JSON (a data set's or results), or a NumPy array in a ".npy" file.

        Args:
            path: the file.
            clip: what it is of; where given, keypoints of another length are refused. COCO results, and arrays, do not
                say how large the picture is, nor the rate; the clip does.

        Raises:
            ValueError: the file is of another clip, cut off, or makes no sense.
            OSError: it cannot be read.
        """
        check = Checks("vs_align.Keypoints.load")
        clip = None if clip is None else check.clip(clip, "clip")
        return cls._read(check, _path(check, path), clip)

    @classmethod
    def of(cls, check: Checks, value: object, clip: vs.VideoNode, name: str, clip_name: str) -> "Keypoints":
        """Return the keypoints that an argument is, holds or names, on behalf of another function.

        Args:
            check: whose name a message begins with.
            value: `Keypoints`, an array of shape (T, 17, 3), or a file that `load` reads.
            clip: what they are of.
            name, clip_name: the arguments.
        """
        if isinstance(value, str | PathLike):
            try:
                found = cls._read(check, Path(fspath(value)), clip)
            except OSError as error:
                check.runtime_error(f"{name} cannot be read from {value}: {error.strerror}.")
        elif isinstance(value, Keypoints):
            found = value
        elif isinstance(value, np.ndarray | list | tuple):
            found = cls._of_array(check, value, clip, name)
        else:
            kind = type(value).__name__
            check.type_error(f"{name} must be Keypoints, an array of shape {_SHAPE}, or a file's path, not {kind}.")
        if len(found) != clip.num_frames:
            check.value_error(
                f"{name} has {len(found)} frames and {clip_name} {clip.num_frames}; give those of this clip."
            )
        told = found._told(clip)
        _check_of_use(check, told, name)
        return told

    def _told(self, clip: vs.VideoNode) -> "Keypoints":
        """Return the same with what the clip says in the place of what is unknown."""
        if self.rate is not None and all(self.size):
            return self
        size, rate, shape = _facts(clip)
        if all(self.size):
            size, shape = self.size, self.pixel_shape
        return replace(self, size=size, rate=self.rate or rate, pixel_shape=shape)

    @classmethod
    def _read(cls, check: Checks, path: Path, clip: vs.VideoNode | None) -> "Keypoints":
        try:
            if path.suffix.lower() == ".npy":
                found = cls._of_array(check, pose_store.read_array(path), clip, path.name)
            else:
                contents = pose_store.read(path)
                known = isinstance(contents, pose_store.Contents)
                found = cls(*contents) if known else cls._of_coco(contents, clip)
        except PoseFileError as error:
            check.value_error(f"{path.name} is refused: {error}.")
        if clip is not None and len(found) != clip.num_frames:
            check.value_error(f"{path.name} is refused: it has {len(found)} frames, the clip {clip.num_frames}.")
        return found if clip is None else found._told(clip)

    @classmethod
    def _of_coco(cls, document: object, clip: vs.VideoNode | None) -> "Keypoints":
        size, rate, shape = _facts(clip)
        found = coco.parsed(document, None if clip is None else clip.num_frames)
        points = coco.one_person(found.people, 1 / float(rate or _USUAL_RATE))
        return cls(*_completed(points, rate), found.size or size, rate, shape)

    @classmethod
    def _of_array(cls, check: Checks, value: object, clip: vs.VideoNode | None, name: str) -> "Keypoints":
        try:
            given = np.asarray(value)
            points = given.astype(np.float64) if given.dtype.kind in "biufO" else None
        except (TypeError, ValueError, OverflowError):
            points = None
        if points is None:
            check.value_error(f"{name} must hold numbers, shape {_SHAPE}.")
        if points.ndim != 3 or points.shape[1:] != (POINTS, 3):
            check.value_error(f"{name} must have shape {_SHAPE}, not {points.shape}.")
        missing = ~np.isfinite(points).all(-1)
        points[missing] = 0.0
        if len(points) and np.abs(points).max() > FARTHEST:
            check.value_error(f"{name} must have x and y in pixels, not {shown(float(np.abs(points).max()))}.")
        if len(points) and (points[..., 2].min() < -OVER or points[..., 2].max() > 1 + OVER):
            worst = points[..., 2].flat[np.abs(points[..., 2] - 0.5).argmax()]
            check.value_error(f"{name} must have confidences of 0 to 1 in its last column, not {shown(float(worst))}.")
        points[..., 2] = points[..., 2].clip(0, 1)
        if not points[..., 2].any():
            check.value_error(f"{name} shows no joint in any frame; all confidences are 0.")
        size, rate, shape = _facts(clip)
        return cls(*_completed(points, rate), size, rate, shape)


def _check_of_use(check: Checks, found: Keypoints, name: str) -> None:
    """Refuse keypoints of which nothing can be compared, or with x and y that are no pixels."""
    there = found.points[found.points[..., 2] > 0]
    if len(there) and there[:, :2].min() >= -_BESIDE and there[:, :2].max() <= 1 + _BESIDE:
        check.value_error(f"{name} has x and y as shares of the picture; multiply them by its width and height.")
    if not found.motion.sure.any():
        check.value_error(
            f"{name} shows no angle in any frame; it takes three joints of a limb, each {LEAST} sure or more."
        )


def _completed(points: Floats, rate: Fraction | None) -> tuple[Floats, NDArray[np.bool_]]:
    """Fill in the frames that show no joint."""
    seen = points[..., 2].any(-1)
    return completed(points, seen, np.arange(len(points)) / float(rate or _USUAL_RATE)), seen


def _facts(clip: vs.VideoNode | None) -> tuple[tuple[int, int], Fraction | None, float]:
    """Return a clip's size, rate and, as its first frame says it, the shape of its pixels."""
    if clip is None:
        return (0, 0), None, 1.0
    rate = Fraction(clip.fps_num, clip.fps_den) if clip.fps_num else None
    with clip.get_frame(0) as first:
        return (clip.width, clip.height), rate, pixel_shape(first)


def pixel_shape(frame: vs.VideoFrame) -> float:
    """Return the width of a frame's pixels over their height, as they are meant to be seen; 1 where it says none."""
    across, down = (int(cast(int, frame.props.get(name, 0))) for name in ("_SARNum", "_SARDen"))
    return across / down if across > 0 and down > 0 else 1.0


def _path(check: Checks, path: object) -> Path:
    if not isinstance(path, str | PathLike):
        check.type_error(f"path must be a path, not {type(path).__name__}.")
    return Path(fspath(path))
