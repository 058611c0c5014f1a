"""Keypoints for the measure "pose": given, or read inside the frame server when the first frame is asked for."""

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import vapoursynth as vs

from ..analysis.keypoints import Keypoints
from ..analysis.pose_reading import Nets, PoseReadingError, read_keypoints
from ..checks import Checks
from ..poses.motion import Motion
from ..similarity.pose import PoseMeasure
from ..similarity.requests import Steps
from .evaluate import run
from .pose import DETECTOR, MODEL

__all__ = ["PoseOptions", "check_pose", "pose_measure"]

type Given = Keypoints | np.ndarray[Any, Any] | str | PathLike[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseOptions:
    """What a script says of the measure "pose": both clips' keypoints where they are known, and ``mirror``."""

    keypoints: Given = None
    ref_keypoints: Given = None
    mirror: bool = False


def check_pose(check: Checks, is_pose: bool, keypoints: Any, ref_keypoints: Any, mirror: object) -> PoseOptions:
    """Return the options; refuse those that are of no use to another measure."""
    facing = check.boolean(mirror, "mirror")
    for name, value in (("keypoints", keypoints), ("ref_keypoints", ref_keypoints), ("mirror", facing or None)):
        if value is not None and not is_pose:
            check.value_error(f'{name} is for similarity="pose"; leave it out.')
    return PoseOptions(keypoints=keypoints, ref_keypoints=ref_keypoints, mirror=facing)


def pose_measure(
    check: Checks, clip: vs.VideoNode, ref: vs.VideoNode, options: PoseOptions, model: str | PathLike[str] | None
) -> PoseMeasure:
    """Return the measure; networks are loaded here, and frames read when the first row is asked for.

    Args:
        check: speaks for the public function.
        clip, ref: clips of any formats and sizes.
        options: what the script said.
        model: the network of joints, by name or path; None: the usual one.
    """
    sources: list[_Source] = []
    nets: Nets | None = None
    for node, given, name in ((clip, options.keypoints, "clip"), (ref, options.ref_keypoints, "ref")):
        source = _Source()
        if given is not None:
            what = "keypoints" if name == "clip" else "ref_keypoints"
            source.motion = Keypoints.of(check, given, node, what, name).motion
        else:
            nets = nets or Nets.of(check, DETECTOR, MODEL if model is None else model)
            source.work = _reader(check, node, nets, name, source)
        sources.append(source)
    return PoseMeasure(clip, ref, *sources, mirror=options.mirror)


class _Source:
    """See `PoseSource`; ``fault`` says why there is no motion, once that is known."""

    motion: Motion | None = None
    work: vs.VideoNode | None = None
    fault: str = ""


def _reader(check: Checks, clip: vs.VideoNode, nets: Nets, name: str, source: _Source) -> vs.VideoNode:
    """Return a clip of one frame; the frame server makes it once, whoever waits, and the motion is known then."""
    one = clip.std.BlankClip(1, 1, vs.GRAY8, length=1, keep=True)

    def read() -> Steps[Keypoints]:
        try:
            if not source.fault:
                return (yield from read_keypoints(clip, nets, name))
        except PoseReadingError as error:
            # The next frame that is asked for shall not have all of the clip read again.
            source.fault = f"{error}."
        # Not in the handler: a message of the frame server's would tell of both.
        check.value_error(source.fault)

    def deliver(_: int, found: Keypoints) -> vs.VideoNode:
        source.motion = found.motion
        return one

    return one.std.FrameEval(lambda n: run(n, read(), deliver, one))
