"""How well `vs_align.spatial` aligns, beside bare OpenCV DIS and the true warp, in one run.

    python benchmarks/spatial.py [--groups clean_shift cel] [--methods true,dis,none,ours] [--precisions 1 2 3 4]
    python benchmarks/spatial.py --speed        # frames per second, as a share of bare DIS medium
    python benchmarks/spatial.py --memory       # peak memory over the inputs, at 1440x1080

Prints Markdown: a table for every group of pairs, then what is promised beside what was measured. The pairs come from
spatial_pairs.py, with footage in ../shared/footage, and are kept in the temporary folder; the residual is that of
spatial_ruler.py. The methods:

    true    clip sampled at the true positions, by the bicubic warp that the package ends with
    dis     cv2.DISOpticalFlow medium on 8 bit luma, with that warp
    none    clip as it is
    ours    a row for each precision, with "wide" where wide_search is on
    floor   clip sampled at the true positions almost exactly: what the ruler itself reads; slow, only when asked for
"""

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from spatial_pairs import GROUPS, SIZE, Pair, Picture, pairs, sample, to_bytes
from spatial_ruler import flow_error, psnr, residual, sharpness_kept

from vs_align.flow.align import Alignment, AlignOptions, align
from vs_align.flow.warp import warp_planes

METHODS = ("true", "dis", "none", "ours", "floor")
LARGE = ("large_shift", "large_scale", "large_crop")
LOOKS = ("look_colour", "look_blur", "look_codec", "look_grain", "look_all")
CLEAN = ("clean_shift", "clean_elastic", "clean_affine")
SPEED_GROUPS = ("clean_elastic", "look_all", "large_shift", "subtitle_masked")
MEMORY_SIZE = (1440, 1080)
# Around an overlay, as far as a warp could spoil a flat surrounding.
AROUND = 32
# In dB: what is nearer than that differs by rounding, as a flat sky does.
ROUNDED = 55.0

type Floats = NDArray[np.float32]
type Planes = list[NDArray[np.uint8]]


@dataclass(frozen=True)
class Figures:
    """What is measured on one output; NaN where it does not apply."""

    residual: float
    flow_error: float
    psnr: float
    sharpness: float
    under: float
    around: float
    bulge: float
    says: float


HEADINGS = {
    "residual": "residual px",
    "flow_error": "flow error px",
    "psnr": "PSNR dB",
    "sharpness": "sharpness",
    "under": "under overlay dB",
    "around": "around overlay dB",
    "bulge": "bulge px",
    "says": "AlignResidual",
}


# Methods.


def luma(planes: Sequence[NDArray[np.uint8]]) -> Floats:
    """Return BT.709 luma of three planes, 0 to 255."""
    red_green = cv2.addWeighted(planes[0], 0.2126, planes[1], 0.7152, 0, dtype=cv2.CV_32F)
    return cv2.addWeighted(red_green, 1, planes[2], 0.0722, 0, dtype=cv2.CV_32F)


def split(picture: Picture) -> Planes:
    """Return the planes of a picture, as a frame has them."""
    return list(cv2.split(picture))


class PerThread(threading.local):
    """One engine for each thread, kept with its buffers; two threads must not share one."""

    def __init__(self) -> None:
        self.dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


MEDIUM = PerThread()


def dis_flow(clip: Planes, ref: Planes) -> Floats:
    """Return what DIS medium finds from ref to clip, on 8 bit luma."""
    grey_clip, grey_ref = (cv2.cvtColor(cv2.merge(planes), cv2.COLOR_RGB2GRAY) for planes in (clip, ref))
    return MEDIUM.dis.calc(grey_ref, grey_clip, None)


def ours(clip: Planes, ref: Planes, mask: Picture | None, options: AlignOptions) -> Alignment:
    """Return what the package's engine finds."""
    return align(luma(clip), luma(ref), mask, options)


def warp(clip: Picture, flow: Floats | None) -> Picture:
    """Return clip warped as the package warps it."""
    height, width = clip.shape[:2]
    return np.dstack(warp_planes(split(clip), flow, (width, height)))


