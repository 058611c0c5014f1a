"""Frames of a clip in another order, and two clips side by side along a path."""

import vapoursynth as vs

from ..checks import Checks
from ..matching.paths import Path
from ..similarity.shifted import NOT_OF_THE_PICK, Shifted

__all__ = ["pick", "play"]


def pick(clip: vs.VideoNode, frames: list[int], fps: tuple[int, int]) -> vs.VideoNode:
    """Return the clip whose frame n is ``clip``'s frame ``frames[n]``.

    Args:
        clip: of one format and size.
        frames: frame numbers, at least one.
        fps: the frame rate of the result; 0 / 1: unknown.
    """
    shifted = Shifted(clip.std.RemoveFrameProps(NOT_OF_THE_PICK))
    base = clip.std.BlankClip(length=len(frames), fpsnum=fps[0], fpsden=fps[1], keep=True)

    def at(n: int) -> vs.VideoNode:
        node = shifted.at(n, frames[n])
        return node.std.SetFrameProps(_DurationNum=fps[1], _DurationDen=fps[0]) if fps[0] else node

    return base.std.FrameEval(at)


def play(clip: vs.VideoNode, ref: vs.VideoNode, path: Path) -> tuple[vs.VideoNode, vs.VideoNode]:
    """Play both clips along a warping path: either may hold while the other goes on.

    Args:
        clip, ref: the clips that the path was found for, or others of their lengths; of any formats and sizes.
        path: with steps of either clip or of both, from `vs_align.matching.dtw`. All of its steps are played, of which
            there may be as many as both clips have frames together, less one.

    Returns:
        Clip and ref, as long as the path, at ref's frame rate. ``AlignFrame`` is the number of the frame shown.

    Raises:
        TypeError, ValueError: not clips, or not clips of the path's length.

    Source:
        Müller, 2007, chapter 4.
    """
    check = Checks("vs_align.analysis.play")
    clip, ref = check.clip(clip, "clip"), check.clip(ref, "ref")
    if not isinstance(path, Path):
        check.type_error(f"path must be a Path, not {type(path).__name__}.")
    fps = (ref.fps_num, ref.fps_den or 1)
    played = []
    for node, name, numbers in ((clip, "clip", path.clip), (ref, "ref", path.ref)):
        if not len(numbers) or int(numbers.max()) >= node.num_frames or int(numbers.min()) < 0:
            check.value_error(f"the path has frames that {name} does not have: it has {node.num_frames} frames.")
        played.append(pick(_numbered(node), numbers.tolist(), fps))
    return played[0], played[1]


def _numbered(clip: vs.VideoNode) -> vs.VideoNode:
    def note(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        numbered = f.copy()
        numbered.props["AlignFrame"] = n
        return numbered

    return clip.std.ModifyFrame(clip, note)
