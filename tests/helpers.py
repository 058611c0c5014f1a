"""What the tests of the filters share: made scenes, an exhaustive oracle, request counters, real footage."""

import io
import itertools
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import vapoursynth as vs

FOOTAGE = Path(__file__).resolve().parents[2] / "shared" / "footage"
needs_footage = pytest.mark.skipif(not FOOTAGE.is_dir(), reason="the shared footage is not here")
RGB_FORMATS = {
    "8": vs.RGB24,
    # One bit more than RGB24, by the layout of format numbers: asking the core would make one at import.
    "9": vs.RGB24 + (1 << 16),
    "10": vs.RGB30,
    "12": vs.RGB36,
    "16": vs.RGB48,
    "half": vs.RGBH,
    "float": vs.RGBS,
}
EACH_RGB_FORMAT = pytest.mark.parametrize("format", RGB_FORMATS.values(), ids=RGB_FORMATS)


def props(clip: vs.VideoNode, frames: Sequence[int] | None = None) -> list[dict]:
    """The frame properties of a clip, of all frames in order or of those asked for."""
    return [dict(clip.get_frame(n).props) for n in (range(clip.num_frames) if frames is None else frames)]


def values(clip: vs.VideoNode, name: str = "AlignFrame") -> list:
    return [frame[name] for frame in props(clip)]


def planes(clip: vs.VideoNode, n: int) -> list[np.ndarray]:
    frame = clip.get_frame(n)
    return [np.array(frame[p]) for p in range(frame.format.num_planes)]


def same_picture(a: vs.VideoNode, n: int, b: vs.VideoNode, m: int) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(planes(a, n), planes(b, m), strict=True))


def drawn(
    paint: Callable[[int], np.ndarray],
    length: int,
    format: int = vs.GRAY8,
    fps: tuple[int, int] = (24, 1),
) -> vs.VideoNode:
    """A clip whose frame n is ``paint(n)``: 0..1, shape (3, H, W), of which GRAY takes the first plane; full range."""
    height, width = paint(0).shape[1:]
    blank = vs.core.std.BlankClip(None, width, height, format, length, *fps, keep=True)
    fmt = blank.format
    peak = (1 << fmt.bits_per_sample) - 1

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame, picture = f.copy(), paint(n)
        for p in range(fmt.num_planes):
            chroma = fmt.color_family == vs.YUV and p > 0
            part = picture[p, :: 1 << fmt.subsampling_h, :: 1 << fmt.subsampling_w] if chroma else picture[p]
            if fmt.sample_type == vs.INTEGER:
                part = np.rint(np.clip(part, 0, 1) * peak)
            np.copyto(np.asarray(frame[p]), part - (fmt.sample_type == vs.FLOAT and chroma) * 0.5, casting="unsafe")
        frame.props["_Range"] = 1
        if fmt.color_family != vs.GRAY:
            frame.props["_Matrix"] = 0 if fmt.color_family == vs.RGB else 1
        return frame

    return blank.std.ModifyFrame(blank, fill)


def moving(width: int = 64, height: int = 48, seed: int = 0, grain: float = 0.0) -> Callable[[int], np.ndarray]:
    """A scene for `drawn`: a smooth landscape that pans without ever repeating, and a bright ball that crosses it."""
    rng = np.random.default_rng(seed)
    tall, wide = height + 97, width + 211
    land = np.stack([cv2.GaussianBlur(rng.standard_normal((tall, wide)), (0, 0), 3) for _ in range(3)])
    land = 0.5 + 0.22 * (land - land.mean()) / land.std()
    rows, columns = np.mgrid[:height, :width]

    def paint(n: int) -> np.ndarray:
        # 97 and 211 share no divisor: the view comes back after 20,467 frames.
        y, x = np.arange(height) + n % 97, np.arange(width) + 2 * n % 211
        picture = land[:, y[:, None], x[None]]
        ball = (rows - height / 2) ** 2 + (columns - (5 * n) % (width + 9)) ** 2 < (height / 6) ** 2
        picture = np.where(ball, 0.95 - 0.1 * picture, picture)
        if grain:
            picture = picture + grain * np.random.default_rng((seed, n)).standard_normal(picture.shape)
        return np.clip(picture, 0, 1)

    return paint


def noise(width: int, height: int, seed: int = 0) -> Callable[[int], np.ndarray]:
    """A scene for `drawn` without anything in it: every sample of every frame is drawn anew from the whole range."""
    return lambda n: np.random.default_rng((seed, n)).random((3, height, width))