def exact(clip: Picture, flow: Floats) -> Picture:
    """Return clip warped with sixteen taps."""
    y, x = np.mgrid[: clip.shape[0], : clip.shape[1]].astype(np.float64)
    return to_bytes(sample(clip, x + flow[..., 0], y + flow[..., 1], 16, 0.4))


def rows(group: str, methods: Sequence[str], precisions: Sequence[int]) -> Iterator[tuple[str, AlignOptions | None]]:
    """Yield the rows of a group's table: a label, and the options where it is one of ours."""
    yield from ((method, None) for method in methods if method != "ours")
    for precision in precisions if "ours" in methods else ():
        if group != "wide":
            yield str(precision), AlignOptions(precision=precision)
        if group == "wide" or group in LARGE:
            yield f"{precision} wide", AlignOptions(precision=precision, wide_search=True)


def apply(method: str, options: AlignOptions | None, pair: Pair) -> tuple[Picture, Floats | None, float]:
    """Return a method's output, its flow and its own judgement."""
    clip, ref = split(pair.clip), split(pair.ref)
    if options is not None:
        found = ours(clip, ref, pair.mask, options)
        return warp(pair.clip, found.flow), found.flow, found.residual
    if method == "floor":
        return exact(pair.clip, pair.flow_true), pair.flow_true, math.nan
    flow = {"true": lambda: pair.flow_true, "dis": lambda: dis_flow(clip, ref), "none": lambda: None}[method]()
    return warp(pair.clip, flow), flow, math.nan


# Measuring.


def bulge(flow: Floats | None, overlay: Picture) -> float:
    """Return by how much the longest displacement under an overlay exceeds the longest around it, in px."""
    if flow is None:
        return 0.0
    length = np.hypot(flow[..., 0], flow[..., 1])
    near = cv2.dilate(overlay, np.ones((2 * AROUND + 1,) * 2, np.uint8))
    ring = (near > 0) & (cv2.dilate(overlay, np.ones((9, 9), np.uint8)) == 0)
    return float(length[overlay > 0].max() - length[ring].max())


def measure(pair: Pair, out: Picture, flow: Floats | None, says: float, ideal: Picture) -> Figures:
    """Measure one output against the pair's target; `ideal` is the output of the true warp."""
    valid = pair.valid
    under = around = bulged = math.nan
    if pair.overlay is not None:
        under = psnr(out, ideal, (pair.overlay > 0) & valid)
        around = min(
            ROUNDED, psnr(out, pair.target, (cv2.dilate(pair.overlay, np.ones((2 * AROUND + 1,) * 2)) > 0) & valid)
        )
        bulged = bulge(flow, pair.overlay)
    return Figures(
        residual=residual(out, pair.target, valid),
        flow_error=flow_error(flow, pair.flow_true, pair.textured, valid),
        psnr=psnr(out, pair.target, valid),
        sharpness=sharpness_kept(out, pair.target, valid),
        under=under,
        around=around,
        bulge=bulged,
        says=says,
    )


type GroupResults = dict[str, list[tuple[str, Figures]]]


def measure_group(
    group: str, methods: Sequence[str], precisions: Sequence[int], size: tuple[int, int], variant: int, threads: int
) -> GroupResults:
    """Return, for each row of a group's table, the figures of each pair."""
    cv2.setNumThreads(threads)
    found: GroupResults = {}
    for pair in pairs(group, size, variant):
        ideal = warp(pair.clip, pair.flow_true)
        for label, options in rows(group, methods, precisions):
            figures = measure(pair, *apply(label, options, pair), ideal)
            found.setdefault(label, []).append((pair.name, figures))
    return found


def mean(results: Sequence[tuple[str, Figures]], figure: str) -> float:
    """Return the mean of a figure over pairs, without those it does not apply to."""
    values = [value for _, figures in results if not math.isnan(value := getattr(figures, figure))]
    return statistics.fmean(values) if values else math.nan


