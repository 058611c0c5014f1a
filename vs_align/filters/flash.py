"""`vs_align.flash`: several cameras on one clock, by the flashes that they saw."""

from collections.abc import Callable, Mapping, Sequence

from ..analysis.cameras import Source, camera_name, cameras_of, names_of
from ..analysis.flash_sync import FlashSync, synchronised
from ..checks import Checks

__all__ = ["flash"]


def flash(
    clips: Sequence[Source],
    base: int | str = 0,
    *,
    names: Sequence[str] | None = None,
    global_shutter: Sequence[int | str] = (),
    hint: Mapping[str, int] | Mapping[int, int] | None = None,
    cache: bool = True,
    progress: Callable[[str, int, int], object] | None = None,
) -> FlashSync:
    """Put several cameras on one clock, to a fraction of a millisecond, by the flashes that they saw.

    Camera flashes, strobes and lightning light only those rows of a rolling shutter that are exposed at that moment:
    where the light begins and ends in the picture says when it was. The views need have nothing in common. All clips
    are read from beginning to end. It can be interrupted.

    Args:
        clips: two or more recordings, clips of any format, size, rate and length, or files, which are opened through
            BestSource and may have a variable frame rate. A clip's times are its ``_AbsoluteTime``, else the sum of
            its ``_DurationNum / _DurationDen``, else as its frame rate says.
        base: the camera whose clock is the common one, by number or name.
        names: of the cameras. None: those of the files, or "camera0", "camera1".
        global_shutter: cameras that expose all rows at once, by number or name.
        hint: a frame of each camera that shows one and the same flash, where the offsets are not found without.
        cache: keep what is read of files in the user's cache folder, some 2 kB a frame, for the next time.
        progress: is told after each step what is being done, how many steps are, and how many there are in all. None:
            notes go to the logger "vs_align".

    Returns:
        The clocks, and the synchronised clips.

    Raises:
        TypeError, ValueError: an argument is unusable, a camera saw no flash, or too few are common; the message says
            which and what to do.
        RuntimeError: files, without BestSource.

    Source:
        Smid and Matas, "Rolling Shutter Camera Synchronization with Sub-millisecond Accuracy", VISAPP 2017.
    """
    check = Checks("vs_align.flash")
    given, named = names_of(check, clips, names)
    ref = camera_name(check, base, named, "base")
    if isinstance(global_shutter, str | int) or not isinstance(global_shutter, Sequence):
        check.type_error(f"global_shutter must be a list of cameras, not {type(global_shutter).__name__}.")
    still = [camera_name(check, each, named, "global_shutter") for each in global_shutter]
    if hint is not None and not isinstance(hint, Mapping):
        check.type_error(f"hint must name a frame of each camera, {{0: 120, 1: 95}}, not {type(hint).__name__}.")
    near = {
        camera_name(check, camera, named, "a camera of hint"): check.integer(frame, "a frame of hint", 0)
        for camera, frame in (hint or {}).items()
    }
    keep = check.boolean(cache, "cache")
    if progress is not None and not callable(progress):
        check.type_error(f"progress must be a function of three arguments, not {type(progress).__name__}.")
    return synchronised(check, cameras_of(check, given, named, progress), ref, still, near, keep, progress)