class Waves:
    """A picture without borders, known at every point: a sum of plane waves, 4 to 100 px long; 0 to 255."""

    def __init__(self, seed=0, shortest=4.0, count=120):
        rng = np.random.default_rng(seed)
        length = np.exp(rng.uniform(np.log(shortest), np.log(100), count))
        angle = rng.uniform(0, 2 * np.pi, count)
        self._turns = 2 * np.pi / length[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        self._phases = rng.uniform(0, 2 * np.pi, count)
        heights = length**0.5
        self._heights = 45 * heights / np.sqrt((heights**2).sum() / 2)

    def __call__(self, x, y):
        total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
        for (across, down), phase, height in zip(self._turns, self._phases, self._heights, strict=True):
            total += np.float32(height) * np.cos((across * x + down * y + phase).astype(np.float32))
        return np.clip(128 + total, 0, 255)


def one_line(function: str, error: pytest.ExceptionInfo, says: str) -> None:
    """Check that an error is one line of a public function's, of bearable length, that says a pattern."""
    message = str(error.value)
    assert message.startswith(f"{function}: ")
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    assert re.search(says, message), message


def held(clip: vs.VideoNode) -> vs.VideoNode:
    """The clip with its frames made once and kept."""
    frames, blank = [clip.get_frame(n) for n in range(clip.num_frames)], clip.std.BlankClip(keep=True)
    return blank.std.ModifyFrame(blank, lambda n, f: frames[n])


def retime(clip: vs.VideoNode, indices: Sequence[int]) -> vs.VideoNode:
    """The clip whose frame n is ``clip``'s frame ``indices[n]``."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([index, index + 1])
    return vs.core.std.Splice([clip[first:end] for first, end in runs])


def plane_differences(clip: vs.VideoNode, ref: vs.VideoNode, tr: int, centres: Sequence[int]) -> list[dict[int, float]]:
    """std.PlaneStats' difference of each ref frame to each clip frame within tr of its centre."""
    found: list[dict[int, float]] = [{} for _ in centres]
    for m in range(clip.num_frames):
        near = [n for n, c in enumerate(centres) if abs(m - c) <= tr]
        if near:
            # Centres never go back, so these are consecutive; PlaneStats repeats a clip of one frame.
            stats = ref[near[0] : near[-1] + 1].std.PlaneStats(clip[m], plane=0)
            for n in near:
                found[n][m] = float(stats.get_frame(n - near[0]).props["PlaneStatsDiff"])
    return found


def exhaustive(clip: vs.VideoNode, ref: vs.VideoNode, tr: int, centres: Sequence[int] | None = None) -> list[int]:
    """The frames that an exhaustive search chooses: the smallest PlaneStatsDiff, then the nearest, then the later."""
    centres = range(ref.num_frames) if centres is None else centres
    tables = plane_differences(clip, ref, tr, centres)
    return [
        min(table, key=lambda m: (table[m], abs(m - c), -m)) if table else min(c, clip.num_frames - 1)
        for c, table in zip(centres, tables, strict=True)
    ]


def centres(length: int, clip_fps: Fraction, ref_fps: Fraction) -> list[int]:
    """The clip frame on screen when each ref frame starts: the last one that starts no later."""
    found, shown = [], 0
    for n in range(length):
        while Fraction(shown + 1) / clip_fps <= Fraction(n) / ref_fps:
            shown += 1
        found.append(shown)
    return found


class Requests:
    """Counts which frames of a clip are made.

    Attributes:
        clip: use it in the clip's place.
        count: how often each frame was made.
    """

    def __init__(self, clip: vs.VideoNode) -> None:
        self.count: Counter[int] = Counter()
        self._lock = threading.Lock()
        self.clip = clip.std.ModifyFrame(clip, self._note)

    def _note(self, n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        with self._lock:
            self.count[n] += 1
        return f

    def taken(self) -> set[int]:
        """The frames made since the last call."""
        with self._lock:
            frames = set(self.count)
            self.count.clear()
        return frames


def footage(name: str, width: int, height: int, format: int = vs.GRAY8, frames: slice = slice(None)) -> vs.VideoNode:
    """A real clip, decoded, resized and held in memory; the test is skipped where it is not at hand."""
    path = FOOTAGE / name
    if not path.is_file():
        pytest.skip(f"no footage: {name}")
    if not hasattr(vs.core, "bs"):
        pytest.skip("needs vapoursynth-bestsource")
    clip = vs.core.bs.VideoSource(str(path), cachemode=0, threads=2)[frames]
    return held(converted(clip, format, width=width, height=height))


def converted(clip: vs.VideoNode, format: int, **options: int) -> vs.VideoNode:
    """Another format of the same picture, dither off; BT.709 where a matrix is called for."""
    from_rgb, to_rgb = (
        family == vs.RGB for family in (clip.format.color_family, vs.core.get_video_format(format).color_family)
    )
    matrix = {} if from_rgb == to_rgb else {"matrix_in": 1} if to_rgb else {"matrix": 1}
    return clip.resize.Bicubic(format=format, **matrix, **options)


def x264(clip: vs.VideoNode, crf: int = 38) -> vs.VideoNode:
    """The clip (8 bit GRAY or YUV420, even size) after a real encode and decode by x264."""
    av = pytest.importorskip("av")
    gray = clip.format.color_family == vs.GRAY
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as file:
        stream = file.add_stream("libx264", rate=24, options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        for frame in clip.frames(close=True):
            parts = [np.array(frame[p]).ravel() for p in range(frame.format.num_planes)]
            if gray:
                parts += [np.full(clip.width * clip.height // 2, 128, np.uint8)]
            picture = np.concatenate(parts).reshape(-1, clip.width)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        file.mux(stream.encode())
    target.seek(0)
    with av.open(target) as file:
        pictures = [frame.to_ndarray(format="yuv420p") for frame in file.decode(video=0)]
    assert len(pictures) == clip.num_frames
    sizes = [(clip.width, clip.height)] + ([] if gray else [(clip.width // 2, clip.height // 2)] * 2)
    ends = list(itertools.accumulate(w * h for w, h in sizes))

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame, samples = f.copy(), pictures[n].ravel()
        for p, (w, h) in enumerate(sizes):
            np.copyto(np.asarray(frame[p]), samples[ends[p] - w * h : ends[p]].reshape(h, w))
        return frame

    return held(clip.std.ModifyFrame(clip, fill))