# Tables.


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown, its columns aligned."""
    widths = [max(len(row[k]) for row in (head, *body)) for k in range(len(head))]
    for row in (head, ["-" * width for width in widths], *body):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |", flush=True)


def shown(figure: str, value: float) -> str:
    """Format a figure; nothing where it does not apply."""
    if math.isnan(value):
        return ""
    digits = {"psnr": 1, "under": 1, "around": 1, "bulge": 2}.get(figure, 3)
    return f"{value:.{digits}f}"


def print_group(group: str, results: GroupResults, each: bool) -> None:
    """Print a group's table, of means or with a line for each pair."""
    figures = [f.name for f in fields(Figures)]
    present = [f for f in figures if any(not math.isnan(mean(r, f)) for r in results.values())]
    count = len(next(iter(results.values())))
    print(f"\n### {group} ({count} pairs)\n")
    body = []
    for label, result in results.items():
        worst = max((f.residual for _, f in result if not math.isnan(f.residual)), default=math.nan)
        body.append([label, *(shown(f, mean(result, f)) for f in present), shown("residual", worst)])
        if each:
            body += [[f"  {name}", *(shown(f, getattr(one, f)) for f in present), ""] for name, one in result]
    table(["method", *(HEADINGS[f] for f in present), "worst residual"], body)


@dataclass(frozen=True)
class Promise:
    """What must hold: `limits` by precision (None: nothing is promised), smaller is better unless `at_least`."""

    label: str
    groups: tuple[str, ...]
    figure: str
    limits: tuple[float | None, ...]
    at_least: bool = False
    wide: bool = False

    def kept(self, value: float, limit: float) -> bool:
        """Tell whether a value is within its limit."""
        return value >= limit if self.at_least else value <= limit


LOOK_LIMITS = (0.20, 0.18, 0.15, 0.14)
ONLY_3 = (None, None, 0.05, None)
PROMISES = (
    Promise("clean warps", CLEAN, "residual", (0.05, 0.03, 0.02, 0.015)),
    Promise("other look on clip", LOOKS, "residual", (0.22, 0.16, 0.15, 0.14)),
    Promise("other look on ref", ("ref_all",), "residual", (0.27, 0.18, 0.15, 0.14)),
    *(Promise(group, (group,), "residual", LOOK_LIMITS) for group in ("crushed", "halos", "low240", "cel")),
    Promise("subtitle under its mask", ("subtitle_masked",), "under", (26, 28, 30, 31), at_least=True),
    *(Promise(group, (group,), "residual", ONLY_3, wide=wide) for group in LARGE for wide in (False, True)),
    Promise("wide", ("wide",), "residual", ONLY_3, wide=True),
    Promise("identical", ("identical",), "psnr", (99,) * 4, at_least=True),
    Promise("identical, other colour", ("identical_colour",), "residual", (0.03,) * 4),
    Promise("identical, grain", ("identical_grain",), "residual", (0.03,) * 4),
    *(
        Promise(f"{group}: sharpness", (group,), "sharpness", (0.99,) * 4, at_least=True)
        for group in ("identical_colour", "identical_grain", "whole_shift")
    ),
    Promise("logo over sky: bulge", ("logo_sky",), "bulge", (2,) * 4),
    Promise("unrelated: out is clip", ("unrelated",), "psnr", (99,) * 4, at_least=True),
)
# No worse than another method, on the same pairs.
COMPARED = (
    ("logo_sky", "around", "none"),
    ("logo_sky_masked", "around", "none"),
    ("ghost", "residual", "dis"),
    ("cards", "residual", "dis"),
)


def compared(results: dict[str, GroupResults]) -> Iterator[Promise]:
    """Yield the promises that depend on what another method reached in this run."""
    for group, figure, method in COMPARED:
        if method in results.get(group, {}):
            # Two means of the same thing are not told apart beyond the last digit printed.
            at_least = figure == "around"
            limit = mean(results[group][method], figure) + (-0.05 if at_least else 0.0005)
            yield Promise(f"{group}: no worse than {method}", (group,), figure, (limit,) * 4, at_least)


