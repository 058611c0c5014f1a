"""How fast `vs_align.spatial` is with the engine "flow", end to end through the filter, and where the time goes.

    python benchmarks/spatial_gpu.py                     # a CUDA device
    python benchmarks/spatial_gpu.py --endurance         # also 5,000 frames and 20 reloads: does memory grow?
    python benchmarks/spatial_gpu.py --device cpu        # a few frames, to see that it runs

Prints Markdown. The pictures are made: texture that is moved by some pixels, recoloured and grainy; they are in memory
before the clock starts. Where the package has no weights, untrained ones are used: speed does not depend on them.
"""

import argparse
import gc
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import vapoursynth as vs
from numpy.typing import NDArray

import vs_align
from vs_align.flow.network.frame import FrameWork, Job, Picture, Setup
from vs_align.flow.network.gpu import CudaLane, copy_in, copy_out, exact
from vs_align.flow.network.memory import needed_bytes
from vs_align.flow.network.model import AlignNet
from vs_align.flow.network.pipeline import Pipeline
from vs_align.flow.network.weights import FILES, load_weights, save_weights
from vs_align.flow.options import AlignOptions

# Different pairs, so that nothing is done twice.
PAIRS = 12
# What the page asks for, frames per second by precision, at 1440x1080 on one H100.
AIMS = {1: 150.0, 3: 60.0}
MIB = 1 << 20

type Planes = list[NDArray[np.uint8]]


