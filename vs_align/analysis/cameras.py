"""The recordings of several cameras: opened, named, told apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..checks import Checks, shown
from .reading import Report
from .video_files import open_video

__all__ = ["Camera", "Source", "camera_name", "cameras_of", "names_of"]

type Source = vs.VideoNode | str | PathLike[str]

# Rows are read in five groups of columns; a picture has a first and a last row.
_NARROWEST, _LOWEST = 5, 2


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """One camera's recording.

    Attributes:
        name: of the camera.
        clip: the recording, of one format and size.
        path: its file; None: not known, and its features are not kept.
        times_ms: when each frame is shown, shape (F,); None: as its frames say.
    """

    name: str
    clip: vs.VideoNode
    path: Path | None = None
    times_ms: NDArray[np.float64] | None = None


def names_of(check: Checks, clips: object, names: object) -> tuple[list[Source], list[str]]:
    """Return what was given, and a name for each; nothing is opened yet.

    Raises:
        TypeError, ValueError: there are fewer than two, one is there twice, or the names do not fit.
    """
    if isinstance(clips, str | PathLike | vs.VideoNode) or not isinstance(clips, Sequence):
        check.type_error(f"clips must be a list of clips or files, two or more, not {type(clips).__name__}.")
    given = list(clips)
    for k, clip in enumerate(given):
        if not isinstance(clip, str | PathLike | vs.VideoNode):
            check.type_error(f"clips[{k}] must be a clip or the path of a file, not {type(clip).__name__}.")
    if len(given) < 2:
        check.value_error(f"two cameras or more are needed, not {len(given)}; flashes put one on the clock of another.")
    paths = [None if isinstance(clip, vs.VideoNode) else Path(fspath(clip)) for clip in given]
    for k, path in enumerate(paths):
        for j in range(k):
            if _same(given[j], paths[j], given[k], path):
                check.value_error(f"clips[{j}] and clips[{k}] are the same{f' file, {path}' if path else ' clip'}.")
    if names is None:
        return given, _usual_names(paths)
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        check.type_error("names must be a list of names, one for each clip.")
    if len(names) != len(given) or len(set(names)) != len(given) or not all(names):
        check.value_error(f"names must be {len(given)} different names, one for each clip, not {shown(list(names))}.")
    return given, list(names)


def _same(one: Source, one_path: Path | None, other: Source, other_path: Path | None) -> bool:
    if one_path is None or other_path is None:
        return one is other
    if one_path.exists() and other_path.exists():
        return one_path.samefile(other_path)
    return one_path.resolve() == other_path.resolve()


def _usual_names(paths: Sequence[Path | None]) -> list[str]:
    """Return names of files without their endings; with them, or as they are, where others are called the same."""
    stems, whole = ([None if p is None else getattr(p, part) for p in paths] for part in ("stem", "name"))
    found = []
    for k, path in enumerate(paths):
        usual = next((each[k] for each in (stems, whole) if each[k] and each.count(each[k]) == 1), None)
        found.append(f"camera{k}" if path is None else usual or str(path))
    return found if len(set(found)) == len(found) else [f"camera{k}" for k in range(len(paths))]


def camera_name(check: Checks, value: object, names: Sequence[str], what: str) -> str:
    """Return the camera that a name or a number means.

    Args:
        check: whose name a message begins with.
        value: the name, or the number, from 0.
        names: of all cameras.
        what: the argument.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        check.type_error(f"{what} must be a camera's name or number, not {type(value).__name__}.")
    if isinstance(value, str) and value in names:
        return value
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    check.value_error(
        f"{what} is {shown(value)}, and there is no such camera; they are {', '.join(names)}, 0 to {len(names) - 1}."
    )


def cameras_of(
    check: Checks, given: Sequence[Source], names: Sequence[str], report: Report | None
) -> tuple[Camera, ...]:
    """Open what is a file, and check that flashes can be looked for in all of them."""
    cameras = []
    for k, (source, name) in enumerate(zip(given, names, strict=True)):
        if isinstance(source, vs.VideoNode):
            camera = Camera(name, check.clip(source, f"clips[{k}]"))
        else:
            file = open_video(check, Path(fspath(source)), report)
            camera = Camera(name, file.clip, file.path, file.times_ms)
        clip = camera.clip
        check.samples(clip, name)
        if clip.num_frames < 2 or clip.width < _NARROWEST or clip.height < _LOWEST:
            check.value_error(
                f"camera {name!r} has {clip.num_frames} frames of {clip.width}x{clip.height}; two frames of "
                f"{_NARROWEST}x{_LOWEST} are the least."
            )
        cameras.append(camera)
    return tuple(cameras)