def print_promises(results: dict[str, GroupResults], precisions: Sequence[int]) -> None:
    """Print each promise beside what was measured, and what other methods reach; what is missed is in bold."""
    body = []
    beside = [method for method in METHODS if method != "ours" and method in next(iter(results.values()))]
    for promise in (*PROMISES, *compared(results)):
        if not all(group in results for group in promise.groups):
            continue
        cells = [f"{promise.label}{' (wide_search)' if promise.wide else ''}", HEADINGS[promise.figure]]
        for precision in precisions:
            label = f"{precision} wide" if promise.wide else str(precision)
            measured = [one for group in promise.groups for one in results[group][label]]
            value, limit = mean(measured, promise.figure), promise.limits[precision - 1]
            text = shown(promise.figure, value)
            if limit is not None:
                text = text if promise.kept(value, limit) else f"**{text}**"
                text += f" ({'>=' if promise.at_least else '<='} {limit:.4g})"
            cells.append(text)
        for method in beside:
            measured = [one for group in promise.groups for one in results[group][method]]
            cells.append(shown(promise.figure, mean(measured, promise.figure)))
        body.append(cells)
    if body:
        print("\n## Must hold\n")
        table(["", "figure", *(f"precision {precision}" for precision in precisions), *beside], body)


def accuracy(options: argparse.Namespace, size: tuple[int, int]) -> None:
    """Print the tables of all groups."""
    job = partial(
        measure_group,
        methods=options.methods,
        precisions=options.precisions,
        size=size,
        variant=options.variant,
        threads=1 if options.jobs > 1 else cv2.getNumThreads(),
    )
    results: dict[str, GroupResults] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        measured = map(job, options.groups) if options.jobs == 1 else pool.map(job, options.groups)
        for group, result in zip(options.groups, measured, strict=True):
            results[group] = result
            print_group(group, result, options.each)
    if "ours" in options.methods:
        print_promises(results, options.precisions)


# Speed.


