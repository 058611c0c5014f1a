"""`vs_align.pose`: where a person's joints are in every frame of a clip."""

from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path

import vapoursynth as vs

from ..analysis.keypoints import Keypoints
from ..analysis.pose_reading import Nets, PoseReadingError, awaited, kept_keypoints, read_keypoints
from ..analysis.video_files import open_video
from ..checks import Checks

__all__ = ["DETECTOR", "MODEL", "pose"]

DETECTOR, MODEL = "yolox", "movenet"


def pose(
    clip: vs.VideoNode | str | PathLike[str],
    *,
    detector: str | PathLike[str] = DETECTOR,
    model: str | PathLike[str] = MODEL,
    cache: bool = True,
    progress: Callable[[str, int, int], object] | None = None,
) -> Keypoints:
    """Find where a person's joints are in every frame of a clip.

    The clip is read from beginning to end, twice: people are looked for six times a second, more often where they
    are fast; the largest one is followed and cut out of every frame, in a square of one size for the whole clip, and a
    second network finds its joints there.
    A second person who walks through does not draw it away; that there was one is logged once. It can be interrupted.

    Args:
        clip: of any format, size, rate and length; or a file, which is opened through BestSource.
        detector: what finds people: "yolox", or a file of a YOLOX network (.onnx).
        model: what finds joints: "movenet", "blazepose", or a file of one of these (.tflite, .onnx).
        cache: keep what is read of a file in the user's cache folder, for the next time.
        progress: is told after each step what is being done, how many steps are, and how many there are in all. None:
            notes go to the logger "vs_align".

    Returns:
        The keypoints, as many frames as the clip has.

    Raises:
        TypeError, ValueError: an argument is unusable, or nobody is in the clip.
        RuntimeError: a package or a network's file is missing, is none, or has the wrong hash.

    Source:
        After Infocusp's PoseSync (arXiv 2308.12600). YOLOX: Ge et al., 2021. MoveNet: Google, 2021. BlazePose:
        Bazarevsky et al., 2020.
    """
    check = Checks("vs_align.pose")
    for name, value in (("detector", detector), ("model", model)):
        if not isinstance(value, str | PathLike):
            check.type_error(f"{name} must be a name or the path of a file, not {type(value).__name__}.")
    keep = check.boolean(cache, "cache")
    if progress is not None and not callable(progress):
        check.type_error(f"progress must be a function of three arguments, not {type(progress).__name__}.")
    path = Path(fspath(clip)) if isinstance(clip, str | PathLike) else None
    if path is not None and not path.is_file():
        check.value_error(f"there is no file {path}; name a video file.")
    node = check.clip(clip, "clip") if path is None else None
    nets = Nets.of(check, detector, model)

    def read() -> Keypoints:
        source = open_video(check, path, progress).clip if path is not None else node
        assert source is not None
        check.samples(source, "clip")
        try:
            return awaited(read_keypoints(source, nets, "clip" if path is None else path.name, progress))
        except PoseReadingError as error:
            check.value_error(f"{error}.")

    return kept_keypoints(path if keep else None, nets.key, read)