def main() -> None:
    options = parsed()
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        options.weights = options.weights or usual_weights(Path(folder))
        if options.reloads_only:
            print(reloads(options))
            return
        pairs = [pair(k, options.width, options.height) for k in range(PAIRS if on_gpu(options) else 2)]
        print(f"# spatial, engine flow, {options.width}x{options.height}, 8 bit RGB\n\n{described(options)}\n")
        speed(options, pairs)
        parts(options, pairs)
        if on_gpu(options):
            agreement(options, pairs)
        if options.profile:
            kernels(options, pairs)
        if options.endurance:
            endurance(options, pairs)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help='"cuda", "cuda:1" or "cpu"')
    parser.add_argument("--size", default=None, help="1440x1080; on the CPU 360x270")
    parser.add_argument("--precisions", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--frames", type=int, default=None, help="in one run: 400; on the CPU 3")
    parser.add_argument("--runs", type=int, default=None, help="of which the median counts: 5; on the CPU 1")
    parser.add_argument("--in-flight", type=int, default=8, help="frames asked for at the same time")
    parser.add_argument("--weights", default=None, help="a .safetensors file; the package's by default")
    parser.add_argument("--no-profile", dest="profile", action="store_false", help="leave out the table of kernels")
    parser.add_argument("--profile-precision", type=int, default=3)
    parser.add_argument("--endurance", action="store_true")
    parser.add_argument("--long", type=int, default=None, help="frames of the long run: 5000; on the CPU 40")
    parser.add_argument("--reloads", type=int, default=None, help="20; on the CPU 6")
    parser.add_argument("--reloads-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    gpu = on_gpu(options)
    if gpu and not torch.cuda.is_available():
        parser.error("no CUDA device here; --device cpu runs a few frames on the CPU")
    usual = {"size": "1440x1080", "frames": 400, "runs": 5, "long": 5000, "reloads": 20}
    few = {"size": "360x270", "frames": 3, "runs": 1, "long": 40, "reloads": 6}
    for name, value in (usual if gpu else few).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.width, options.height = map(int, options.size.split("x"))
    return options


def on_gpu(options: argparse.Namespace) -> bool:
    return options.device != "cpu"


def usual_weights(folder: Path) -> Path:
    if FILES.own.is_file():
        return FILES.own
    print("no weights in the package: untrained ones are used", file=sys.stderr)
    torch.manual_seed(0)
    save_weights(folder / "untrained.safetensors", AlignNet())
    return folder / "untrained.safetensors"


def described(options: argparse.Namespace) -> str:
    where = torch.cuda.get_device_name(options.device) if on_gpu(options) else "CPU"
    capability = f", {os.cpu_count()} CPU cores, VapourSynth threads {vs.core.num_threads}"
    return f"{where}{capability}, PyTorch {torch.__version__}, {options.in_flight} frames asked for at a time"


# Pictures.


def pair(seed: int, width: int, height: int) -> tuple[Planes, Planes]:
    """Return planes of clip and of ref: the same texture, moved and bent by some pixels, with other colours."""
    rng = np.random.default_rng(seed)
    scene = np.zeros((height + 32, width + 32, 3), np.float32)
    for octave in (2, 4, 8, 16, 32, 64):
        small = rng.standard_normal((scene.shape[0] // octave + 2, scene.shape[1] // octave + 2, 3)).astype(np.float32)
        scene += 14 * octave**0.3 * cv2.resize(small, scene.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    scene += 128
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = [rng.uniform(-3, 3) + 1.5 * np.sin(side / rng.uniform(60, 200)) for side in (y, x)]
    clip = cv2.remap(scene, x + 16 + bend[0], y + 16 + bend[1], cv2.INTER_CUBIC)
    ref = scene[16:-16, 16:-16] * np.float32([0.9, 1.05, 1.1]) - 6
    grain = rng.normal(0, 2, clip.shape)
    return tuple([np.ascontiguousarray(part) for part in cv2.split(to_bytes(whole))] for whole in (clip + grain, ref))


def to_bytes(picture: NDArray[Any]) -> NDArray[np.uint8]:
    return np.rint(picture.clip(0, 255)).astype(np.uint8)


def loaded(pictures: list[Planes], length: int) -> vs.VideoNode:
    """Return a clip that shows the pictures over and over; its frames are made before the first one is asked for."""
    height, width = pictures[0][0].shape
    blank = vs.core.std.BlankClip(None, width, height, vs.RGB24, length, keep=True)
    frames = []
    for picture in pictures:
        frame = blank.get_frame(0).copy()
        for p, part in enumerate(picture):
            np.copyto(np.asarray(frame[p]), part)
        frames.append(frame)
    return blank.std.ModifyFrame(blank, partial(shown, frames))


def shown(frames: list[vs.VideoFrame], n: int, f: vs.VideoFrame) -> vs.VideoFrame:
    return frames[n % len(frames)]


def aligned(options: argparse.Namespace, pairs: list[tuple[Planes, Planes]], length: int, **more: Any) -> vs.VideoNode:
    clip, ref = (loaded([both[side] for both in pairs], length) for side in (0, 1))
    return vs_align.spatial(clip, ref, engine="flow", device=options.device, weights=options.weights, **more)


# Speed.


def speed(options: argparse.Namespace, pairs: list[tuple[Planes, Planes]]) -> None:
    print("## Through the filter\n")
    print("| precision | frames/s, median | slowest - fastest | aim | first frame s | allocated MiB | reserved MiB |")
    print("|---|---|---|---|---|---|---|")
    for precision in options.precisions:
        print_speed(options, pairs, precision)
    setup = setup_of(options, 3)
    print(f"\nThe filter expects to need {needed_bytes(setup, 3) / MIB:.0f} MiB for three frames in flight.")
    print("Allocated is PyTorch's peak; graphs keep theirs, so that reserved is what is taken.\n", flush=True)


def print_speed(options: argparse.Namespace, pairs: list[tuple[Planes, Planes]], precision: int) -> None:
    forget(options)
    node = aligned(options, pairs, options.frames * options.runs + 1, precision=precision)
    first = timed(partial(take, node, range(1), 1))
    # All lanes make their graphs before the clock starts.
    warm = min(4 * options.in_flight if on_gpu(options) else 1, options.frames)
    take(node, range(warm), options.in_flight)
    rates = []
    for run in range(options.runs):
        frames = range(run * options.frames, (run + 1) * options.frames)
        rates.append(options.frames / timed(partial(take, node, frames, options.in_flight)))
    aim = f"{AIMS[precision]:.0f}" if precision in AIMS else ""
    spread = f"{min(rates):.1f} - {max(rates):.1f}"
    memory = [f"{value / MIB:.0f}" for value in peaks(options)]
    print(
        f"| {precision} | {statistics.median(rates):.1f} | {spread} | {aim} | {first:.2f} | {' | '.join(memory)} |",
        flush=True,
    )


def take(node: vs.VideoNode, frames: range, in_flight: int) -> None:
    """Ask for frames in order, so many at a time."""
    waiting: deque[Any] = deque()
    for n in frames:
        if len(waiting) == in_flight:
            waiting.popleft().result().close()
        waiting.append(node.get_frame_async(n))
    for future in waiting:
        future.result().close()


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def forget(options: argparse.Namespace) -> None:
    gc.collect()
    if on_gpu(options):
        torch.cuda.synchronize(options.device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(options.device)


def peaks(options: argparse.Namespace) -> tuple[int, int]:
    if not on_gpu(options):
        return 0, 0
    return torch.cuda.max_memory_allocated(options.device), torch.cuda.max_memory_reserved(options.device)


# Where the time goes.


def setup_of(options: argparse.Namespace, precision: int) -> Setup:
    picture = Picture(options.width, options.height, "uint8", 255)
    return Setup(clip=picture, ref=picture, options=AlignOptions(precision=precision))


def parts(options: argparse.Namespace, pairs: list[tuple[Planes, Planes]]) -> None:
    """Print the time of each part of one frame that has the device for itself."""
    print("## One frame alone, ms\n")
    print("| precision | copied in | upload | work | download | copied out | graph |")
    print("|---|---|---|---|---|---|---|")
    for precision in options.precisions:
        device, work = work_of(options, precision)
        rows = gpu_parts(options, work, device, pairs) if on_gpu(options) else cpu_parts(work, pairs)
        made = rows.pop()
        figures = " | ".join(f"{statistics.median(values) * 1000:.2f}" for values in rows)
        print(f"| {precision} | {figures} | {made} |", flush=True)
    print()


def work_of(options: argparse.Namespace, precision: int) -> tuple[torch.device, FrameWork]:
    device = torch.device(options.device)
    if on_gpu(options) and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return device, FrameWork(load_weights(options.weights, device), setup_of(options, precision), device)


def gpu_parts(
    options: argparse.Namespace, work: FrameWork, device: torch.device, pairs: list[tuple[Planes, Planes]]
) -> list[Any]:
    job, lane = Job(), CudaLane(work, device)
    rows: list[list[float]] = [[] for _ in range(5)]
    out = [np.empty((options.height, options.width), np.uint8) for _ in range(3)]
    with torch.inference_mode(), torch.cuda.device(device):
        program = lane.program(job)
        for n in range(60):
            clip, ref = pairs[n % len(pairs)]
            rows[0].append(timed(partial(copy_in, {"clip": clip, "ref": ref}, program.given)))
            marks = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
            with torch.cuda.stream(lane.stream):
                marks[0].record()
                for mark, step in zip(marks[1:], (program.upload, program.compute, program.download), strict=True):
                    step()
                    mark.record()
            lane.stream.synchronize()
            for row, before, after in zip(rows[1:4], marks, marks[1:], strict=False):
                row.append(before.elapsed_time(after) / 1000)
            rows[4].append(timed(partial(copy_out, program.wanted, {"planes": out})))
        graph = "yes" if program.has_graph else "no"
    lane.free()
    return [*rows, graph]


def cpu_parts(work: FrameWork, pairs: list[tuple[Planes, Planes]]) -> list[Any]:
    given = given_of(work, pairs[0])
    with torch.inference_mode():
        work(Job(), given)
        spent = [timed(partial(work, Job(), given)) for _ in range(3)]
    return [[0.0], [0.0], spent, [0.0], [0.0], "no"]


def given_of(work: FrameWork, both: tuple[Planes, Planes], device: str | torch.device = "cpu") -> dict[str, Any]:
    return {name: torch.from_numpy(np.stack(part)).to(device) for name, part in zip(("clip", "ref"), both, strict=True)}


def kernels(options: argparse.Namespace, pairs: list[tuple[Planes, Planes]]) -> None:
    """Print what the work of one frame consists of, without a graph."""
    device, work = work_of(options, options.profile_precision)
    given = given_of(work, pairs[0], device)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if on_gpu(options):
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.inference_mode(), exact():
        for _ in range(3):
            work(Job(), given)
        with torch.profiler.profile(activities=activities) as profile:
            work(Job(), given)
            if on_gpu(options):
                torch.cuda.synchronize(device)
    averages = profile.key_averages()
    # Renamed in PyTorch 2.5 or so.
    names = ("self_device_time_total", "self_cuda_time_total") if on_gpu(options) else ("self_cpu_time_total",)
    by = next(name for name in names if hasattr(averages[0], name))
    launches = sum(event.count for event in averages if event.key.startswith(("cudaLaunchKernel", "cuLaunchKernel")))
    print(f"## What the work consists of, precision {options.profile_precision}, without a graph\n")
    if launches:
        print(f"{launches} kernels.\n")
    print(f"```\n{averages.table(sort_by=by, row_limit=25, max_name_column_width=60)}\n```\n", flush=True)


# CUDA beside the CPU.


def agreement(options: argparse.Namespace, pairs: list[tuple[Planes, Planes]]) -> None:
    """Print how far the flow on the GPU is from that on the CPU."""
    print("## The flow on the GPU beside that on the CPU, px\n")
    print("| precision | mean | 99.9 % | largest |\n|---|---|---|---|")
    for precision in options.precisions:
        flows = []
        for where, lanes in (("cpu", 0), (options.device, 1)):
            device = torch.device(where, torch.cuda.current_device()) if where == "cuda" else torch.device(where)
            pipeline = Pipeline(load_weights(options.weights, device), setup_of(options, precision), device, lanes)
            flows.append([pipeline.flow(*both)[0] for both in pairs[:2]])
            pipeline.close()
        away = np.concatenate(
            [np.abs(a - b).ravel() for a, b in zip(*flows, strict=True) if a is not None and b is not None]
        )
        print(f"| {precision} | {away.mean():.4f} | {np.quantile(away, 0.999):.4f} | {away.max():.4f} |", flush=True)
    print()


# Endurance.


def endurance(options: argparse.Namespace, pairs: list[tuple[Planes, Planes]]) -> None:
    print("## Does memory grow?\n\n| what | process MiB | GPU MiB |\n|---|---|---|")
    forget(options)
    node = aligned(options, pairs, options.long)
    begin = max(options.long // 10, 1)
    take(node, range(begin), options.in_flight)
    before = used(options)
    take(node, range(begin, options.long), options.in_flight)
    process, gpu = (after - was for after, was in zip(used(options), before, strict=True))
    print(f"| {options.long - begin} frames after the first {begin} | {process:+.0f} | {gpu:+.0f} |", flush=True)
    # In a process of its own: environments come and go there.
    command = [sys.executable, __file__, "--reloads-only", "--device", options.device, "--size", options.size]
    command += ["--reloads", str(options.reloads), "--weights", str(options.weights)]
    print(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip(), flush=True)


def reloads(options: argparse.Namespace) -> str:
    """Open the script again and again, as a previewer does, and return how memory grew."""
    pairs = [pair(k, options.width, options.height) for k in range(2)]
    settled = max(options.reloads // 4, 2)
    before = (0.0, 0.0)
    for count, _ in enumerate(environments(options.reloads)):
        node = aligned(options, pairs, 8)
        take(node, range(4), 4)
        del node
        gc.collect()
        if count == settled:
            before = used(options)
    process, gpu = (after - was for after, was in zip(used(options), before, strict=True))
    return f"| {options.reloads - settled - 1} reloads after the first {settled + 1} | {process:+.0f} | {gpu:+.0f} |"


def environments(count: int) -> Iterator[None]:
    """Yield in one environment after the other; where vsengine is not installed, in the same."""
    try:
        from vsengine.policy import GlobalStore, Policy
    except ImportError:
        print("vsengine is not installed: one environment for all reloads", file=sys.stderr)
        yield from (None for _ in range(count))
        return
    with Policy(GlobalStore()) as policy:
        for _ in range(count):
            with policy.new_environment() as environment, environment.use():
                yield


def used(options: argparse.Namespace) -> tuple[float, float]:
    """Return the memory that the process has, and that is taken on the GPU by anybody, in MiB."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[1]) if statm.is_file() else 0
    process = pages * os.sysconf("SC_PAGE_SIZE") / MIB if pages else float("nan")
    if not on_gpu(options):
        return process, 0.0
    free, total = torch.cuda.mem_get_info(options.device)
    return process, (total - free) / MIB


if __name__ == "__main__":
    main()