def dis_frame(clip: Planes, ref: Planes, mask: Picture | None) -> Planes:
    """Do all that bare DIS needs from planes to planes."""
    flow = dis_flow(clip, ref)
    flow[..., 0] += np.arange(flow.shape[1], dtype=np.float32)
    flow[..., 1] += np.arange(flow.shape[0], dtype=np.float32)[:, None]
    options = {"interpolation": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
    return split(cv2.remap(cv2.merge(clip), flow, None, **options))


def our_frame(clip: Planes, ref: Planes, mask: Picture | None, options: AlignOptions) -> Planes:
    """Do all that ours needs from planes to planes."""
    flow = ours(clip, ref, mask, options).flow
    return warp_planes(clip, flow, (clip[0].shape[1], clip[0].shape[0]))


def seconds(frame: Callable[[Planes, Planes, Picture | None], Planes], pair: Pair, in_flight: int) -> float:
    """Time one frame; where several are in flight, as a frame server has them, the time from one to the next."""
    clip, ref = split(pair.clip), split(pair.ref)
    if in_flight == 1:
        begin = time.perf_counter()
        frame(clip, ref, pair.mask)
        return time.perf_counter() - begin
    count = 3 * in_flight
    with ThreadPoolExecutor(in_flight) as pool:
        begin = time.perf_counter()
        list(pool.map(lambda _: frame(clip, ref, pair.mask), range(count)))
        return (time.perf_counter() - begin) / count


def speed(options: argparse.Namespace, size: tuple[int, int]) -> None:
    """Print frames per second; the methods take turns, so that they share whatever else the machine does."""
    methods: dict[str, Callable[[Planes, Planes, Picture | None], Planes]] = {"dis": dis_frame}
    for precision in options.precisions if "ours" in options.methods else ():
        methods[str(precision)] = partial(our_frame, options=AlignOptions(precision=precision))
    every = options.groups == list(GROUPS)
    for threads, frames in ((threads, frames) for frames in options.in_flight for threads in options.threads):
        cv2.setNumThreads(threads)
        body = []
        for group in SPEED_GROUPS if every else options.groups:
            material = list(pairs(group, size, options.variant))[:3]
            times = {label: [] for label in methods}
            for turn in range(options.runs + 1):
                for pair in material:
                    for label, frame in methods.items():
                        taken = seconds(frame, pair, frames)
                        # The first turn fills caches and buffers.
                        if turn:
                            times[label].append(taken)
            rates = {label: 1 / statistics.median(taken) for label, taken in times.items()}
            body.append([group, *(f"{rate:.1f} ({rate / rates['dis']:.2f})" for rate in rates.values())])
        how = f"{size[0]}x{size[1]}, OpenCV threads: {threads}, frames in flight: {frames}"
        print(f"\n## Frames per second at {how}; share of dis in brackets\n")
        table(["pairs", *methods], body)


# Memory.


def memory_mb() -> tuple[float, float]:
    """Return the resident memory of this process, now and at its largest, in MB; only the largest where that is all.

    Linux hands getrusage's figure on from the parent process, so it is not asked there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        now, most = (int(lines[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
        return now, most
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return most, most


def memory_of_one(precision: int, folder: Path) -> None:
    """Print by how much one frame raises the peak over what is there before; 0 stands for bare DIS."""
    planes = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    clip, ref, mask = split(planes["clip"]), split(planes["ref"]), planes.get("mask")
    del planes
    frame = dis_frame if precision == 0 else partial(our_frame, options=AlignOptions(precision=precision))
    small = [plane[:64, :96].copy() for plane in clip]
    frame(small, small, None)
    before, _ = memory_mb()
    frame(clip, ref, mask)
    print(f"{memory_mb()[1] - before:.0f}")


def memory(options: argparse.Namespace, size: tuple[int, int]) -> None:
    """Print the peak memory of one frame over its inputs, each measured in a process of its own."""
    if sys.platform == "win32":
        raise SystemExit("spatial.py: --memory needs getrusage, which Windows does not have")
    labels = [0, *(options.precisions if "ours" in options.methods else ())]
    body = []
    for group in SPEED_GROUPS if options.groups == list(GROUPS) else options.groups:
        pair = next(pairs(group, size, options.variant))
        cells = [group]
        with tempfile.TemporaryDirectory() as folder:
            for name in ("clip", "ref", "mask"):
                if (value := getattr(pair, name)) is not None:
                    np.save(Path(folder) / f"{name}.npy", value)
            for precision in labels:
                command = [sys.executable, __file__, "--memory-of-one", str(precision), folder]
                child = subprocess.run(command, capture_output=True, text=True, check=False)
                if child.returncode:
                    raise SystemExit(f"spatial.py: the process that was measured failed:\n{child.stderr}")
                cells.append(child.stdout.strip())
        body.append(cells)
    print(f"\n## Peak memory over the inputs, MB, {size[0]}x{size[1]}\n")
    table(["pairs", *("dis" if p == 0 else f"precision {p}" for p in labels)], body)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--groups", nargs="*", default=list(GROUPS), choices=GROUPS, metavar="GROUP")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS[:-1]))
    parser.add_argument("--precisions", nargs="*", type=int, default=[1, 2, 3, 4])
    parser.add_argument("--size", help="WIDTHxHEIGHT; 720x480, for --memory 1440x1080")
    parser.add_argument("--variant", type=int, default=0, help="another number: other pictures, other elastic warps")
    parser.add_argument("--each", action="store_true", help="a line for each pair as well")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2], help="of OpenCV, for --speed")
    parser.add_argument("--in-flight", nargs="*", type=int, default=[1, 2], help="frames at a time, for --speed")
    parser.add_argument("--runs", type=int, default=7, help="for --speed")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--memory-of-one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.methods) - set(METHODS):
        parser.error(f"no such method: {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    return options


def main() -> None:
    """Print what was asked for."""
    options = arguments()
    if options.memory_of_one:
        memory_of_one(int(options.memory_of_one[0]), Path(options.memory_of_one[1]))
        return
    size = tuple(map(int, options.size.split("x"))) if options.size else MEMORY_SIZE if options.memory else SIZE
    print(f"OpenCV {cv2.__version__}, NumPy {np.__version__}, {size[0]}x{size[1]}, variant {options.variant}")
    if options.speed:
        speed(options, size)
    elif options.memory:
        memory(options, size)
    else:
        accuracy(options, size)


if __name__ == "__main__":
    main()
